package peers

import (
	"context"
	"fmt"

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/tiergate/tiergate/bench/naive"
	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/policies"
)

// PlainNaive is OPA as its documentation shows it (a prepared query, the input
// as a map, the result as JSON) on the policy as one would write it first.
func PlainNaive(ctx context.Context) (Peer, error) {
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		return Peer{}, err
	}
	gate, ok := b.Data["gate"].(map[string]any)
	if !ok {
		return Peer{}, fmt.Errorf("the bundle has no data.gate")
	}
	tiers, err := naiveTiers(gate)
	if err != nil {
		return Peer{}, err
	}
	store := inmem.NewFromObject(map[string]any{"actions": gate["actions"], "tiers": tiers})
	return plain(ctx, "plain OPA, naive policy", rego.Query("data.naive.decision"), rego.Module("gate.rego", naive.Module), rego.Store(store))
}

// naiveTiers is the tier table as the naive policy reads it: a label and the
// list of what the tier allows.
func naiveTiers(gate map[string]any) ([]any, error) {
	tiers, _ := gate["tiers"].(map[string]any)
	levels, _ := tiers["levels"].([]any)
	if len(levels) == 0 {
		return nil, fmt.Errorf("the bundle has no data.gate.tiers.levels")
	}
	out := make([]any, len(levels))
	for i, x := range levels {
		level, _ := x.(map[string]any)
		allows := []any{}
		governs, _ := level["governs"].(map[string]any)
		for _, radius := range []string{"MINIMAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"} {
			if governs[radius] == "tier_allows" {
				allows = append(allows, radius)
			}
		}
		out[i] = map[string]any{"label": level["label"], "allows": allows}
	}
	return out, nil
}

// PlainShipped is the same OPA on the shipped bundle: what the gate's way of
// calling OPA is worth apart from its Rego.
func PlainShipped(ctx context.Context) (Peer, error) {
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		return Peer{}, err
	}
	options := []func(*rego.Rego){rego.Query("data.gate.decision"), rego.Store(inmem.NewFromObject(b.Data))}
	for _, m := range b.Modules {
		options = append(options, rego.ParsedModule(m))
	}
	return plain(ctx, "plain OPA, shipped bundle", options...)
}

func plain(ctx context.Context, name string, options ...func(*rego.Rego)) (Peer, error) {
	query, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return Peer{}, fmt.Errorf("%s: %w", name, err)
	}
	return Peer{Name: name, Prepare: func(doc []byte) (Ask, error) {
		input, err := decode(doc)
		if err != nil {
			return nil, err
		}
		return func() (Answer, error) {
			rs, err := query.Eval(ctx, rego.EvalInput(input))
			if err != nil || len(rs) != 1 {
				return Answer{}, fmt.Errorf("%s: %d results: %w", name, len(rs), err)
			}
			v, _ := rs[0].Expressions[0].Value.(map[string]any)
			a := Answer{}
			a.Decision, _ = v["decision"].(string)
			a.Rule, _ = v["rule"].(string)
			a.Rationale, _ = v["rationale"].(string)
			applied, _ := v["overrides_applied"].([]any)
			a.Applied = make([]string, len(applied))
			for i, x := range applied {
				a.Applied[i], _ = x.(string)
			}
			return a, nil
		}, nil
	}}, nil
}
