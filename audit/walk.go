package audit

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Leaf is a leaf of a tenant's tree with the row that it is about.
type Leaf struct {
	Index int64
	Kind  *Kind
	Seq   int64  // number of the row; see Run
	ID    string // of the approval or decision that an event or outcome is of
	Hash  tlog.Hash
	// Row is the row, where it was wanted, and Copies how many claim the leaf's
	// place: one, unless somebody meddled with the log.
	Row    Row
	Copies int
}

// Walk calls each for the first size leaves of a tenant's tree, in order, with
// the rows of those that wanted says. It judges nothing but the runs, which it
// could not follow otherwise: that they go on from leaf 0 without gaps and are
// of kinds that there are is an error. What each is given is only valid until it
// returns.
func Walk(ctx context.Context, source Source, tenant string, size int64, wanted func(*Leaf) bool, each func(*Leaf) error) error {
	rows := finder{source, tenant, map[*Kind]*cursor{}}
	var leaf Leaf
	for at := int64(0); at < size; {
		runs, err := source.Runs(ctx, tenant, at, page)
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return fmt.Errorf("tree_leaf of tenant %s ends at leaf %d of %d: run tiergate verify on the database", tenant, at, size)
		}
		for _, r := range runs {
			kind := KindNamed(r.Kind)
			if r.First != at || kind == nil || len(r.Hashes) == 0 || len(r.Hashes)%tlog.HashSize != 0 {
				return fmt.Errorf("tree_leaf of tenant %s is damaged at leaf %d: run tiergate verify on the database", tenant, at)
			}
			for i := int64(0); i*tlog.HashSize < int64(len(r.Hashes)) && at < size; i++ {
				leaf = Leaf{Index: at, Kind: kind, Seq: r.Seq + i, ID: r.ID, Hash: tlog.Hash(r.Hashes[i*tlog.HashSize : (i+1)*tlog.HashSize])}
				if wanted(&leaf) {
					if leaf.Row, leaf.Copies, err = rows.find(ctx, kind, r.ID, leaf.Seq); err != nil {
						return err
					}
				}
				if err := each(&leaf); err != nil {
					return err
				}
				at++
			}
			if at == size {
				break
			}
		}
	}
	return nil
}
