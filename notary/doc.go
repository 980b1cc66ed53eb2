// Package notary signs what the tenants' trees are, while they grow, and keeps
// the checkpoints where nobody who runs the database can write.
//
// Once a second it looks which trees have grown, by whichever gate, signs a
// checkpoint for each (package checkpoint), has the database keep them, and hands
// them to what is outside: a folder, an HTTP receiver, or both. Nothing of this is
// in the way of a decision. Outside, only the newest checkpoint of a tenant
// matters; what cannot be written is tried again, and told by log and metric.
//
//	tenant_head ──► Notary ──► tree_checkpoint     GET /log/checkpoint
//	                   ├────► Folder               DIR/acme/latest, DIR/acme/2026-11.notes
//	                   └────► Push                 POST
//
// A tree only grows. Where a tenant's is smaller than its last checkpoint outside
// says, or has another root at that size, the database is not the one that the
// checkpoint was made from: an older copy was restored, or rows were rewritten.
// Then the gate stops the tenant, so that nothing is auto, on every gate and on
// the record: the stop is a leaf of the tree, with the checkpoint as its reason.
// It signs no more of that tenant until an operator has released the stop, which
// is a leaf, too. From then on the new tree's checkpoints take the old one's place
// outside; the old one stays in the folder's history.
//
// The folder is compared before a gate answers its first request, and the
// notary's own memory from then on.
package notary
