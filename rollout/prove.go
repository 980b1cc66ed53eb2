package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
)

// The states of a proof.
const (
	ProofNone    = "none"    // not looked for under this engine; an activation would
	ProofRunning = "running" // …by this gate
	ProofHolds   = "holds"
	ProofFails   = "fails"
	ProofError   = "error" // it could not be found out; an activation tries again
)

// ProofState is what this gate knows about a bundle's proof.
type ProofState struct {
	State  string
	At     time.Time // when it was settled or, running, begun
	Report json.RawMessage
	Detail string // with ProofError
}

// job is a proof that is looked for, or was without a result.
type job struct {
	began time.Time
	done  chan struct{}
	err   error // read after done
}

func (j *job) over() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// proofOf returns a settled proof from memory or the database, or
// engine.ErrNotFound.
func (r *Rollout) proofOf(ctx context.Context, hash string) (engine.Proof, error) {
	r.mu.Lock()
	p, ok := r.proofs[hash]
	r.mu.Unlock()
	if ok || r.o.Prove == nil {
		if !ok {
			return p, engine.ErrNotFound
		}
		return p, nil
	}
	p, err := r.store.Proof(ctx, hash, r.o.EngineVersion)
	if err == nil {
		r.settle(p)
	}
	return p, err
}

func (r *Rollout) settle(p engine.Proof) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proofs[p.BundleHash] = p
}

// proveNow returns nil when the bundle is proved, and looks for the proof if
// nobody has. b may be nil. A proof that fails is a *Refusal.
func (r *Rollout) proveNow(ctx context.Context, hash string, b *bundles.Bundle) (engine.Proof, error) {
	p, err := r.proofOf(ctx, hash)
	if errors.Is(err, engine.ErrNotFound) {
		j, jobErr := r.prove(ctx, hash, b)
		if jobErr != nil {
			return p, jobErr
		}
		select {
		case <-j.done:
		case <-ctx.Done():
			return p, fmt.Errorf("wait for the proof of bundle %s: %w", hash, ctx.Err())
		}
		if j.err != nil {
			return p, fmt.Errorf("prove bundle %s: %w", hash, j.err)
		}
		p, err = r.proofOf(ctx, hash)
	}
	if err == nil && !p.Holds {
		err = &Refusal{Kind: ProofFailed, Report: p.Report,
			Detail: fmt.Sprintf("Bundle %s does not hold its promises under %s; the report says which. Nothing was changed.", hash, r.o.EngineVersion)}
	}
	return p, err
}

// allCovered refuses a bundle that does something with the input that its proof
// did not look at from all sides.
func allCovered(p engine.Proof) error {
	var report struct {
		NotCovered []string `json:"not_covered"`
	}
	if err := json.Unmarshal(p.Report, &report); err != nil {
		return fmt.Errorf("read the proof of bundle %s: %w", p.BundleHash, err)
	}
	if len(report.NotCovered) == 0 {
		return nil
	}
	return &Refusal{Kind: NotCovered, Report: p.Report, Detail: fmt.Sprintf(
		"The promises hold where the proof of bundle %s looked, and it does not cover: %s. Nothing was changed. Change the policy, or take that on, and the history will show it: \"accept_not_covered\": true in an activation, --accept-not-covered at the first start of serve.",
		p.BundleHash, strings.Join(report.NotCovered, "; "))}
}

// prove starts to look for a proof, or returns the search under way.
func (r *Rollout) prove(ctx context.Context, hash string, b *bundles.Bundle) (*job, error) {
	if j := r.searching(hash); j != nil {
		return j, nil
	}
	if b == nil {
		var err error
		if b, err = r.read(ctx, hash); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if j := r.jobs[hash]; j != nil && !j.over() {
		return j, nil
	}
	j := &job{began: time.Now(), done: make(chan struct{})}
	r.jobs[hash] = j
	r.done.Go(func() {
		defer close(j.done)
		j.err = r.search(hash, b)
		if j.err != nil && r.base.Err() == nil {
			r.log.Error("a bundle could not be proved", "bundle_hash", hash, "error", j.err)
		}
	})
	return j, nil
}

// searching returns the search for a proof that is under way, or nil.
func (r *Rollout) searching(hash string) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	if j := r.jobs[hash]; j != nil && !j.over() {
		return j
	}
	return nil
}

// proofLimit is how long the search for one proof may take.
const proofLimit = 10 * time.Minute

// search finds a proof and settles it. A panic of the prover is an error.
func (r *Rollout) search(hash string, b *bundles.Bundle) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the prover panicked: %v", v)
		}
	}()
	prover := r.o.Prove
	if prover == nil {
		prover = tryOut
	}
	ctx, cancel := context.WithTimeout(r.base, proofLimit)
	defer cancel()
	select {
	case r.provers <- struct{}{}:
		defer func() { <-r.provers }()
	case <-ctx.Done():
		return fmt.Errorf("other proofs take all the time: %w", ctx.Err())
	}
	p := engine.Proof{BundleHash: hash, EngineVersion: r.o.EngineVersion}
	if p.Holds, p.Report, err = prover(ctx, b); err != nil {
		return err
	}
	if len(p.Report) == 0 {
		p.Report = json.RawMessage("{}")
	}
	p.At = time.Now().UTC().Truncate(time.Millisecond)
	if _, err := r.store.Bundle(r.base, hash); err == nil { // a seed is kept later
		r.keepProof(r.base, p)
	}
	r.settle(p)
	if r.o.Prove != nil {
		r.log.Info("a proof was found", "bundle_hash", hash, "holds", p.Holds)
	}
	return nil
}

// keepProof writes a proof down, so that no other gate looks for it.
func (r *Rollout) keepProof(ctx context.Context, p engine.Proof) {
	if r.o.Prove == nil {
		return
	}
	if err := r.store.SaveProof(ctx, p); err != nil {
		r.log.Warn("a proof could not be kept; it will be looked for again after a restart", "bundle_hash", p.BundleHash, "error", err)
	}
}

// tryOut is the proof where there is no prover: engine.NewPolicy has tried the
// bundle out, or it would not be compiled.
func tryOut(context.Context, *bundles.Bundle) (bool, json.RawMessage, error) {
	return true, json.RawMessage(`{"method":"tried out with every action type at every tier, each kind of override, whitelist and stop"}`), nil
}

// proofState is for people.
func (r *Rollout) proofState(ctx context.Context, hash string) (ProofState, error) {
	p, err := r.proofOf(ctx, hash)
	if err == nil {
		state := ProofFails
		if p.Holds {
			state = ProofHolds
		}
		return ProofState{State: state, At: p.At, Report: p.Report}, nil
	}
	if !errors.Is(err, engine.ErrNotFound) {
		return ProofState{}, err
	}
	r.mu.Lock()
	j := r.jobs[hash]
	r.mu.Unlock()
	switch {
	case j == nil:
		return ProofState{State: ProofNone}, nil
	case !j.over():
		return ProofState{State: ProofRunning, At: j.began}, nil
	case j.err != nil:
		return ProofState{State: ProofError, At: j.began, Detail: j.err.Error()}, nil
	}
	return r.proofState(ctx, hash) // settled in between
}
