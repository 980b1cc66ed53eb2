// Package review says what a policy decides, and what a change of it does,
// before it is merged.
//
// Everything here rests on one idea: a bundle can tell only finitely many
// situations apart, once numbers and targets are cut at the boundaries that the
// bundle itself names. [Explore] lists them: action types × tiers × stopped ×
// states of the overrides × states of the whitelist × targets × confidences ×
// actors × tenants; and decides all of them.
//
// Millions of situations need far fewer evaluations, because one evaluation
// settles every situation that differs only in parts of the input that it did
// not read ([engine.Tracer]). [Table] holds the outcome of each.
//
// On tables of outcomes the rest is counting: [Prove] checks the promises,
// [Diff] compares two bundles, [Matrix] prints what people look at.
package review
