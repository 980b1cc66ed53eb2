package review

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tiergate/tiergate/bundles"
)

// in reports whether a box of the merged grid holds the situation, whose
// coordinates are looked up in the grid before it was merged.
func in(s *Space, plain, merged *grid, b box, x Situation) bool {
	for d, dim := range plain.dims {
		value := dim.classes[dim.at(s, &x)][0]
		if !slices.ContainsFunc(b[d], func(k int) bool { return slices.Contains(merged.dims[d].classes[k], value) }) {
			return false
		}
	}
	return true
}

// The sentences say exactly which situations change: each that changes is in a
// box of its own change and in no other, and what does not change is in none.
func TestSentencesSayExactly(t *testing.T) {
	old := shipped(t)
	old.keep = true
	tested := 0
	for _, m := range mistakes(t) {
		if !slices.Contains([]string{"high-by-tier", "wrong-radius", "flipped-confidence", "confident-enough", "narrowing-minds-case", "any-constraint"}, m.name) {
			continue
		}
		tested++
		b, err := bundles.LoadFS(m.files)
		if err != nil {
			t.Fatal(err)
		}
		new := subject(t, b)
		tables, err := Explore(t.Context(), 0, nil, old, new)
		if err != nil {
			t.Fatal(err)
		}
		s := tables[0].Space
		tr := newTransitions(tables[0], tables[1], func(a, b *Outcome) (string, string, bool) {
			return decisionOf(a), decisionOf(b), decisionOf(a) != decisionOf(b)
		})
		plain, err := tr.simplest(t.Context(), newChecker(tables[1], new.policy.Actions()).radii)
		if err != nil {
			t.Fatal(err)
		}
		merged := plain.merge()
		boxes := map[int32][]box{}
		for code := int32(2); int(code) < len(tr.names); code++ {
			if boxes[code], _, err = merged.cover(t.Context(), code); err != nil {
				t.Fatal(err)
			}
		}
		code := tr.coder()
		r := rand.New(rand.NewPCG(7, 8))
		seen := map[int32]int{}
		check := func(i int) {
			x := s.situation(i)
			want := code(i)
			seen[want]++
			for c, list := range boxes {
				held := slices.ContainsFunc(list, func(b box) bool { return in(s, plain, merged, b, x) })
				if held != (c == want) {
					t.Fatalf("%s: %s is %v by the tables, and in a box of %v: %v", m.name, s.Describe(x), want, tr.names[c], held)
				}
			}
		}
		for range 20_000 {
			check(r.IntN(s.size))
		}
		for n, i := 0, r.IntN(s.size); n < 20_000 && i < 3*s.size; i += 97 { // more of those that change
			if code(i%s.size) > unchanged {
				check(i % s.size)
				n++
			}
		}
		changed := 0
		for c, n := range seen {
			if c > unchanged {
				changed += n
			}
		}
		if changed < 100 {
			t.Errorf("%s: only %d changed situations were looked at", m.name, changed)
		}
	}
	if tested != 6 {
		t.Errorf("%d mistakes were looked at", tested)
	}
}
