package rollout_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/rollout"
	"github.com/tiergate/tiergate/rollout/rollouttest"
	"github.com/tiergate/tiergate/store/storetest"
)

// From the first start to the way back, on both databases.
func TestLifeOfABundle(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		r := start(t, open())
		ctx := t.Context()
		seed := revised(t, "1.0.0").Hash
		r.mustDecideBy(seed)
		next := revised(t, "1.1.0")
		b, added, err := r.Upload(ctx, pack(t, next), petra)
		if err != nil || !added || b.Active || b.Hash != next.Hash || b.Revision != "1.1.0" || b.UploadedBy != "petra" {
			t.Fatalf("%+v %v %v", b, added, err)
		}
		if _, added, err := r.Upload(ctx, pack(t, next), petra); err != nil || added {
			t.Errorf("again: %v %v", added, err)
		}
		r.mustDecideBy(seed) // an upload changes no decision
		r.activate(next.Hash)
		r.mustDecideBy(next.Hash)

		_, err = r.Activate(ctx, next.Hash, petra)
		refused(t, err, rollout.Refused, "active one already")
		_, err = r.Rollback(ctx, next.Hash, petra)
		refused(t, err, rollout.Refused, "active one already")
		_, err = r.Activate(ctx, seed, petra)
		refused(t, err, rollout.Refused, "older than the active 1.1.0")
		other := r.upload(revised(t, "1.1.0", "so it must not run", "so it may not run"))
		_, err = r.Activate(ctx, other, petra)
		refused(t, err, rollout.Refused, "not newer")
		_, err = r.Rollback(ctx, other, petra)
		refused(t, err, rollout.Refused, "never active")
		_, err = r.Activate(ctx, "sha256:"+strings.Repeat("0", 64), petra)
		if !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("an unknown bundle: %v", err)
		}

		if b, err := r.Rollback(ctx, seed, petra); err != nil || !b.Active {
			t.Errorf("%+v %v", b, err)
		}
		r.mustDecideBy(seed)
		_, err = r.Activate(ctx, other, petra) // newer than 1.0.0, but 1.1.0 was something else
		refused(t, err, rollout.Refused, "names one content")
		r.activate(next.Hash)

		list, err := r.Bundles(ctx, 0, 10)
		if err != nil || len(list) != 3 || list[0].Hash != other || !list[1].Active || list[1].Proof.State != rollout.ProofHolds || !list[2].WasActive {
			t.Errorf("%+v %v", list, err)
		}
		if raw, err := r.Archive(ctx, next.Hash); err != nil || string(raw) != string(pack(t, next)) {
			t.Errorf("the archive is another: %v", err)
		}
		history, err := r.History(ctx, engine.PolicyHistoryQuery{})
		kinds := []string{}
		for _, c := range history {
			kinds = append(kinds, c.Kind+" by "+c.Actor)
		}
		if got := strings.Join(kinds, ", "); err != nil || got != "seed by system, upload by petra, activate by petra, upload by petra, rollback by petra, activate by petra" || !strings.Contains(history[0].Reason, "the built-in bundle") {
			t.Errorf("%s %v", got, err)
		}
	})
}

// After a restart the database's bundle decides; what was brought along is kept
// and can be activated.
func TestTheDatabaseWins(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		first := start(t, s)
		next := first.upload(revised(t, "1.1.0"))
		first.activate(next)
		first.Close()

		brought := revised(t, "1.2.0")
		again := start(t, s, func(o *rollout.Options) {
			o.Seed = rollout.Source{Bundle: brought, Archive: pack(t, brought), From: "--bundle x", Chosen: true}
			o.Trusted = []string{brought.Hash}
		})
		again.mustDecideBy(next)
		if b, err := again.Bundle(t.Context(), brought.Hash); err != nil || b.Active || b.UploadedBy != "system" {
			t.Errorf("%+v %v", b, err)
		}
		again.activate(brought.Hash)
		again.mustDecideBy(brought.Hash)
	})
}

// What is no bundle, or none that can decide, changes nothing.
func TestBadUploads(t *testing.T) {
	r := start(t, storeOn(t, storetest.SQLite(t)))
	good := pack(t, revised(t, "1.1.0"))
	for name, archive := range map[string][]byte{
		"nothing":    nil,
		"no archive": []byte("hello"),
		"cut off":    good[:len(good)/2],
		// A rule that the engine's guards do not know.
		"no verdict": pack(t, revised(t, "1.1.0", rollouttest.Broken...)),
	} {
		_, _, err := r.Upload(t.Context(), archive, petra)
		if refusal, ok := errors.AsType[*rollout.Refusal](err); !ok || refusal.Kind != rollout.BadBundle || refusal.Detail == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := r.Bundles(t.Context(), 0, 10); err != nil || len(list) != 1 {
		t.Errorf("%d bundles are kept: %v", len(list), err)
	}
	if _, err := rollout.Open(t.Context(), func() rollout.Options {
		o := options(t, storeOn(t, storetest.SQLite(t)))
		bad := revised(t, "1.0.0", rollouttest.Broken...)
		o.Seed = rollout.Source{Bundle: bad, Archive: pack(t, bad), From: "--bundle x"}
		return o
	}()); !errors.Is(err, rollout.ErrSeed) {
		t.Errorf("a seed that cannot decide: %v", err)
	}
}

// With a key, only what it signed gets in, by any way.
func TestSignatures(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		oldSigner, oldKey := key(t)
		newSigner, newKey := key(t)
		r := start(t, s, func(o *rollout.Options) { o.Verifier = oldKey })
		next, later := revised(t, "1.1.0"), revised(t, "1.2.0")
		for name, archive := range map[string][]byte{"unsigned": pack(t, next), "another key": sign(t, next, newSigner)} {
			_, _, err := r.Upload(t.Context(), archive, petra)
			if refusal, ok := errors.AsType[*rollout.Refusal](err); !ok || refusal.Kind != rollout.BadBundle {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, b := range []*bundles.Bundle{next, later} {
			if _, _, err := r.Upload(t.Context(), sign(t, b, oldSigner), petra); err != nil {
				t.Fatal(err)
			}
		}
		r.activate(next.Hash)
		r.Close()

		// The key changes. What decides must be signed anew to be started with.
		seed := revised(t, "1.0.0")
		o := options(t, s)
		o.Verifier, o.Seed = newKey, rollout.Source{Bundle: seed, Archive: pack(t, seed), From: "the built-in bundle"}
		if _, err := rollout.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), next.Hash) || !strings.Contains(err.Error(), "signature") {
			t.Errorf("opened with another key: %v", err)
		}
		again := start(t, s, func(o *rollout.Options) { // --bundle brings the same content, newly signed
			o.Verifier, o.Trusted = newKey, []string{seed.Hash, next.Hash}
			o.Seed = rollout.Source{Bundle: next, Archive: sign(t, next, newSigner), From: "--bundle x", Chosen: true}
		})
		again.mustDecideBy(next.Hash)
		_, err := again.Activate(t.Context(), later.Hash, petra)
		refused(t, err, rollout.Refused, "signature")
		anew := sign(t, later, newSigner)
		if _, added, err := again.Upload(t.Context(), anew, petra); err != nil || added {
			t.Errorf("signed anew: %v %v", added, err)
		}
		if raw, err := again.Archive(t.Context(), later.Hash); err != nil || string(raw) != string(anew) {
			t.Errorf("the copy that is accepted is not the one given out: %v", err)
		}
		again.activate(later.Hash)
		again.mustDecideBy(later.Hash)
		if _, err := again.Rollback(t.Context(), seed.Hash, petra); err != nil { // trusted by its hash
			t.Error(err)
		}
	})
}

// What a proof does not cover has to be accepted by whoever activates the
// bundle, and the history shows that. The way back is free.
func TestNotCovered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		hole, next := revised(t, "1.1.0"), revised(t, "1.2.0")
		r := start(t, s, func(o *rollout.Options) {
			o.Prove = func(_ context.Context, b *bundles.Bundle) (bool, json.RawMessage, error) {
				if b.Hash == hole.Hash {
					return true, json.RawMessage(`{"not_covered":["this policy also depends on the moon"]}`), nil
				}
				return true, json.RawMessage(`{"not_covered":[]}`), nil
			}
		})
		r.upload(hole)
		r.upload(next)
		_, err := r.Activate(t.Context(), hole.Hash, petra)
		refused(t, err, rollout.NotCovered, "depends on the moon")
		accepts := petra
		accepts.AcceptNotCovered = true
		if b, err := r.Activate(t.Context(), hole.Hash, accepts); err != nil || !b.Active {
			t.Fatalf("%+v %v", b, err)
		}
		r.activate(next.Hash)
		if _, err := r.Rollback(t.Context(), hole.Hash, petra); err != nil {
			t.Error(err)
		}
		changes, err := r.History(t.Context(), engine.PolicyHistoryQuery{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		var accepted []string
		for _, c := range changes {
			if strings.Contains(string(c.After), `"accepted_not_covered":true`) {
				accepted = append(accepted, c.Kind+" "+c.BundleHash)
			}
		}
		if len(accepted) != 1 || accepted[0] != "activate "+hole.Hash {
			t.Errorf("accepted: %v", accepted)
		}
	})
}

// An empty database is no way around it.
func TestSeedNotCovered(t *testing.T) {
	s := storeOn(t, storetest.SQLite(t))
	o := options(t, s)
	o.Seed = rollout.Source{Bundle: revised(t, "1.3.0"), Archive: pack(t, revised(t, "1.3.0")), From: "--bundle", Chosen: true}
	o.Prove = func(context.Context, *bundles.Bundle) (bool, json.RawMessage, error) {
		return true, json.RawMessage(`{"not_covered":["this policy also depends on the moon"]}`), nil
	}
	if r, err := rollout.Open(t.Context(), o); !errors.Is(err, rollout.ErrSeed) || !strings.Contains(err.Error(), "--accept-not-covered") {
		r.Close()
		t.Fatalf("%v", err)
	}
	o.Seed.AcceptNotCovered = true
	r, err := rollout.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	changes, err := s.PolicyHistory(t.Context(), engine.PolicyHistoryQuery{Limit: 10})
	if err != nil || len(changes) != 1 || !strings.Contains(string(changes[0].After), `"accepted_not_covered":true`) {
		t.Errorf("%+v %v", changes, err)
	}
}

// A bundle that does not hold its promises is never active.
func TestProofs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		bad := revised(t, "1.1.0")
		r := start(t, s, func(o *rollout.Options) { o.Prove = verdicts(bad.Hash) })
		seed := revised(t, "1.0.0").Hash
		r.upload(bad)
		_, err := r.Activate(t.Context(), bad.Hash, petra)
		refused(t, err, rollout.ProofFailed, "does not hold")
		if refusal, _ := errors.AsType[*rollout.Refusal](err); refusal == nil || !strings.Contains(string(refusal.Report), "isolate_host") {
			t.Errorf("the report is missing: %v", err)
		}
		r.mustDecideBy(seed)
		if b, err := r.Bundle(t.Context(), bad.Hash); err != nil || b.Proof.State != rollout.ProofFails {
			t.Errorf("%+v %v", b.Proof, err)
		}
		for _, hash := range []string{seed, bad.Hash} {
			if p, err := s.Proof(t.Context(), hash, "test"); err != nil || p.Holds != (hash == seed) {
				t.Errorf("kept: %+v %v", p, err)
			}
		}
		// Another gate does not look for it again, another engine does.
		never := func(context.Context, *bundles.Bundle) (bool, json.RawMessage, error) {
			t.Error("a proof was looked for again")
			return false, nil, errors.New("no")
		}
		other := start(t, s, func(o *rollout.Options) { o.Prove = never })
		_, err = other.Activate(t.Context(), bad.Hash, petra)
		refused(t, err, rollout.ProofFailed, "does not hold")
		upgraded := start(t, s, func(o *rollout.Options) { o.Prove, o.EngineVersion = verdicts(), "newer" })
		upgraded.activate(bad.Hash)
		upgraded.mustDecideBy(bad.Hash)
	})
}

// An activation waits for the proof under way, not for ever.
func TestAnActivationWaitsForTheProof(t *testing.T) {
	release := make(chan struct{})
	slow := revised(t, "1.1.0").Hash
	r := start(t, storeOn(t, storetest.SQLite(t)), func(o *rollout.Options) {
		o.ProofPatience = 200 * time.Millisecond
		o.Prove = func(ctx context.Context, b *bundles.Bundle) (bool, json.RawMessage, error) {
			if b.Hash == slow {
				select {
				case <-release:
				case <-ctx.Done():
				}
			}
			return true, nil, ctx.Err()
		}
	})
	r.upload(revised(t, "1.1.0"))
	if b, err := r.Bundle(t.Context(), slow); err != nil || b.Proof.State != rollout.ProofRunning || time.Since(b.Proof.At) > time.Minute {
		t.Errorf("%+v %v", b.Proof, err)
	}
	_, err := r.Activate(t.Context(), slow, petra)
	refused(t, err, rollout.StillProving, "Ask again")
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	r.activate(slow)
}

// A prover that errs or panics proves nothing, and is asked again.
func TestAProverThatErrs(t *testing.T) {
	calls := 0
	r := start(t, storeOn(t, storetest.SQLite(t)), func(o *rollout.Options) {
		o.Prove = func(_ context.Context, b *bundles.Bundle) (bool, json.RawMessage, error) {
			if b.Revision == "1.0.0" {
				return true, nil, nil
			}
			if calls++; calls == 1 {
				return true, nil, errors.New("out of paper")
			}
			if calls == 2 {
				panic("out of ink")
			}
			return true, nil, nil
		}
	})
	hash := r.upload(revised(t, "1.1.0"))
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		b, err := r.Bundle(t.Context(), hash)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%+v %v", b, err)
		}
		if b.Proof.State == rollout.ProofError && strings.Contains(b.Proof.Detail, "paper") {
			break
		}
	}
	_, err := r.Activate(t.Context(), hash, petra)
	refused(t, err, rollout.Refused, "out of ink")
	r.activate(hash)
}
