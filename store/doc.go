// Package store is what the gate knows and what it did: the tenants'
// configuration and the gate log, in PostgreSQL or an embedded SQLite file.
//
// Two paths go through it, and both meet at one row per tenant, its head:
//
//	ask     Facts ─► (the policy decides) ─► Append ─► answer
//	change  ChangeConfig, PutOverride, AddWhitelist, SetStopped … ─► answer
//	approve Approval ─► (the policy judges the votes) ─► StepApproval ─► answer
//
// [Store.Facts] reads memory only (view.go, an immutable go-memdb snapshot).
// [Store.Append] puts entries into one bounded queue (queue.go); a worker takes
// all that wait, up to 512, and writes them in one transaction (append.go):
//
//	lock the heads of all tenants of the batch, ordered by tenant
//	leave out entries whose config_epoch is no longer the head's    (the fence)
//	leave out entries whose action_id was answered before
//	give out log_seq, make leaves of the rows, insert, move the heads
//	commit
//
// A change (change.go) locks the same head, raises its epoch, writes the new
// state and a config_change row, and commits. Because both take that lock, no
// decision made under an old epoch commits after a change was answered, on any
// replica: the fence does not rely on anybody's memory being fresh. Memory is
// made fresh all the same, by one path for all (follow.go): read the
// config_change rows beyond one's own epoch and apply them.
//
// Which policy decides is fenced in the same transaction (policychange.go): an
// append shares a lock that the activation of a bundle takes alone, and leaves
// out entries whose policy_epoch is no longer the deployment's.
//
// An entry that waits for approval opens an approval or joins the open one in
// the append's transaction (approvalopen.go), and each step of an approval takes
// the same locks (approvalstep.go), a release with the row of the decision that
// was made again. Whoever waits for an approval to end waits in hub.go.
//
// Every row of evidence is a leaf of its tenant's Merkle tree (tree.go, package
// audit), added in the row's own transaction: the head holds the tree's right
// edge. TreeHead, TreeProof and TreeConsistency are what can be shown of it.
//
// An entry's result carries no error only when its row has committed. An error
// before COMMIT means not written; an error at COMMIT means unknown, and both
// are answered as engine.ErrUnavailable. The commit never runs under a
// caller's context: a caller who stops waiting does not stop the commit.
//
// The two databases share every line but the ones in postgres.go, sqlite.go and
// the append's statements. What the database itself refuses, whoever asks:
// UPDATE, DELETE, TRUNCATE and REPLACE on the log, an auto row with CRITICAL,
// and a head that goes back.
package store
