package engine_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/policies"
)

// candidate is the shipped policy with one more module and edits, which are
// pairs of old and new text in any file.
func candidate(t testing.TB, more string, edits ...string) *engine.Policy {
	t.Helper()
	files := fstest.MapFS{"gate/more.rego": {Data: []byte("package gate\n\n" + more)}}
	err := fs.WalkDir(policies.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(policies.FS, path)
		text := string(content)
		for i := 0; i < len(edits); i += 2 {
			text = strings.ReplaceAll(text, edits[i], edits[i+1])
		}
		files[path] = &fstest.MapFile{Data: []byte(text)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundles.LoadFS(files)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.NewPolicy(t.Context(), engine.PolicySource{ID: engine.PolicyID{Revision: "2.0.0", BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type counts struct{ agreed, diverged, failed, skipped atomic.Int64 }

func (c *counts) Evaluated(_, _ engine.Decision, agrees bool) {
	if agrees {
		c.agreed.Add(1)
	} else {
		c.diverged.Add(1)
	}
}
func (c *counts) Failed()  { c.failed.Add(1) }
func (c *counts) Skipped() { c.skipped.Add(1) }

// shadowOf puts a candidate beside a gate on the shipped policy.
func shadowOf(t testing.TB, g *engine.Gate, p *engine.Policy) (*engine.Shadow, *counts) {
	t.Helper()
	c := &counts{}
	s := engine.NewShadow(p, shippedPolicy(t), c)
	t.Cleanup(s.Close)
	g.Shadow(s)
	return s, c
}

// seen waits until the shadow has judged n decisions.
func seen(t *testing.T, s *engine.Shadow, n int64) engine.ShadowReport {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if r := s.Report(); r.Evaluated+r.Skipped >= n {
			return r
		} else if time.Now().After(deadline) {
			t.Fatalf("%+v, want %d", r, n)
		}
	}
}

func TestShadowCompares(t *testing.T) {
	const boom = "decision := {} if input.request.target == \"index:boom\"\n"
	p := candidate(t, boom, "search_siem:\n  blast_radius: MINIMAL", "search_siem:\n  blast_radius: HIGH")
	g := newGate(t, &fixedFacts{facts: engine.Facts{MaturityTier: 1}}, &faultyLog{answer: written})
	s, c := shadowOf(t, g, p)
	ask := func(action, target string) *engine.Entry {
		t.Helper()
		q := question
		q.ActionType, q.Target = action, target
		e, err := g.Decide(t.Context(), &q)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for range 3 {
		if e := ask("search_siem", "index:x"); e.Decision != engine.Auto {
			t.Fatalf("the shadow changed an answer: %+v", e)
		}
	}
	newest := ask("search_siem", "index:x")
	ask("create_ticket", "index:boom")
	ask("made_up", "index:x")
	r := seen(t, s, 6)
	if r.Evaluated != 6 || r.Agreed != 1 || r.Diverged != 4 || r.Failed != 1 || r.Skipped != 0 || !strings.Contains(r.LastError, "decision") {
		t.Errorf("%+v", r)
	}
	if len(r.Divergences) != 1 || r.Divergences[0] != (engine.Divergence{ActionType: "search_siem", Active: engine.Auto, Shadow: engine.QueuedApproval, Count: 4}) {
		t.Errorf("%+v", r.Divergences)
	}
	if len(r.Samples) != 4 || r.Samples[0].DecisionID != newest.DecisionID || r.Samples[0].ShadowRule != engine.RuleTierRequiresApproval || r.Samples[0].ActiveRule != engine.RuleTierAllows || r.Samples[0].TenantID != "acme" {
		t.Errorf("%+v", r.Samples)
	}
	if c.agreed.Load() != 1 || c.diverged.Load() != 4 || c.failed.Load() != 1 || r.Shadow != p.ID() || r.Active != shippedPolicy(t).ID() {
		t.Errorf("counted %+v", c)
	}

	for range 150 {
		newest = ask("search_siem", "index:x")
	}
	if r := seen(t, s, 156); len(r.Samples) != 100 || r.Samples[0].DecisionID != newest.DecisionID || r.Samples[0].DecisionID == r.Samples[1].DecisionID {
		t.Errorf("%d samples, newest %+v", len(r.Samples), r.Samples[0])
	}
	g.Shadow(nil)
	before := s.Report().Evaluated
	ask("search_siem", "index:x")
	time.Sleep(20 * time.Millisecond)
	if r := s.Report(); r.Evaluated != before {
		t.Error("it goes on after it was taken away")
	}
}

// The candidate may read what the active policy does not.
func TestShadowThatReadsParameters(t *testing.T) {
	p := candidate(t, "", `radius := object.get(data.gate.actions, [input.request.action_type, "blast_radius"], "CRITICAL")`,
		`radius := object.get(data.gate.actions, [input.request.action_type, "blast_radius"], "CRITICAL")
	not object.get(input.request, "parameters", {}) == {"fail": true}`)
	g := newGate(t, &fixedFacts{}, &faultyLog{answer: written})
	s, _ := shadowOf(t, g, p)
	for _, parameters := range []string{`{"fail":true}`, `{"fail":false}`} {
		q := question
		q.Parameters = []byte(parameters)
		if e, err := g.Decide(t.Context(), &q); err != nil || strings.Contains(string(e.Input), "parameters") {
			t.Fatalf("%+v %v", e, err)
		}
	}
	if r := seen(t, s, 2); r.Failed != 1 || r.Agreed != 1 {
		t.Errorf("%+v", r)
	}
}

// What got no row is nobody's business; a repeated question was judged before.
func TestShadowSeesWhatWasLogged(t *testing.T) {
	stored := &engine.Entry{DecisionID: "d", Request: question, DecidedAt: clock}
	stored.Decision = engine.QueuedApproval
	for _, answer := range []engine.AppendResult{{Err: engine.ErrUnavailable}, {Entry: stored, Repeated: true}} {
		g := newGate(t, &fixedFacts{}, &faultyLog{answer: func(int, *engine.Entry) engine.AppendResult { return answer }})
		s, _ := shadowOf(t, g, shippedPolicy(t))
		_, _ = g.Decide(t.Context(), &question)
		time.Sleep(20 * time.Millisecond)
		if r := s.Report(); r.Evaluated+r.Skipped != 0 {
			t.Errorf("%+v", r)
		}
	}
}

// A candidate that takes its full time for each decision makes nobody wait and
// uses a small part of one processor.
func TestSlowShadow(t *testing.T) {
	const slow = `decision := {} if {
	input.request.target == "index:slow"
	count([1 | some a, _ in data.gate.actions; some b, _ in data.gate.actions; some c, _ in data.gate.actions; some d, _ in data.gate.actions; some e, _ in data.gate.actions; sprintf("%s%s%s%s%s", [a, b, c, d, e]) == ""]) == 1
}
`
	g := newGate(t, &fixedFacts{}, &faultyLog{answer: written})
	s, c := shadowOf(t, g, candidate(t, slow))
	q := question
	q.Target = "index:slow"
	started, longest := time.Now(), time.Duration(0)
	for range 5000 {
		one := time.Now()
		if _, err := g.Decide(t.Context(), &q); err != nil {
			t.Fatal(err)
		}
		longest = max(longest, time.Since(one))
	}
	took := time.Since(started)
	r := s.Report()
	if r.Skipped == 0 || c.skipped.Load() != r.Skipped || r.Evaluated > 1+int64(took/(2*time.Second)) || longest > 200*time.Millisecond {
		t.Errorf("in %s, the longest %s: %+v", took, longest, r)
	}
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(2 * time.Second):
		t.Error("Close waits for the rest")
	}
}

// steadyFacts and keptLog cost next to nothing, so that the share of the shadow
// shows.
type steadyFacts struct{}

func (steadyFacts) Facts(tenant, _, _ string, _ time.Time) (engine.Facts, error) {
	return engine.Facts{TenantID: tenant, MaturityTier: 1}, nil
}

type keptLog struct{}

func (keptLog) Append(_ context.Context, entries []*engine.Entry) []engine.AppendResult {
	out := make([]engine.AppendResult, len(entries))
	for i, e := range entries {
		out[i].Entry = e
	}
	return out
}

// What one decision costs its caller with a shadow and without.
func BenchmarkGateShadow(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("shadow=%v", on), func(b *testing.B) {
			g := engine.NewGate(engine.GateOptions{Facts: steadyFacts{}, Log: keptLog{}, Policy: shippedPolicy(b), EngineVersion: "test"})
			var s *engine.Shadow
			if on {
				s, _ = shadowOf(b, g, shippedPolicy(b))
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := g.Decide(b.Context(), &question); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			if on {
				r := s.Report()
				b.ReportMetric(100*float64(r.Evaluated)/float64(max(1, r.Evaluated+r.Skipped)), "%evaluated")
			}
		})
	}
}
