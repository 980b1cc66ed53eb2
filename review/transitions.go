package review

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tiergate/tiergate/engine"
)

// transitions are how the outcomes of one table become those of the other.
type transitions struct {
	old, new *Table
	pairs    map[[2]uint16]int32 // outcomes → code, see the constants of grid
	names    [][2]string         // by code, from the second on
}

func newTransitions(older, newer *Table, classify func(a, b *Outcome) (before, after string, changed bool)) *transitions {
	t := &transitions{old: older, new: newer, pairs: map[[2]uint16]int32{}, names: make([][2]string, 2)}
	codes := map[[2]string]int32{}
	var last [2]uint16
	for i := range older.cells {
		k := [2]uint16{older.cells[i], newer.cells[i]}
		if k == last && i > 0 {
			continue
		}
		last = k
		if _, ok := t.pairs[k]; ok {
			continue
		}
		before, after, changed := classify(&older.Outcomes[k[0]], &newer.Outcomes[k[1]])
		code := int32(unchanged)
		if changed {
			name := [2]string{before, after}
			if code = codes[name]; code == 0 {
				code = int32(len(t.names))
				codes[name] = code
				t.names = append(t.names, name)
			}
		}
		t.pairs[k] = code
	}
	return t
}

// told is what transitions say: which situations changed.
type told struct {
	changes []Change
	least   int // changes that any way of saying it needs
	total   int // situations
}

func (t *transitions) tell(ctx context.Context, radii []engine.BlastRadius) (said told, err error) {
	said.changes = []Change{}
	if len(t.names) == 2 {
		return said, nil
	}
	plain, err := t.simplest(ctx, radii)
	if err != nil {
		return said, err
	}
	g := plain.merge()
	for _, n := range g.count {
		said.total += n
	}
	for code := int32(2); int(code) < len(t.names); code++ {
		boxes, least, err := g.cover(ctx, code)
		if err != nil {
			return said, err
		}
		said.least += least
		for _, b := range boxes {
			said.changes = append(said.changes, t.change(g, b, code))
		}
	}
	return said, nil
}

// simplest lays the transitions out in the simplest view that tells them apart.
func (t *transitions) simplest(ctx context.Context, radii []engine.BlastRadius) (*grid, error) {
	cut, err := t.classes(ctx)
	if err != nil {
		return nil, err
	}
	for _, dims := range views(t.old.Space, radii, cut) {
		if g, clean, err := t.view(ctx, dims); err != nil || clean {
			return g, err
		}
	}
	return nil, fmt.Errorf("situations that share every part of the input differ: this is a mistake in tiergate")
}

// classing says which values of a part no situation tells apart.
type classing struct {
	of      []int   // value → class
	members [][]int // class → values
}

// classes finds, for each part, the values under which the same changes happen.
func (t *transitions) classes(ctx context.Context) (cut [engine.Parts]classing, err error) {
	s := t.old.Space
	var hashes [engine.Parts][]uint64
	for p := range hashes {
		hashes[p] = make([]uint64, s.sizes[p])
	}
	var mu sync.Mutex
	err = s.scan(ctx, 0, nil, func(x Situation, first, n int) {
		var mine [engine.Parts][]uint64
		for p := range mine {
			mine[p] = make([]uint64, s.sizes[p])
		}
		code := t.coder()
		for i := first; i < first+n; i++ {
			if k := code(i); k > unchanged {
				for p, v := range x {
					mine[p][v] += scramble(uint64(i-v*s.strides[p])<<8 ^ uint64(k))
				}
			}
			s.next(&x)
		}
		mu.Lock()
		defer mu.Unlock()
		for p := range hashes {
			for v := range hashes[p] {
				hashes[p][v] += mine[p][v]
			}
		}
	})
	for p, list := range hashes {
		seen := map[uint64]int{}
		c := classing{of: make([]int, len(list))}
		for v, h := range list {
			k, ok := seen[h]
			if !ok {
				k = len(c.members)
				seen[h] = k
				c.members = append(c.members, nil)
			}
			c.of[v] = k
			c.members[k] = append(c.members[k], v)
		}
		cut[p] = c
	}
	return cut, err
}

// coder tells a cell's code; neighbours often have the same.
func (t *transitions) coder() func(i int) int32 {
	var last [2]uint16
	code := t.pairs[last]
	return func(i int) int32 {
		if k := [2]uint16{t.old.cells[i], t.new.cells[i]}; k != last {
			last, code = k, t.pairs[k]
		}
		return code
	}
}

// view lays the transitions out on a grid and reports whether no cell is mixed.
func (t *transitions) view(ctx context.Context, dims []dimension) (*grid, bool, error) {
	g := newGrid(dims)
	s := t.old.Space
	place := g.placer(s)
	var mixed atomic.Bool
	err := s.scan(ctx, 0, nil, func(x Situation, first, n int) {
		// A block has one action type and tier, and so a part of the grid of
		// its own: the first two dimensions of every view.
		codeOf, members := t.coder(), len(s.members[x[engine.PartActionType]])
		for i := first; i < first+n; i++ {
			k, code := place(&x), codeOf(i)
			switch {
			case g.cells[k] == absent:
				g.cells[k] = code
			case g.cells[k] != code:
				mixed.Store(true)
			}
			if code > unchanged {
				if g.count[k] == 0 || s.plainer(x, s.situation(int(g.example[k]))) {
					g.example[k] = int32(i)
				}
				g.count[k] += members
			}
			if s.next(&x); i&0xff == 0 && mixed.Load() {
				return
			}
		}
	})
	return g, !mixed.Load(), err
}

// placer returns which cell a situation is in. What the dimensions say is looked
// up once for all values of the parts that decide them.
func (g *grid) placer(s *Space) func(x *Situation) int {
	targets, confidences := s.sizes[engine.PartTarget], s.sizes[engine.PartConfidence]
	sum := func(x Situation, of func(engine.Part) bool) (k int) {
		for d, dim := range g.dims {
			if of(dim.of) {
				k += dim.at(s, &x) * g.strides[d]
			}
		}
		return k
	}
	together := func(part engine.Part, of func(engine.Part) bool) []int {
		list := make([]int, 0, s.sizes[part]*targets*confidences)
		for v := range s.sizes[part] {
			for t := range targets {
				for c := range confidences {
					x := Situation{engine.PartTarget: t, engine.PartConfidence: c}
					x[part] = v
					list = append(list, sum(x, of))
				}
			}
		}
		return list
	}
	overrides := together(engine.PartOverrides, func(p engine.Part) bool {
		return p == engine.PartOverrides || p == engine.PartTarget || p == engine.PartConfidence
	})
	whitelists := together(engine.PartWhitelist, func(p engine.Part) bool { return p == engine.PartWhitelist })
	var alone [engine.Parts][]int
	parts := []engine.Part{engine.PartActionType, engine.PartTier, engine.PartStopped, engine.PartActor, engine.PartTenantID}
	for _, p := range parts {
		for v := range s.sizes[p] {
			x := Situation{}
			x[p] = v
			alone[p] = append(alone[p], sum(x, func(q engine.Part) bool { return q == p }))
		}
	}
	return func(x *Situation) int {
		at := x[engine.PartTarget]*confidences + x[engine.PartConfidence]
		k := overrides[x[engine.PartOverrides]*targets*confidences+at] + whitelists[x[engine.PartWhitelist]*targets*confidences+at]
		for _, p := range parts {
			k += alone[p][x[p]]
		}
		return k
	}
}

func (t *transitions) change(g *grid, b box, code int32) Change {
	s := t.old.Space
	c := Change{Before: clean(t.names[code][0]), After: clean(t.names[code][1])}
	var example Situation
	g.each(b, func(i int) bool {
		if g.count[i] > 0 {
			if x := s.situation(int(g.example[i])); c.Situations == 0 || s.plainer(x, example) {
				example = x
			}
			c.Situations += g.count[i]
		}
		return true
	})
	c.Situation = g.say(s, b)
	before, after := t.old.At(example), t.new.At(example)
	c.Example = Example{
		Situation: s.Describe(example), Before: before.String(), After: after.String(), RuleAfter: after.Rule, Input: s.Input(example),
	}
	return c
}

// say names the situations of a box.
func (g *grid) say(s *Space, b box) string {
	var words, with, without []string
	for d, classes := range b {
		dim := g.dims[d]
		var values []int
		for _, k := range classes {
			values = append(values, dim.classes[k]...)
		}
		slices.Sort(values)
		whole := 0
		for _, k := range dim.classes {
			whole += len(k)
		}
		switch {
		case len(values) == whole && d == 0:
			words = append(words, "every action type")
		case len(values) == whole && d == 1:
			words = append(words, "at every tier")
		case len(values) == whole:
		case dim.noun == "":
			words = append(words, dim.say(s, values))
		case values[0] == 1:
			with = append(with, dim.noun)
		default:
			without = append(without, dim.noun)
		}
	}
	words = append(words, sayForce("with a ", " and a ", with)...)
	words = append(words, sayForce("without a ", " or ", without)...)
	return clean(words[0] + " " + strings.Join(words[1:], ", "))
}

// sayForce names what is, or is not, in force.
func sayForce(begin, join string, nouns []string) (words []string) {
	modes := slices.DeleteFunc(slices.Clone(nouns), func(n string) bool { return n == matchingEntry })
	if len(modes) > 0 {
		words = append(words, begin+strings.Join(modes, join)+" override in force")
	}
	if len(modes) < len(nouns) {
		words = append(words, begin+matchingEntry)
	}
	return words
}
