package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

// TestSQLiteRefusesReplace: REPLACE deletes without a DELETE trigger.
func TestSQLiteRefusesReplace(t *testing.T) {
	url := storetest.SQLite(t)
	s := storetest.Open(t, url)
	first := storetest.Entry("acme", 0)
	if r := s.Append(t.Context(), []*engine.Entry{first})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	if _, err := s.SetStopped(t.Context(), "acme", true, meta); err != nil {
		t.Fatal(err)
	}
	db := storetest.DB(t, url)
	db.SetMaxOpenConns(1)
	const columns = `tenant_id, log_seq, decision_id, action_id, action_type, target, blast_radius, maturity_tier, decision, rule, rationale, overrides_applied, rollback, actor, principal, input, policy_revision, bundle_hash, engine_version, config_epoch, decided_at, request_digest`
	other := func(change ...string) string {
		return `SELECT ` + strings.NewReplacer(change...).Replace(columns) + ` FROM remediation_gate_log`
	}
	for _, q := range []string{
		`REPLACE INTO remediation_gate_log SELECT * FROM remediation_gate_log`,
		`INSERT OR REPLACE INTO remediation_gate_log (` + columns + `) ` + other("rationale", "'x'"),
		`REPLACE INTO remediation_gate_log (` + columns + `) ` + other("log_seq", "9"), // by decision_id
		`REPLACE INTO remediation_gate_log (rowid, ` + columns + `) SELECT rowid, ` + other("log_seq", "9", "decision_id", "'x'")[7:],
		`REPLACE INTO config_change SELECT tenant_id, epoch, kind, before, after, actor, 'x', at FROM config_change`,
		`REPLACE INTO config_change (rowid, tenant_id, epoch, kind, before, after, actor, reason, at) SELECT rowid, tenant_id, 9, kind, before, after, actor, 'x', at FROM config_change`,
		`REPLACE INTO remediation_action SELECT tenant_id, action_id, 9, decided_at FROM remediation_action`,
	} {
		if _, err := db.Exec(q); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", q, err)
		}
	}
	// What is refused so is a fault of the row: its neighbours are written.
	again, next := storetest.Entry("acme", 1), storetest.Entry("acme", 1)
	again.DecisionID = first.DecisionID
	r := s.Append(t.Context(), []*engine.Entry{again, next})
	if !errors.Is(r[0].Err, engine.ErrUnavailable) || r[1].Err != nil {
		t.Errorf("the used decision_id: %v, the other: %v", r[0].Err, r[1].Err)
	}
	storetest.CheckLog(t, url, nil)
}
