package engine_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/engine/enginetest"
	"github.com/tiergate/tiergate/engine/model"
	"github.com/tiergate/tiergate/policies"
)

func shippedPolicy(tb testing.TB) *engine.Policy {
	tb.Helper()
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := engine.NewPolicy(tb.Context(), engine.PolicySource{
		ID:      engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash},
		Modules: b.Modules, Data: b.Data,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func compareWithModel(tb testing.TB, p *engine.Policy, doc []byte) string {
	tb.Helper()
	v, err := p.DecideDocument(tb.Context(), doc)
	if err != nil {
		tb.Fatalf("no verdict: %v\n%s", err, doc)
	}
	want := model.Decide(doc)
	if v.Decision.String() != want.Decision || v.Rule != want.Rule || !slices.Equal(v.OverridesApplied, want.Applied) {
		tb.Fatalf("policy: %s by %s %v\n model: %s by %s %v\n%s", v.Decision, v.Rule, v.OverridesApplied, want.Decision, want.Rule, want.Applied, doc)
	}
	return v.Rule
}

// The shipped policy and a model in Go, written apart, agree on random
// documents; and the documents reach every rule often.
func TestPolicyAgreesWithModel(t *testing.T) {
	p := shippedPolicy(t)
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[string]int{}
	const n = 40_000
	for range n {
		seen[compareWithModel(t, p, enginetest.Document(r))]++
	}
	for _, rule := range []string{
		engine.RuleBlockOverride, engine.RuleStopped, engine.RuleCriticalNeverAuto, engine.RuleApprovalOverride, engine.RuleForceAutoOverride,
		engine.RuleWhitelistMatch, engine.RuleNoWhitelistMatch, engine.RuleTierAllows, engine.RuleTierRequiresApproval,
	} {
		if seen[rule] < n/200 {
			t.Errorf("%s decided %d of %d documents: too few to have compared it", rule, seen[rule], n)
		}
	}
}

func FuzzPolicyAgreesWithModel(f *testing.F) {
	p := shippedPolicy(f)
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		compareWithModel(t, p, enginetest.Document(rand.New(rand.NewPCG(a, b))))
	})
}
