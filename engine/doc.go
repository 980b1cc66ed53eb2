// Package engine is the pure core of the gate: it turns a request and the
// facts about its tenant into a decision, makes the decision durable, and only
// then answers.
//
// The order is always the same and one function, [Gate.Decide], shows it:
//
//	facts   what the tenant allows at this epoch       (FactSource)
//	verdict what the policy says about request+facts   (Policy; OPA's plan, run by plan.go and vm.go)
//	guards  is that a verdict at all?                  (Policy.Decide)
//	append  the row, durable, epoch checked            (Log)
//	answer
//
// What waits for approval goes on in [Gate.Vote] (vote.go): the policy judges the
// votes (release.go), the action is decided again, and vote, decision and release
// are made durable in one step (Approvals).
//
// The package knows no HTTP, no SQL and no cache. Its three interfaces,
// [FactSource], [Log] and [Approvals], are implemented by package store.
package engine
