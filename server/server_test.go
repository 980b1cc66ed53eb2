package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
)

// brokenGate answers a question, or the last of several, with an error, or panics.
type brokenGate struct {
	Gate
	err error
}

func (g brokenGate) Decide(context.Context, *engine.Request) (*engine.Entry, error) {
	if g.err == nil {
		panic("secret of the gate")
	}
	return nil, g.err
}

func (g brokenGate) DecideBatch(ctx context.Context, rs []*engine.Request) []engine.Outcome {
	out := g.Gate.DecideBatch(ctx, rs)
	out[len(out)-1] = engine.Outcome{Err: g.err}
	return out
}

func TestEveryErrorOfTheEngineHasItsAnswer(t *testing.T) {
	for _, c := range []struct {
		err        error
		status     int
		kind       string
		retry      bool
		wholeBatch bool
	}{
		{engine.ErrPolicy, 500, "policy_error", false, false},
		{engine.ErrUnavailable, 503, "log_unavailable", true, true},
		{engine.ErrQueueFull, 503, "queue_full", true, true},
		{engine.ErrStaleEpoch, 503, "configuration_changing", true, true},
		{engine.ErrStalePolicy, 503, "policy_changing", true, true},
		{engine.ErrTooManyCandidates, 503, "too_many_candidates", false, false},
		{engine.ErrActionConflict, 409, "action_id_conflict", false, false},
		{engine.ErrSuperseded, 409, "decision_superseded", false, false},
		{engine.ErrNotFound, 404, "not_found", false, false},
		{context.DeadlineExceeded, 503, "timeout", true, true},
		{errors.New("pq: password authentication failed for secret"), 500, "internal", false, false},
	} {
		wrapped := fmt.Errorf("ask the secret database: %w", c.err)
		r := newRig(t, func(o *Options) { o.Gate = brokenGate{o.Gate, wrapped} })
		got := r.do("acme-agent", "POST", decisions, simple)
		if got.status != c.status || got.body["type"] != typeBase+c.kind || got.body["title"] == "" || got.body["detail"] == "" {
			t.Errorf("%v: %d %s", c.err, got.status, got.raw)
		}
		if strings.Contains(got.raw, "secret") {
			t.Errorf("%v leaks: %s", c.err, got.raw)
		}
		if (got.header.Get("Retry-After") != "") != c.retry {
			t.Errorf("%v: Retry-After %q", c.err, got.header.Get("Retry-After"))
		}
		got = r.do("acme-agent", "POST", decisions+"/batch", `{"decisions":[`+simple+`,`+simple+`]}`)
		switch {
		case c.wholeBatch && (got.status != 503 || got.body["decisions"] != nil):
			t.Errorf("%v in a batch: %d %s", c.err, got.status, got.raw)
		case !c.wholeBatch:
			item := got.body["decisions"].([]any)[1].(map[string]any)
			if got.status != 200 || item["error"].(map[string]any)["type"] != typeBase+c.kind || len(item) != 1 {
				t.Errorf("%v in a batch: %d %s", c.err, got.status, got.raw)
			}
		}
		metrics := r.must(200, "", "GET", "/metrics", "").raw
		for _, want := range []string{
			`tiergate_problems_total{type="` + c.kind + `"} 2`,
			fmt.Sprintf(`tiergate_policy_errors_total %d`, map[bool]int{true: 2}[c.err == engine.ErrPolicy]),
		} {
			if !strings.Contains(metrics, want+"\n") {
				t.Errorf("%v: no %s in the metrics", c.err, want)
			}
		}
	}
}

func TestAPanicIsA500(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Gate = brokenGate{Gate: o.Gate} })
	got := r.must(500, "acme-agent", "POST", decisions, simple)
	if got.body["type"] != typeBase+"internal" || strings.Contains(got.raw, "secret") {
		t.Error(got.raw)
	}
	if metrics := r.must(200, "", "GET", "/metrics", "").raw; !strings.Contains(metrics, "tiergate_http_panics_total 1\n") {
		t.Error("the panic was not counted")
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/", "/no-such", base, base + "/", base + "/decisions/", base + "//decisions", "/API/v1/remediation/config", base + "/config/", "/healthz/"} {
		for _, method := range []string{"GET", "POST"} {
			if got := r.do("acme-all", method, path, ""); got.status != 404 || got.body["type"] != typeBase+"not_found" {
				t.Errorf("%s %s: %d %s", method, path, got.status, got.raw)
			}
		}
	}
	for _, c := range []struct{ method, path, allow string }{
		{"GET", "/decisions", "POST"}, {"PATCH", "/config", "GET, PUT"}, {"DELETE", "/config", "GET, PUT"},
		{"OPTIONS", "/config", "GET, PUT"}, {"POST", "/gate-log", "GET"}, {"BREW", "/gate-log", "GET"}, {"DELETE", "/gate-log", "GET"},
	} {
		got := r.do("acme-all", c.method, base+c.path, "")
		if got.status != 405 || got.body["type"] != typeBase+"method_not_allowed" || got.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q: %s", c.method, c.path, got.status, got.header.Get("Allow"), got.raw)
		}
	}
}

type unhealthy struct {
	Store
	health engine.Health
}

func (u unhealthy) Health(context.Context) engine.Health { return u.health }

func TestReadyz(t *testing.T) {
	for _, c := range []struct {
		health engine.Health
		status int
	}{
		{engine.Health{Writable: true, EpochLag: 3}, 200},
		{engine.Health{Writable: true, ClockSkew: time.Second}, 200},
		{engine.Health{Writable: true, ClockSkew: time.Second + 1}, 503},
		{engine.Health{Writable: true, ClockSkew: -time.Minute}, 503},
		{engine.Health{}, 503},
	} {
		r := newRig(t, func(o *Options) { o.Store = unhealthy{o.Store, c.health} })
		got := r.must(c.status, "", "GET", "/readyz", "")
		if got.body["ready"] != (c.status == 200) || got.body["bundle_hash"] != r.options.Gate.PolicyID().BundleHash || got.body["epoch_lag"] != float64(c.health.EpochLag) {
			t.Errorf("%+v: %s", c.health, got.raw)
		}
	}
	r := newRig(t)
	if got := r.must(200, "", "GET", "/readyz", ""); got.body["revision"] == "" {
		t.Error(got.raw)
	}
}

// Nothing that a caller can choose becomes a label or a log line's secret.
func TestMetricsHaveNoCallersWords(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-agent", "POST", decisions, `{"action_type":"made_up_type","target":"host:made-up-target"}`)
	r.do("made-up-token", "GET", "/made-up-path", "")
	r.do("made-up-token", "MADEUPMETHOD", base+"/config", "")
	metrics := strings.ToLower(r.must(200, "", "GET", "/metrics", "").raw)
	for _, word := range []string{"made_up", "made-up", "madeup", "acme"} {
		if strings.Contains(metrics, word) {
			t.Errorf("%q is in the metrics", word)
		}
	}
	if !strings.Contains(metrics, `tiergate_decisions_total{blast_radius="critical",decision="queued_approval",rule="critical_never_auto"} 1`) {
		t.Error("the decision was not counted")
	}
}

// A real server ends what comes too slowly or too big.
func TestHTTPServerHasLimits(t *testing.T) {
	srv := HTTPServer("127.0.0.1:0", http.NotFoundHandler())
	if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= 0 || srv.WriteTimeout <= 0 || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes <= 0 {
		t.Errorf("%+v", srv)
	}
	r := newRig(t)
	ts := httptest.NewServer(r.handler)
	defer ts.Close()
	req, _ := http.NewRequest("POST", ts.URL+decisions, strings.NewReader(simple))
	req.Header.Set("Authorization", "Bearer acme-agent")
	req.Header.Set("Content-Type", "application/json")
	res, err := ts.Client().Do(req)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("over a real connection: %v %v", res, err)
	}
	res.Body.Close()
}

// slow is a store whose reads take until their context ends.
type slow struct{ Store }

func (slow) Config(ctx context.Context, _ string) (engine.Config, error) {
	deadline, ok := ctx.Deadline()
	if !ok || time.Until(deadline) > readPatience {
		return engine.Config{}, errors.New("a read without an end")
	}
	return engine.Config{}, context.DeadlineExceeded
}

func TestReadsEnd(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Store = slow{o.Store} })
	if got := r.must(503, "acme-auditor", "GET", config, ""); got.body["type"] != typeBase+"timeout" {
		t.Error(got.raw)
	}
}

// Without its log the gate gives no decision, and says so within a second.
func TestWithoutTheDatabaseThereIsNoDecision(t *testing.T) {
	r := newRig(t)
	r.must(200, "acme-agent", "POST", decisions, simple)
	if err := r.options.Store.(*store.Store).Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/decisions", simple},
		{"POST", "/decisions/batch", `{"decisions":[` + simple + `]}`},
		{"GET", "/config", ""},
		{"PUT", "/config", `{"maturity_tier":1}`},
		{"GET", "/gate-log", ""},
		{"GET", "/gate-log/summary", ""},
		{"GET", "/config/history", ""},
		{"GET", "/whitelist", ""},
		{"POST", "/stop", `{"reason":"x"}`},
		{"GET", "/decisions/" + someID, ""},
	} {
		if got := r.do("acme-all", c.method, base+c.path, c.body); got.status != 503 || got.body["decision"] != nil || got.body["type"] != typeBase+"log_unavailable" {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.status, got.raw)
		}
	}
	if got := r.must(503, "", "GET", "/readyz", ""); got.body["ready"] != false {
		t.Error(got.raw)
	}
	r.must(200, "", "GET", "/healthz", "")
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %s", took)
	}
}
