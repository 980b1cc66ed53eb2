package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/policies"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

var shippedPolicy = sync.OnceValues(func() (*engine.Policy, error) {
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		return nil, err
	}
	return engine.NewPolicy(context.Background(), engine.PolicySource{
		ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data,
	})
})

// gateOn is a gate with the shipped policy on a store.
func gateOn(t testing.TB, s *store.Store, edits ...func(*engine.GateOptions)) *engine.Gate {
	t.Helper()
	p, err := shippedPolicy()
	if err != nil {
		t.Fatal(err)
	}
	o := engine.GateOptions{Facts: s, Log: s, Approvals: s, Policy: p, EngineVersion: "test"}
	for _, edit := range edits {
		edit(&o)
	}
	return engine.NewGate(o)
}

func request(tenant, actionType, target string) *engine.Request {
	return &engine.Request{TenantID: tenant, ActionType: actionType, Target: target, Actor: "system", Principal: "soar", Person: "soar"}
}

func mustQueue(t testing.TB, g *engine.Gate, r *engine.Request) *engine.Entry {
	t.Helper()
	e, err := g.Decide(t.Context(), r)
	if err != nil || e.Decision != engine.QueuedApproval || e.Approval == nil || e.ApprovalID != e.Approval.ID {
		t.Fatalf("got %+v, %v; want a queued_approval with an approval", e, err)
	}
	return e
}

// roles is what everybody's credential has today.
var approverRole = []string{"approver"}

func vote(e *engine.Entry, person, verdict string) engine.Vote {
	return engine.Vote{
		TenantID: e.TenantID, ApprovalID: e.ApprovalID, Person: person, Principal: person, Roles: approverRole, Verdict: verdict,
		RolesNow: func(string) []string { return approverRole },
	}
}

func yes(e *engine.Entry, person string) engine.Vote { return vote(e, person, engine.EventApprove) }

func mustStand(t testing.TB, s *store.Store, e *engine.Entry, want engine.ApprovalStatus) *engine.Approval {
	t.Helper()
	a, err := s.Approval(t.Context(), e.TenantID, e.ApprovalID)
	if err != nil || a.Status != want {
		t.Fatalf("got %+v, %v; want %s", a, err, want)
	}
	return a
}

func closedAs(err error) engine.ApprovalStatus {
	closed, _ := errors.AsType[*engine.ApprovalClosedError](err)
	if closed == nil {
		return ""
	}
	return closed.Status
}

func notCounted(err error) string {
	refused, _ := errors.AsType[*engine.NotCountedError](err)
	if refused == nil {
		return ""
	}
	return refused.Rule
}

func TestApproveReleases(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		g := gateOn(t, s)
		r := request("acme", "isolate_host", "host:a")
		r.Parameters = []byte(`{"why":"beacon"}`)
		e := mustQueue(t, g, r)
		a, err := g.Vote(t.Context(), yes(e, "olga"))
		if err != nil || a.Status != engine.ApprovalReleased || a.ClosedBy != "olga" || fmt.Sprint(a.Approvers) != "[olga]" {
			t.Fatalf("got %+v, %v", a, err)
		}
		if left := time.Until(a.ValidUntil); left < 50*time.Second || left > time.Minute {
			t.Errorf("valid for %v, want a minute", left)
		}
		again, err := s.Entry(t.Context(), "acme", a.ReleaseDecisionID)
		if err != nil || again.Supersedes != e.DecisionID || again.ApprovalID != e.ApprovalID || again.Decision != engine.QueuedApproval || string(again.Parameters) != `{"why":"beacon"}` {
			t.Errorf("the decision made again: %+v, %v", again, err)
		}
		stored := mustStand(t, s, e, engine.ApprovalReleased)
		var kinds []string
		for _, ev := range stored.Events {
			kinds = append(kinds, fmt.Sprintf("%d %s %s %s %s", ev.Seq, ev.Kind, ev.Status, ev.Person, ev.Rule))
		}
		want := "1 opened pending soar |2 approve approved olga |3 released released olga approved_in_time"
		if got := strings.Join(kinds, "|"); got != want {
			t.Errorf("events\n%s, want\n%s", got, want)
		}
		// Twice is once.
		if _, err := g.Vote(t.Context(), yes(e, "olga")); closedAs(err) != engine.ApprovalReleased {
			t.Errorf("again: %v", err)
		}
		// What has ended is ended: the same action asked again is another approval.
		if next := mustQueue(t, g, r); next.ApprovalID == e.ApprovalID {
			t.Error("joined an approval that has ended")
		}
		storetest.CheckLog(t, url, []*engine.Entry{e, again})
	})
}

// Who counts: the requester, an agent, a person under two tokens, and somebody
// who lost the role between two approvals.
func TestWhoCounts(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		g := gateOn(t, s)
		r := request("acme", "wipe_disk", "host:a") // CRITICAL: two people
		r.Actor = "user:nina"
		e := mustQueue(t, g, r)
		joined := request("acme", "wipe_disk", "host:a")
		joined.Principal, joined.Person = "ben-token", "ben"
		if j := mustQueue(t, g, joined); j.ApprovalID != e.ApprovalID {
			t.Fatal("the same action opened another approval")
		}
		for _, asker := range []string{"soar", "nina", "ben"} {
			if _, err := g.Vote(t.Context(), yes(e, asker)); notCounted(err) != "own_request" {
				t.Errorf("%s approves what they asked for: %v", asker, err)
			}
		}
		agent := yes(e, "bot")
		agent.Roles = []string{"agent", "approver"}
		if _, err := g.Vote(t.Context(), agent); notCounted(err) != "agent_never_approves" {
			t.Errorf("an agent approves: %v", err)
		}
		if a, err := g.Vote(t.Context(), yes(e, "olga")); err != nil || a.Status != engine.ApprovalPending || a.Needed != 2 {
			t.Fatalf("the first of two: %+v, %v", a, err)
		}
		other := yes(e, "olga")
		other.Principal = "olga-2"
		if _, err := g.Vote(t.Context(), other); notCounted(err) != "counted_already" {
			t.Errorf("one person under two tokens: %v", err)
		}
		lost := yes(e, "petra")
		lost.RolesNow = func(principal string) []string {
			if principal == "olga" {
				return []string{"auditor"}
			}
			return approverRole
		}
		a, err := g.Vote(t.Context(), lost)
		if err != nil || a.Status != engine.ApprovalPending || fmt.Sprint(a.Approvers) != "[petra]" {
			t.Fatalf("the second, after the first lost the role: %+v, %v", a, err)
		}
		if a, err = g.Vote(t.Context(), yes(e, "quinn")); err != nil || a.Status != engine.ApprovalReleased {
			t.Fatalf("the third: %+v, %v", a, err)
		}
		released, err := s.Entry(t.Context(), "acme", a.ReleaseDecisionID)
		if err != nil || released.Decision != engine.QueuedApproval || released.Rule != engine.RuleCriticalNeverAuto {
			t.Errorf("a released CRITICAL action: %+v, %v", released, err)
		}
		storetest.CheckLog(t, url, nil)
	})
}

func TestDenyCancelAndOtherTenants(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		g := gateOn(t, s)
		e := mustQueue(t, g, request("acme", "isolate_host", "host:a"))
		other := *e
		other.TenantID = "globex"
		if _, err := g.Vote(t.Context(), yes(&other, "olga")); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("another tenant's approval: %v", err)
		}
		if a, err := g.Vote(t.Context(), vote(e, "olga", engine.EventDeny)); err != nil || a.Status != engine.ApprovalDenied || a.ReleaseDecisionID != "" {
			t.Errorf("denied: %+v, %v", a, err)
		}
		if _, err := g.Vote(t.Context(), yes(e, "petra")); closedAs(err) != engine.ApprovalDenied {
			t.Errorf("approved after a no: %v", err)
		}
		e = mustQueue(t, g, request("acme", "isolate_host", "host:b"))
		if _, err := g.Cancel(t.Context(), "acme", e.ApprovalID, "olga", "olga", "not mine"); !errors.Is(err, engine.ErrNotRequester) {
			t.Errorf("cancelled by somebody else: %v", err)
		}
		if a, err := g.Cancel(t.Context(), "acme", e.ApprovalID, "soar", "soar", "solved"); err != nil || a.Status != engine.ApprovalCancelled {
			t.Errorf("cancelled: %+v, %v", a, err)
		}
		if _, err := g.Vote(t.Context(), yes(e, "petra")); closedAs(err) != engine.ApprovalCancelled {
			t.Errorf("approved after it was taken back: %v", err)
		}
		storetest.CheckLog(t, url, nil)
	})
}

// What changes between the asking and the last approval counts.
func TestConfigurationChangedBeforeTheRelease(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		g := gateOn(t, s)
		tier := func(n int) {
			if _, err := s.ChangeConfig(t.Context(), "acme", engine.ConfigChange{MaturityTier: &n}, meta); err != nil {
				t.Fatal(err)
			}
		}
		end := func(e *engine.Entry, want engine.ApprovalStatus, decision engine.Decision, rule string) {
			t.Helper()
			a, err := g.Vote(t.Context(), yes(e, "olga"))
			if err != nil || a.Status != want {
				t.Fatalf("got %+v, %v; want %s", a, err, want)
			}
			if again, err := s.Entry(t.Context(), "acme", a.ReleaseDecisionID); err != nil || again.Decision != decision || again.Rule != rule {
				t.Errorf("decided again: %+v, %v; want %s by %s", again, err, decision, rule)
			}
		}
		tier(2)
		e := mustQueue(t, g, request("acme", "block_ip", "203.0.113.1"))
		if _, err := s.PutOverride(t.Context(), &engine.Override{TenantID: "acme", ActionType: "block_ip", Mode: engine.ModeBlock}, meta); err != nil {
			t.Fatal(err)
		}
		end(e, engine.ApprovalRefused, engine.Blocked, engine.RuleBlockOverride)
		e = mustQueue(t, g, request("acme", "kill_process", "host:a"))
		if _, err := s.SetStopped(t.Context(), "acme", true, meta); err != nil {
			t.Fatal(err)
		}
		end(e, engine.ApprovalRefused, engine.QueuedApproval, engine.RuleStopped)
		if _, err := s.SetStopped(t.Context(), "acme", false, meta); err != nil {
			t.Fatal(err)
		}
		e = mustQueue(t, g, request("acme", "kill_process", "host:b"))
		tier(0)
		end(e, engine.ApprovalReleased, engine.QueuedApproval, engine.RuleTierRequiresApproval)
		e = mustQueue(t, g, request("acme", "kill_process", "host:c"))
		tier(3)
		end(e, engine.ApprovalReleased, engine.Auto, engine.RuleTierAllows)
		storetest.CheckLog(t, url, nil)
	})
}

// Time running out denies, in the commit itself, for whoever comes and for
// nobody in particular.
func TestExpiry(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url, func(o *store.Options) { o.Poll = time.Hour })
		old := gateOn(t, s, func(o *engine.GateOptions) { o.Now = func() time.Time { return time.Now().Add(-5 * time.Hour) } })
		g := gateOn(t, s)
		e := mustQueue(t, old, request("acme", "isolate_host", "host:a"))
		if _, err := g.Vote(t.Context(), yes(e, "olga")); closedAs(err) != engine.ApprovalExpired {
			t.Errorf("too late: %v", err)
		}
		mustStand(t, s, e, engine.ApprovalExpired)
		// A gate whose clock is behind judges it in time; the commit does not.
		e = mustQueue(t, old, request("acme", "isolate_host", "host:b"))
		if _, err := old.Vote(t.Context(), yes(e, "olga")); !errors.Is(err, engine.ErrApprovalMoved) {
			t.Errorf("expired while being approved: %v", err)
		}
		if a := mustStand(t, s, e, engine.ApprovalPending); a.StatusAt(time.Now()) != engine.ApprovalExpired {
			t.Errorf("stands at %s", a.StatusAt(time.Now()))
		}
		// Asking again does not join it: it ends, and another one opens.
		again := mustQueue(t, g, request("acme", "isolate_host", "host:b"))
		if again.ApprovalID == e.ApprovalID {
			t.Error("joined an approval whose time had run out")
		}
		mustStand(t, s, e, engine.ApprovalExpired)
		e = mustQueue(t, old, request("acme", "isolate_host", "host:c"))
		sweeping := storetestOpenOther(t, url, s)
		eventually(t, "the sweeper", func() bool {
			a, err := sweeping.Approval(t.Context(), "acme", e.ApprovalID)
			return err == nil && a.Status == engine.ApprovalExpired && a.ClosedBy == "system"
		})
		storetest.CheckLog(t, url, nil)
	})
}

// storetestOpenOther is another gate on the database, or the same one again on
// SQLite, which takes one at a time.
func storetestOpenOther(t *testing.T, url string, s *store.Store) *store.Store {
	t.Helper()
	if strings.HasPrefix(url, "sqlite:") {
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return storetest.Open(t, url, func(o *store.Options) { o.Poll = 20 * time.Millisecond })
}

func TestManyAsksAreOneApproval(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 2_000
	}
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url, func(o *store.Options) { o.Patience = time.Minute })
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range n / 8 / 250 {
					entries := make([]*engine.Entry, 250)
					for i := range entries {
						entries[i] = storetest.Entry("acme", 0)
					}
					for _, r := range s.Append(t.Context(), entries) {
						if r.Err != nil {
							t.Error(r.Err)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		list, err := s.Approvals(t.Context(), "acme", engine.ApprovalQuery{Limit: 10, Now: time.Now()})
		if err != nil || len(list) != 1 || list[0].Version != 1 {
			t.Fatalf("%d approvals, %v", len(list), err)
		}
		storetest.CheckLog(t, url, nil)
	})
}
