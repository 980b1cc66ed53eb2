package peers

import (
	"context"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/policies"
)

// Tiergate is the gate's own engine on the shipped bundle, asked as the gate
// asks it: parsed input, every guard.
func Tiergate(ctx context.Context) (Peer, error) {
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		return Peer{}, err
	}
	p, err := engine.NewPolicy(ctx, engine.PolicySource{
		ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data,
	})
	if err != nil {
		return Peer{}, err
	}
	return Peer{Name: "tiergate engine", Prepare: func(doc []byte) (Ask, error) {
		input, err := engine.ParseDocument(doc)
		if err != nil {
			return nil, err
		}
		return func() (Answer, error) {
			v, err := p.Decide(ctx, input)
			return Answer{v.Decision.String(), v.Rule, v.Rationale, v.OverridesApplied}, err
		}, nil
	}}, nil
}
