package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// stood is what v_autonomy_at says of a tenant, one line for each fact.
func stood(t *testing.T, db *sql.DB, where string, args ...any) (lines []string) {
	t.Helper()
	rows, err := db.Query(`SELECT fact, coalesce(action_type, ''), coalesce(name, ''), value FROM v_autonomy_at WHERE fact <> 'policy' AND tenant_id = 'acme' AND `+where, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var fact, action, name, value string
		if err := rows.Scan(&fact, &action, &name, &value); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Join([]string{fact, action, name, value}, " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// configured is the same of a configuration and a whitelist as the store has them.
func configured(c engine.Config, entries []*engine.WhitelistEntry) []string {
	lines := []string{"maturity_tier   " + engine.TierLabel(c.MaturityTier)}
	if c.Stopped {
		lines = append(lines, "stopped   true")
	}
	for _, o := range c.Overrides {
		lines = append(lines, fmt.Sprintf("override %s %s %s", o.ActionType, o.Mode, o.Constraints))
	}
	for _, w := range entries {
		lines = append(lines, fmt.Sprintf("whitelist %s %s %s", w.ActionType, w.ID, w.Constraints))
	}
	slices.Sort(lines)
	return lines
}

// The view, made of the changes alone, says of every epoch what the store had
// then: any changes, in any order.
func TestAutonomyAtEveryEpoch(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		r := rand.New(rand.NewPCG(5, 6))
		later := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Millisecond)
		override := func() *engine.Override {
			o := &engine.Override{TenantID: "acme", ActionType: fmt.Sprintf("a%d", r.IntN(3)),
				Mode:        []engine.Mode{engine.ModeBlock, engine.ModeRequireApproval, engine.ModeForceAuto}[r.IntN(3)],
				Constraints: []byte(fmt.Sprintf(`{"target_prefix":"p%d"}`, r.IntN(3)))}
			if r.IntN(2) == 0 {
				o.ExpiresAt = &later
			}
			return o
		}
		var ids []string
		at := map[int64][]string{}
		for range 150 {
			var err error
			switch r.IntN(7) {
			case 0:
				tier := r.IntN(5)
				_, err = s.ChangeConfig(t.Context(), "acme", engine.ConfigChange{MaturityTier: &tier}, meta)
			case 1:
				set := map[string]*engine.Override{}
				for range r.IntN(4) {
					o := override()
					set[o.ActionType+string(o.Mode)] = o
				}
				change := engine.ConfigChange{ReplaceOverrides: true}
				for _, o := range set {
					change.Overrides = append(change.Overrides, o)
				}
				_, err = s.ChangeConfig(t.Context(), "acme", change, meta)
			case 2:
				_, err = s.PutOverride(t.Context(), override(), meta)
			case 3:
				o := override()
				if err = s.DeleteOverride(t.Context(), "acme", o.ActionType, []engine.Mode{"", o.Mode}[r.IntN(2)], meta); err != nil {
					continue // there was none
				}
			case 4:
				_, err = s.SetStopped(t.Context(), "acme", r.IntN(2) == 0, meta)
			case 5:
				var w *engine.WhitelistEntry
				if w, err = s.AddWhitelist(t.Context(), engine.WhitelistEntry{TenantID: "acme", ActionType: "a1", Constraints: []byte(`{"target":"t"}`), ExpiresAt: later, Notify: []string{}}, meta); err == nil {
					ids = append(ids, w.ID)
				}
			case 6:
				if len(ids) > 0 {
					k := r.IntN(len(ids))
					err = s.DeleteWhitelist(t.Context(), "acme", ids[k], meta)
					ids = slices.Delete(ids, k, k+1)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.Config(t.Context(), "acme")
			if err != nil {
				t.Fatal(err)
			}
			entries, err := s.Whitelist(t.Context(), "acme", "", "", 100)
			if err != nil {
				t.Fatal(err)
			}
			at[c.Epoch] = configured(c, entries)
		}
		if len(at) < 100 {
			t.Fatalf("only %d epochs", len(at))
		}
		db := storetest.DB(t, url)
		for epoch, want := range at {
			if got := stood(t, db, fmt.Sprintf(`from_epoch <= %d AND (until_epoch IS NULL OR until_epoch > %[1]d)`, epoch)); !slices.Equal(got, want) {
				t.Fatalf("epoch %d:\n%s\nwant\n%s", epoch, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		last := at[int64(len(at))]
		now, in2 := engine.FormatTime(time.Now()), engine.FormatTime(later)
		if got := stood(t, db, `valid_from <= $1 AND (valid_until IS NULL OR valid_until > $1)`, now); !slices.Equal(got, last) {
			t.Errorf("now:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(last, "\n"))
		}
		if got := stood(t, db, `valid_from <= $1 AND (valid_until IS NULL OR valid_until > $1) AND fact = 'whitelist'`, in2); len(got) > 0 {
			t.Errorf("expired entries stand: %s", got)
		}
		if got := stood(t, db, `valid_from <= '0001-01-02T00:00:00.000Z'`); !slices.Equal(got, []string{"maturity_tier   L0-Observe"}) {
			t.Errorf("at first: %s", got)
		}
	})
}

// The view of the log has every row once, with its approval and what came of it.
func TestGateLogView(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		evidenceOf(t, url)
		var rows, viewed, approvals, outcomes, inputs int
		err := storetest.DB(t, url).QueryRow(`SELECT (SELECT count(*) FROM remediation_gate_log), count(*), count(approval_status), count(outcome),
			sum(CASE WHEN input ->> 'now' IS NULL THEN 0 ELSE 1 END) FROM v_gate_log`).Scan(&rows, &viewed, &approvals, &outcomes, &inputs)
		if err != nil {
			t.Fatal(err)
		}
		if rows < 300 || viewed != rows || approvals < 1 || outcomes != 1 {
			t.Errorf("%d rows, %d in the view, %d with an approval, %d with an outcome, %d with an input", rows, viewed, approvals, outcomes, inputs)
		}
	})
}

// The role tiergate_auditor can do all that an auditor does, and no more; what
// the gate's own role may not do to evidence is refused by the database, too.
func TestAuditorRole(t *testing.T) {
	owner := storetest.Postgres(t)
	evidenceOf(t, owner)
	db := storetest.DB(t, owner)
	login := fmt.Sprintf("auditor_%d", time.Now().UnixNano())
	if _, err := db.Exec(`CREATE ROLE ` + login + ` LOGIN PASSWORD 'p' IN ROLE tiergate_auditor`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = db.Exec(`DROP ROLE ` + login) })
	u, err := url.Parse(owner)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(login, "p")
	if r := verify(t, u.String(), "acme"); len(r.Faults) > 0 || r.Leaves["decision"] != 302 {
		t.Errorf("verify as an auditor: %+v", r)
	}
	auditor := storetest.DB(t, u.String())
	rows, err := db.Query(`SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v') AND NOT relispartition`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	secret := []string{"channel_secret", "announcement_outbox"}
	seen := 0
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			t.Fatal(err)
		}
		seen++
		_, err := auditor.Exec(`SELECT * FROM ` + table + ` LIMIT 1`)
		if refused := err != nil; refused != slices.Contains(secret, table) {
			t.Errorf("read %s: %v", table, err)
		}
		for _, p := range []string{"INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"} {
			var may bool
			if err := auditor.QueryRow(`SELECT has_table_privilege($1, $2)`, table, p).Scan(&may); err != nil || may {
				t.Errorf("an auditor may %s %s: %v %v", p, table, may, err)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d tables", seen)
	}
	for _, q := range []string{`DELETE FROM remediation_gate_log`, `SELECT 1 FROM tenant_head FOR UPDATE`, `SELECT tiergate_ensure_month('2030-01-01Z')`, `CREATE TABLE remediation_gate_log_206001 ()`, `SET ROLE tiergate_writer`,
		`SET session_replication_role = replica`, `ALTER TABLE remediation_gate_log DISABLE TRIGGER ALL`} {
		if _, err := auditor.Exec(q); err == nil {
			t.Errorf("an auditor may %s", q)
		}
	}
}

// What an attacker who has the gate's own role would try.
func TestWriterCannotRewrite(t *testing.T) {
	owner := storetest.Postgres(t)
	evidenceOf(t, owner)
	db := storetest.DB(t, owner)
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`SET ROLE tiergate_writer`); err != nil {
		t.Fatal(err)
	}
	partition := "remediation_gate_log_" + time.Now().UTC().Format("200601")
	var statements []string
	for _, table := range []string{"remediation_gate_log", partition, "config_change", "policy_change", "approval_event", "decision_outcome",
		"tree_genesis", "tree_leaf", "tree_tile", "remediation_action", "policy_bundle", "policy_bundle_copy"} {
		var column string
		if err := db.QueryRow(`SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum DESC LIMIT 1`, table).Scan(&column); err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{`UPDATE %s SET %s = %[2]s`, `DELETE FROM %s`, `TRUNCATE %s`, `TRUNCATE %s CASCADE`, `ALTER TABLE %s DISABLE TRIGGER ALL`, `ALTER TABLE %s DISABLE TRIGGER USER`,
			`ALTER TABLE %s DROP COLUMN %s`, `ALTER TABLE %s RENAME TO gone`, `DROP TABLE %s`, `CREATE RULE r AS ON INSERT TO %s DO INSTEAD NOTHING`, `CREATE INDEX ON %s (%s)`,
			`MERGE INTO %s USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE`} {
			if q = strings.ReplaceAll(q, "%[2]s", column); strings.Count(q, "%s") == 2 {
				q = fmt.Sprintf(q, table, column)
			} else {
				q = fmt.Sprintf(q, table)
			}
			statements = append(statements, q)
		}
	}
	statements = append(statements,
		`SET session_replication_role = replica`, `RESET session_replication_role; ALTER ROLE tiergate_writer SET session_replication_role = replica`,
		`DROP TRIGGER append_only ON config_change`, `DROP FUNCTION tiergate_refuse_change() CASCADE`,
		`CREATE OR REPLACE FUNCTION tiergate_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$`,
		`COPY remediation_gate_log FROM PROGRAM 'cat /dev/null'`, `COPY config_change FROM '/dev/null'`,
		`INSERT INTO config_change OVERRIDING SYSTEM VALUE SELECT * FROM config_change`,
		`INSERT INTO tree_leaf OVERRIDING SYSTEM VALUE SELECT * FROM tree_leaf ON CONFLICT (tenant_id, leaf_index) DO UPDATE SET hashes = ''`,
		`INSERT INTO remediation_action SELECT * FROM remediation_action ON CONFLICT (tenant_id, action_id) DO UPDATE SET log_seq = 1`,
		`ALTER TABLE remediation_gate_log DETACH PARTITION `+partition, `ALTER TABLE config_change OWNER TO tiergate_writer`,
		`UPDATE pg_trigger SET tgenabled = 'D'`, `CREATE OR REPLACE VIEW v_gate_log AS SELECT 1 AS tenant_id`,
		`CREATE TABLE config_change_copy (LIKE config_change)`, `CREATE FUNCTION pwn() RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	for _, q := range statements {
		if _, err := db.Exec(q); err == nil {
			t.Errorf("the gate's role may %s", q)
		}
	}
	if _, err := db.Exec(`RESET ROLE`); err != nil {
		t.Fatal(err)
	}
	storetest.CheckTrees(t, owner)
	if r := verify(t, owner, "acme"); len(r.Faults) > 0 {
		t.Errorf("after all that: %v", r.Faults)
	}
}

// Every query of docs/auditing.md runs as tiergate_auditor.
func TestAuditingQueries(t *testing.T) {
	owner := storetest.Postgres(t)
	evidenceOf(t, owner)
	db := storetest.DB(t, owner)
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`SET ROLE tiergate_auditor`); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/auditing.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 10 {
		t.Fatalf("%d queries", len(blocks))
	}
	for i, b := range blocks {
		rows, err := db.Query(b[1])
		if err != nil {
			t.Errorf("question %d: %v", i+1, err)
			continue
		}
		n := 0
		for rows.Next() {
			n++
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Errorf("question %d: %v", i+1, err)
		}
		// Some ask about a moment, a decision or a target of the page's own; and this
		// tenant has no exceptions.
		if !slices.Contains([]int{0, 1, 2, 4, 6}, i) && n == 0 {
			t.Errorf("question %d has no answer", i+1)
		}
	}
}

// The views say in the database what they are.
func TestViewsAreDocumented(t *testing.T) {
	owner := storetest.Postgres(t)
	if err := store.Migrate(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	var bare int
	if err := storetest.DB(t, owner).QueryRow(`SELECT count(*) FROM pg_class WHERE relkind = 'v' AND relnamespace = current_schema()::regnamespace AND obj_description(oid, 'pg_class') IS NULL`).Scan(&bare); err != nil || bare != 0 {
		t.Errorf("%d views without a comment, %v", bare, err)
	}
}
