package review_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/engine/enginetest"
	"github.com/tiergate/tiergate/policies"
	"github.com/tiergate/tiergate/review"
)

// edited is the shipped policy with replacements in its files: path, old, new.
func edited(t testing.TB, edits ...[3]string) *engine.Policy {
	t.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(policies.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(policies.FS, path)
		for _, e := range edits {
			if e[0] == path {
				if !strings.Contains(string(text), e[1]) {
					t.Fatalf("%s has no %q", path, e[1])
				}
				text = []byte(strings.Replace(string(text), e[1], e[2], 1))
			}
		}
		files[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundles.LoadFS(files)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.CompilePolicy(t.Context(), engine.PolicySource{
		ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// askTheTier is a policy under which L1 asks before what is MINIMAL.
func askTheTier(t testing.TB) *engine.Policy {
	return edited(t, [3]string{"gate/tiers/data.yaml", "MINIMAL: tier_allows", "MINIMAL: tier_requires_approval"})
}

// logged is a row that p decided, n-th of its tenant.
func logged(t testing.TB, p *engine.Policy, n int64, input string) engine.LoggedDecision {
	t.Helper()
	v, err := p.DecideDocument(t.Context(), []byte(input))
	if err != nil {
		t.Fatal(err)
	}
	overrides, err := json.Marshal(v.OverridesApplied)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Request struct{ Action_type string }
		Tenant  struct{ ID string }
	}
	if err := json.Unmarshal([]byte(input), &doc); err != nil {
		t.Fatal(err)
	}
	return engine.LoggedDecision{
		TenantID: doc.Tenant.ID, LogSeq: n, DecisionID: fmt.Sprintf("d%04d", n), ActionType: doc.Request.Action_type,
		Decision: v.Decision.String(), Rule: v.Rule, Rationale: v.Rationale, BlastRadius: v.BlastRadius.String(), MaturityTier: v.MaturityTier,
		OverridesApplied: string(overrides), BundleHash: p.ID().BundleHash, EngineVersion: "tiergate/test", Input: []byte(input),
	}
}

func ask(action string, tier int) string {
	return fmt.Sprintf(`{"now":"2026-11-23T08:00:00.000Z","overrides":[],"request":{"action_type":%q,"actor":"system","target":"host:a"},"tenant":{"id":"acme","maturity_tier":%d,"stopped":false},"whitelist":[]}`, action, tier)
}

// pagesOf gives rows in pages of that size.
func pagesOf(rows []engine.LoggedDecision, size int) review.LogPages {
	return func(context.Context) ([]engine.LoggedDecision, error) {
		n := min(size, len(rows))
		page := rows[:n]
		rows = rows[n:]
		return page, nil
	}
}

func source(known ...*engine.Policy) review.BundleSource {
	return func(_ context.Context, hash string) (*engine.Policy, error) {
		for _, p := range known {
			if p.ID().BundleHash == hash {
				return p, nil
			}
		}
		return nil, engine.ErrNotFound
	}
}

func backtest(t testing.TB, p *engine.Policy, known review.BundleSource, rows ...engine.LoggedDecision) *review.BacktestReport {
	t.Helper()
	r, err := review.Backtest(t.Context(), review.BacktestOptions{New: p, Log: pagesOf(rows, 3), Bundles: known, Samples: 2})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What New decides otherwise is counted by tenant and action type, with the
// direction and the earliest decisions.
func TestBacktestTransitions(t *testing.T) {
	old, strict := edited(t), askTheTier(t)
	var rows []engine.LoggedDecision
	for n := range int64(10) {
		rows = append(rows, logged(t, old, 10-n, ask("notify_slack", 1)), logged(t, old, 20+n, ask("isolate_host", 1)))
	}
	r := backtest(t, strict, source(old), rows...)
	if r.Rows != 20 || r.Replayed != 20 || r.Compared != 20 || r.Violated != 0 || r.Changed != 10 || r.Widened != 0 || len(r.Transitions) != 1 {
		t.Fatalf("%+v", r)
	}
	got := r.Transitions[0]
	if got.TenantID != "acme" || got.ActionType != "notify_slack" || got.From != "auto" || got.To != "queued_approval" || got.Widens || got.Count != 10 ||
		len(got.Samples) != 2 || got.Samples[0].DecisionID != "d0001" || got.Samples[1].DecisionID != "d0002" {
		t.Errorf("%+v", got)
	}

	// The other way round it widens.
	r = backtest(t, old, source(strict), logged(t, strict, 1, ask("notify_slack", 1)))
	if r.Widened != 1 || !r.Transitions[0].Widens || !r.Totals[0].Widens {
		t.Errorf("%+v", r)
	}
	// Under itself nothing changes.
	if r = backtest(t, old, source(old), rows...); r.Changed != 0 || r.Compared != 20 || len(r.Skipped) != 0 {
		t.Errorf("%+v", r)
	}
}

// A row that was changed in any field is not what its bundle says.
func TestBacktestFindsChangedRows(t *testing.T) {
	p := edited(t)
	for field, change := range map[string]func(*engine.LoggedDecision){
		"decision":          func(r *engine.LoggedDecision) { r.Decision = "auto" },
		"rule":              func(r *engine.LoggedDecision) { r.Rule = "tier_allows" },
		"rationale":         func(r *engine.LoggedDecision) { r.Rationale += "!" },
		"blast_radius":      func(r *engine.LoggedDecision) { r.BlastRadius = "LOW" },
		"maturity_tier":     func(r *engine.LoggedDecision) { r.MaturityTier = 4 },
		"overrides_applied": func(r *engine.LoggedDecision) { r.OverridesApplied = `["force_auto_override"]` },
		"action_type":       func(r *engine.LoggedDecision) { r.ActionType = "block_ip" },
		"tenant_id":         func(r *engine.LoggedDecision) { r.TenantID = "other" },
	} {
		row := logged(t, p, 1, ask("isolate_host", 1))
		change(&row)
		r := backtest(t, p, source(p), row, logged(t, p, 2, ask("isolate_host", 1)))
		if r.Violated != 1 || len(r.Violations) != 1 || len(r.Violations[0].Differences) != 1 || r.Violations[0].Differences[0].Field != field {
			t.Errorf("%s: %+v", field, r.Violations)
		}
		if r.Changed != 0 {
			t.Errorf("%s: counted as a change of the new policy", field)
		}
	}
	// An input that was changed gives another decision.
	row := logged(t, p, 1, ask("notify_slack", 0))
	row.Input = []byte(strings.Replace(string(row.Input), `"maturity_tier":0`, `"maturity_tier":4`, 1))
	if r := backtest(t, p, source(p), row); r.Violated != 1 || len(r.Violations[0].Differences) < 3 {
		t.Errorf("a changed input: %+v", r.Violations)
	}
	// And so does a row that names another bundle.
	row = logged(t, p, 1, ask("notify_slack", 1))
	other := askTheTier(t)
	row.BundleHash = other.ID().BundleHash
	if r := backtest(t, p, source(p, other), row); r.Violated != 1 {
		t.Errorf("another bundle: %+v", r)
	}
}

// What could not be done is counted by its reason and never left out.
func TestBacktestSkipped(t *testing.T) {
	p, strict := edited(t), askTheTier(t)
	reader := edited(t, [3]string{"gate/gate.rego", "package gate\n", "package gate\n\n_said := input.request.parameters.said\n"})
	fails := edited(t, [3]string{"gate/tiers/data.yaml", "label: L1-Notify", "label: L1-Other"})
	for name, c := range map[string]struct {
		new        *engine.Policy
		source     review.BundleSource
		change     func(*engine.LoggedDecision)
		want       review.SkipReason
		unreadable bool
		compared   int64
	}{
		"a fault":            {strict, source(p), func(r *engine.LoggedDecision) { r.Fault = errors.New("bad line") }, review.SkipRow, true, 0},
		"no input":           {strict, source(p), func(r *engine.LoggedDecision) { r.Input = nil }, review.SkipNoInput, true, 0},
		"half an input":      {strict, source(p), func(r *engine.LoggedDecision) { r.Input = r.Input[:40] }, review.SkipInput, true, 0},
		"an input of a list": {strict, source(p), func(r *engine.LoggedDecision) { r.Input = []byte("[]") }, review.SkipInput, true, 0},
		"no such bundle":     {strict, source(), func(*engine.LoggedDecision) {}, review.SkipNoBundle, false, 1},
		"neither bundle nor decision": {strict, source(), func(r *engine.LoggedDecision) { r.Decision = "perhaps" },
			review.SkipDecision, true, 0},
		"a broken bundle": {strict, func(context.Context, string) (*engine.Policy, error) { return nil, errors.New("does not compile") },
			func(*engine.LoggedDecision) {}, review.SkipBundle, false, 1},
		"parameters are gone": {reader, source(p), func(r *engine.LoggedDecision) { r.ParametersDigest = digest(`{"said":1}`) }, review.SkipParameters, false, 0},
		"other parameters": {reader, source(p), func(r *engine.LoggedDecision) {
			r.ParametersDigest, r.Parameters = digest(`{"said":1}`), []byte(`{"said":2}`)
		}, review.SkipParameters, false, 0},
		"parameters are kept": {reader, source(p), func(r *engine.LoggedDecision) {
			r.ParametersDigest, r.Parameters = digest(`{"said":1}`), []byte(`{"said":1}`)
		}, "", false, 1},
		"there were none":         {reader, source(p), func(*engine.LoggedDecision) {}, "", false, 1},
		"no decision by New":      {fails, source(p), func(*engine.LoggedDecision) {}, review.SkipNewFails, false, 0},
		"a decision that is none": {strict, source(p), func(r *engine.LoggedDecision) { r.Decision = "perhaps" }, "", false, 1},
	} {
		row := logged(t, p, 1, ask("isolate_host", 1))
		c.change(&row)
		r := backtest(t, c.new, c.source, row)
		var reason review.SkipReason
		for _, s := range r.Skipped {
			if reason = s.Reason; s.Unreadable {
				break
			}
		}
		if r.Rows != 1 || reason != c.want || (r.Unreadable == 1) != c.unreadable || r.Compared != c.compared {
			t.Errorf("%s: %q, want %q; %+v", name, reason, c.want, r)
		}
	}
}

func digest(parameters string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(parameters)))
}

// Random documents, decided twice by the policy that logged them, agree; pages
// and workers make no difference to the report.
func TestBacktestIsDeterministic(t *testing.T) {
	p, strict := edited(t), askTheTier(t)
	var rows []engine.LoggedDecision
	for n, doc := range enginetest.Corpus(2000) {
		if _, err := p.DecideDocument(t.Context(), doc); err == nil {
			rows = append(rows, logged(t, p, int64(n), string(doc)))
		}
	}
	var want string
	for _, workers := range []int{1, 4} {
		for _, size := range []int{1, 100, 5000} {
			r, err := review.Backtest(t.Context(), review.BacktestOptions{New: strict, Log: pagesOf(rows, size), Bundles: source(p), Workers: workers})
			if err != nil {
				t.Fatal(err)
			}
			if r.Violated != 0 || r.Rows != int64(len(rows)) || r.Changed == 0 {
				t.Fatalf("%+v", r)
			}
			r.Seconds, r.Workers = 0, 0
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = string(text)
			}
			if string(text) != want {
				t.Errorf("%d workers, pages of %d: another report", workers, size)
			}
		}
	}
}

// Interrupted, it says how far it came.
func TestBacktestInterrupted(t *testing.T) {
	p := edited(t)
	ctx, cancel := context.WithCancel(t.Context())
	pages := 0
	r, err := review.Backtest(ctx, review.BacktestOptions{New: p, Bundles: source(p), Log: func(context.Context) ([]engine.LoggedDecision, error) {
		if pages++; pages == 20 {
			cancel()
		}
		return []engine.LoggedDecision{logged(t, p, int64(pages), ask("notify_slack", 1))}, nil
	}})
	if !errors.Is(err, context.Canceled) || r == nil || r.Rows > 20 || r.Violated != 0 {
		t.Errorf("%v %+v", err, r)
	}
	broken := errors.New("the database went away")
	r, err = review.Backtest(t.Context(), review.BacktestOptions{New: p, Bundles: source(p), Log: func(context.Context) ([]engine.LoggedDecision, error) {
		return nil, broken
	}})
	if !errors.Is(err, broken) || r == nil {
		t.Errorf("%v %+v", err, r)
	}
}

// Findings are bounded, however many action types callers make up.
func TestBacktestIsBounded(t *testing.T) {
	p := edited(t)
	reject := func(context.Context, string) (*engine.Policy, error) { return nil, errors.New("no") }
	var rows []engine.LoggedDecision
	for n := range 12_000 {
		row := logged(t, p, int64(n), ask("notify_slack", 0))
		row.Decision, row.ActionType = "auto", fmt.Sprintf("made_up_%d", n)
		rows = append(rows, row)
	}
	r, err := review.Backtest(t.Context(), review.BacktestOptions{New: p, Log: pagesOf(rows, 500), Bundles: reject, Workers: 1})
	if err != nil || len(r.Transitions) > 10_001 || r.Changed != 12_000 {
		t.Errorf("%d groups of %d changes: %v", len(r.Transitions), r.Changed, err)
	}
}

// rows per second of one core, two evaluations a row.
func BenchmarkBacktest(b *testing.B) {
	p, strict := edited(b), askTheTier(b)
	var rows []engine.LoggedDecision
	for n, doc := range enginetest.Corpus(2000) {
		if _, err := p.DecideDocument(b.Context(), doc); err == nil {
			rows = append(rows, logged(b, p, int64(n), string(doc)))
		}
	}
	left := b.N
	b.ReportAllocs()
	b.ResetTimer()
	r, err := review.Backtest(b.Context(), review.BacktestOptions{New: strict, Workers: 1, Bundles: source(p), Log: func(context.Context) ([]engine.LoggedDecision, error) {
		n := min(left, len(rows))
		left -= n
		return rows[:n], nil
	}})
	if err != nil || r.Violated != 0 {
		b.Fatal(err, r.Violations)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
