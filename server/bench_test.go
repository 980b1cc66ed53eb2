package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// readyGate answers at once, so that what is measured is the server's own work.
type readyGate struct {
	Gate
	entry engine.Entry
}

func (g *readyGate) Decide(_ context.Context, r *engine.Request) (*engine.Entry, error) {
	e := g.entry
	e.Request = *r
	return &e, nil
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// What POST /decisions costs beyond net/http and the gate.
func BenchmarkPostDecision(b *testing.B) {
	gate := &readyGate{entry: engine.Entry{
		DecisionID: "0197f1c3-0000-7000-8000-000000000000",
		Verdict: engine.Verdict{Decision: engine.Auto, Rule: engine.RuleWhitelistMatch, BlastRadius: engine.High,
			Rationale:    "isolate_host has blast radius HIGH and the whitelist entry names this target, so it runs by itself.",
			MaturityTier: 4, TierLabel: "L4-Automate", OverridesApplied: []string{"whitelist:0197f1c3-0000-7000-8000-000000000001"}},
		Policy:   engine.PolicyID{Revision: "1.0.0", BundleHash: "sha256:" + strings.Repeat("0", 64)},
		Rollback: "Release the host with its agent.", ConfigEpoch: 17, LogSeq: 4211, DecidedAt: time.Now(),
	}}
	r := newRig(b, func(o *Options) { o.Gate = gate })
	body := `{"action_id":"0197f1c2-0000-7000-8000-000000000000","action_type":"isolate_host","target":"host:wks-042","actor":"system","confidence":0.97,"incident_id":"INC-7","parameters":{"ttl":3600,"why":"beacon"},"read_set":{"snapshot":"g-812","digest":"sha256:0011"}}`
	reader := strings.NewReader(body)
	req := httptest.NewRequest("POST", base+"/decisions", nil)
	req.Header.Set("Authorization", "Bearer acme-agent")
	req.Header.Set("Content-Type", "application/json")
	req.ContentLength = int64(len(body))
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		req.Body = readCloser{reader}
		clear(w.header)
		r.handler.ServeHTTP(w, req)
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// A batch of 1000 requests through decoding, policy and the commit of SQLite.
func BenchmarkPostBatch(b *testing.B) {
	r := newRig(b)
	body := `{"decisions":[` + strings.Repeat(simple+",", maxBatch-1) + simple + `]}`
	for b.Loop() {
		req := httptest.NewRequest("POST", decisions+"/batch", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer acme-agent")
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		if r.handler.ServeHTTP(rec, req); rec.Code != http.StatusOK {
			b.Fatalf("%d %.300s", rec.Code, rec.Body)
		}
	}
}
