package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/policies"
	"github.com/tiergate/tiergate/rollout"
	"github.com/tiergate/tiergate/store"
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

// brought is what serve brings along: the bundle of --bundle or the built-in
// one, and the hashes that need no signature from the database's copy.
type brought struct {
	seed     rollout.Source
	trusted  []string
	verifier *bundles.Verifier
}

// bring reads what the flags name. Errors are usage errors.
func bring(path string, accept bool, key verifierFlags) (b brought, err error) {
	if b.verifier, err = key.load(); err != nil {
		return b, err
	}
	builtin, err := loadBundle("")
	if err != nil {
		return b, err
	}
	b.trusted = []string{builtin.Hash}
	if path == "" {
		b.seed, err = pack(builtin, "the built-in bundle")
		return b, err
	}
	if b.seed, err = readSeed(path, b.verifier); err != nil {
		return b, usageError{fmt.Errorf("--bundle %s: %w", path, err)}
	}
	b.seed.AcceptNotCovered = accept
	b.trusted = append(b.trusted, b.seed.Bundle.Hash)
	return b, nil
}

func pack(b *bundles.Bundle, from string) (rollout.Source, error) {
	var archive bytes.Buffer
	err := b.WriteArchive(&archive)
	return rollout.Source{Bundle: b, Archive: archive.Bytes(), From: from}, err
}

// readSeed reads --bundle. Of an archive the very bytes are kept, because they
// hold the signature.
func readSeed(path string, v *bundles.Verifier) (s rollout.Source, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return s, err
	}
	from := "the bundle of --bundle " + path
	if info.IsDir() {
		if v != nil {
			return s, errors.New("with --verification-key the bundle must be a signed archive, not a folder: the database keeps it with its signature. See tiergate bundle sign")
		}
		b, err := bundles.Load(path)
		if err != nil {
			return s, err
		}
		s, err = pack(b, from)
		s.Chosen = true
		return s, err
	}
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	var archive bytes.Buffer
	b, err := bundles.Read(io.TeeReader(f, &archive), v)
	if err == nil {
		_, err = io.Copy(&archive, io.LimitReader(f, bundles.MaxBytes))
	}
	return rollout.Source{Bundle: b, Archive: archive.Bytes(), From: from, Chosen: true}, err
}

// openRollout finds the active bundle.
func (b brought) openRollout(ctx context.Context, s *store.Store, logger *slog.Logger, registry prometheus.Registerer) (*rollout.Rollout, error) {
	r, err := rollout.Open(ctx, rollout.Options{
		Store: s, Seed: b.seed, Trusted: b.trusted, Verifier: b.verifier, Prove: prover(), Known: shippedProofs(),
		EngineVersion: engineVersion(), Logger: logger, Registerer: registry,
	})
	if errors.Is(err, rollout.ErrSeed) {
		return nil, usageError{err}
	}
	return r, err
}
