package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/policies"
	"github.com/tiergate/tiergate/rollout"
	"github.com/tiergate/tiergate/rollout/rollouttest"
	"github.com/tiergate/tiergate/store"
)

func revised(t testing.TB, revision string, edits ...string) (hash string, archive []byte) {
	t.Helper()
	b := rollouttest.Revised(t, revision, edits...)
	return b.Hash, rollouttest.Pack(t, b)
}

// withRollout gives a rig a rollout and the gate that it moves. Revision
// 1.6.66 fails its proof, 1.7.77 is never finished with it, and that of 1.8.88
// does not cover all.
func withRollout(t testing.TB) func(*Options) {
	return func(o *Options) {
		builtin, err := bundles.LoadFS(policies.FS)
		if err != nil {
			t.Fatal(err)
		}
		s := o.Store.(*store.Store)
		r, err := rollout.Open(t.Context(), rollout.Options{
			Store: s, Seed: rollout.Source{Bundle: builtin, Archive: rollouttest.Pack(t, builtin), From: "the built-in bundle"}, EngineVersion: "test", Logger: o.Logger,
			ProofPatience: 50 * time.Millisecond,
			Prove: func(ctx context.Context, b *bundles.Bundle) (bool, json.RawMessage, error) {
				if b.Revision == "1.7.77" {
					<-ctx.Done()
				}
				if b.Revision == "1.8.88" {
					return true, json.RawMessage(`{"not_covered":["this policy also looks at the moon: not covered"]}`), nil
				}
				return b.Revision != "1.6.66", json.RawMessage(`{"situations":3}`), ctx.Err()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		p, epoch := r.Policy()
		g := engine.NewGate(engine.GateOptions{Facts: s, Log: s, Policy: p, PolicyEpoch: epoch, EngineVersion: "test", Logger: o.Logger})
		r.Start(g)
		o.Gate, o.Rollout = g, r
	}
}

func (r *rig) upload(status int, archive []byte) reply {
	r.t.Helper()
	req := httptest.NewRequest("POST", base+"/bundles?reason=pilot", bytes.NewReader(archive))
	req.Header.Set("Authorization", "Bearer any-admin")
	req.Header.Set("Content-Type", "application/gzip")
	got := r.send(req)
	if got.status != status {
		r.t.Fatalf("upload: %d, want %d: %s", got.status, status, got.raw)
	}
	return got
}

func TestBundlesOverHTTP(t *testing.T) {
	r := newRig(t, withRollout(t))
	hash, archive := revised(t, "1.1.2", rollouttest.Cautious...)
	path := base + "/bundles/" + hash
	seed := r.must(200, "any-admin", "GET", base+"/bundles", "").body["entries"].([]any)[0].(map[string]any)
	if seed["active"] != true || seed["uploaded_by"] != "system" || seed["policy_epoch"] != 1.0 {
		t.Errorf("%v", seed)
	}
	if got := r.upload(201, archive); got.body["bundle_hash"] != hash || got.body["active"] != false || got.body["uploaded_by"] != "any-admin" {
		t.Error(got.raw)
	}
	r.upload(200, archive)
	if got := r.must(200, "acme-auditor", "GET", path, "", "Accept", "application/gzip"); got.raw != string(archive) || got.header.Get("Content-Type") != "application/gzip" {
		t.Error("the archive that came back is another")
	}
	r.must(200, "acme-all", "PUT", base+"/config", `{"maturity_tier":1}`)

	r.must(404, "any-auditor", "GET", path+"/shadow", "")
	r.must(200, "any-admin", "POST", path+"/shadow", `{"reason":"pilot"}`)
	row := r.must(200, "acme-agent", "POST", decisions, `{"action_type":"search_siem","target":"index:x"}`)
	if row.body["decision"] != "auto" {
		t.Errorf("the shadow was heard: %s", row.raw)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got := r.must(200, "any-auditor", "GET", path+"/shadow", "")
		if got.body["evaluated"] == 1.0 {
			if s := got.body["samples"].([]any)[0].(map[string]any); s["decision_id"] != row.body["decision_id"] || s["tenant_id"] != "acme" || s["shadow"] != "queued_approval" || got.body["diverged"] != 1.0 {
				t.Error(got.raw)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(got.raw)
		}
	}
	if metrics := r.must(200, "", "GET", "/metrics", "").raw; strings.Contains(metrics, "acme") {
		t.Error("a tenant is in the metrics")
	}
	r.must(204, "any-admin", "DELETE", path+"/shadow?reason=enough", "")
	r.must(404, "any-admin", "DELETE", path+"/shadow?reason=enough", "")
	r.must(404, "any-auditor", "GET", path+"/shadow", "")

	if got := r.must(200, "any-admin", "POST", path+"/activate", `{"reason":"the pilot went well"}`); got.body["active"] != true || got.body["policy_epoch"] != 2.0 {
		t.Error(got.raw)
	}
	row = r.must(200, "acme-agent", "POST", decisions, `{"action_type":"search_siem","target":"index:x"}`)
	if row.body["decision"] != "queued_approval" || row.body["policy"].(map[string]any)["bundle_hash"] != hash {
		t.Error(row.raw)
	}
	if got := r.must(200, "", "GET", "/readyz", ""); got.body["bundle_hash"] != hash {
		t.Error(got.raw)
	}
	if got := r.must(409, "any-admin", "POST", path+"/activate", `{"reason":"again"}`); got.body["type"] != typeBase+"bundle_refused" {
		t.Error(got.raw)
	}
	r.must(200, "any-admin", "POST", base+"/bundles/"+seed["bundle_hash"].(string)+"/rollback", `{"reason":"it asks too often"}`)

	kinds, cursor := []string{}, ""
	for {
		page := r.must(200, "acme-operator", "GET", base+"/bundles/history?limit=2"+cursor, "")
		for _, e := range page.body["entries"].([]any) {
			kinds = append(kinds, e.(map[string]any)["kind"].(string))
		}
		next, more := page.body["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	if got := strings.Join(kinds, " "); got != "seed upload shadow shadow_stop activate rollback" {
		t.Error(got)
	}
	first := r.must(200, "any-admin", "GET", base+"/bundles?limit=1", "")
	second := r.must(200, "any-admin", "GET", base+"/bundles?limit=1&cursor="+first.body["next_cursor"].(string), "")
	if second.body["entries"].([]any)[0].(map[string]any)["bundle_hash"] != seed["bundle_hash"] || second.body["next_cursor"] != nil {
		t.Error(second.raw)
	}
}

func TestProofsOverHTTP(t *testing.T) {
	r := newRig(t, withRollout(t))
	fails, archive := revised(t, "1.6.66")
	r.upload(201, archive)
	got := r.must(409, "any-admin", "POST", base+"/bundles/"+fails+"/activate", `{"reason":"x"}`)
	if got.body["type"] != typeBase+"proof_failed" || got.body["report"].(map[string]any)["situations"] != 3.0 {
		t.Error(got.raw)
	}
	if got := r.must(200, "any-admin", "GET", base+"/bundles/"+fails, ""); got.body["proof"].(map[string]any)["state"] != "fails" || got.body["proof"].(map[string]any)["report"] == nil {
		t.Error(got.raw)
	}
	hole, archive := revised(t, "1.8.88")
	r.upload(201, archive)
	got = r.must(409, "any-admin", "POST", base+"/bundles/"+hole+"/activate", `{"reason":"x","accept_not_covered":false}`)
	if got.body["type"] != typeBase+"not_covered" || !strings.Contains(got.body["detail"].(string), "at the moon") || got.body["report"] == nil {
		t.Error(got.raw)
	}
	r.must(400, "any-admin", "POST", base+"/bundles/"+hole+"/activate", `{"reason":"x","accept_not_covered":1}`)
	r.must(400, "any-admin", "POST", base+"/bundles/"+hole+"/rollback", `{"reason":"x","accept_not_covered":true}`)
	endless, archive := revised(t, "1.7.77")
	if got := r.upload(201, archive); got.body["proof"].(map[string]any)["state"] != "running" {
		t.Error(got.raw)
	}
	got = r.must(409, "any-admin", "POST", base+"/bundles/"+endless+"/activate", `{"reason":"x"}`)
	if got.body["type"] != typeBase+"proof_running" || got.header.Get("Retry-After") != "5" {
		t.Error(got.raw)
	}
	if got := r.must(200, "any-admin", "GET", base+"/bundles", ""); strings.Contains(got.raw, "situations") {
		t.Errorf("a list with reports: %s", got.raw)
	}
}

func TestBadBundleRequests(t *testing.T) {
	r := newRig(t, withRollout(t))
	hash, archive := revised(t, "1.1.2")
	_, broken := revised(t, "1.2.0", rollouttest.Broken...)
	r.upload(201, archive)
	path := base + "/bundles"
	one := path + "/" + hash
	for _, c := range []struct {
		status             int
		method, path, body string
		header             []string
		kind               string
	}{
		{400, "POST", path + "?reason=x", "", []string{"Content-Type", "application/gzip"}, "bad_bundle"},
		{400, "POST", path + "?reason=x", "hello", []string{"Content-Type", "application/gzip"}, "bad_bundle"},
		{400, "POST", path + "?reason=x", string(archive[:len(archive)/2]), []string{"Content-Type", "application/gzip"}, "bad_bundle"},
		{400, "POST", path + "?reason=x", string(broken), []string{"Content-Type", "application/vnd.openpolicyagent.bundles"}, "bad_bundle"},
		{400, "POST", path, string(archive), []string{"Content-Type", "application/gzip"}, "bad_request"},
		{400, "POST", path + "?reason=" + strings.Repeat("x", 1001), string(archive), []string{"Content-Type", "application/gzip"}, "bad_request"},
		{400, "POST", path + "?reason=x&force=1", string(archive), []string{"Content-Type", "application/gzip"}, "bad_request"},
		{415, "POST", path + "?reason=x", string(archive), []string{"Content-Type", "application/json"}, "unsupported_media_type"},
		{415, "POST", path + "?reason=x", string(archive), []string{"Content-Type", "application/gzip", "Content-Encoding", "gzip"}, "unsupported_media_type"},
		{413, "POST", path + "?reason=x", strings.Repeat("x", maxArchive+1), []string{"Content-Type", "application/gzip"}, "too_large"},
		{400, "POST", one + "/activate", `{}`, nil, "bad_request"},
		{400, "POST", one + "/activate", `{"reason":"x","force":true}`, nil, "bad_request"},
		{400, "POST", one + "/activate?force=1", `{"reason":"x"}`, nil, "bad_request"},
		{415, "POST", one + "/activate", `reason=x`, []string{"Content-Type", "text/plain"}, "unsupported_media_type"},
		{409, "POST", one + "/rollback", `{"reason":"x"}`, nil, "bundle_refused"},
		{400, "DELETE", one + "/shadow", "", nil, "bad_request"},
		{400, "GET", path + "?limit=0", "", nil, "bad_request"},
		{400, "GET", path + "?cursor=x", "", nil, "bad_request"},
		{400, "GET", path + "/history?from=x", "", nil, "bad_request"},
	} {
		var req = httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		req.Header.Set("Authorization", "Bearer any-admin")
		if c.body != "" && c.header == nil {
			req.Header.Set("Content-Type", "application/json")
		}
		for i := 0; i+1 < len(c.header); i += 2 {
			req.Header.Set(c.header[i], c.header[i+1])
		}
		if got := r.send(req); got.status != c.status || got.body["type"] != typeBase+c.kind {
			t.Errorf("%s %.120s %.60q: %d %.300s, want %d %s", c.method, c.path, c.body, got.status, got.raw, c.status, c.kind)
		}
	}
	for _, bad := range []string{"x", "sha256:" + strings.Repeat("0", 64), strings.ToUpper(hash), "sha256:..", "history"} {
		for _, action := range []string{"/activate", "/rollback", "/shadow"} {
			r.must(404, "any-admin", "POST", path+"/"+bad+action, `{"reason":"x"}`)
		}
		if bad != "history" {
			r.must(404, "any-admin", "GET", path+"/"+bad, "")
			r.must(404, "any-admin", "GET", path+"/"+bad, "", "Accept", "application/gzip")
		}
		r.must(404, "any-admin", "GET", path+"/"+bad+"/shadow", "")
		r.must(404, "any-admin", "DELETE", path+"/"+bad+"/shadow?reason=x", "")
	}
	if got := r.must(200, "any-admin", "GET", path+"/history", ""); len(got.body["entries"].([]any)) != 2 {
		t.Errorf("something was changed: %s", got.raw)
	}
}

// One tenant's people cannot move the deployment, nor see the others in it.
func TestPolicyRoles(t *testing.T) {
	r := newRig(t, withRollout(t))
	hash, archive := revised(t, "1.1.2")
	r.upload(201, archive)
	path := base + "/bundles/" + hash
	for _, token := range []string{"acme-all", "any-all", "any-operator", "any-auditor", "acme-operator"} {
		for _, action := range []string{"/activate", "/rollback", "/shadow"} {
			r.must(403, token, "POST", path+action, `{"reason":"x"}`)
		}
		r.must(403, token, "DELETE", path+"/shadow?reason=x", "")
		r.must(403, token, "POST", base+"/bundles?reason=x", string(archive), "Content-Type", "application/gzip")
		r.must(200, token, "GET", path, "")
	}
	r.must(200, "any-admin", "POST", path+"/shadow", `{"reason":"x"}`)
	for token, status := range map[string]int{"any-admin": 200, "any-auditor": 200, "any-all": 200, "acme-auditor": 403, "acme-all": 403, "any-operator": 403, "acme-agent": 403} {
		r.must(status, token, "GET", path+"/shadow", "")
	}
	for _, c := range []string{"/config", "/gate-log", "/whitelist"} {
		r.must(403, "any-admin", "GET", base+c, "")
	}
	r.must(403, "any-admin", "POST", decisions, simple)
	dev := newRig(t, withRollout(t), func(o *Options) { o.Tokens = DevTokens() })
	dev.must(200, "dev", "GET", base+"/bundles", "")
	dev.must(404, "dev", "POST", path+"/activate", `{"reason":"x"}`)
}

// stuck is a rollout of a gate that cannot go over to the active bundle.
type stuck struct{ Rollout }

func (stuck) Ready() error { return errors.New("secret of the bundle") }

func (stuck) Activate(context.Context, string, engine.ChangeMeta) (rollout.Bundle, error) {
	return rollout.Bundle{}, fmt.Errorf("ask: %w", &rollout.Refusal{Kind: rollout.Contended, Detail: "Ask again."})
}

func TestReadyOnlyWithTheActiveBundle(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Rollout = stuck{} })
	got := r.must(503, "", "GET", "/readyz", "")
	if got.body["ready"] != false || strings.Contains(got.raw, "secret") || !strings.Contains(got.raw, "another bundle") {
		t.Error(got.raw)
	}
	if got := r.must(503, "any-admin", "POST", base+"/bundles/sha256:"+strings.Repeat("0", 64)+"/activate", `{"reason":"x"}`); got.body["type"] != typeBase+"policy_busy" || got.header.Get("Retry-After") != "1" {
		t.Error(got.raw)
	}
}
