package review

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// A cover with the fewest boxes is the minimum of two-level logic with many
// values, which has no known fast way. What is done here is what ESPRESSO does
// (Brayton, Hachtel, McMullen, Sangiovanni-Vincentelli: Logic Minimization
// Algorithms for VLSI Synthesis, 1984): make boxes as large as they can be, and
// take the fewest of those. Apart from it, cells are found no two of which any
// box can hold together: no cover has fewer boxes than these are. Where both are
// as many, the cover is the fewest, and that is shown and not only hoped for.

const (
	moreRounds = 12      // of making boxes, while the two differ
	mostNodes  = 200_000 // of all searches for the fewest of the boxes made
)

// cover holds every cell of the code in boxes, and otherwise only cells without
// situations. No cover has fewer boxes than least says. It fails only when ctx
// ends.
func (g *grid) cover(ctx context.Context, code int32) (boxes []box, least int, err error) {
	c := &covering{ctx: ctx, g: g, code: code, random: rand.New(rand.NewPCG(1, 2)), known: map[uint64]bool{}}
	for i, k := range g.cells {
		if k == code {
			c.cells = append(c.cells, i)
		}
	}
	c.begin()
	for round := range moreRounds + 1 {
		rows := c.rows()
		boxes = c.fewest(rows, boxes)
		least = max(least, c.apart(rows, len(boxes)))
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		if least == len(boxes) || round == moreRounds {
			break
		}
		c.more(rows)
	}
	slices.SortFunc(boxes, func(a, b box) int { return slices.CompareFunc(a, b, slices.Compare) })
	return boxes, least, nil
}

// covering is a search for the boxes of one code.
type covering struct {
	ctx    context.Context // ends every loop early
	g      *grid
	code   int32
	cells  []int // of the code
	boxes  []box // made so far, each as large as it can be
	known  map[uint64]bool
	random *rand.Rand
	nodes  int // searched
}

// add keeps a box if it is new.
func (c *covering) add(b box) {
	h := uint64(0)
	for d, values := range b {
		for _, v := range values {
			h += scramble(uint64(d)<<32 | uint64(v+1))
		}
	}
	if !c.known[h] {
		c.known[h] = true
		c.boxes = append(c.boxes, b)
	}
}

// begin makes boxes until each cell is in one.
func (c *covering) begin() {
	open := map[int]bool{}
	for _, i := range c.cells {
		open[i] = true
	}
	orders := c.g.orders()
	for _, seed := range c.cells {
		if !open[seed] {
			continue
		}
		if c.ctx.Err() != nil {
			return
		}
		var best box
		gain := 0
		for _, order := range orders {
			b := c.g.grow(seed, c.code, order)
			c.add(b)
			n := 0
			c.g.each(b, func(i int) bool {
				if open[i] {
					n++
				}
				return true
			})
			if n > gain {
				best, gain = b, n
			}
		}
		c.g.each(best, func(i int) bool { delete(open, i); return true })
	}
}

// more makes boxes around the cells that few boxes hold, in other orders: any
// box that is as large as it can be comes of some order.
func (c *covering) more(rows []row) {
	dims := c.random.Perm(len(c.g.dims))
	for _, r := range rows {
		if c.ctx.Err() != nil {
			return
		}
		for range 4 {
			c.random.Shuffle(len(dims), func(i, j int) { dims[i], dims[j] = dims[j], dims[i] })
			steps := c.g.steps(dims)
			c.add(c.g.grow(r.cell, c.code, steps))
			c.random.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
			c.add(c.g.grow(r.cell, c.code, steps))
		}
	}
}

// row is a cell, and the boxes that hold it as a set of bits.
type row struct {
	cell int
	in   []uint64
	n    int // bits of in
}

// rows are the cells that must be looked at: whoever holds them holds the others.
// Those that the fewest boxes hold come first.
func (c *covering) rows() []row {
	words := (len(c.boxes) + 63) / 64
	at := make(map[int]int, len(c.cells))
	in := make([]uint64, words*len(c.cells))
	for k, i := range c.cells {
		at[i] = k
	}
	for b := range c.boxes {
		c.g.each(c.boxes[b], func(i int) bool {
			if k, ok := at[i]; ok {
				in[k*words+b/64] |= 1 << (b % 64)
			}
			return true
		})
	}
	byHash := map[uint64]bool{}
	var all []row
	for k, i := range c.cells {
		r := row{cell: i, in: in[k*words : (k+1)*words]}
		h := uint64(0)
		for w, x := range r.in {
			h = scramble(h ^ x + uint64(w))
			r.n += bits.OnesCount64(x)
		}
		if !byHash[h] {
			byHash[h] = true
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b row) int { return a.n - b.n })
	var rows []row
	for _, r := range all {
		if !slices.ContainsFunc(rows, func(harder row) bool { return within(harder.in, r.in) }) {
			rows = append(rows, r)
		}
	}
	return rows
}

func within(a, b []uint64) bool {
	for w := range a {
		if a[w]&^b[w] != 0 {
			return false
		}
	}
	return true
}

func meet(a, b []uint64) bool {
	for w := range a {
		if a[w]&b[w] != 0 {
			return true
		}
	}
	return false
}

// fewest takes the fewest of the boxes made that hold all rows, or have where
// it finds none with fewer.
func (c *covering) fewest(rows []row, have []box) []box {
	limit := len(have) - 1
	if have == nil {
		limit = len(rows)
	}
	holds := make([]int, len(c.boxes)) // rows that a box holds
	for _, r := range rows {
		for b := range c.boxes {
			if r.in[b/64]&(1<<(b%64)) != 0 {
				holds[b]++
			}
		}
	}
	var best, taken []int
	var search func(left []row)
	search = func(left []row) {
		if len(left) == 0 {
			best, limit = slices.Clone(taken), len(taken)-1
			return
		}
		if c.nodes++; c.nodes > mostNodes || c.ctx.Err() != nil || len(taken)+disjoint(left) > limit {
			return
		}
		hardest := left[0]
		var next []int
		for b := range c.boxes {
			if hardest.in[b/64]&(1<<(b%64)) != 0 {
				next = append(next, b)
			}
		}
		gain := func(b int) (n int) {
			for _, r := range left {
				if r.in[b/64]&(1<<(b%64)) != 0 {
					n++
				}
			}
			return n
		}
		gains := map[int]int{}
		for _, b := range next {
			gains[b] = gain(b)
		}
		slices.SortStableFunc(next, func(a, b int) int { return gains[b] - gains[a] })
		for _, b := range next {
			taken = append(taken, b)
			search(slices.DeleteFunc(slices.Clone(left), func(r row) bool { return r.in[b/64]&(1<<(b%64)) != 0 }))
			taken = taken[:len(taken)-1]
		}
	}
	search(rows)
	if best == nil {
		return have
	}
	list := make([]box, len(best))
	for i, b := range best {
		list[i] = c.boxes[b]
	}
	return list
}

// disjoint counts rows no two of which a box made so far holds together.
func disjoint(rows []row) (n int) {
	var used []uint64
	for _, r := range rows {
		if used == nil {
			used = make([]uint64, len(r.in))
		}
		if !meet(used, r.in) {
			n++
			for w := range used {
				used[w] |= r.in[w]
			}
		}
	}
	return n
}

// apart counts cells no two of which any box can hold together, at most enough.
func (c *covering) apart(rows []row, enough int) (most int) {
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	for range 40 {
		var chosen []int
		for _, k := range order {
			if !slices.ContainsFunc(chosen, func(i int) bool { return c.together(i, rows[k].cell) }) {
				chosen = append(chosen, rows[k].cell)
			}
		}
		if most = max(most, len(chosen)); most >= enough {
			return most
		}
		c.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	return most
}

// together reports whether a box can hold both cells: the smallest that does
// holds no other code.
func (c *covering) together(i, j int) bool {
	b := make(box, len(c.g.dims))
	for d := range b {
		b[d] = []int{c.g.at(d, i)}
		if v := c.g.at(d, j); v != b[d][0] {
			b[d] = append(b[d], v)
		}
	}
	return c.g.holdsOnly(b, c.code)
}
