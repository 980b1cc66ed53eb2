package engine

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tiergate/tiergate/engine/enginetest"
)

// Many callers share one policy, its literals and tables. What one is answered
// depends neither on the others nor on what was asked before (P4).
func TestConcurrentDecisions(t *testing.T) {
	p := shipped(t)
	r := rand.New(rand.NewPCG(7, 8))
	docs := enginetest.Corpus(200)
	for range 1000 {
		docs = append(docs, enginetest.Document(r))
	}
	inputs, want := make([]ast.Value, len(docs)), make([]Verdict, len(docs))
	for i, doc := range docs {
		var err error
		if inputs[i], err = ParseDocument(doc); err != nil {
			t.Fatal(err)
		}
		if want[i], err = p.Decide(t.Context(), inputs[i]); err != nil {
			t.Fatal(err)
		}
	}
	fresh := shipped(t)
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			order := rand.New(rand.NewPCG(uint64(caller), 9)).Perm(len(inputs))
			for _, i := range order {
				var got Verdict
				err := patiently(t.Context(), func() (err error) { got, err = fresh.Decide(t.Context(), inputs[i]); return err })
				if err != nil || got.Rule != want[i].Rule || got.Rationale != want[i].Rationale {
					t.Errorf("%s\nnow %s (%v), alone %s", docs[i], got.Rule, err, want[i].Rule)
					return
				}
			}
		})
	}
	wg.Wait()
}
