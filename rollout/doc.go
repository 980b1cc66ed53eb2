// Package rollout decides which policy this gate runs, and follows the rest of
// the deployment.
//
// The database is the truth: it keeps every bundle that was ever uploaded, and
// one head says which of them is active. A bundle goes this way:
//
//	upload ─► read, verify, compile ─► keep ─► prove, in the background
//	shadow ─► it decides beside the active one and is not heard
//	activate, rollback ─► judge (revisions, proof) ─► load here ─► move the head ─► swap
//
// Moving the head is one transaction that waits for every append under way and
// raises the policy epoch; each later append checks that epoch. So once an
// activation was answered no decision of the bundle before is committed by any
// gate, also by one that has not heard of it. Such a gate learns of it by the
// refused row, a notification or its poll, whichever is first, and swaps.
//
// A bundle decides only after this gate has loaded it (its content must have
// the hash that the head names and, with a key, an accepted signature), compiled
// it, and found that it is proved under this engine. A gate that cannot do that
// keeps its old policy, is not ready, and can commit nothing by it.
package rollout
