package main

import (
	"context"
	"fmt"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/policies"
)

// loadBundle reads the bundle at path, or the one built into the binary.
func loadBundle(path string) (*bundles.Bundle, error) {
	if path == "" {
		return bundles.LoadFS(policies.FS)
	}
	return bundles.Load(path)
}

// loadPolicy compiles the bundle at path, or the one built into the binary.
func loadPolicy(ctx context.Context, path string) (*engine.Policy, error) {
	b, err := loadBundle(path)
	if err != nil {
		return nil, err
	}
	p, err := engine.NewPolicy(ctx, engine.PolicySource{
		ID:      engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash},
		Modules: b.Modules,
		Data:    b.Data,
	})
	if err != nil {
		return nil, fmt.Errorf("compile bundle: %w", err)
	}
	return p, nil
}
