package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// The columns of a leaf are the columns of its table, all of them.
func TestLeavesHaveEveryColumn(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		storetest.Open(t, url)
		db := storetest.DB(t, url)
		for table, k := range map[string]*audit.Kind{
			"remediation_gate_log": audit.Decision, "config_change": audit.ConfigChange, "policy_change": audit.PolicyChange,
			"approval_event": audit.ApprovalEvent, "decision_outcome": audit.Outcome, "tree_genesis": audit.Genesis,
		} {
			rows, err := db.Query(`SELECT * FROM ` + table + ` LIMIT 0`)
			if err != nil {
				t.Fatal(err)
			}
			columns, err := rows.Columns()
			rows.Close()
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Clone(k.Columns)
			slices.Sort(columns)
			slices.Sort(want)
			if !slices.Equal(columns, want) {
				t.Errorf("%s has\n%v, a leaf of it has\n%v", table, columns, want)
			}
		}
	})
}

// workload makes rows of all kinds, at random, through a store.
type workload struct {
	s       *store.Store
	rnd     *rand.Rand
	tenants []string
}

func (w *workload) text() string {
	parts := []string{"host:wks-042", "é", "e\u0301", "\u2028", "<b>&", `"quoted"`, `back\slash`, "tab\there", "line\nbreak", "\x01\x1f\x7f", "𝄞", "€", "'); DROP", "$1", "{}", "\u200b", "ﬁ"}
	var s strings.Builder
	for range 1 + w.rnd.IntN(4) {
		s.WriteString(parts[w.rnd.IntN(len(parts))])
	}
	return s.String()
}

func (w *workload) entry(tenant string, epoch int64) *engine.Entry {
	e := storetest.Entry(tenant, epoch)
	e.Target, e.Rationale, e.Rollback, e.IncidentID, e.Principal = w.text(), w.text(), w.text(), "", w.text()
	if w.rnd.IntN(2) == 0 {
		e.IncidentID = w.text()
	}
	if f := []float64{0, 1e-7, 0.1, 5e-324, 0.30000000000000004, 1, 1.0 / 3, 0.97}; w.rnd.IntN(4) > 0 {
		e.Confidence = &f[w.rnd.IntN(len(f))]
	}
	if w.rnd.IntN(3) == 0 {
		e.ReadSet = []byte(`{ "b":1.0,` + "\t" + `"a": [ 2e3, "é\u00e9" ]}`)
	}
	if w.rnd.IntN(3) == 0 {
		e.Parameters = []byte(`{"x":1}`)
		e.ParametersDigest = fmt.Sprintf("sha256:%x", sha256.Sum256(e.Parameters))
	}
	if w.rnd.IntN(2) == 0 {
		e.Decision, e.OverridesApplied = engine.Auto, []string{"force_auto", w.text()}
	}
	e.Wait = time.Duration(1+w.rnd.IntN(3)) * 40 * time.Millisecond
	e.DecidedAt = time.Now().UTC().Truncate(time.Millisecond)
	return e
}

// step makes something happen. What another gate was faster with is no error.
func (w *workload) step(t *testing.T) {
	ctx, tenant := t.Context(), w.tenants[w.rnd.IntN(len(w.tenants))]
	config, err := w.s.Config(ctx, tenant)
	if err != nil {
		t.Error(err)
		return
	}
	switch n := w.rnd.IntN(10); {
	case n < 5:
		list := make([]*engine.Entry, 1+w.rnd.IntN(90))
		for i := range list {
			list[i] = w.entry(tenant, config.Epoch)
		}
		for _, r := range w.s.Append(ctx, list) {
			if r.Err != nil && !errors.Is(r.Err, engine.ErrStaleEpoch) && !errors.Is(r.Err, engine.ErrStalePolicy) {
				t.Error(r.Err)
			}
		}
	case n < 7:
		_, err = w.s.SetStopped(ctx, tenant, w.rnd.IntN(2) == 0, engine.ChangeMeta{Actor: w.text(), Reason: w.text()})
	case n < 8:
		var rows []*engine.Entry
		if rows, err = w.s.Entries(ctx, tenant, engine.LogQuery{Decision: engine.Auto, Limit: 1}); err == nil && len(rows) > 0 {
			_, _, err = w.s.AddOutcome(ctx, engine.DecisionOutcome{TenantID: tenant, DecisionID: rows[0].DecisionID, Status: engine.OutcomeExecuted, Detail: w.text(), Person: w.text(), Principal: w.text()})
		}
	default:
		err = w.vote(ctx, tenant, config.Epoch)
	}
	if err != nil && !errors.Is(err, engine.ErrApprovalMoved) && !errors.Is(err, engine.ErrStaleEpoch) && !errors.Is(err, engine.ErrTooManyOutcomes) && !errors.Is(err, engine.ErrNotFound) {
		t.Error(err)
	}
}

// vote lets somebody approve an open approval, and releases its action.
func (w *workload) vote(ctx context.Context, tenant string, epoch int64) error {
	list, err := w.s.Approvals(ctx, tenant, engine.ApprovalQuery{Status: engine.ApprovalPending, Limit: 1, Now: time.Now()})
	if err != nil || len(list) == 0 {
		return err
	}
	a := list[0]
	e := w.entry(tenant, epoch)
	e.Decision, e.Rule, e.ApprovalID, e.Supersedes = engine.QueuedApproval, engine.RuleTierRequiresApproval, a.ID, a.DecisionID
	now := e.DecidedAt
	step := engine.ApprovalStep{TenantID: tenant, ID: a.ID, Version: a.Version, After: *a, Entry: e, ConfigEpoch: epoch}
	step.After.Status, step.After.ClosedBy, step.After.Approvers = engine.ApprovalReleased, "anna", []string{"anna"}
	step.After.ReleaseDecisionID, step.After.ValidUntil = e.DecisionID, now.Add(time.Minute)
	step.Events = []engine.ApprovalEvent{
		{Kind: engine.EventApprove, Status: engine.ApprovalApproved, Person: "anna", Principal: w.text(), Roles: []string{"approver", w.text()}, Comment: w.text(), At: now, Rule: "enough", Rationale: w.text(), Input: []byte(w.text()), BundleHash: "sha256:x"},
		{Kind: engine.EventReleased, Status: engine.ApprovalReleased, Person: "anna", Principal: "anna", At: now, DecisionID: e.DecisionID},
	}
	_, err = w.s.StepApproval(ctx, step)
	return err
}

// Whatever happens on two gates at once, every row has its leaf and every leaf
// its row, and a proof of each leaf holds.
func TestTreesOfTwoGates(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		tenants := []string{"acme", "globex", "initech"}
		gates := []*store.Store{storetest.Open(t, url, impatient)}
		if strings.HasPrefix(url, "postgres") {
			gates = append(gates, storetest.Open(t, url, impatient))
		}
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				w := &workload{s: gates[i%len(gates)], rnd: rand.New(rand.NewPCG(seed, uint64(i))), tenants: tenants}
				for range 25 {
					w.step(t)
				}
			})
		}
		wg.Wait()
		db := storetest.DB(t, url)
		for n := 1; n > 0; time.Sleep(20 * time.Millisecond) { // until the gates have ended what ran out
			if err := db.QueryRow(`SELECT count(*) FROM approval WHERE status = 'pending'`).Scan(&n); err != nil {
				t.Fatal(err)
			}
		}
		storetest.CheckLog(t, url, nil)
		for _, tenant := range tenants {
			checkProofs(t, gates[0], url, tenant)
		}
	})
}

func impatient(o *store.Options) { o.Patience = 20 * time.Second }

// checkProofs proves some leaves, and that some older trees are in the newest.
func checkProofs(t *testing.T, s *store.Store, url, tenant string) {
	t.Helper()
	size, root, err := s.TreeHead(t.Context(), tenant)
	if err != nil || size == 0 {
		t.Fatalf("%d %v", size, err)
	}
	leaves := storetest.Leaves(t, url, tenant)
	if int64(len(leaves)) != size {
		t.Fatalf("%d leaves in a tree of %d", len(leaves), size)
	}
	for _, from := range []int64{1, 2, 255, 256, 257, size / 3, size / 2, size - 1, size} {
		if from < 1 || from > size {
			continue
		}
		older, err := s.TreeRoot(t.Context(), tenant, from)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := s.TreeConsistency(t.Context(), tenant, from, size)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckTree(proof, size, root, from, older); err != nil {
			t.Errorf("%d in %d: %v", from, size, err)
		}
		for _, leaf := range []int64{0, from / 2, from - 1} {
			p, err := s.TreeProof(t.Context(), tenant, leaf, from)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(p, from, older, leaf, leaves[leaf]); err != nil {
				t.Errorf("leaf %d of %d: %v", leaf, from, err)
			}
			if tlog.CheckRecord(p, from, older, leaf, tlog.Hash{}) == nil {
				t.Errorf("leaf %d of %d is proved for any hash", leaf, from)
			}
		}
	}
}

// A tree of nobody is empty, and what is not there is not found.
func TestTreeOfNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		size, root, err := s.TreeHead(t.Context(), "nobody\x00")
		if empty, _ := tlog.TreeHash(0, nil); err != nil || size != 0 || root != empty {
			t.Errorf("%d %v %v", size, root, err)
		}
		if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		for what, call := range map[string]func() error{
			"leaf -1":      func() error { _, err := s.TreeProof(t.Context(), "acme", -1, 1); return err },
			"leaf 9 of 9":  func() error { _, err := s.TreeProof(t.Context(), "acme", 9, 9); return err },
			"leaf 0 of 99": func() error { _, err := s.TreeProof(t.Context(), "acme", 0, 99); return err },
			"0 in 1":       func() error { _, err := s.TreeConsistency(t.Context(), "acme", 0, 1); return err },
			"2 in 1":       func() error { _, err := s.TreeConsistency(t.Context(), "acme", 2, 1); return err },
			"1 in 99":      func() error { _, err := s.TreeConsistency(t.Context(), "acme", 1, 99); return err },
			"root of 99":   func() error { _, err := s.TreeRoot(t.Context(), "acme", 99); return err },
		} {
			if err := call(); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// A change of the policy is a leaf of each tree before any decision made under it.
func TestPolicyChangesAreLeavesOfEveryTree(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		ask := func(tenant string, epoch int64, bundle string) {
			t.Helper()
			e := storetest.Entry(tenant, 0)
			e.PolicyEpoch, e.Policy.BundleHash = epoch, hashOf(bundle)
			if r := s.Append(t.Context(), []*engine.Entry{e})[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		policyWith(t, s) // seeds a
		ask("early", 1, "a")
		if _, err := s.KeepBundle(t.Context(), hashOf("b"), "2.0.0", []byte("b"), false, meta); err != nil {
			t.Fatal(err)
		}
		head, err := s.PolicyHead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.MovePolicy(t.Context(), engine.PolicyMove{Kind: engine.PolicyActivate, Hash: hashOf("b"), IfChange: head.ChangeID}, meta); err != nil {
			t.Fatal(err)
		}
		ask("early", 2, "b")
		ask("late", 2, "b")
		if _, err := s.SetStopped(t.Context(), "changes", true, meta); err != nil {
			t.Fatal(err)
		}
		kinds := func(tenant string) (list []string) {
			rows, err := storetest.DB(t, url).Query(`SELECT kind, seq, length(hashes) / 32 FROM tree_leaf WHERE tenant_id = '` + tenant + `' ORDER BY leaf_index`)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			for rows.Next() {
				var kind string
				var seq, n int64
				if err := rows.Scan(&kind, &seq, &n); err != nil {
					t.Fatal(err)
				}
				list = append(list, fmt.Sprintf("%s %d-%d", kind, seq, seq+n-1))
			}
			return list
		}
		n := head.ChangeID + 1
		for tenant, want := range map[string][]string{
			"early":   {"genesis 0-0", fmt.Sprintf("policy_change 1-%d", n-2), "decision 1-1", "approval_event 1-1", fmt.Sprintf("policy_change %d-%d", n-1, n), "decision 2-2"},
			"late":    {"genesis 0-0", fmt.Sprintf("policy_change 1-%d", n), "decision 1-1", "approval_event 1-1"},
			"changes": {"genesis 0-0", fmt.Sprintf("policy_change 1-%d", n), "config_change 1-1"},
		} {
			if got := kinds(tenant); !slices.Equal(got, want) {
				t.Errorf("%s has\n%v, want\n%v", tenant, got, want)
			}
		}
		storetest.CheckLog(t, url, nil)
	})
}

// What a tenant had before the tree is visibly not covered by it.
func TestTreeBeginsWhereTheLogStands(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		if err := store.MigrateTo(t.Context(), url, 4); err != nil {
			t.Fatal(err)
		}
		db := storetest.DB(t, url)
		old := storetest.Entry("acme", 0)
		digest := "x'" + strings.Repeat("00", 32) + "'"
		statements := []string{`INSERT INTO tenant_head (tenant_id, log_seq, epoch) VALUES ('acme', 1, 1)`}
		if strings.HasPrefix(url, "postgres") {
			digest = `'\x` + strings.Repeat("00", 32) + `'`
			statements = append(statements, `SELECT tiergate_ensure_month(now())`)
		}
		at := engine.FormatTime(old.DecidedAt)
		statements = append(statements,
			`INSERT INTO remediation_gate_log (tenant_id, log_seq, decision_id, action_id, action_type, target, blast_radius, maturity_tier, decision, rule, rationale, overrides_applied, rollback, actor, principal, input, policy_revision, bundle_hash, engine_version, config_epoch, decided_at, request_digest, policy_epoch)
				VALUES ('acme', 1, '`+old.DecisionID+`', '`+old.ActionID+`', 'isolate_host', 'host:a', 'HIGH', 2, 'auto', 'tier_allows', 'why', '[]', 'how', 'system', 'agent-1', `+digest+`, '1.0.0', 'sha256:old', 'tiergate/0', 0, '`+at+`', `+digest+`, 0)`,
			`INSERT INTO remediation_action (tenant_id, action_id, log_seq, decided_at) VALUES ('acme', '`+old.ActionID+`', 1, '`+at+`')`,
			`INSERT INTO config_change (tenant_id, epoch, kind, before, after, actor, reason, at) VALUES ('acme', 1, 'stop', 'null', 'null', 'olga', 'why', '`+at+`')`,
			`INSERT INTO decision_outcome (tenant_id, decision_id, seq, status, person, principal, at) VALUES ('acme', '`+old.DecisionID+`', 1, 'executed', 'ben', 'ben', '`+at+`')`)
		for _, q := range statements {
			if _, err := db.Exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		s := storetest.Open(t, url)
		if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 1)})[0]; r.Err != nil || r.Entry.LogSeq != 2 {
			t.Fatalf("%+v", r)
		}
		var g struct{ log, epoch, events, outcomes int64 }
		if err := db.QueryRow(`SELECT log_seq, epoch, approval_events, outcomes FROM tree_genesis WHERE tenant_id = 'acme'`).Scan(&g.log, &g.epoch, &g.events, &g.outcomes); err != nil || g != (struct{ log, epoch, events, outcomes int64 }{1, 1, 0, 1}) {
			t.Errorf("%+v %v", g, err)
		}
		storetest.CheckLog(t, url, nil)
		// A gate that knows no tree cannot write past it.
		_, err := db.Exec(`INSERT INTO config_change (tenant_id, epoch, kind, before, after, actor, reason, at) VALUES ('acme', 2, 'stop', 'null', 'null', 'olga', 'why', '` + at + `')`)
		if err == nil || !strings.Contains(err.Error(), "in_tree") && !strings.Contains(err.Error(), "leaf_index") {
			t.Errorf("a row without a leaf: %v", err)
		}
	})
}

// A leaf is what an auditor makes of the row alone.
func TestLeafOfAnEntry(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		e := storetest.Entry("acme", 0)
		if r := s.Append(t.Context(), []*engine.Entry{e})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		var doc map[string]any
		if err := json.Unmarshal(storetest.LeafBytes(t, url, "acme", "decision", 1), &doc); err != nil {
			t.Fatal(err)
		}
		for k, want := range map[string]any{
			"leaf": "decision", "v": 1.0, "tenant_id": "acme", "log_seq": 1.0, "leaf_index": 1.0, "decision_id": e.DecisionID, "action_id": e.ActionID, "target": e.Target,
			"decided_at": engine.FormatTime(e.DecidedAt), "overrides_applied": "[]", "confidence": nil, "supersedes": nil, "approval_id": e.ApprovalID, "parameters_digest": nil,
		} {
			if doc[k] != want {
				t.Errorf("%s is %v, want %v", k, doc[k], want)
			}
		}
	})
}
