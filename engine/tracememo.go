package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Many evaluations that are traced one after the other differ in little. A Memo
// keeps, for each function of the policy and its arguments, a tree: what the
// function looks at next, which is a part of the input or the value that
// another function gave, and at the leaf what it then gave itself. A function is
// pure, so where all that it looks at is as before, so is its value. The same
// holds for the evaluation as a whole, which then need not be run.

// Memo is what earlier evaluations of one Tracer found out. It is for one
// goroutine.
type Memo struct {
	entries map[int]*recalled // by class
	roots   map[string]*recalled
	terms   map[*ast.Term]uint32 // arguments that are known by identity; keeps them alive
	key     []byte

	nodes              int // of trees
	arguments, results interned
	parts              []Part // scratch
}

// NewMemo returns an empty one.
func (t *Tracer) NewMemo() *Memo {
	m := &Memo{}
	m.clear()
	return m
}

func (m *Memo) clear() {
	m.entries, m.roots, m.terms = map[int]*recalled{}, map[string]*recalled{}, map[*ast.Term]uint32{}
	m.arguments, m.results, m.nodes = interned{}, interned{}, 0
}

// maxRemembered bounds a memo: beyond, it begins anew.
const maxRemembered = 1 << 21

// Place says where an evaluation stands among those of its Memo.
type Place struct {
	// Values tell, by part, one value of the part from another: the same number
	// means the same value throughout the memo, down to the identity of
	// overrides and whitelist entries.
	Values [Parts]int
	// Class is the same for action types of one radius.
	Class int
}

func (p *Place) value(of Part) int {
	if of == partClass {
		return p.Class
	}
	return p.Values[of]
}

// Decided is what a decision came to. It is shared by all that came to it in the
// same way.
type Decided struct {
	Verdict
	Err error
}

// DecideAt is Decide for one of many situations.
// What is decided and what is read is as without the memo. Where earlier
// evaluations say it, situation is not called, ran is false, and the trace has
// nothing but the reads; and of sights, unknown paths and rules that held, a trace
// has those that no trace of the memo had before it, and perhaps more.
func (t *Tracer) DecideAt(ctx context.Context, memo *Memo, at Place, situation func() (*Request, *Facts), now time.Time) (d *Decided, _ Trace, ran bool) {
	if memo.nodes+len(memo.roots)+len(memo.terms)+len(memo.arguments.list)+len(memo.results.list) > maxRemembered {
		memo.clear()
	}
	entry := memo.entries[at.Class]
	if entry == nil {
		entry = &recalled{}
		memo.entries[at.Class] = entry
	}
	if end, ok := memo.find(entry, &at); ok {
		tr := trace{}
		tr.note(memo.parts)
		tr.note(guarded)
		return end.decided, tr.Trace, false
	}
	r, f := situation()
	d = &Decided{}
	var tr *trace
	d.Verdict, tr, d.Err = t.decide(ctx, r, f, now, memo, &at)
	if !errors.Is(d.Err, ErrTooSlow) && ctx.Err() == nil {
		if end := memo.reach(entry, tr.active.list, &at); end != nil {
			end.state, end.decided = leaf, d
		}
	}
	return d, tr.Trace, true
}

// recalled is a node of a tree.
type recalled struct {
	state   nodeState
	part    Part        // that is read
	by      []*recalled // value of the part
	call    *recalled   // the function whose value counts
	results map[uint32]*recalled

	value   uint32   // of a leaf: the number of the result
	decided *Decided // of a leaf of the whole
}

type nodeState uint8

const (
	unread nodeState = iota // nothing is known yet
	branch
	leaf
)

// interned gives values numbers.
type interned struct {
	list   []marked
	hashes map[int][]uint32
}

// marked is a value with what a trace knows about the terms in it.
type marked struct {
	value *ast.Term
	marks []mark
}

// number is the same for equal values with equal marks.
func (n *interned) number(value *ast.Term, marks []mark) uint32 {
	hash := 0
	if value != nil {
		hash = value.Value.Hash()
	}
	for _, i := range n.hashes[hash] {
		m := n.list[i]
		if slices.EqualFunc(m.marks, marks, func(a, b mark) bool { return a.from == b.from }) &&
			(m.value == value || m.value != nil && value != nil && ast.Compare(m.value.Value, value.Value) == 0) {
			return i
		}
	}
	if n.hashes == nil {
		n.hashes = map[int][]uint32{}
	}
	i := uint32(len(n.list))
	n.list = append(n.list, marked{value, slices.Clip(marks)})
	n.hashes[hash] = append(n.hashes[hash], i)
	return i
}

type mark struct {
	term *ast.Term
	from partSet
}

// partClass is read where something depends on the action type, if only on its
// radius. It is told to recordings and is no part of a trace.
const partClass = Part(Parts)

// observed is one thing that a function looked at.
type observed struct {
	part  Part
	call  *recalled // instead of the part
	value uint32    // that the call gave
}

// recording is what one active function has looked at so far, in order.
type recording struct {
	seen [Parts + 1]bool
	list []observed
}

func (r *recording) read(p Part) {
	if !r.seen[p] {
		r.seen[p] = true
		r.list = append(r.list, observed{part: p})
	}
}

func (r *recording) add(list ...observed) {
	for _, o := range list {
		if o.call == nil {
			r.read(o.part)
		} else if !slices.ContainsFunc(r.list, func(p observed) bool { return p.call == o.call }) {
			r.list = append(r.list, o)
		}
	}
}

// find follows what is looked at from n to the leaf, if it was reached before.
// The parts that were read on the way are in m.parts.
func (m *Memo) find(n *recalled, at *Place) (*recalled, bool) {
	m.parts = m.parts[:0]
	return m.follow(n, at)
}

func (m *Memo) follow(n *recalled, at *Place) (*recalled, bool) {
	for n != nil && n.state == branch {
		if n.call != nil {
			end, ok := m.follow(n.call, at)
			if !ok {
				return nil, false
			}
			n = n.results[end.value]
			continue
		}
		m.parts = append(m.parts, n.part)
		v := at.value(n.part)
		if v >= len(n.by) {
			return nil, false
		}
		n = n.by[v]
	}
	if n == nil || n.state != leaf {
		return nil, false
	}
	return n, true
}

// reach makes the way to the leaf that a function gets to after what it looked
// at; nil where there is another way already.
func (m *Memo) reach(n *recalled, list []observed, at *Place) *recalled {
	m.nodes += len(list)
	for _, o := range list {
		if n.state == unread {
			*n = recalled{state: branch, part: o.part, call: o.call}
			if o.call != nil {
				n.results = map[uint32]*recalled{}
			}
		}
		if n.state != branch || n.part != o.part || n.call != o.call {
			return nil
		}
		if o.call != nil {
			if n.results[o.value] == nil {
				n.results[o.value] = &recalled{}
			}
			n = n.results[o.value]
			continue
		}
		v := at.value(o.part)
		if v >= len(n.by) {
			n.by = append(n.by, make([]*recalled, v+1-len(n.by))...)
		}
		if n.by[v] == nil {
			n.by[v] = &recalled{}
		}
		n = n.by[v]
	}
	if n.state != unread {
		return nil
	}
	return n
}
