package rollout_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/rollout"
	"github.com/tiergate/tiergate/rollout/rollouttest"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

var petra = engine.ChangeMeta{Actor: "petra", Reason: "the pilot's new rules"}

func revised(t testing.TB, revision string, edits ...string) *bundles.Bundle {
	t.Helper()
	return rollouttest.Revised(t, revision, edits...)
}

func pack(t testing.TB, b *bundles.Bundle) []byte {
	t.Helper()
	return rollouttest.Pack(t, b)
}

// key makes a key pair: what signs, and what verifies.
func key(t testing.TB) (*bundles.Signer, *bundles.Verifier) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bundles.NewSigner(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), "", "", "production")
	if err != nil {
		t.Fatal(err)
	}
	v, err := bundles.NewVerifier(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), "", "", "production")
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

func sign(t testing.TB, b *bundles.Bundle, s *bundles.Signer) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := b.WriteSigned(&out, s); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// replica is one gate of a deployment.
type replica struct {
	*rollout.Rollout
	t     testing.TB
	store *store.Store
	gate  *engine.Gate
}

func options(t testing.TB, s *store.Store) rollout.Options {
	seed := revised(t, "1.0.0")
	return rollout.Options{
		Store: s, Seed: rollout.Source{Bundle: seed, Archive: pack(t, seed), From: "the built-in bundle"}, Trusted: []string{seed.Hash},
		EngineVersion: "test", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Poll: 50 * time.Millisecond,
	}
}

// start opens a rollout on a store, and a gate with it.
func start(t testing.TB, s *store.Store, edits ...func(*rollout.Options)) *replica {
	t.Helper()
	o := options(t, s)
	for _, edit := range edits {
		edit(&o)
	}
	r, err := rollout.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	p, epoch := r.Policy()
	g := engine.NewGate(engine.GateOptions{Facts: s, Log: s, Policy: p, PolicyEpoch: epoch, EngineVersion: "test", Logger: o.Logger})
	r.Start(g)
	t.Cleanup(r.Close)
	return &replica{r, t, s, g}
}

func (r *replica) upload(b *bundles.Bundle) string {
	r.t.Helper()
	if _, added, err := r.Upload(r.t.Context(), pack(r.t, b), petra); err != nil || !added {
		r.t.Fatalf("upload: %v %v", added, err)
	}
	return b.Hash
}

func (r *replica) activate(hash string) {
	r.t.Helper()
	if b, err := r.Activate(r.t.Context(), hash, petra); err != nil || !b.Active {
		r.t.Fatalf("activate: %+v %v", b, err)
	}
}

// decide asks about an action that revision 1.1.0 decides otherwise.
func (r *replica) decide() (*engine.Entry, error) {
	return r.gate.Decide(r.t.Context(), &engine.Request{TenantID: "acme", ActionType: "search_siem", Target: "index:x", Actor: "system"})
}

func (r *replica) mustDecideBy(hash string) {
	r.t.Helper()
	e, err := r.decide()
	for try := 0; errors.Is(err, engine.ErrStalePolicy) && try < 10; try++ { // a machine on which compiling takes long
		e, err = r.decide()
	}
	if err != nil || e.Policy.BundleHash != hash {
		r.t.Errorf("decided by %+v %v, want %s", e, err, hash)
	}
}

// refused wants a refusal of a kind whose detail holds a text.
func refused(t testing.TB, err error, kind rollout.Kind, text string) {
	t.Helper()
	r, ok := errors.AsType[*rollout.Refusal](err)
	if !ok || r.Kind != kind || !strings.Contains(r.Detail, text) {
		t.Errorf("%v, want %s with %q", err, kind, text)
	}
}

// verdicts is a prover that says what it is told, bundle by bundle; the others
// hold.
func verdicts(fails ...string) rollout.Prover {
	return func(_ context.Context, b *bundles.Bundle) (bool, json.RawMessage, error) {
		for _, hash := range fails {
			if b.Hash == hash {
				return false, json.RawMessage(`{"counterexample":"isolate_host at L0 is auto"}`), nil
			}
		}
		return true, json.RawMessage(`{"situations":3}`), nil
	}
}

func storeOn(t testing.TB, url string) *store.Store { return storetest.Open(t, url) }
