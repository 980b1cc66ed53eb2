package storetest

import (
	"database/sql"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to look at a store's file beside it

	"github.com/tiergate/tiergate/engine"
)

// DB opens the database of a store, beside the store, as its owner.
func DB(t testing.TB, url string) *sql.DB {
	t.Helper()
	driver, dsn := "postgres", url
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+file+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// CheckLog proves the whole gate log of the database at url: log_seq is 1..n
// for every tenant, no action_id and no decision_id is there twice, every row
// has its side row and no side row is alone, the heads and the change rows
// agree, config_epoch and policy_epoch never fall as log_seq rises, every row
// since bundles are kept names the bundle that was active in its policy_epoch,
// every queued row has its approval, every approval is what its events say, at
// most one of an action is open, every decision that was made again is the one
// of its approval, every answered entry is there as it was answered, and the
// trees are those of the rows (CheckTrees). All of it sees one state of the
// database.
func CheckLog(t testing.TB, url string, answered []*engine.Entry) {
	t.Helper()
	db := snapshot(t, url)
	defer db.Rollback()
	checkTrees(t, db, placeholder(url))
	for what, query := range map[string]string{
		"tenants whose log_seq is not 1..n, or not the head's": `SELECT count(*) FROM (
			SELECT l.tenant_id FROM remediation_gate_log l JOIN tenant_head h ON h.tenant_id = l.tenant_id GROUP BY l.tenant_id, h.log_seq
			HAVING min(l.log_seq) <> 1 OR max(l.log_seq) <> count(*) OR count(DISTINCT l.log_seq) <> count(*) OR max(l.log_seq) <> h.log_seq) x`,
		"heads without their rows": `SELECT count(*) FROM tenant_head h WHERE h.log_seq > 0
			AND NOT EXISTS (SELECT 1 FROM remediation_gate_log l WHERE l.tenant_id = h.tenant_id)`,
		"rows without a head":      `SELECT count(*) FROM remediation_gate_log l WHERE NOT EXISTS (SELECT 1 FROM tenant_head h WHERE h.tenant_id = l.tenant_id)`,
		"action_ids twice":         `SELECT count(*) - count(DISTINCT tenant_id || '/' || action_id) FROM remediation_gate_log`,
		"decision_ids twice":       `SELECT count(*) - count(DISTINCT decision_id) FROM remediation_gate_log`,
		"rows without a side row":  `SELECT count(*) FROM remediation_gate_log l LEFT JOIN remediation_action a ON a.tenant_id = l.tenant_id AND a.action_id = l.action_id AND a.log_seq = l.log_seq WHERE a.log_seq IS NULL`,
		"side rows without a row":  `SELECT (SELECT count(*) FROM remediation_action) - (SELECT count(*) FROM remediation_gate_log)`,
		"falls of config_epoch":    `SELECT count(*) FROM (SELECT config_epoch - lag(config_epoch) OVER (PARTITION BY tenant_id ORDER BY log_seq) AS step FROM remediation_gate_log) x WHERE step < 0`,
		"rows above the epoch":     `SELECT count(*) FROM remediation_gate_log l JOIN tenant_head h ON h.tenant_id = l.tenant_id WHERE l.config_epoch > h.epoch`,
		"changes that are not 1..": `SELECT count(*) FROM (SELECT h.tenant_id FROM tenant_head h LEFT JOIN config_change c ON c.tenant_id = h.tenant_id GROUP BY h.tenant_id, h.epoch HAVING count(c.epoch) <> h.epoch OR coalesce(max(c.epoch), 0) <> h.epoch) x`,
		"falls of policy_epoch":    `SELECT count(*) FROM (SELECT policy_epoch - lag(policy_epoch) OVER (PARTITION BY tenant_id ORDER BY log_seq) AS step FROM remediation_gate_log) x WHERE step < 0`,
		"rows of no kept bundle":   `SELECT count(*) FROM remediation_gate_log l WHERE l.policy_epoch > 0 AND NOT EXISTS (SELECT 1 FROM policy_bundle b WHERE b.bundle_hash = l.bundle_hash)`,
		"rows of another bundle": `SELECT count(*) FROM remediation_gate_log l WHERE l.policy_epoch > 0 AND NOT EXISTS (SELECT 1 FROM policy_change c
			WHERE c.policy_epoch = l.policy_epoch AND c.kind IN ('seed', 'activate', 'rollback') AND c.bundle_hash = l.bundle_hash)`,
		"policy changes that are not 1..": `SELECT count(*) FROM policy_head h WHERE h.change_id <> (SELECT count(*) FROM policy_change)
			OR h.change_id <> (SELECT coalesce(max(change_id), 0) FROM policy_change) OR h.policy_epoch <> (SELECT coalesce(max(policy_epoch), 0) FROM policy_change)
			OR h.policy_epoch <> (SELECT count(*) FROM policy_change WHERE kind IN ('seed', 'activate', 'rollback'))`,
		"CRITICAL and auto":        `SELECT count(*) FROM remediation_gate_log WHERE blast_radius = 'CRITICAL' AND decision = 'auto'`,
		"parameters without a row": `SELECT count(*) FROM decision_parameters p WHERE NOT EXISTS (SELECT 1 FROM remediation_gate_log l WHERE l.decision_id = p.decision_id)`,
		"queued rows without an approval": `SELECT count(*) FROM remediation_gate_log l WHERE l.engine_version <> 'tiergate/0' AND l.decision = 'queued_approval'
			AND NOT EXISTS (SELECT 1 FROM approval a WHERE a.tenant_id = l.tenant_id AND a.approval_id = l.approval_id)`,
		"approvals whose events are not 1..version": `SELECT count(*) FROM approval a WHERE a.version <> (SELECT count(*) FROM approval_event e WHERE e.tenant_id = a.tenant_id AND e.approval_id = a.approval_id)
			OR a.version <> (SELECT coalesce(max(seq), 0) FROM approval_event e WHERE e.tenant_id = a.tenant_id AND e.approval_id = a.approval_id)`,
		"approvals that are not where their last event is": `SELECT count(*) FROM approval a WHERE NOT EXISTS (SELECT 1 FROM approval_event e
			WHERE e.tenant_id = a.tenant_id AND e.approval_id = a.approval_id AND e.seq = a.version AND e.status = a.status)`,
		"events without an approval": `SELECT count(*) FROM approval_event e WHERE NOT EXISTS (SELECT 1 FROM approval a WHERE a.tenant_id = e.tenant_id AND a.approval_id = e.approval_id)`,
		"approvals without the row that opened them": `SELECT count(*) FROM approval a WHERE NOT EXISTS (SELECT 1 FROM remediation_gate_log l
			WHERE l.tenant_id = a.tenant_id AND l.decision_id = a.decision_id AND l.approval_id = a.approval_id AND l.decision = 'queued_approval' AND l.supersedes IS NULL)`,
		"actions with two open approvals": `SELECT count(*) FROM (SELECT 1 AS x FROM approval WHERE status = 'pending' GROUP BY tenant_id, action_digest HAVING count(*) > 1) x`,
		"decisions made again that are not their approval's": `SELECT count(*) FROM remediation_gate_log l WHERE l.supersedes IS NOT NULL AND NOT EXISTS (SELECT 1 FROM approval a
			WHERE a.tenant_id = l.tenant_id AND a.approval_id = l.approval_id AND a.release_decision_id = l.decision_id AND a.decision_id = l.supersedes)`,
		"approvals whose decision was not made again": `SELECT count(*) FROM approval a WHERE a.release_decision_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM remediation_gate_log l
			WHERE l.tenant_id = a.tenant_id AND l.decision_id = a.release_decision_id AND l.supersedes = a.decision_id)`,
		"released though blocked": `SELECT count(*) FROM approval a JOIN remediation_gate_log l ON l.tenant_id = a.tenant_id AND l.decision_id = a.release_decision_id
			WHERE a.status = 'released' AND (l.decision = 'blocked' OR l.rule = 'stopped')`,
		"released by whoever asked": `SELECT count(*) FROM approval a JOIN approval_event e ON e.tenant_id = a.tenant_id AND e.approval_id = a.approval_id
			WHERE a.status = 'released' AND e.kind = 'approve' AND e.person IN (SELECT o.person FROM approval_event o WHERE o.tenant_id = a.tenant_id AND o.approval_id = a.approval_id AND o.kind IN ('opened', 'joined'))`,
		"outcomes of what was not let go": `SELECT count(*) FROM decision_outcome o WHERE NOT EXISTS (SELECT 1 FROM remediation_gate_log l WHERE l.tenant_id = o.tenant_id AND l.decision_id = o.decision_id
			AND (l.decision = 'auto' OR EXISTS (SELECT 1 FROM approval a WHERE a.tenant_id = l.tenant_id AND a.release_decision_id = l.decision_id AND a.status = 'released')))`,
	} {
		var n int
		if err := db.QueryRow(query).Scan(&n); err != nil {
			t.Fatalf("check the log, %s: %v", what, err)
		}
		if n != 0 {
			t.Errorf("check the log: %d %s", n, what)
		}
	}
	type stored struct {
		tenant, action, decision string
		seq                      int64
	}
	rows, err := db.Query(`SELECT decision_id, tenant_id, action_id, decision, log_seq FROM remediation_gate_log`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	there := map[string]stored{}
	for rows.Next() {
		var id string
		var s stored
		if err := rows.Scan(&id, &s.tenant, &s.action, &s.decision, &s.seq); err != nil {
			t.Fatal(err)
		}
		there[id] = s
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, e := range answered {
		if want := (stored{e.TenantID, e.ActionID, e.Decision.String(), e.LogSeq}); there[e.DecisionID] != want {
			if lost++; lost <= 3 {
				t.Errorf("answered %s as %+v, the log has %+v", e.DecisionID, want, there[e.DecisionID])
			}
		}
	}
	if lost > 0 {
		t.Errorf("check the log: %d of %d answers are not in it", lost, len(answered))
	}
}
