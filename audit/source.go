package audit

import "context"

// Source is where Verify reads a tenant's evidence from. Each call is one short
// read of its own moment: what is there stays there, and a log that grows
// meanwhile is no fault.
type Source interface {
	// Head returns the tenant's head; the zero value where there is none.
	Head(ctx context.Context, tenant string) (Head, error)
	// Runs returns the first runs of the tenant's tree from a leaf on, in order, at
	// most limit.
	Runs(ctx context.Context, tenant string, from int64, limit int) ([]Run, error)
	// Rows returns the rows of a kind whose number is from <= seq < to, in its
	// order; of ApprovalEvent and Outcome those of the id, of Genesis all.
	Rows(ctx context.Context, tenant string, kind *Kind, id string, from, to int64) ([]Row, error)
	// Tile returns a complete tile's hashes and root, nil where there is none.
	Tile(ctx context.Context, tenant string, level int, index int64) (hashes, root []byte, err error)
	// Rest counts what Rows cannot walk through, and says how far rows reach.
	Rest(ctx context.Context, tenant string, size int64) (Rest, error)
}

// Head is a row of tenant_head.
type Head struct {
	LogSeq, Epoch int64
	Size          int64 // of the tree
	Edge          []byte
	Change        int64 // of the policy, the newest that the tree has
}

// Run is a row of tree_leaf.
type Run struct {
	First  int64
	Kind   string
	ID     string
	Seq    int64
	Hashes []byte
}

// Row is a row of evidence.
type Row struct {
	Values     []any  // in the order of the kind's columns
	Parameters []byte // of a decision, where they are still kept
}

// Rest is what is there beside the leaves of a tree of some size.
type Rest struct {
	MaxLogSeq, MaxEpoch, MaxLeaf int64 // of any row; MaxLeaf -1 for none
	Events, Outcomes             int64 // rows with a leaf_index below that size
	OldEvents, OldOutcomes       int64 // rows without a leaf_index
}
