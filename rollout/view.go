package rollout

import (
	"context"

	"github.com/tiergate/tiergate/engine"
)

// Bundle is a kept bundle as people see it.
type Bundle struct {
	engine.KeptBundle
	Active bool
	Shadow bool
	Proof  ProofState
	Epoch  int64 // the deployment's policy epoch
}

// Bundle returns one kept bundle, or engine.ErrNotFound.
func (r *Rollout) Bundle(ctx context.Context, hash string) (Bundle, error) {
	b, err := r.store.Bundle(ctx, hash)
	if err != nil {
		return Bundle{}, err
	}
	head, err := r.store.PolicyHead(ctx)
	if err != nil {
		return Bundle{}, err
	}
	return r.view(ctx, head, b)
}

// Bundles returns kept bundles, newest first, only those with a smaller ID than
// before where that is not 0.
func (r *Rollout) Bundles(ctx context.Context, before int64, limit int) ([]Bundle, error) {
	head, err := r.store.PolicyHead(ctx)
	if err != nil {
		return nil, err
	}
	kept, err := r.store.Bundles(ctx, before, limit)
	if err != nil {
		return nil, err
	}
	list := make([]Bundle, len(kept))
	for i, b := range kept {
		if list[i], err = r.view(ctx, head, b); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (r *Rollout) view(ctx context.Context, head engine.PolicyHead, b engine.KeptBundle) (Bundle, error) {
	proof, err := r.proofState(ctx, b.Hash)
	return Bundle{KeptBundle: b, Active: head.Active == b.Hash, Shadow: head.Shadow == b.Hash, Proof: proof, Epoch: head.Epoch}, err
}

// Archive returns the bytes of a kept bundle, of several copies the newest that
// this gate accepts. Returns engine.ErrNotFound.
func (r *Rollout) Archive(ctx context.Context, hash string) ([]byte, error) {
	archives, err := r.store.BundleArchives(ctx, hash)
	if err != nil {
		return nil, err
	}
	if _, archive, err := readArchives(hash, archives, r.verifierOf(hash)); err == nil {
		return archive, nil
	}
	return archives[0], nil
}

// History returns the policy changes that q selects, oldest first.
func (r *Rollout) History(ctx context.Context, q engine.PolicyHistoryQuery) ([]engine.PolicyChange, error) {
	return r.store.PolicyHistory(ctx, q)
}
