package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
)

// Store keeps bundles, their proofs and every change. *store.Store is one and
// says what each method promises.
type Store interface {
	PolicyHead(ctx context.Context) (engine.PolicyHead, error)
	PolicyNews() <-chan struct{}
	SeedPolicy(ctx context.Context, hash, revision string, archive []byte, meta engine.ChangeMeta) (engine.PolicyHead, error)
	KeepBundle(ctx context.Context, hash, revision string, archive []byte, another bool, meta engine.ChangeMeta) (added bool, err error)
	MovePolicy(ctx context.Context, m engine.PolicyMove, meta engine.ChangeMeta) (engine.PolicyHead, error)
	Bundle(ctx context.Context, hash string) (engine.KeptBundle, error)
	Bundles(ctx context.Context, before int64, limit int) ([]engine.KeptBundle, error)
	BundleArchives(ctx context.Context, hash string) ([][]byte, error)
	RevisionHolder(ctx context.Context, revision, hash string) (string, error)
	Proof(ctx context.Context, hash, engineVersion string) (engine.Proof, error)
	SaveProof(ctx context.Context, p engine.Proof) error
	PolicyHistory(ctx context.Context, q engine.PolicyHistoryQuery) ([]engine.PolicyChange, error)
}

// Gate decides by the policy that it is given. *engine.Gate is one.
type Gate interface {
	Activate(p *engine.Policy, epoch int64)
	Shadow(s *engine.Shadow) // nil: none
}

// Prover finds out whether the promises hold for everything that b can tell
// apart, and ends when ctx does. The report is JSON. An error means that it
// could not be found out.
type Prover func(ctx context.Context, b *bundles.Bundle) (holds bool, report json.RawMessage, err error)

// Source is a bundle that this process brings along.
type Source struct {
	Bundle  *bundles.Bundle
	Archive []byte // what is kept of it
	From    string // for people: "--bundle FILE" or "the built-in bundle"
	Chosen  bool   // somebody named it, so that it is worth a warning when it is not active
	// AcceptNotCovered: as a seed it may do what its proof does not cover.
	AcceptNotCovered bool
}

// Options is what a Rollout is made of. Store, Seed and EngineVersion are
// required.
type Options struct {
	Store Store
	// Seed becomes the active bundle of an empty database.
	Seed Source
	// Trusted are hashes of bundles that need no signature because this process
	// has them from elsewhere: the built-in one, and one that was verified.
	Trusted []string
	// Verifier, if not nil, must accept the signature of every other bundle.
	Verifier *bundles.Verifier
	// Prove finds proofs, which are kept by bundle and EngineVersion. Nil: what
	// engine.NewPolicy tries out counts as the proof, and nothing is kept.
	Prove Prover
	// Known are proofs that were made when the program was built.
	Known         []engine.Proof
	EngineVersion string
	Logger        *slog.Logger // nil: slog.Default()
	Registerer    prometheus.Registerer
	Poll          time.Duration // how often the head is read; zero: 1 s
	ProofPatience time.Duration // how long an activation waits for a proof under way; zero: 20 s
}

// Rollout is what this gate runs and what it can run. It is safe for use by
// many goroutines.
type Rollout struct {
	o       Options
	store   Store
	log     *slog.Logger
	metrics *metrics
	base    context.Context // ends with Close
	stop    context.CancelFunc
	done    sync.WaitGroup
	uploads chan struct{} // a place for each upload under way
	provers chan struct{} // …for each proof: they take all processors

	taking sync.Mutex // held while this gate goes over to another policy
	gate   Gate       // set by Start

	mu        sync.Mutex
	shadowing shadowing
	running   running
	fault     error // why this gate is behind; nil when it is not
	compiled  map[string]*engine.Policy
	jobs      map[string]*job
	proofs    map[string]engine.Proof // settled ones
}

// running is the policy that decides here.
type running struct {
	policy *engine.Policy
	epoch  int64
}

// Open finds the active bundle: the database's or, where that has none, the
// seed, which it keeps and activates as a change of the actor "system". It
// returns an error when the active bundle cannot be loaded, verified, compiled
// or proved here, an ErrSeed where that is the seed. ctx bounds the opening only.
func Open(ctx context.Context, o Options) (*Rollout, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	if o.ProofPatience <= 0 {
		o.ProofPatience = 20 * time.Second
	}
	r := &Rollout{o: o, store: o.Store, log: o.Logger, uploads: make(chan struct{}, 2), provers: make(chan struct{}, 1),
		compiled: map[string]*engine.Policy{}, jobs: map[string]*job{}, proofs: map[string]engine.Proof{}}
	r.base, r.stop = context.WithCancel(context.Background())
	for _, p := range o.Known {
		if p.EngineVersion == o.EngineVersion {
			r.proofs[p.BundleHash] = p
		}
	}
	if err := r.open(ctx); err != nil {
		r.stop()
		r.done.Wait()
		return nil, err
	}
	var err error
	if r.metrics, err = newMetrics(r, o.Registerer); err != nil {
		r.stop()
		return nil, fmt.Errorf("register the rollout's metrics: %w", err)
	}
	return r, nil
}

func (r *Rollout) open(ctx context.Context) error {
	head, err := r.store.PolicyHead(ctx)
	if err != nil {
		return err
	}
	seed := r.o.Seed
	if head.Epoch == 0 {
		if head, err = r.seed(ctx); err != nil {
			return fmt.Errorf("activate %s in the empty database: %w", seed.From, err)
		}
	} else if head.Active != seed.Bundle.Hash {
		r.offer(ctx, head)
	}
	r.renew(ctx)
	p, err := r.fit(ctx, head.Active)
	if err != nil {
		return fmt.Errorf("the database's active bundle is %s, and this gate cannot decide by it: %w", head.Active, err)
	}
	r.running = running{p, head.Epoch}
	return nil
}

// seed makes the first bundle active, unless another gate is faster.
func (r *Rollout) seed(ctx context.Context) (engine.PolicyHead, error) {
	s := r.o.Seed
	hash := s.Bundle.Hash
	p, err := compile(ctx, s.Bundle)
	if err != nil {
		return engine.PolicyHead{}, fmt.Errorf("%w: %w", ErrSeed, err)
	}
	r.remember(hash, p)
	proof, err := r.proveNow(ctx, hash, s.Bundle)
	if err == nil && !s.AcceptNotCovered {
		err = allCovered(proof)
	}
	if err != nil {
		return engine.PolicyHead{}, fmt.Errorf("%w: %w", ErrSeed, err)
	}
	meta := engine.ChangeMeta{Actor: systemActor, Reason: "first start on an empty database: " + s.From, AcceptNotCovered: s.AcceptNotCovered}
	head, err := r.store.SeedPolicy(ctx, hash, s.Bundle.Revision, s.Archive, meta)
	if errors.Is(err, engine.ErrStale) {
		return r.store.PolicyHead(ctx)
	}
	if err == nil {
		r.keepProof(ctx, proof)
	}
	return head, err
}

// systemActor makes the changes that nobody asked for.
const systemActor = "system"

// offer keeps a seed that is not the active bundle, so that it can be
// activated, and says so.
func (r *Rollout) offer(ctx context.Context, head engine.PolicyHead) {
	s := r.o.Seed
	if _, err := compile(ctx, s.Bundle); err != nil {
		r.log.Warn("a bundle that was brought along is not active and cannot be", "from", s.From, "bundle_hash", s.Bundle.Hash, "error", err)
		return
	}
	meta := engine.ChangeMeta{Actor: systemActor, Reason: "brought along at a start: " + s.From}
	if _, err := r.store.KeepBundle(ctx, s.Bundle.Hash, s.Bundle.Revision, s.Archive, false, meta); err != nil {
		r.log.Warn("a bundle that was brought along could not be kept", "from", s.From, "bundle_hash", s.Bundle.Hash, "error", err)
	}
	level := slog.LevelInfo
	if s.Chosen {
		level = slog.LevelWarn
	}
	r.log.Log(ctx, level, "the database's active bundle decides, not "+s.From+", which only seeds an empty database. To change over: POST /api/v1/remediation/bundles/"+s.Bundle.Hash+"/activate",
		"active_bundle", head.Active, "other_bundle", s.Bundle.Hash, "other_revision", s.Bundle.Revision)
}

// renew keeps a seed that somebody signed anew, where none of the kept copies is
// signed as this gate wants it: then the other gates need not be given it.
func (r *Rollout) renew(ctx context.Context) {
	s := r.o.Seed
	if !s.Chosen || r.o.Verifier == nil {
		return
	}
	archives, err := r.store.BundleArchives(ctx, s.Bundle.Hash)
	if err == nil {
		if _, _, refused := readArchives(s.Bundle.Hash, archives, r.o.Verifier); refused == nil {
			return
		}
		meta := engine.ChangeMeta{Actor: systemActor, Reason: "signed anew, brought along at a start: " + s.From}
		_, err = r.store.KeepBundle(ctx, s.Bundle.Hash, s.Bundle.Revision, s.Archive, true, meta)
	}
	if err != nil {
		r.log.Warn("a bundle that was signed anew could not be kept", "from", s.From, "bundle_hash", s.Bundle.Hash, "error", err)
	}
}

// Policy returns the policy to start a gate with, and its epoch.
func (r *Rollout) Policy() (*engine.Policy, int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running.policy, r.running.epoch
}

// Start follows the deployment until Close, and gives g every policy that
// becomes active. g was made with Policy.
func (r *Rollout) Start(g Gate) {
	r.gate = g
	r.done.Go(r.follow)
}

// Close ends the following, the shadow and the proofs under way.
func (r *Rollout) Close() {
	r.stop()
	r.done.Wait()
	if s := r.shadowing.shadow; s != nil {
		r.gate.Shadow(nil)
		s.Close()
	}
	r.metrics.unregister()
}

// Ready returns nil while this gate runs the bundle that is active in the
// deployment, as far as it knows, and else why it does not.
func (r *Rollout) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fault
}
