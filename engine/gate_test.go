package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// faultyLog stands in for the database where faults are put into it; the real
// log is tested in package store.
type faultyLog struct {
	answer func(try int, e *engine.Entry) engine.AppendResult
	tries  int
	rows   []*engine.Entry
}

func (l *faultyLog) Append(_ context.Context, entries []*engine.Entry) []engine.AppendResult {
	l.tries++
	out := make([]engine.AppendResult, len(entries))
	for i, e := range entries {
		l.rows = append(l.rows, e)
		out[i] = l.answer(l.tries, e)
	}
	return out
}

type fixedFacts struct {
	facts engine.Facts
	err   error
}

func (f *fixedFacts) Facts(tenant, _, _ string, _ time.Time) (engine.Facts, error) {
	f.facts.TenantID = tenant
	f.facts.Epoch++ // a caught-up view shows a newer configuration each time
	return f.facts, f.err
}

var clock = time.Date(2026, 11, 23, 8, 0, 0, 123_456_789, time.UTC)

func newGate(t *testing.T, facts *fixedFacts, log *faultyLog) *engine.Gate {
	t.Helper()
	return engine.NewGate(engine.GateOptions{
		Facts: facts, Log: log, Policy: shippedPolicy(t), EngineVersion: "test",
		Now: func() time.Time { return clock }, Logger: slog.New(slog.DiscardHandler),
	})
}

func written(_ int, e *engine.Entry) engine.AppendResult {
	return engine.AppendResult{Entry: e, Epoch: e.ConfigEpoch}
}

var question = engine.Request{TenantID: "acme", ActionType: "search_siem", Target: "index:x", Actor: "system", Digest: [32]byte{1}}

// A row holds what the policy saw, to the byte, and the answer replays from it.
func TestDecideReplays(t *testing.T) {
	log := &faultyLog{answer: written}
	g := newGate(t, &fixedFacts{facts: engine.Facts{MaturityTier: 1}}, log)
	q := question
	confidence := 0.97
	q.Confidence, q.Parameters = &confidence, []byte(`{"a":1}`)
	e, err := g.Decide(t.Context(), &q)
	if err != nil {
		t.Fatal(err)
	}
	const input = `{"now":"2026-11-23T08:00:00.123Z","overrides":[],"request":{"action_type":"search_siem","actor":"system","confidence":0.97,"target":"index:x"},"tenant":{"id":"acme","maturity_tier":1,"stopped":false},"whitelist":[]}`
	if string(e.Input) != input {
		t.Errorf("input\n%s, want\n%s", e.Input, input)
	}
	if e.Decision != engine.Auto || e.ActionID == "" || e.DecisionID == e.ActionID || !e.DecidedAt.Equal(clock.Truncate(time.Millisecond)) {
		t.Errorf("%+v", e)
	}
	if e.ParametersDigest != "sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862" {
		t.Errorf("parameters digest %s", e.ParametersDigest)
	}
	v, err := shippedPolicy(t).DecideDocument(t.Context(), e.Input)
	if err != nil || v.Rationale != e.Rationale || v.Decision != e.Decision {
		t.Errorf("replay: %+v %v", v, err)
	}
}

// A row that met a newer configuration is decided again, three times at most.
func TestStaleIsDecidedAgain(t *testing.T) {
	for stale, want := range map[int]error{1: nil, 2: nil, 3: engine.ErrStaleEpoch} {
		log := &faultyLog{answer: func(try int, e *engine.Entry) engine.AppendResult {
			if try <= stale {
				return engine.AppendResult{Err: engine.ErrStaleEpoch}
			}
			return written(try, e)
		}}
		e, err := newGate(t, &fixedFacts{}, log).Decide(t.Context(), &question)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("stale %d times: %v, want %v", stale, err, want)
		}
		if err == nil && e.ConfigEpoch != int64(stale)+1 {
			t.Errorf("stale %d times: decided under epoch %d", stale, e.ConfigEpoch)
		}
		if err != nil && e != nil {
			t.Error("an error came with an entry")
		}
	}
}

// Whatever the log says went wrong, there is no decision.
func TestNoDecisionWithoutRow(t *testing.T) {
	for _, want := range []error{engine.ErrUnavailable, engine.ErrQueueFull, errors.New("other")} {
		log := &faultyLog{answer: func(_ int, e *engine.Entry) engine.AppendResult { return engine.AppendResult{Entry: e, Err: want} }}
		if e, err := newGate(t, &fixedFacts{}, log).Decide(t.Context(), &question); !errors.Is(err, want) || e != nil {
			t.Errorf("%v %v, want %v", e, err, want)
		}
	}
	log := &faultyLog{answer: written}
	if e, err := newGate(t, &fixedFacts{err: engine.ErrTooManyCandidates}, log).Decide(t.Context(), &question); !errors.Is(err, engine.ErrTooManyCandidates) || e != nil || len(log.rows) > 0 {
		t.Errorf("without facts: %v %v, %d rows", e, err, len(log.rows))
	}
}

// A repeated action_id gets the stored answer, unless it was another question
// or is an auto that no longer holds.
func TestRepeated(t *testing.T) {
	stored := engine.Entry{DecisionID: "d", Request: question, ConfigEpoch: 7, DecidedAt: clock.Add(-59 * time.Second)}
	for name, c := range map[string]struct {
		change func(*engine.Entry)
		epoch  int64
		want   error
	}{
		"a queued one":                      {func(e *engine.Entry) { e.Decision = engine.QueuedApproval }, 9, nil},
		"an auto that holds":                {func(e *engine.Entry) { e.Decision = engine.Auto }, 7, nil},
		"an auto of an older configuration": {func(e *engine.Entry) { e.Decision = engine.Auto }, 8, engine.ErrSuperseded},
		"an auto whose minute is over":      {func(e *engine.Entry) { e.Decision = engine.Auto; e.DecidedAt = clock.Add(-time.Minute) }, 7, engine.ErrSuperseded},
		"another question":                  {func(e *engine.Entry) { e.Decision = engine.Blocked; e.Digest[0]++ }, 7, engine.ErrActionConflict},
	} {
		e := stored
		c.change(&e)
		log := &faultyLog{answer: func(int, *engine.Entry) engine.AppendResult {
			return engine.AppendResult{Entry: &e, Repeated: true, Epoch: c.epoch}
		}}
		got, err := newGate(t, &fixedFacts{}, log).Decide(t.Context(), &question)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || (err == nil && got.DecisionID != "d") {
			t.Errorf("%s: %v %v, want %v", name, got, err, c.want)
		}
	}
}

// In a batch each question has its own fate, in its own place.
func TestBatch(t *testing.T) {
	log := &faultyLog{answer: func(try int, e *engine.Entry) engine.AppendResult {
		switch {
		case e.Target == "lost":
			return engine.AppendResult{Err: engine.ErrUnavailable}
		case e.Target == "stale" && try == 1:
			return engine.AppendResult{Err: engine.ErrStaleEpoch}
		}
		return written(try, e)
	}}
	g := newGate(t, &fixedFacts{}, log)
	var questions []*engine.Request
	for _, target := range []string{"a", "lost", "stale", "b"} {
		q := question
		q.Target = target
		questions = append(questions, &q)
	}
	for i, o := range g.DecideBatch(t.Context(), questions) {
		if target := questions[i].Target; target == "lost" {
			if !errors.Is(o.Err, engine.ErrUnavailable) || o.Entry != nil {
				t.Errorf("lost: %+v", o)
			}
		} else if o.Err != nil || o.Entry.Target != target {
			t.Errorf("%s: %+v", target, o)
		}
	}
	if log.tries != 2 {
		t.Errorf("%d appends, want 2", log.tries)
	}
}

// An action_id that comes twice in one batch is decided in the batch's order.
func TestBatchKeepsOrderOfOneAction(t *testing.T) {
	log := &faultyLog{answer: written}
	g := newGate(t, &fixedFacts{}, log)
	var questions []*engine.Request
	for _, target := range []string{"first", "other", "second", "third"} {
		q := question
		if q.Target = target; target != "other" {
			q.ActionID = "0197f1c2-0000-7000-8000-000000000001"
		}
		questions = append(questions, &q)
	}
	g.DecideBatch(t.Context(), questions)
	var order []string
	for _, row := range log.rows {
		if row.ActionID == questions[0].ActionID {
			order = append(order, row.Target)
		}
	}
	if log.tries != 3 || len(order) != 3 || order[0] != "first" || order[1] != "second" || order[2] != "third" {
		t.Errorf("%d appends, in the order %v", log.tries, order)
	}
}

// Preview writes nothing and shows what would be.
func TestPreview(t *testing.T) {
	log := &faultyLog{answer: written}
	g := newGate(t, &fixedFacts{}, log)
	tier := 1
	e, err := g.Preview(t.Context(), &question, engine.WhatIf{MaturityTier: &tier})
	if err != nil || e.Decision != engine.Auto || e.LogSeq != 0 || len(log.rows) != 0 {
		t.Errorf("%+v %v, %d rows", e, err, len(log.rows))
	}
	e, err = g.Preview(t.Context(), &question, engine.WhatIf{ReplaceOverrides: true,
		Overrides: []*engine.Override{engine.NewOverride(engine.Override{Mode: engine.ModeBlock, Constraints: []byte(`{}`)})}})
	if err != nil || e.Decision != engine.Blocked {
		t.Errorf("%+v %v", e, err)
	}
}

// What would make an action auto is tried, not guessed.
func TestMatrix(t *testing.T) {
	block := engine.NewOverride(engine.Override{Mode: engine.ModeBlock, Constraints: []byte(`{}`)})
	for name, c := range map[string]struct {
		facts engine.Facts
		want  map[string]string
	}{
		"L1": {engine.Facts{MaturityTier: 1}, map[string]string{
			"search_siem":  "It is auto already.",
			"block_ip":     "Raising the tier to L3-Remediate.",
			"isolate_host": "A force_auto override for the target, or a whitelist entry for it at L4-Automate.",
		}},
		"stopped": {engine.Facts{MaturityTier: 3, Stopped: true}, map[string]string{
			"block_ip": "Releasing the tenant, and then nothing more.",
		}},
		"constrained": {engine.Facts{Overrides: []*engine.Override{
			engine.NewOverride(engine.Override{Mode: engine.ModeForceAuto, Constraints: []byte(`{"target":"host:a"}`)})}}, map[string]string{
			"search_siem": "Raising the tier to L1-Notify.",
		}},
		"blocked": {engine.Facts{MaturityTier: 0, Overrides: []*engine.Override{block}}, map[string]string{
			"search_siem": "Removing the block or require_approval override, and then raising the tier to L1-Notify.",
		}},
	} {
		rows, err := newGate(t, &fixedFacts{facts: c.facts}, &faultyLog{}).Matrix(t.Context(), "acme")
		if err == nil && name == "constrained" && (len(rows[0].Constrained) != 1 || rows[0].Constrained[0] != engine.ModeForceAuto) {
			t.Errorf("the force on some targets is not shown: %+v", rows[0])
		}
		if err != nil || len(rows) != 25 {
			t.Fatalf("%s: %d rows, %v", name, len(rows), err)
		}
		for _, r := range rows {
			if want, ok := c.want[r.ActionType]; ok && r.AutoWhen != want {
				t.Errorf("%s: %s: %q, want %q", name, r.ActionType, r.AutoWhen, want)
			}
		}
	}
}

// Whoever lowers the tier is told what a force still lets run, and only that.
func TestStillAuto(t *testing.T) {
	force := func(constraints string) *engine.Override {
		return engine.NewOverride(engine.Override{Mode: engine.ModeForceAuto, Constraints: []byte(constraints)})
	}
	passed := clock.Add(-time.Second)
	for name, c := range map[string]struct {
		facts engine.Facts
		want  int // of the 25 types, which all have these overrides
	}{
		"a force at L0":                     {engine.Facts{Overrides: []*engine.Override{force(`{}`)}}, 25},
		"a force on some targets":           {engine.Facts{Overrides: []*engine.Override{force(`{"target":"host:a","min_confidence":0.9}`)}}, 25},
		"a force at L3":                     {engine.Facts{MaturityTier: 3, Overrides: []*engine.Override{force(`{}`)}}, 4},
		"a force while stopped":             {engine.Facts{Stopped: true, Overrides: []*engine.Override{force(`{}`)}}, 0},
		"a force that is unsound":           {engine.Facts{Overrides: []*engine.Override{force(`{"colour":"red"}`)}}, 0},
		"a force that has passed":           {engine.Facts{Overrides: []*engine.Override{engine.NewOverride(engine.Override{Mode: engine.ModeForceAuto, Constraints: []byte(`{}`), ExpiresAt: &passed})}}, 0},
		"a force and a block":               {engine.Facts{Overrides: []*engine.Override{engine.NewOverride(engine.Override{Mode: engine.ModeBlock, Constraints: []byte(`{}`)}), force(`{}`)}}, 0},
		"a force and a block of one target": {engine.Facts{Overrides: []*engine.Override{engine.NewOverride(engine.Override{Mode: engine.ModeBlock, Constraints: []byte(`{"target":"host:a"}`)}), force(`{}`)}}, 25},
		"no force":                          {engine.Facts{MaturityTier: 3}, 0},
	} {
		still, err := newGate(t, &fixedFacts{facts: c.facts}, &faultyLog{}).StillAuto(t.Context(), "acme")
		if err != nil || len(still) != c.want {
			t.Errorf("%s: %v %v, want %d", name, still, err, c.want)
		}
	}
}
