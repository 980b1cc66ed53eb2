package rollout_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/rollout"
	"github.com/tiergate/tiergate/rollout/rollouttest"
	"github.com/tiergate/tiergate/store/storetest"
)

// shadowReport waits until the shadow has judged n decisions on a gate.
func (r *replica) shadowReport(hash string, n int64) engine.ShadowReport {
	r.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		report, err := r.Shadow(r.t.Context(), hash)
		if err == nil && report.Evaluated >= n {
			return report
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%+v %v, want %d", report, err, n)
		}
	}
}

func TestShadow(t *testing.T) {
	url := storetest.Postgres(t)
	a, b := start(t, storeOn(t, url)), start(t, storeOn(t, url))
	ctx := t.Context()
	wider := revised(t, "1.1.0", rollouttest.Cautious...)
	seed := revised(t, "1.0.0").Hash
	hash := a.upload(wider)
	third := a.upload(revised(t, "1.2.0"))
	tier := 1
	if _, err := a.store.ChangeConfig(ctx, "acme", engine.ConfigChange{MaturityTier: &tier}, petra); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Shadow(ctx, hash); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("no shadow yet: %v", err)
	}
	if _, err := a.StopShadow(ctx, hash, petra); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("stop what is none: %v", err)
	}
	_, err := a.StartShadow(ctx, seed, petra)
	refused(t, err, rollout.Refused, "active one already")
	if got, err := a.StartShadow(ctx, hash, petra); err != nil || !got.Shadow || got.Active {
		t.Fatalf("%+v %v", got, err)
	}
	for _, g := range []*replica{a, b} {
		g.shadowReport(hash, 0)
		for range 5 {
			if e, err := g.decide(); err != nil || e.Decision != engine.Auto || e.Policy.BundleHash != seed {
				t.Errorf("%+v %v", e, err)
			}
		}
		if r := g.shadowReport(hash, 5); r.Diverged != 5 || r.Divergences[0].Shadow != engine.QueuedApproval || r.Active.BundleHash != seed || r.Shadow.BundleHash != hash {
			t.Errorf("%+v", r)
		}
	}
	// Another active bundle: the counting begins anew.
	a.activate(third)
	a.mustDecideBy(third)
	if r := a.shadowReport(hash, 1); r.Evaluated != 1 || r.Active.BundleHash != third {
		t.Errorf("%+v", r)
	}
	// The shadow that becomes active is no shadow any more.
	if _, err := b.StartShadow(ctx, seed, petra); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Rollback(ctx, seed, petra); err != nil || !got.Active || got.Shadow {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := a.Shadow(ctx, seed); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("it is active: %v", err)
	}
	if _, err := a.StartShadow(ctx, hash, petra); err != nil {
		t.Fatal(err)
	}
	if got, err := b.StopShadow(ctx, hash, petra); err != nil || got.Shadow {
		t.Errorf("%+v %v", got, err)
	}
	storetest.CheckLog(t, url, nil)
}

// A shadow goes on after a restart.
func TestShadowAfterARestart(t *testing.T) {
	s := storeOn(t, storetest.SQLite(t))
	first := start(t, s)
	hash := first.upload(revised(t, "1.1.0"))
	if _, err := first.StartShadow(t.Context(), hash, petra); err != nil {
		t.Fatal(err)
	}
	first.Close()
	again := start(t, s)
	again.shadowReport(hash, 0)
	if _, err := again.decide(); err != nil {
		t.Fatal(err)
	}
	if r := again.shadowReport(hash, 1); r.Agreed != 1 {
		t.Errorf("%+v", r)
	}
}
