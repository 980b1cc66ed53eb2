package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/policies"
	"github.com/tiergate/tiergate/store"
)

// shipped compiles the policy once for all tests.
var shipped = sync.OnceValues(func() (*engine.Policy, error) {
	src, err := readShipped()
	if err != nil {
		return nil, err
	}
	return engine.NewPolicy(context.Background(), src)
})

func readShipped() (engine.PolicySource, error) {
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		return engine.PolicySource{}, err
	}
	return engine.PolicySource{ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data}, nil
}

// shippedSource is the policy to be changed by a test.
func shippedSource(t testing.TB) engine.PolicySource {
	t.Helper()
	src, err := readShipped()
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// credentials of every test: a bound and a free one for each role.
var credentials = []struct{ token, tenant, roles string }{
	{"acme-agent", "acme", "agent"},
	{"acme-operator", "acme", "operator"},
	{"acme-auditor", "acme", "auditor"},
	{"acme-all", "acme", "agent,operator,auditor"},
	{"acme-approver", "acme", "approver"},
	{"acme-olga", "acme", "approver olga"},
	{"acme-olga2", "acme", "approver,auditor olga"},
	{"acme-bot", "acme", "approver,agent bot"},
	{"globex-approver", "globex", "approver"},
	{"globex-all", "globex", "agent,operator,auditor"},
	{"any-all", "*", "agent,operator,auditor"},
	{"any-auditor", "*", "auditor"},
	{"any-operator", "*", "operator"},
	{"any-admin", "*", "policy_admin"},
}

func testTokens(t testing.TB) *Tokens {
	t.Helper()
	var b strings.Builder
	for _, c := range credentials {
		fmt.Fprintf(&b, "%x %s %s %s\n", sha256.Sum256([]byte(c.token)), c.token, c.tenant, c.roles)
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// rig is the whole server over the shipped policy and a database of its own.
type rig struct {
	t       testing.TB
	handler http.Handler
	options Options
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	policy, err := shipped()
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "gate.db"), Logger: quiet, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	gate := engine.NewGate(engine.GateOptions{Facts: s, Log: s, Approvals: s, Policy: policy, EngineVersion: "test", Logger: quiet})
	o := Options{Gate: gate, Store: s, Tokens: testTokens(t), Logger: quiet}
	for _, f := range change {
		f(&o)
	}
	return &rig{t, New(o), o}
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

// do makes a request with a token; extra are pairs of header names and values.
func (r *rig) do(token, method, path, body string, extra ...string) reply {
	r.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(extra); i += 2 {
		req.Header.Add(extra[i], extra[i+1])
	}
	return r.send(req)
}

func (r *rig) send(req *http.Request) reply {
	r.t.Helper()
	rec := httptest.NewRecorder()
	r.handler.ServeHTTP(rec, req)
	out := reply{status: rec.Code, header: rec.Header(), raw: rec.Body.String()}
	if open := slices.Contains([]string{"/metrics", "/openapi.json"}, req.URL.Path); !open && rec.Code != http.StatusNoContent && rec.Header().Get("Cache-Control") != "no-store" {
		r.t.Errorf("%s %.80s: %d may be kept by a cache", req.Method, req.URL, rec.Code)
	}
	for _, fault := range conform(req.Method, req.URL.Path, rec.Code, rec.Header(), rec.Body.Bytes()) {
		r.t.Errorf("openapi.yaml: %s", fault)
	}
	kind := rec.Header().Get("Content-Type")
	switch {
	case rec.Code >= 400 && kind != "application/problem+json" && !(req.URL.Path == "/readyz" && kind == "application/json"):
		r.t.Errorf("%s %.80s: %d with Content-Type %q", req.Method, req.URL, rec.Code, kind)
	case strings.HasSuffix(kind, "json"):
		if err := json.Unmarshal(rec.Body.Bytes(), &out.body); err != nil {
			r.t.Errorf("%s %.80s: %d with a body that is no JSON object: %.200s", req.Method, req.URL, rec.Code, out.raw)
		}
	}
	return out
}

// must is do for requests whose status is known.
func (r *rig) must(status int, token, method, path, body string, extra ...string) reply {
	r.t.Helper()
	got := r.do(token, method, path, body, extra...)
	if got.status != status {
		r.t.Fatalf("%s %.100s %.200s: %d, want %d: %s", method, path, body, got.status, status, got.raw)
	}
	return got
}

// fields are the names of the fields at fault.
func (r reply) fields() []string {
	list, _ := r.body["errors"].([]any)
	out := []string{}
	for _, e := range list {
		out = append(out, e.(map[string]any)["field"].(string))
	}
	return out
}
