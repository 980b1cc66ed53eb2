// Package replaytest makes logs for tests, by a real gate and a real store.
package replaytest

import (
	"fmt"
	"testing"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/rollout/rollouttest"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// EngineVersion is in the rows that Log makes.
const EngineVersion = "tiergate/test opa/test"

// Log writes a log into the fresh database at url that has all that a log can
// have: for acme, n decisions in each of six phases of its configuration, under
// two bundles, with an approval that was given and one outcome; for globex, some
// decisions. It returns the phases' first moments.
func Log(t testing.TB, url string, n int) (phases []time.Time) {
	t.Helper()
	s := storetest.Open(t, url)
	l := &logger{t: t, s: s, meta: engine.ChangeMeta{Actor: "olga", Reason: "for the <test> & \"more\""}}
	first, second := rollouttest.Revised(t, "1.1.0"), rollouttest.Revised(t, "1.2.0", rollouttest.Cautious...)
	head := must(s.SeedPolicy(t.Context(), first.Hash, first.Revision, rollouttest.Pack(t, first), engine.ChangeMeta{Actor: "system", Reason: "first start"}))(t)
	l.gate = engine.NewGate(engine.GateOptions{Facts: s, Log: s, Approvals: s, Policy: policy(t, first), PolicyEpoch: head.Epoch, EngineVersion: EngineVersion})
	l.ask("globex", 3)
	mark := func() {
		time.Sleep(3 * time.Millisecond) // so that phases do not share a moment
		phases = append(phases, time.Now().UTC().Truncate(time.Millisecond))
		time.Sleep(2 * time.Millisecond)
	}
	mark()
	l.ask("acme", n)
	l.tier(4)
	until := time.Now().Add(24 * time.Hour)
	for _, c := range []string{`{"target":"host:wks-1"}`, `{"target_prefix":"host:wks-"}`, `{"target_cidr":"10.0.0.0/8"}`, `{"target_prefix":"host:","min_confidence":0.99}`} {
		must(s.AddWhitelist(t.Context(), engine.WhitelistEntry{TenantID: "acme", ActionType: "isolate_host", Constraints: []byte(c), ExpiresAt: until}, l.meta))(t)
	}
	mark()
	l.ask("acme", n)
	l.approve(l.queued)
	soon := time.Now().Add(time.Minute)
	must(s.PutOverride(t.Context(), &engine.Override{TenantID: "acme", ActionType: "block_ip", Mode: engine.ModeBlock, Constraints: []byte(`{"target_prefix":["ip:10.","host:wks-"]}`), ExpiresAt: &soon}, l.meta))(t)
	must(s.PutOverride(t.Context(), &engine.Override{TenantID: "acme", ActionType: "run_script", Mode: engine.ModeForceAuto, Constraints: []byte(`{"min_confidence":0.5}`)}, l.meta))(t)
	mark()
	l.ask("acme", n)
	must(s.SetStopped(t.Context(), "acme", true, l.meta))(t)
	mark()
	l.ask("acme", n)
	must(s.SetStopped(t.Context(), "acme", false, l.meta))(t)
	must(s.KeepBundle(t.Context(), second.Hash, second.Revision, rollouttest.Pack(t, second), false, l.meta))(t)
	head = must(s.PolicyHead(t.Context()))(t)
	head = must(s.MovePolicy(t.Context(), engine.PolicyMove{Kind: engine.PolicyActivate, Hash: second.Hash, IfChange: head.ChangeID}, l.meta))(t)
	l.gate.Activate(policy(t, second), head.Epoch)
	mark()
	l.ask("acme", n)
	l.tier(1)
	mark()
	l.ask("acme", n)
	if _, _, err := s.AddOutcome(t.Context(), engine.DecisionOutcome{TenantID: "acme", DecisionID: l.auto, Status: engine.OutcomeExecuted, Detail: "done", Person: "ben", Principal: "ben"}); err != nil {
		t.Fatal(err)
	}
	return phases
}

type logger struct {
	t            testing.TB
	s            *store.Store
	gate         *engine.Gate
	meta         engine.ChangeMeta
	auto, queued string // a decision that was auto, and an approval that is open
	asked        int
}

func (l *logger) tier(tier int) {
	must(l.s.ChangeConfig(l.t.Context(), "acme", engine.ConfigChange{MaturityTier: &tier}, l.meta))(l.t)
}

// ask asks n times, for actions of every radius, as much at a time as a queue takes.
func (l *logger) ask(tenant string, n int) {
	for ; n > 500; n -= 500 {
		l.askSome(tenant, 500)
	}
	l.askSome(tenant, n)
}

func (l *logger) askSome(tenant string, n int) {
	types := []string{"isolate_host", "block_ip", "search_siem", "run_script", "quarantine_file", "made_up"}
	var requests []*engine.Request
	for range n {
		i := l.asked
		l.asked++
		confidence := float64(i%101) / 100
		r := &engine.Request{TenantID: tenant, ActionType: types[i%len(types)], Target: fmt.Sprintf("host:wks-%d", i/6), Actor: "system", Principal: "agent-1", Confidence: &confidence}
		switch i % 5 {
		case 0:
			r.Target = fmt.Sprintf("ip:10.0.0.%d", i%250)
		case 1:
			r.Actor, r.Parameters = "user:ben", []byte(`{"said":"<script>alert(1)</script>"}`)
		case 2:
			r.Confidence, r.IncidentID = nil, "INC-7"
		}
		requests = append(requests, r)
	}
	for _, o := range l.gate.DecideBatch(l.t.Context(), requests) {
		if o.Err != nil {
			l.t.Fatal(o.Err)
		}
		switch {
		case tenant != "acme":
		case o.Entry.Decision == engine.Auto:
			l.auto = o.Entry.DecisionID
		case o.Entry.Decision == engine.QueuedApproval && o.Entry.BlastRadius == engine.High:
			l.queued = o.Entry.ApprovalID
		}
	}
}

func (l *logger) approve(id string) {
	if id == "" {
		return
	}
	must(l.gate.Vote(l.t.Context(), engine.Vote{TenantID: "acme", ApprovalID: id, Verdict: engine.EventApprove, Person: "dora", Principal: "dora", Roles: []string{"approver"}, Comment: "go on", RolesNow: func(string) []string { return []string{"approver"} }}))(l.t)
}

func policy(t testing.TB, b *bundles.Bundle) *engine.Policy {
	t.Helper()
	return must(engine.NewPolicy(t.Context(), engine.PolicySource{ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data}))(t)
}

func must[V any](v V, err error) func(testing.TB) V {
	return func(t testing.TB) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
