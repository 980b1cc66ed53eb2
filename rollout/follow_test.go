package rollout_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/rollout"
	"github.com/tiergate/tiergate/store/storetest"
)

// Two gates under load: from the moment an activation through one is answered,
// no row of either is by another bundle.
func TestEveryGateFollows(t *testing.T) {
	url := storetest.Postgres(t)
	gates := []*replica{start(t, storeOn(t, url)), start(t, storeOn(t, url))}
	hashes := []string{revised(t, "1.0.0").Hash, gates[0].upload(revised(t, "1.1.0"))}
	var answered atomic.Pointer[string] // the bundle whose activation was answered last
	answered.Store(&hashes[0])
	var moving atomic.Bool
	var done atomic.Bool
	var decisions, failed atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []*engine.Entry
	for c := range 8 {
		wg.Go(func() {
			for !done.Load() {
				quiet := !moving.Load()
				want := *answered.Load()
				e, err := gates[c%2].decide()
				if errors.Is(err, engine.ErrStalePolicy) { // it waited a second: a slow machine
					failed.Add(1)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if quiet && !moving.Load() && *answered.Load() == want && e.Policy.BundleHash != want {
					t.Errorf("%s decided while %s is active", e.Policy.BundleHash, want)
				}
				decisions.Add(1)
				mu.Lock()
				all = append(all, e)
				mu.Unlock()
			}
		})
	}
	for i := range 10 {
		hash := hashes[(i+1)%2]
		moving.Store(true)
		var err error
		if i == 0 {
			_, err = gates[0].Activate(t.Context(), hash, petra)
		} else {
			_, err = gates[i%2].Rollback(t.Context(), hash, petra)
		}
		if err != nil {
			t.Fatal(err)
		}
		answered.Store(&hash)
		moving.Store(false)
		for _, g := range gates {
			g.mustDecideBy(hash)
		}
		time.Sleep(30 * time.Millisecond)
	}
	done.Store(true)
	wg.Wait()
	storetest.CheckLog(t, url, all)
	t.Logf("%d decisions, %d without an answer in 10 changes", decisions.Load(), failed.Load())
}

// A gate that cannot prove the active bundle commits nothing, is not ready, and
// comes back by itself when another bundle is active.
func TestAGateThatCannotFollow(t *testing.T) {
	url := storetest.Postgres(t)
	next := revised(t, "1.1.0")
	healthy := start(t, storeOn(t, url))
	stuck := start(t, storeOn(t, url), func(o *rollout.Options) {
		o.EngineVersion, o.Prove = "older", verdicts(next.Hash)
	})
	seed := revised(t, "1.0.0").Hash
	stuck.mustDecideBy(seed)
	healthy.upload(next)
	healthy.activate(next.Hash)
	healthy.mustDecideBy(next.Hash)
	if e, err := stuck.decide(); e != nil || !errors.Is(err, engine.ErrStalePolicy) {
		t.Errorf("the stuck gate decided %+v %v", e, err)
	}
	if stuck.Ready() == nil || healthy.Ready() != nil {
		t.Errorf("ready: %v %v", stuck.Ready(), healthy.Ready())
	}
	if _, err := healthy.Rollback(t.Context(), seed, petra); err != nil {
		t.Fatal(err)
	}
	stuck.mustDecideBy(seed)
	if err := stuck.Ready(); err != nil {
		t.Errorf("ready again: %v", err)
	}
}

// A bundle in the database that is not what its hash says decides nowhere.
func TestATamperedBundle(t *testing.T) {
	url := storetest.Postgres(t)
	a, b := start(t, storeOn(t, url)), start(t, storeOn(t, url))
	hash := a.upload(revised(t, "1.1.0"))
	db := storetest.DB(t, url)
	for _, q := range []string{`ALTER TABLE policy_bundle DISABLE TRIGGER ALL`} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`UPDATE policy_bundle SET archive = $1 WHERE bundle_hash = $2`, pack(t, revised(t, "1.1.0", "so it must not run", "so it may not run")), hash); err != nil {
		t.Fatal(err)
	}
	_, err := b.Activate(t.Context(), hash, petra)
	refused(t, err, rollout.Refused, "it was changed")
	// The gate that has it in memory since the upload refuses, too: the others
	// could not follow, and it could not start again.
	_, err = a.Activate(t.Context(), hash, petra)
	refused(t, err, rollout.Refused, "it was changed")
	for _, r := range []*replica{a, b} {
		if e, err := r.decide(); err != nil || e.Policy.BundleHash == hash {
			t.Errorf("after the refusal: %+v %v", e, err)
		}
	}
}

// Gates that start at once on an empty database agree on one seed.
func TestManySeeds(t *testing.T) {
	url := storetest.Postgres(t)
	var wg sync.WaitGroup
	replicas := make([]*replica, 4)
	for i := range replicas {
		s := storeOn(t, url)
		wg.Go(func() {
			b := revised(t, []string{"1.0.0", "2.0.0"}[i%2])
			replicas[i] = start(t, s, func(o *rollout.Options) {
				o.Seed = rollout.Source{Bundle: b, Archive: pack(t, b), From: "--bundle", Chosen: true}
			})
		})
	}
	wg.Wait()
	e, err := replicas[0].decide()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range replicas {
		r.mustDecideBy(e.Policy.BundleHash)
	}
	storetest.CheckLog(t, url, nil)
}

// A takeover does not outlive Close.
func TestCloseEndsAProof(t *testing.T) {
	s := storeOn(t, storetest.SQLite(t))
	o := options(t, s)
	o.Prove = func(ctx context.Context, b *bundles.Bundle) (bool, json.RawMessage, error) {
		if b.Revision != "1.0.0" {
			<-ctx.Done()
		}
		return true, nil, ctx.Err()
	}
	r, err := rollout.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Upload(t.Context(), pack(t, revised(t, "1.1.0")), petra); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { r.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Fatal("Close hangs")
	}
}
