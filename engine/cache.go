package engine

import (
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// One evaluation of the gate touches a few dozen rules and table rows. OPA's
// default caches are tries of hash maps, made anew for every query; searching a
// short slice is faster and, from a pool, allocates nothing.
// docs/performance.md has the figures.
type evalCaches struct {
	virtual virtualCache
	base    baseCache
}

var cachePool = sync.Pool{New: func() any {
	c := new(evalCaches)
	c.virtual.starts = append(c.virtual.starts, 0)
	return c
}}

func takeCaches() *evalCaches { return cachePool.Get().(*evalCaches) }

func (c *evalCaches) giveBack() {
	clear(c.virtual.entries)
	c.virtual.entries = c.virtual.entries[:0]
	c.virtual.starts = c.virtual.starts[:1]
	clear(c.base.entries)
	c.base.entries = c.base.entries[:0]
	cachePool.Put(c)
}

// virtualCache implements topdown.VirtualCache: a stack of frames (one more for
// each `with`), each a list of references and their values.
type virtualCache struct {
	entries []virtualEntry
	starts  []int // where each frame begins in entries
}

type virtualEntry struct {
	ref   ast.Ref
	value *ast.Term // nil: known to be undefined
}

func (c *virtualCache) Push() { c.starts = append(c.starts, len(c.entries)) }

func (c *virtualCache) Pop() {
	start := c.starts[len(c.starts)-1]
	clear(c.entries[start:])
	c.entries = c.entries[:start]
	c.starts = c.starts[:len(c.starts)-1]
}

func (c *virtualCache) Get(ref ast.Ref) (value *ast.Term, undefined bool) {
	if e := c.find(ref); e != nil {
		return e.value, e.value == nil
	}
	return nil, false
}

func (c *virtualCache) Put(ref ast.Ref, value *ast.Term) {
	if e := c.find(ref); e != nil {
		e.value = value
		return
	}
	c.entries = append(c.entries, virtualEntry{slices.Clone(ref), value})
}

func (c *virtualCache) Keys() []ast.Ref {
	var keys []ast.Ref
	for _, e := range c.entries[c.starts[len(c.starts)-1]:] {
		if e.value != nil {
			keys = append(keys, e.ref)
		}
	}
	return keys
}

func (c *virtualCache) find(ref ast.Ref) *virtualEntry {
	frame := c.entries[c.starts[len(c.starts)-1]:]
	for i := range frame {
		if sameRef(frame[i].ref, ref) {
			return &frame[i]
		}
	}
	return nil
}

// baseCache implements topdown.BaseCache: a list of references into the tables
// and their values.
type baseCache struct {
	entries []baseEntry
}

type baseEntry struct {
	ref   ast.Ref
	value ast.Value
}

func (c *baseCache) Get(ref ast.Ref) ast.Value {
	for i := range c.entries {
		if sameRef(c.entries[i].ref, ref) {
			return c.entries[i].value
		}
	}
	return nil
}

func (c *baseCache) Put(ref ast.Ref, value ast.Value) {
	c.entries = append(c.entries, baseEntry{slices.Clone(ref), value})
}

// sameRef compares from the end, where references into one package differ.
func sameRef(a, b ast.Ref) bool {
	if len(a) != len(b) {
		return false
	}
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] && !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}
