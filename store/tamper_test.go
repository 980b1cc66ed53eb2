package store_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
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
	const columns = `tenant_id, log_seq, decision_id, action_id, action_type, target, blast_radius, maturity_tier, decision, rule, rationale, overrides_applied, rollback, actor, principal, input, policy_revision, bundle_hash, engine_version, config_epoch, decided_at, request_digest, approval_id, leaf_index`
	other := func(change ...string) string {
		return `SELECT ` + strings.NewReplacer(change...).Replace(columns) + ` FROM remediation_gate_log`
	}
	for _, q := range []string{
		`REPLACE INTO remediation_gate_log SELECT * FROM remediation_gate_log`,
		`INSERT OR REPLACE INTO remediation_gate_log (` + columns + `) ` + other("rationale", "'x'"),
		`REPLACE INTO remediation_gate_log (` + columns + `) ` + other("log_seq", "9"), // by decision_id
		`REPLACE INTO remediation_gate_log (rowid, ` + columns + `) SELECT rowid, ` + other("log_seq", "9", "decision_id", "'x'")[7:],
		`REPLACE INTO config_change SELECT tenant_id, epoch, kind, before, after, actor, 'x', at, leaf_index FROM config_change`,
		`REPLACE INTO config_change (rowid, tenant_id, epoch, kind, before, after, actor, reason, at, leaf_index) SELECT rowid, tenant_id, 9, kind, before, after, actor, 'x', at, 0 FROM config_change`,
		`REPLACE INTO approval_event SELECT * FROM approval_event`,
		`REPLACE INTO approval_event (rowid, tenant_id, approval_id, seq, kind, status, person, principal, at, leaf_index) SELECT rowid, tenant_id, approval_id, 9, kind, status, 'x', principal, at, 0 FROM approval_event`,
		`REPLACE INTO tree_genesis SELECT * FROM tree_genesis`, `REPLACE INTO tree_leaf SELECT * FROM tree_leaf`,
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
		blob := "bytea"
		if strings.HasPrefix(url, "sqlite:") {
			blob = "blob"
		}
		for _, q := range append(statements,
			`UPDATE tenant_head SET log_seq = 0`, `UPDATE tenant_head SET epoch = 0`, `UPDATE tenant_head SET tenant_id = 'x'`,
			`UPDATE tenant_head SET log_seq = log_seq + 1, epoch = 0`, `UPDATE tenant_head SET tree_size = 0`, `UPDATE tenant_head SET tree_change = -1`,
			`UPDATE tenant_head SET tree_edge = CAST('' AS `+blob+`)`, `DELETE FROM tenant_head`) {
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

// TestOverridesCountByThemselves: a restore may bring an override of a tenant
// that has no row of its own, or has lost its head.
func TestOverridesCountByThemselves(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		storetest.Open(t, url).Close(t.Context()) // makes the tables
		db := storetest.DB(t, url)
		for _, q := range []string{
			`INSERT INTO action_override (tenant_id, action_type, mode, constraints, reason, set_by, set_at) VALUES
				('alone', 'x', 'block', '{}', 'r', 'restore', '2026-01-01T00:00:00.000Z'),
				('headless', 'x', 'block', '{}', 'r', 'restore', '2026-01-01T00:00:00.000Z')`,
			`INSERT INTO whitelist_entry (tenant_id, id, action_type, constraints, expires_at, reason, notify, set_by, set_at) VALUES
				('alone', 'w', 'x', '{"target":"t"}', '2200-01-01T00:00:00.000Z', 'r', '[]', 'restore', '2026-01-01T00:00:00.000Z')`,
			`INSERT INTO tenant (tenant_id, maturity_tier, changed_by, changed_at) VALUES ('headless', 3, 'restore', '2026-01-01T00:00:00.000Z')`,
			`INSERT INTO tenant_head (tenant_id, epoch) VALUES ('lost', 7)`,
		} {
			if _, err := db.Exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		s := storetest.Open(t, url)
		check := func(tenant string, epoch int64, tier, overrides int) {
			t.Helper()
			f, err := s.Facts(tenant, "x", "t", time.Now())
			if err != nil || len(f.Overrides) != overrides || f.Epoch != epoch || f.MaturityTier != tier {
				t.Errorf("%s: facts %+v %v", tenant, f, err)
			}
			c, err := s.Config(t.Context(), tenant)
			if err != nil || len(c.Overrides) != overrides || c.Epoch != epoch || c.MaturityTier != tier {
				t.Errorf("%s: config %+v %v", tenant, c, err)
			}
			if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry(tenant, epoch)})[0]; r.Err != nil {
				t.Errorf("%s: %v", tenant, r.Err)
			}
		}
		check("alone", 0, 0, 1)
		check("headless", 0, 3, 1)
		check("lost", 7, 0, 0)
		if f, err := s.Facts("alone", "x", "t", time.Now()); err != nil || len(f.Whitelist) != 1 {
			t.Errorf("whitelist: %+v %v", f, err)
		}
		tier := 4
		c, err := s.ChangeConfig(t.Context(), "alone", engine.ConfigChange{MaturityTier: &tier}, meta)
		if err != nil || len(c.Overrides) != 1 {
			t.Fatalf("a PUT without overrides: %+v %v", c, err)
		}
		check("alone", 1, 4, 1)
		list, err := s.History(t.Context(), "alone", engine.HistoryQuery{})
		if err != nil || len(list) != 1 || !strings.Contains(string(list[0].Before), `"block"`) || !strings.Contains(string(list[0].After), `"block"`) {
			t.Errorf("history: %s %v", asJSON(list), err)
		}
		c, err = s.PutOverride(t.Context(), &engine.Override{TenantID: "headless", ActionType: "y", Mode: engine.ModeBlock}, meta)
		if err != nil || len(c.Overrides) != 2 || c.MaturityTier != 3 {
			t.Errorf("%+v %v", c, err)
		}
	})
}

func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("postgres", func(t *testing.T) { test(t, storetest.Postgres(t)) })
	t.Run("sqlite", func(t *testing.T) { test(t, storetest.SQLite(t)) })
}

// TestBadRowsDoNotStopTheGate: what the schema refuses today may stand in a
// database all the same.
func TestBadRowsDoNotStopTheGate(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		storetest.Open(t, url).Close(t.Context())
		db := storetest.DB(t, url)
		db.SetMaxOpenConns(1)
		entry := func(id, expires, notify string) string {
			return `INSERT INTO whitelist_entry (tenant_id, id, action_type, constraints, expires_at, reason, notify, set_by, set_at)
				VALUES ('a', '` + id + `', 'x', '{"target":"t"}', '` + expires + `', 'r', '` + notify + `', 'm', '2026-01-01T00:00:00.000Z')`
		}
		override := func(mode, expires string) string {
			return `INSERT INTO action_override (tenant_id, action_type, mode, constraints, expires_at, reason, set_by, set_at)
				VALUES ('a', 'x', '` + mode + `', '{}', '` + expires + `', 'r', 'm', '2026-01-01T00:00:00.000Z')`
		}
		const soon = "2200-01-01T00:00:00.000Z"
		bad := []string{
			entry("w1", soon, "{}"), entry("w2", "infinity", "[]"),
			override("block", "infinity"), override("require_approval", "-infinity"), override("force_auto", "infinity"),
		}
		for _, q := range bad {
			if _, err := db.Exec(q); err == nil {
				t.Errorf("allowed: %s", q)
			}
		}
		allow := []string{`PRAGMA ignore_check_constraints = 1`}
		if !strings.HasPrefix(url, "sqlite:") {
			allow = []string{`ALTER TABLE whitelist_entry DROP CONSTRAINT whitelist_entry_notify_check, DROP CONSTRAINT whitelist_entry_expires_at_check`,
				`ALTER TABLE action_override DROP CONSTRAINT action_override_expires_at_check`}
		}
		for _, q := range append(append(allow, bad...), entry("w3", soon, `[1]`), entry("w4", soon, `["ok"]`)) {
			if _, err := db.Exec(q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		s := storetest.Open(t, url, func(o *store.Options) { o.Registerer, o.Logger = reg, slog.New(slog.NewTextHandler(&log, nil)) })
		f, err := s.Facts("a", "x", "t", time.Now())
		if err != nil || len(f.Whitelist) != 1 || f.Whitelist[0].ID != "w4" {
			t.Errorf("%s %v", asJSON(f.Whitelist), err)
		}
		for _, o := range f.Overrides {
			if force := o.Mode == engine.ModeForceAuto; force != (o.ExpiresAt != nil && o.ExpiresAt.IsZero()) || force != (string(o.Constraints) == "null") {
				t.Errorf("override %s", asJSON(o))
			}
		}
		if got := unsound(t, reg); got["whitelist"] != 3 || got["override"] != 1 || len(f.Overrides) != 3 {
			t.Errorf("counted %v of %d", got, len(f.Overrides))
		}
		for _, name := range []string{"id=w1", "id=w2", "id=w3", "mode=block", "mode=force_auto"} {
			if !strings.Contains(log.String(), name) {
				t.Errorf("no line about %s in\n%s", name, log.String())
			}
		}
		if list, err := s.Whitelist(t.Context(), "a", "", "", 10); err != nil || len(list) != 4 {
			t.Errorf("listed %d %v", len(list), err)
		}
		tier := 4
		if c, err := s.ChangeConfig(t.Context(), "a", engine.ConfigChange{MaturityTier: &tier}, meta); err != nil || len(c.Overrides) != 3 {
			t.Errorf("%+v %v", c, err)
		}
		for _, id := range []string{"w1", "w2", "w3"} {
			if err := s.DeleteWhitelist(t.Context(), "a", id, meta); err != nil {
				t.Error(err)
			}
		}
		if err := s.DeleteOverride(t.Context(), "a", "x", engine.ModeForceAuto, meta); err != nil {
			t.Error(err)
		}
		if got := unsound(t, reg); got["whitelist"] != 0 || got["override"] != 0 {
			t.Errorf("counted %v after they were removed", got)
		}
	})
}
