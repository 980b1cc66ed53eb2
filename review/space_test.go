package review

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/policies"
)

func shipped(tb testing.TB) *Subject {
	tb.Helper()
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		tb.Fatal(err)
	}
	return subject(tb, b)
}

func subject(tb testing.TB, b *bundles.Bundle) *Subject {
	tb.Helper()
	s, err := NewSubject(tb.Context(), engine.PolicySource{ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// The table, made from few traced evaluations, says what a plain evaluation of
// the situation says.
func TestTableIsExact(t *testing.T) {
	sub := shipped(t)
	start := time.Now()
	tables, err := Explore(t.Context(), 0, nil, sub)
	if err != nil {
		t.Fatal(err)
	}
	table := tables[0]
	s := table.Space
	t.Logf("%d situations, %d evaluations, %d outcomes, %v", s.Size(), table.Evaluations, len(table.Outcomes), time.Since(start))
	t.Log(s.sizes, s.NotCovered, s.ByExample)
	if len(s.NotCovered) > 0 {
		t.Errorf("the shipped policy reads what the space does not show from all sides: %q", s.NotCovered)
	}
	if s.Size() < 1_000_000 {
		t.Errorf("only %d situations", s.Size())
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		x := s.situation(r.IntN(s.size))
		if back := s.situation(s.index(x)); back != x {
			t.Fatalf("%v became %v", x, back)
		}
		request, facts := s.facts(x)
		want, err := sub.policy.DecideFacts(t.Context(), request, facts, Now)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.At(x); got.Err != "" || got.Decision != want.Decision || got.Rule != want.Rule || got.BlastRadius != want.BlastRadius || got.TierLabel != want.TierLabel || !slices.Equal(got.OverridesApplied, want.OverridesApplied) {
			t.Fatalf("%s\n%+v, want %+v", s.Input(x), got, want)
		}
	}
}
