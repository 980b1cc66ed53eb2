package review

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// On grids small enough to try everything: the boxes hold exactly the cells of
// the code, there are as few as can be, and the bound is one.
func TestCoverIsTheFewest(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	shown, rounds := 0, 0
	for _, sizes := range [][]int{{12}, {3, 4}, {2, 2, 3}, {5, 2}, {2, 2, 2, 2}, {4, 4}, {3, 2, 2}} {
		for range 150 {
			var dims []dimension
			for _, n := range sizes {
				dims = append(dims, dimension{classes: apart(n)})
			}
			g := newGrid(dims)
			full := 0
			share := r.Float64()
			for i := range g.cells {
				switch {
				case r.Float64() < share:
					g.cells[i] = 2
					full |= 1 << i
				case r.Float64() < 0.7:
					g.cells[i] = int32(r.IntN(2)*2 + unchanged) // or another change
				}
			}
			boxes, least, err := g.cover(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			held := 0
			for _, b := range boxes {
				if !g.holdsOnly(b, 2) {
					t.Fatalf("%v: %v holds another code", g.cells, b)
				}
				held |= g.mask(b)
			}
			if full&^held != 0 {
				t.Fatalf("%v: %v leave cells out", g.cells, boxes)
			}
			exact := g.exact(full)
			if len(boxes) != exact || least > exact {
				t.Fatalf("%v %v: %d boxes, at least %d: %d are enough", sizes, g.cells, len(boxes), least, exact)
			}
			if rounds++; least == exact {
				shown++
			}
		}
	}
	if t.Logf("%d of %d shown", shown, rounds); shown < rounds*9/10 {
		t.Errorf("only %d of %d are shown to be the fewest", shown, rounds)
	}
}

// A cover that would take long ends with its context.
func TestCoverCanBeInterrupted(t *testing.T) {
	g := newGrid([]dimension{{classes: apart(12)}, {classes: apart(12)}, {classes: apart(6)}})
	r := rand.New(rand.NewPCG(1, 1))
	for i := range g.cells {
		g.cells[i] = int32(1 + r.IntN(2))
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	if _, _, err := g.cover(ctx, 2); !errors.Is(err, context.Canceled) || time.Since(start) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func (g *grid) mask(b box) (m int) {
	g.each(b, func(i int) bool { m |= 1 << i; return true })
	return m
}

// exact tries every set of boxes, one more box at a time.
func (g *grid) exact(full int) int {
	masks := map[int]bool{}
	var every func(d int, b box)
	every = func(d int, b box) {
		if d == len(g.dims) {
			if g.holdsOnly(b, 2) {
				masks[g.mask(b)&full] = true
			}
			return
		}
		for set := 1; set < 1<<len(g.dims[d].classes); set++ {
			var values []int
			for v := range g.dims[d].classes {
				if set&(1<<v) != 0 {
					values = append(values, v)
				}
			}
			every(d+1, append(slices.Clone(b), values))
		}
	}
	every(0, nil)
	reached := map[int]bool{0: true}
	for n := 0; ; n++ {
		if reached[full] {
			return n
		}
		next := map[int]bool{}
		for had := range reached {
			// Some box holds the first cell that is left.
			first := (full &^ had) & -(full &^ had)
			for m := range masks {
				if m&first != 0 {
					next[had|m] = true
				}
			}
		}
		reached = next
	}
}
