package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Report is what Verify found out about one tenant.
type Report struct {
	Tenant string
	Size   int64     // of the tree
	Root   tlog.Hash // of the stored leaf hashes
	Leaves map[string]int64
	// Faults are what is not as it was written, the first ones of them; none: all
	// that the tree covers is as it was.
	Faults []Fault
	More   bool // there are more faults
	// Changed: at least one fault, told or not, is more than that something is missing.
	Changed bool
	// NotCovered says what of the tenant is older than its tree; empty: nothing.
	NotCovered string
}

// Fault is a place where the log is not as it was written.
type Fault struct {
	Leaf int64  // leaf_index; -1: none in particular
	Kind string // of the leaf; "" for none
	Seq  int64  // of its row
	ID   string
	Text string
	// Missing: something is not there any more, and what is there may be as it was.
	Missing bool
}

// String names the place.
func (f Fault) String() string {
	if f.Leaf < 0 {
		return f.Text
	}
	row := fmt.Sprintf("%s %d", f.Kind, f.Seq)
	if f.ID != "" {
		row += " of " + f.ID
	}
	return fmt.Sprintf("leaf %d (%s): %s", f.Leaf, row, f.Text)
}

// maxFaults is how many faults a Report tells.
const maxFaults = 20

// Verify compares a tenant's rows with the leaves of its tree, and the leaves with
// its head and its tiles: every leaf's bytes are made again. It reads short
// pages and needs the same memory however long the log is. An error is one of
// the source, and says nothing about the log.
//
// What follows from the database alone cannot tell a log that was rewritten or
// cut off as a whole, head included: kept are heads that somebody else has kept,
// and the tree must have had each of them.
func Verify(ctx context.Context, source Source, tenant string, kept ...Kept) (*Report, error) {
	head, err := source.Head(ctx, tenant)
	if err != nil {
		return nil, err
	}
	v := &verifier{ctx: ctx, source: source, tenant: tenant, head: head, report: &Report{Tenant: tenant, Leaves: map[string]int64{}},
		rows: finder{source, tenant, map[*Kind]*cursor{}}, levels: map[int][]byte{}, last: map[string]int64{}, kept: kept}
	v.compareKept()
	if err := v.leaves(); err != nil {
		return nil, err
	}
	if err := v.end(); err != nil {
		return nil, err
	}
	v.report.Size, v.report.Root = v.edge.Size(), v.edge.Root()
	return v.report, nil
}

// Kept is what a tree's size and root were once.
type Kept struct {
	Size int64
	Root tlog.Hash
}

type verifier struct {
	ctx    context.Context
	source Source
	tenant string
	head   Head
	report *Report

	edge    Edge             // of the leaves so far
	genesis []int64          // log_seq, epoch, approval_events, outcomes
	last    map[string]int64 // kind → seq of its last leaf, of those that count
	rows    finder
	levels  map[int][]byte // hashes of the tile of each level that is not complete
	kept    []Kept
	scratch []byte
}

func (v *verifier) fault(f Fault) {
	v.report.Changed = v.report.Changed || !f.Missing
	if len(v.report.Faults) == maxFaults {
		v.report.More = true
		return
	}
	v.report.Faults = append(v.report.Faults, f)
}

func (v *verifier) faultf(format string, args ...any) {
	v.fault(Fault{Leaf: -1, Text: fmt.Sprintf(format, args...)})
}

const page = 512

// leaves walks through all runs below the head's size.
func (v *verifier) leaves() error {
	for v.edge.Size() < v.head.Size {
		at := v.edge.Size()
		runs, err := v.source.Runs(v.ctx, v.tenant, at, page)
		if err != nil {
			return err
		}
		for _, r := range runs {
			if v.edge.Size() == v.head.Size {
				break // written since the head was read
			}
			if r.First != v.edge.Size() || len(r.Hashes) == 0 || len(r.Hashes)%tlog.HashSize != 0 {
				v.faultf("tree_leaf has no leaf %d: the next run begins at %d and has %d bytes", v.edge.Size(), r.First, len(r.Hashes))
				return nil
			}
			if err := v.run(r); err != nil {
				return err
			}
		}
		if v.edge.Size() == at {
			v.faultf("tree_leaf ends at leaf %d, and the head says that there are %d", at, v.head.Size)
			return nil
		}
	}
	return nil
}

// run checks the leaves of one run.
func (v *verifier) run(r Run) error {
	kind := KindNamed(r.Kind)
	for i := int64(0); i*tlog.HashSize < int64(len(r.Hashes)); i++ {
		f := Fault{Leaf: v.edge.Size(), Kind: r.Kind, Seq: r.Seq + i, ID: r.ID}
		stored := tlog.Hash(r.Hashes[i*tlog.HashSize : (i+1)*tlog.HashSize])
		switch {
		case kind == nil:
			f.Text = "there is no such kind of leaves"
		case (kind == Genesis) != (f.Leaf == 0) || kind == Genesis && r.Seq != 0:
			f.Text = "a tree begins with its genesis and has one"
		case (kind == ApprovalEvent || kind == Outcome) != (r.ID != ""):
			f.Text = "leaves of approval events and outcomes have an id, and no others"
		default:
			if err := v.leaf(kind, &f, stored); err != nil {
				return err
			}
		}
		if f.Text != "" {
			v.fault(f)
		}
		v.report.Leaves[r.Kind]++
		if err := v.grow(stored); err != nil {
			return err
		}
	}
	return nil
}

// leaf finds the leaf's row and compares; it sets f.Text where they differ.
func (v *verifier) leaf(kind *Kind, f *Fault, stored tlog.Hash) error {
	if counted(kind) {
		if want := v.last[kind.Name] + 1; f.Seq != want {
			f.Text = fmt.Sprintf("number %d was to be next", want)
		}
		v.last[kind.Name] = f.Seq
	}
	row, copies, err := v.rows.find(v.ctx, kind, f.ID, f.Seq)
	if err != nil {
		return err
	}
	switch {
	case copies == 0:
		f.Text, f.Missing = "the row is gone", true
		return nil
	case copies > 1:
		f.Text = fmt.Sprintf("%d rows claim this place", copies)
		return nil
	}
	if kind == Genesis {
		v.begin(row)
	}
	hash, scratch, err := kind.Hash(v.scratch, row.Values)
	v.scratch = scratch
	switch {
	case err != nil:
		f.Text = err.Error()
	case hash != stored:
		f.Text = "the row is not as it was written: its leaf has another hash"
	case kind == Decision && row.Parameters != nil:
		v.parameters(row, f)
	}
	return nil
}

// counted reports whether the rows of a kind have numbers without gaps per tenant.
func counted(kind *Kind) bool {
	return kind == Decision || kind == ConfigChange || kind == PolicyChange
}

func (v *verifier) parameters(row Row, f *Fault) {
	sum := sha256.Sum256(row.Parameters)
	digest := asText(row.Values[slices.Index(Decision.Columns, "parameters_digest")])
	if digest != "sha256:"+hex.EncodeToString(sum[:]) {
		f.Text = "the parameters that are kept are not those that were asked with"
	}
}

// begin takes over how far what is older than the tree reaches.
func (v *verifier) begin(row Row) {
	for _, c := range []string{"log_seq", "epoch", "approval_events", "outcomes"} {
		n, _ := row.Values[slices.Index(Genesis.Columns, c)].(int64)
		v.genesis = append(v.genesis, n)
	}
	v.last[Decision.Name], v.last[ConfigChange.Name] = v.genesis[0], v.genesis[1]
	if slices.ContainsFunc(v.genesis, func(n int64) bool { return n > 0 }) {
		v.report.NotCovered = fmt.Sprintf("the tree began when the tenant had %d decisions, %d changes of configuration, %d events of approvals and %d outcomes", v.genesis[0], v.genesis[1], v.genesis[2], v.genesis[3])
	}
}

// grow adds the stored hash and compares the tiles that it completes.
func (v *verifier) grow(stored tlog.Hash) error {
	v.levels[0] = append(v.levels[0], stored[:]...)
	for _, t := range v.edge.Add(stored, nil) {
		hashes, root, err := v.source.Tile(v.ctx, v.tenant, t.Level, t.Index)
		if err != nil {
			return err
		}
		path := tlog.Tile{H: TileHeight, L: t.Level, N: t.Index, W: TileWidth}.Path()
		switch {
		case root == nil:
			v.faultf("%s is missing", path)
		case !bytes.Equal(hashes, v.levels[t.Level]) || !bytes.Equal(root, t.Root[:]):
			v.faultf("%s is not that of the leaves", path)
		}
		v.levels[t.Level] = v.levels[t.Level][:0]
		v.levels[t.Level+1] = append(v.levels[t.Level+1], t.Root[:]...)
	}
	v.compareKept()
	return nil
}

// compareKept compares the tree so far with the heads of its size.
func (v *verifier) compareKept() {
	if len(v.kept) == 0 {
		return
	}
	v.kept = slices.DeleteFunc(slices.Clone(v.kept), func(k Kept) bool {
		if k.Size == v.edge.Size() && k.Root != v.edge.Root() {
			v.faultf("of its first %d leaves the tree had the root %v, and has %v now: what is there was rewritten", k.Size, k.Root, v.edge.Root())
		}
		return k.Size == v.edge.Size()
	})
}

// end compares with the head, and looks for what is left over.
func (v *verifier) end() error {
	rest, err := v.source.Rest(v.ctx, v.tenant, v.head.Size)
	if err != nil {
		return err
	}
	now, err := v.source.Head(v.ctx, v.tenant) // what was written meanwhile is below this
	if err != nil {
		return err
	}
	for _, k := range v.kept {
		v.fault(Fault{Leaf: -1, Missing: true, Text: fmt.Sprintf("the tree had %d leaves once, and has %d now: its end is missing: it was cut off, or an older copy was restored", k.Size, v.edge.Size())})
	}
	if v.head.Size == 0 && rest.MaxLeaf < 0 {
		if rest.MaxLogSeq > 0 || rest.MaxEpoch > 0 {
			v.report.NotCovered = "the tenant has no tree yet: it begins with the next row"
		}
		return nil
	}
	if edge, err := ParseEdge(v.head.Size, v.head.Edge); err != nil {
		v.faultf("tenant_head: %v", err)
	} else if v.edge.Size() == v.head.Size && edge.Root() != v.edge.Root() {
		v.faultf("the root of the leaves is %v, and that of the head %v", v.edge.Root(), edge.Root())
	}
	for _, c := range []struct {
		what      string
		last, has int64
	}{
		{"log_seq", v.last[Decision.Name], v.head.LogSeq}, {"epoch", v.last[ConfigChange.Name], v.head.Epoch}, {"tree_change", v.last[PolicyChange.Name], v.head.Change},
		{"number of approval events", v.report.Leaves[ApprovalEvent.Name], rest.Events}, {"number of outcomes", v.report.Leaves[Outcome.Name], rest.Outcomes},
	} {
		if c.last != c.has {
			v.faultf("by the leaves the %s is %d, by the tables %d", c.what, c.last, c.has)
		}
	}
	if v.genesis != nil && (rest.OldEvents != v.genesis[2] || rest.OldOutcomes != v.genesis[3]) {
		v.faultf("%d events of approvals and %d outcomes have no leaf, and %d and %d are older than the tree", rest.OldEvents, rest.OldOutcomes, v.genesis[2], v.genesis[3])
	}
	if rest.MaxLogSeq > now.LogSeq || rest.MaxEpoch > now.Epoch || rest.MaxLeaf >= now.Size {
		v.faultf("there are rows behind the head: log_seq %d of %d, epoch %d of %d, leaf %d of %d", rest.MaxLogSeq, now.LogSeq, rest.MaxEpoch, now.Epoch, rest.MaxLeaf, now.Size)
	}
	return nil
}
