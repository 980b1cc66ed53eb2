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

// TestHeadsOnlyMoveForward, whoever asks.
func TestHeadsOnlyMoveForward(t *testing.T) {
	try := func(t *testing.T, url string, statements ...string) {
		s := storetest.Open(t, url)
		if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if _, err := s.SetStopped(t.Context(), "acme", true, meta); err != nil {
			t.Fatal(err)
		}
		db := storetest.DB(t, url)
		for _, q := range append(statements,
			`UPDATE tenant_head SET log_seq = 0`, `UPDATE tenant_head SET epoch = 0`, `UPDATE tenant_head SET tenant_id = 'x'`,
			`UPDATE tenant_head SET log_seq = log_seq + 1, epoch = 0`, `DELETE FROM tenant_head`) {
			if _, err := db.Exec(q); err == nil || !strings.Contains(err.Error(), "only moves forward") {
				t.Errorf("%s: %v", q, err)
			}
		}
		if strings.HasPrefix(url, "sqlite:") {
			if _, err := db.Exec(`REPLACE INTO tenant_head (tenant_id) VALUES ('acme')`); err != nil {
				t.Error(err)
			}
		}
		if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 1)})[0]; r.Err != nil || r.Entry.LogSeq != 2 {
			t.Errorf("after: %+v", r)
		}
		storetest.CheckLog(t, url, nil)
	}
	t.Run("postgres", func(t *testing.T) {
		try(t, storetest.Postgres(t), `TRUNCATE tenant_head`, `SET ROLE tiergate_writer; UPDATE tenant_head SET log_seq = 0`)
	})
	t.Run("sqlite", func(t *testing.T) { try(t, storetest.SQLite(t)) })
}
