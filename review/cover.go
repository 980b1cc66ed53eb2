package review

import (
	"slices"

	"github.com/tiergate/tiergate/engine"
)

// dimension is one axis of a grid of situations.
type dimension struct {
	// of is the part that decides it: for one of PartOverrides or PartWhitelist
	// together with target and confidence, for others alone.
	of  engine.Part
	at  func(s *Space, x *Situation) int // which class a situation is in
	say func(s *Space, values []int) string
	// noun is what there is in class 1 and is not in class 0, instead of say.
	noun string
	// classes are the values that no situation tells apart, together.
	classes [][]int
}

// each value a class of its own
func apart(n int) (classes [][]int) {
	for v := range n {
		classes = append(classes, []int{v})
	}
	return classes
}

// Codes of a grid's cells. Others are transitions.
const (
	absent    = 0 // no situation has these coordinates: it may be said or not
	unchanged = 1
)

// grid is a coarser view of a space: each cell stands for all situations that
// share its coordinates.
type grid struct {
	dims    []dimension
	strides []int
	cells   []int32 // codes
	count   []int   // situations that changed
	example []int32 // the plainest of them
}

func newGrid(dims []dimension) *grid {
	g := &grid{dims: slices.Clone(dims), strides: make([]int, len(dims))}
	n := 1
	for d := len(dims) - 1; d >= 0; d-- {
		g.strides[d] = n
		n *= len(dims[d].classes)
	}
	g.cells, g.count, g.example = make([]int32, n), make([]int, n), make([]int32, n)
	return g
}

// at is which class the cell i has in dimension d.
func (g *grid) at(d, i int) int { return i / g.strides[d] % len(g.dims[d].classes) }

// merge joins the values of every dimension that no cell tells apart, and
// returns the smaller grid.
func (g *grid) merge() *grid {
	dims := slices.Clone(g.dims)
	class := make([][]int, len(dims)) // value → class
	for d := range dims {
		byHash := map[uint64]int{}
		hashes := g.slices(d)
		class[d] = make([]int, len(hashes))
		dims[d].classes = nil
		for v, h := range hashes {
			k, ok := byHash[h]
			if !ok {
				k = len(dims[d].classes)
				byHash[h] = k
				dims[d].classes = append(dims[d].classes, nil)
			}
			class[d][v] = k
			dims[d].classes[k] = append(dims[d].classes[k], g.dims[d].classes[v]...)
		}
	}
	small := newGrid(dims)
	for i, code := range g.cells {
		k := 0
		for d := range dims {
			k += class[d][g.at(d, i)] * small.strides[d]
		}
		if small.count[k] == 0 {
			small.example[k] = g.example[i]
		}
		small.cells[k] = code
		small.count[k] += g.count[i]
	}
	return small
}

// slices hashes, for each value of a dimension, what the cells with it hold.
func (g *grid) slices(d int) []uint64 {
	h := make([]uint64, len(g.dims[d].classes))
	for i, code := range g.cells {
		v := g.at(d, i)
		h[v] += scramble(uint64(i-v*g.strides[d])<<8 ^ uint64(code+1))
	}
	return h
}

// scramble is the finalizer of MurmurHash3.
func scramble(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// box is a set of cells: for each dimension, the values it takes.
type box [][]int

// orders are the orders in which a box is grown at first: from each dimension,
// and then from the last one on.
func (g *grid) orders() (list [][]step) {
	n := len(g.dims)
	for first := range n {
		order := []int{first}
		for d := n - 1; d >= 0; d-- {
			if d != first {
				order = append(order, d)
			}
		}
		list = append(list, g.steps(order))
	}
	return list
}

// step is a value that a box may grow by.
type step struct{ dim, value int }

// steps are all, by dimension in the order given.
func (g *grid) steps(order []int) (list []step) {
	for _, d := range order {
		for v := range g.dims[d].classes {
			list = append(list, step{d, v})
		}
	}
	return list
}

// grow makes the box around a cell as large as it can be, in the order of the
// steps, which are all.
func (g *grid) grow(seed int, code int32, steps []step) box {
	b := make(box, len(g.dims))
	for d := range g.dims {
		b[d] = []int{g.at(d, seed)}
	}
	for _, s := range steps {
		was := b[s.dim]
		if slices.Contains(was, s.value) {
			continue
		}
		b[s.dim] = []int{s.value}
		fits := g.holdsOnly(b, code)
		if b[s.dim] = was; fits {
			b[s.dim] = append(slices.Clone(was), s.value)
		}
	}
	for d := range b {
		slices.Sort(b[d])
	}
	return b
}

// holdsOnly reports whether all cells of the box have the code or no situations.
func (g *grid) holdsOnly(b box, code int32) (only bool) {
	g.each(b, func(i int) bool {
		only = g.cells[i] == code || g.cells[i] == absent
		return only
	})
	return only
}

// each calls f for every cell of the box until f returns false.
func (g *grid) each(b box, f func(i int) bool) {
	var walk func(d, i int) bool
	walk = func(d, i int) bool {
		if d == len(b) {
			return f(i)
		}
		for _, v := range b[d] {
			if !walk(d+1, i+v*g.strides[d]) {
				return false
			}
		}
		return true
	}
	walk(0, 0)
}
