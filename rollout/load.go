package rollout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
)

// fit returns the compiled policy of a kept bundle that may decide here: it is
// loaded, and proved under this engine.
func (r *Rollout) fit(ctx context.Context, hash string) (*engine.Policy, error) {
	p, b, err := r.load(ctx, hash)
	if err != nil {
		return nil, err
	}
	if _, err := r.proveNow(ctx, hash, b); err != nil {
		return nil, err
	}
	return p, nil
}

// load returns a kept bundle compiled, from memory where it is there; then b is
// nil.
func (r *Rollout) load(ctx context.Context, hash string) (p *engine.Policy, b *bundles.Bundle, err error) {
	r.mu.Lock()
	p = r.compiled[hash]
	r.mu.Unlock()
	if p != nil {
		return p, nil, nil
	}
	if b, err = r.read(ctx, hash); err != nil {
		return nil, nil, err
	}
	if p, err = compile(ctx, b); err != nil {
		return nil, nil, err
	}
	r.remember(hash, p)
	return p, b, nil
}

// read reads a kept bundle and checks that it is what it should be.
func (r *Rollout) read(ctx context.Context, hash string) (*bundles.Bundle, error) {
	if s := r.o.Seed.Bundle; s.Hash == hash {
		return s, nil
	}
	archives, err := r.store.BundleArchives(ctx, hash)
	if err != nil {
		return nil, err
	}
	b, _, err := readArchives(hash, archives, r.verifierOf(hash))
	return b, err
}

// checkKept returns nil when the database's copy of a bundle is what it should
// be.
func (r *Rollout) checkKept(ctx context.Context, hash string) error {
	archives, err := r.store.BundleArchives(ctx, hash)
	if err != nil {
		return err
	}
	_, _, err = readArchives(hash, archives, r.verifierOf(hash))
	return err
}

// verifierOf is what must accept a kept copy of the bundle; nil: its hash is
// enough.
func (r *Rollout) verifierOf(hash string) *bundles.Verifier {
	if slices.Contains(r.o.Trusted, hash) {
		return nil
	}
	return r.o.Verifier
}

// readArchives returns the newest archive that is accepted.
func readArchives(hash string, archives [][]byte, v *bundles.Verifier) (_ *bundles.Bundle, archive []byte, err error) {
	var refused error
	for _, archive := range archives {
		b, err := bundles.Read(bytes.NewReader(archive), v)
		switch {
		case err != nil:
			refused = errors.Join(refused, err)
		case b.Hash != hash:
			refused = errors.Join(refused, fmt.Errorf("the database keeps under %s what has the hash %s: it was changed, or kept by a version that hashes otherwise", hash, b.Hash))
		default:
			return b, archive, nil
		}
	}
	return nil, nil, refused
}

func compile(ctx context.Context, b *bundles.Bundle) (*engine.Policy, error) {
	return engine.NewPolicy(ctx, engine.PolicySource{
		ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data,
	})
}

// maxCompiled is how many policies are held for what may come next.
const maxCompiled = 4

func (r *Rollout) remember(hash string, p *engine.Policy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.compiled) >= maxCompiled {
		clear(r.compiled)
	}
	r.compiled[hash] = p
}
