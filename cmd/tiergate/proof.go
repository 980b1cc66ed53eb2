package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/review"
	"github.com/tiergate/tiergate/rollout"
)

// shippedProof is the proof of the built-in bundle, made by `make build` so that
// no start waits for it.
//
//go:embed proof.json
var shippedProof []byte

// shippedProofs are those that were made when the program was built.
func shippedProofs() []engine.Proof {
	var p review.Proof
	if err := json.Unmarshal(shippedProof, &p); err != nil {
		return nil // a start will look for it
	}
	return []engine.Proof{{BundleHash: p.BundleHash, EngineVersion: p.EngineVersion, Holds: p.Holds, Report: bytes.TrimSpace(shippedProof), At: time.Now().UTC()}}
}

// prover looks for the proofs of bundles that are to be activated. It leaves one
// core to the requests that the gate answers meanwhile.
func prover() rollout.Prover {
	return func(ctx context.Context, b *bundles.Bundle) (holds bool, report json.RawMessage, err error) {
		s, err := review.NewSubject(ctx, policySource(b))
		if err != nil {
			return false, nil, err
		}
		proof, err := review.Prove(ctx, s, review.ProveOptions{EngineVersion: engineVersion(), LeaveCores: 1})
		if err != nil {
			return false, nil, err
		}
		report, err = json.Marshal(proof)
		return proof.Holds, report, err
	}
}

// keptProof reads a proof from a file; nil where there is none of this bundle
// under this engine.
func keptProof(path, hash string) (*review.Proof, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var p review.Proof
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("%s is no proof, and is left as it is: %w", path, err)
	}
	if p.BundleHash != hash || p.EngineVersion != engineVersion() {
		return nil, nil
	}
	return &p, nil
}
