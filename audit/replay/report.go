package replay

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
)

// Class is what a fault means for the evidence.
type Class string

// The classes, the worst first.
const (
	Tampered   Class = "tampered"   // something is not as it was written, or not true
	Incomplete Class = "incomplete" // something is missing, or cannot be checked
)

// Fault is a place where the log is not what it should be.
type Fault struct {
	Class Class  `json:"class"`
	Leaf  int64  `json:"leaf"` // leaf_index; -1: none in particular
	Kind  string `json:"kind,omitempty"`
	Seq   int64  `json:"seq,omitempty"` // log_seq, epoch, change_id or seq of the row, where it is known
	Text  string `json:"text"`
}

// String names the place.
func (f Fault) String() string {
	switch {
	case f.Leaf < 0:
		return f.Text
	case f.Kind == "":
		return fmt.Sprintf("leaf %d: %s", f.Leaf, f.Text)
	case f.Seq == 0:
		return fmt.Sprintf("leaf %d (%s): %s", f.Leaf, f.Kind, f.Text)
	}
	return fmt.Sprintf("leaf %d (%s %d): %s", f.Leaf, f.Kind, f.Seq, f.Text)
}

// Report is what Check found out.
type Report struct {
	Tenant string           `json:"tenant"`
	Size   int64            `json:"tree_size"`
	Root   tlog.Hash        `json:"-"`
	Rows   map[string]int64 `json:"rows"` // by kind
	// Facts is how many decisions saw what the configuration says, Redecided how
	// many were decided again, Checkpoints how many the tree was held against.
	Replayed    bool  `json:"replayed"` // false: rows were held against the tree alone
	Facts       int64 `json:"facts"`
	Redecided   int64 `json:"redecided"`
	Checkpoints int   `json:"checkpoints"`
	// Faults are the first ones by place, and Found how many there are of each class.
	Faults []Fault         `json:"faults"`
	Found  map[Class]int64 `json:"found"`

	mu               sync.Mutex
	facts, redecided atomic.Int64
}

// maxFaults is how many faults a Report tells.
const maxFaults = 20

func newReport(tenant string) *Report {
	return &Report{Tenant: tenant, Rows: map[string]int64{}, Found: map[Class]int64{}, Faults: []Fault{}}
}

func (r *Report) count(kind *audit.Kind) { r.Rows[kind.Name]++ }

func compareFaults(a, b Fault) int {
	whole := func(f Fault) int { return int(min(f.Leaf, 0)) } // of the log as a whole comes first
	return cmp.Or(cmp.Compare(whole(a), whole(b)), cmp.Compare(b.Class, a.Class), cmp.Compare(a.Leaf, b.Leaf), cmp.Compare(a.Text, b.Text))
}

// Add is safe for concurrent use. What is of the log as a whole comes first, then
// what is tampered with, then the first place, whichever worker found it first.
func (r *Report) Add(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Found[f.Class]++
	at, _ := slices.BinarySearchFunc(r.Faults, f, compareFaults)
	if at == maxFaults {
		return
	}
	r.Faults = slices.Insert(r.Faults, at, f)
	r.Faults = r.Faults[:min(len(r.Faults), maxFaults)]
}

func (r *Report) done() *Report {
	r.Facts, r.Redecided, r.Replayed = r.facts.Load(), r.redecided.Load(), true
	return r
}

// place is where a fault is.
type place struct {
	Leaf int64
	kind *audit.Kind
	seq  int64
}

func (p place) fault(c Class, text string) Fault {
	f := Fault{Class: c, Leaf: p.Leaf, Seq: p.seq, Text: text}
	if p.kind != nil {
		f.Kind = p.kind.Name
	}
	return f
}

// Tree is the report of a tree that audit.Verify has checked.
func Tree(t *audit.Report) *Report {
	r := newReport(t.Tenant)
	r.Size, r.Root, r.Rows = t.Size, t.Root, t.Leaves
	for _, f := range t.Faults {
		class := Tampered
		if f.Missing {
			class = Incomplete
		}
		seq := f.Seq
		if f.Leaf < 0 {
			seq = 0
		}
		r.Add(Fault{Class: class, Leaf: f.Leaf, Kind: f.Kind, Seq: seq, Text: f.Text})
	}
	if t.NotCovered != "" {
		r.Add(Fault{Class: Incomplete, Leaf: -1, Text: "not covered: " + t.NotCovered})
	}
	switch {
	case t.More && t.Changed:
		r.Found[Tampered]++
	case t.More:
		r.Found[Incomplete]++
	}
	return r
}
