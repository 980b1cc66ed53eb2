//go:build !nofence

package store

// fence is the check that a decision was made under the epoch that is current
// when it commits (P5).
const fence = true
