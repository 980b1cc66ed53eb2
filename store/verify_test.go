package store_test

import (
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

func verify(t *testing.T, url, tenant string, kept ...audit.Kept) *audit.Report {
	t.Helper()
	r, err := store.OpenReader(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	report, err := audit.Verify(t.Context(), r, tenant, kept...)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// evidenceOf fills the database at url with rows of every kind for acme, and some
// for globex.
func evidenceOf(t *testing.T, url string) {
	t.Helper()
	s := storetest.Open(t, url, impatient)
	policyWith(t, s)
	add := func(tenant string, n int) []*engine.Entry {
		list := make([]*engine.Entry, n)
		for i := range list {
			list[i] = storetest.Entry(tenant, 0)
			list[i].PolicyEpoch, list[i].Policy.BundleHash = 1, hashOf("a")
		}
		for _, r := range s.Append(t.Context(), list) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		return list
	}
	add("acme", 300)
	add("globex", 3)
	w := &workload{s: s, rnd: rand.New(rand.NewPCG(1, 2)), tenants: []string{"acme"}}
	auto := storetest.Entry("acme", 0)
	auto.Decision, auto.PolicyEpoch, auto.Policy.BundleHash = engine.Auto, 1, hashOf("a")
	if r := s.Append(t.Context(), []*engine.Entry{auto})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	if _, added, err := s.AddOutcome(t.Context(), engine.DecisionOutcome{TenantID: "acme", DecisionID: auto.DecisionID, Status: engine.OutcomeExecuted, Person: "ben", Principal: "ben"}); err != nil || !added {
		t.Fatal(err)
	}
	if err := w.vote(t.Context(), "acme", 0); err != nil {
		t.Fatal(err)
	}
	for _, stopped := range []bool{true, false} {
		if _, err := s.SetStopped(t.Context(), "acme", stopped, meta); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// superuser is a connection that nothing in the database stops.
func superuser(t *testing.T, url string) *sql.DB {
	t.Helper()
	db := storetest.DB(t, url)
	db.SetMaxOpenConns(1)
	statements := []string{`SET session_replication_role = replica`, `DO $$
		DECLARE c record;
		BEGIN
			FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint WHERE contype = 'c' AND coninhcount = 0 AND conrelid <> 0 LOOP
				EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', c.t, c.conname);
			END LOOP;
		END $$`}
	if strings.HasPrefix(url, "sqlite:") {
		statements = []string{`PRAGMA ignore_check_constraints = 1`}
		rows, err := db.Query(`SELECT name FROM sqlite_master WHERE type = 'trigger'`)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			statements = append(statements, `DROP TRIGGER `+name)
		}
		rows.Close()
	}
	for _, q := range statements {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	return db
}

// Whatever a superuser changes in a single value of a single row, Verify finds,
// and it names the row.
func TestVerifyFindsEveryValue(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		evidenceOf(t, url)
		if r := verify(t, url, "acme"); len(r.Faults) > 0 || r.NotCovered != "" || r.Leaves["decision"] != 302 {
			t.Fatalf("before: %+v", r)
		}
		db := superuser(t, url)
		for table, k := range map[string]*audit.Kind{
			"remediation_gate_log": audit.Decision, "config_change": audit.ConfigChange, "policy_change": audit.PolicyChange,
			"approval_event": audit.ApprovalEvent, "decision_outcome": audit.Outcome, "tree_genesis": audit.Genesis, "tenant_head": nil, "tree_leaf": nil, "tree_tile": nil,
		} {
			columns := []string{"tenant_id", "log_seq", "epoch", "tree_size", "tree_edge", "tree_change"}
			switch {
			case k != nil:
				columns = k.Columns
			case table == "tree_leaf":
				columns = []string{"tenant_id", "leaf_index", "kind", "id", "seq", "hashes"}
			case table == "tree_tile":
				columns = []string{"tenant_id", "level", "tile_index", "hashes", "root"}
			}
			for _, column := range columns {
				what := table + "." + column
				undo := flip(t, db, url, table, column)
				r := verify(t, url, "acme")
				if len(r.Faults) == 0 {
					t.Errorf("%s: not found", what)
				} else if k != nil && r.Faults[0].Kind != k.Name {
					t.Errorf("%s: %v", what, r.Faults[0])
				}
				undo()
			}
		}
		if r := verify(t, url, "acme"); len(r.Faults) > 0 {
			t.Fatalf("after: %v", r.Faults)
		}
	})
}

// flip changes one value of one row of acme's by as little as its type allows.
func flip(t *testing.T, db *sql.DB, url, table, column string) (undo func()) {
	t.Helper()
	row, where := "ctid", " WHERE tenant_id = 'acme'"
	if strings.HasPrefix(url, "sqlite:") {
		if row = "rowid"; table == "tenant_head" || table == "tree_genesis" || table == "tree_tile" {
			row = "tenant_id"
		}
	}
	if table == "policy_change" {
		where = ""
	}
	var old any
	if err := db.QueryRow(`SELECT ` + column + ` FROM ` + table + where + ` ORDER BY ` + row + ` LIMIT 1`).Scan(&old); err != nil {
		t.Fatalf("%s.%s: %v", table, column, err)
	}
	if _, err := db.Exec(`CREATE TABLE kept AS SELECT * FROM ` + table); err != nil {
		t.Fatal(err)
	}
	place := "$1"
	if strings.HasPrefix(url, "sqlite:") {
		place = "?1"
	}
	set := func(value any, where string) (int64, error) {
		r, err := db.Exec(`UPDATE `+table+` SET `+column+` = `+place+where, value)
		if err != nil {
			return 0, err
		}
		return r.RowsAffected()
	}
	one := fmt.Sprintf(" WHERE %s = (SELECT %s FROM %s%s ORDER BY %s LIMIT 1)", row, row, table, where, row)
	if strings.HasPrefix(url, "postgres") {
		one = fmt.Sprintf(" WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM %s%s ORDER BY ctid LIMIT 1)", table, where)
	}
	var last error
	for _, value := range near(old) {
		n, err := set(value, one)
		if last = err; err != nil {
			continue
		}
		if n != 1 {
			t.Fatalf("%s.%s: %d rows", table, column, n)
		}
		return func() {
			for _, q := range []string{`DELETE FROM ` + table, `INSERT INTO ` + table + ` SELECT * FROM kept`, `DROP TABLE kept`} {
				if _, err := db.Exec(q); err != nil {
					t.Fatalf("undo %s.%s: %v", table, column, err)
				}
			}
		}
	}
	t.Fatalf("%s.%s = %v cannot be changed: %v", table, column, old, last)
	return nil
}

// near are values close to one, of which a column may refuse some.
func near(old any) []any {
	switch v := old.(type) {
	case nil:
		return []any{"00000000-0000-0000-0000-000000000001", 0.5, "[]", "x", []byte("x")}
	case int64:
		return []any{v + 100_000, v ^ 1}
	case float64:
		return []any{math.Nextafter(v, 2)}
	case time.Time:
		return []any{v.Add(time.Microsecond)}
	case []byte:
		b := append([]byte{}, v...)
		if s := string(v); len(s) == 36 && s[8] == '-' || strings.HasPrefix(s, "[") || strings.HasPrefix(s, "{") || s == "null" {
			return append(near(s), append([]byte{b[0] ^ 1}, b[1:]...))
		}
		b[len(b)-1] ^= 1
		return []any{b}
	case string:
		switch {
		case strings.HasSuffix(v, "Z") && len(v) == 24:
			return []any{v[:22] + string(v[22]^1) + "Z"}
		case len(v) == 36 && v[8] == '-':
			return []any{v[:35] + string("0123456789abcdef0"[(strings.IndexByte("0123456789abcdef", v[35]) + 1):][:1])}
		case v == "":
			return []any{" "}
		}
		return []any{v + " "}
	}
	return nil
}

// What a superuser does to whole rows is found, too.
func TestVerifyFindsAttacks(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		evidenceOf(t, url)
		columns := strings.Join(audit.Decision.Columns, ", ")
		copyOf := func(change ...string) string {
			return `INSERT INTO remediation_gate_log (` + columns + `) SELECT ` + strings.NewReplacer(change...).Replace(columns) + ` FROM remediation_gate_log`
		}
		for name, attack := range map[string]struct {
			statements []string
			says       string
		}{
			"the decision alone changed": {[]string{`UPDATE remediation_gate_log SET decision = 'auto' WHERE tenant_id = 'acme' AND log_seq = 5`}, "leaf 6 (decision 5): the row is not as it was written"},
			"a middle row deleted":       {[]string{`DELETE FROM remediation_gate_log WHERE tenant_id = 'acme' AND log_seq = 7`}, "leaf 8 (decision 7): the row is gone"},
			"the tail deleted":           {[]string{`DELETE FROM remediation_gate_log WHERE tenant_id = 'acme' AND log_seq > 290`}, "(decision 291): the row is gone"},
			"the tail deleted, and the head put back": {[]string{`DELETE FROM remediation_gate_log WHERE tenant_id = 'acme' AND log_seq > 290`, `UPDATE tenant_head SET log_seq = 290 WHERE tenant_id = 'acme'`},
				"(decision 291): the row is gone"},
			"the tail of the tree deleted, too": {[]string{`DELETE FROM remediation_gate_log WHERE tenant_id = 'acme' AND log_seq > 290`, `UPDATE tenant_head SET log_seq = 290, tree_size = 292 WHERE tenant_id = 'acme'`,
				`DELETE FROM tree_leaf WHERE tenant_id = 'acme' AND leaf_index >= 256`}, "tree_leaf ends at leaf 256"},
			"two rows swapped": {[]string{`UPDATE remediation_gate_log SET log_seq = CASE log_seq WHEN 3 THEN 1000004 ELSE 1000003 END, leaf_index = CASE log_seq WHEN 3 THEN 5 ELSE 4 END WHERE tenant_id = 'acme' AND log_seq IN (3, 4)`,
				`UPDATE remediation_gate_log SET log_seq = log_seq - 1000000 WHERE log_seq > 1000000`}, "leaf 4 (decision 3): the row is not as it was written"},
			"a row forged behind the head":         {[]string{copyOf("log_seq", "log_seq + 1", "decision_id", "'00000000-0000-0000-0000-000000000001'", "leaf_index", "leaf_index + 1") + ` WHERE tenant_id = 'acme' AND log_seq = 302`}, "rows behind the head"},
			"another tenant's row copied in":       {[]string{copyOf("tenant_id", "'acme'", "log_seq", "303") + ` WHERE tenant_id = 'globex' AND log_seq = 1`}, "rows behind the head"},
			"another tenant's row in the place":    {[]string{`DELETE FROM remediation_gate_log WHERE tenant_id = 'acme' AND log_seq = 1`, copyOf("tenant_id", "'acme'") + ` WHERE tenant_id = 'globex' AND log_seq = 1`}, "leaf 2 (decision 1): the row is not as it was written"},
			"parameters changed":                   {[]string{`INSERT INTO decision_parameters (decision_id, tenant_id, parameters) SELECT decision_id, tenant_id, input FROM remediation_gate_log WHERE tenant_id = 'acme' AND log_seq = 4`}, "leaf 5 (decision 4): the parameters"},
			"an outcome forged":                    {[]string{`INSERT INTO decision_outcome SELECT tenant_id, decision_id, seq + 1, 'failed', detail, person, principal, at, leaf_index FROM decision_outcome`}, "number of outcomes"},
			"an event of an approval forged":       {[]string{`INSERT INTO approval_event (tenant_id, approval_id, seq, kind, status, person, principal, at) SELECT tenant_id, approval_id, 99, 'approve', 'approved', person, principal, at FROM approval_event WHERE seq = 1 AND tenant_id = 'acme'`}, "have no leaf"},
			"a change of configuration taken away": {[]string{`DELETE FROM config_change WHERE epoch = 1`}, "(config_change 1): the row is gone"},
			"a change forged":                      {[]string{`INSERT INTO config_change SELECT tenant_id, epoch + 2, kind, before, after, actor, reason, at, leaf_index FROM config_change WHERE epoch = 1`}, "rows behind the head"},
			"an activation taken away":             {[]string{`DELETE FROM policy_change`}, "(policy_change 1): the row is gone"},
			"the head taken away":                  {[]string{`DELETE FROM tenant_head WHERE tenant_id = 'acme'`}, "rows behind the head"},
			"a tile taken away":                    {[]string{`DELETE FROM tree_tile`}, "tile/8/0/000 is missing"},
			"the genesis taken away":               {[]string{`DELETE FROM tree_genesis`}, "leaf 0 (genesis 0): the row is gone"},
		} {
			t.Run(name, func(t *testing.T) {
				copied := storetest.Copy(t, url)
				db := superuser(t, copied)
				for _, q := range attack.statements {
					if r, err := db.Exec(q); err != nil {
						t.Fatalf("%s: %v", q, err)
					} else if n, _ := r.RowsAffected(); n == 0 {
						t.Fatalf("%s: changed nothing", q)
					}
				}
				r := verify(t, copied, "acme")
				if len(r.Faults) == 0 || !strings.Contains(r.Faults[0].String(), attack.says) {
					t.Errorf("%v, want %q", r.Faults, attack.says)
				}
			})
		}
		if !strings.HasPrefix(url, "postgres") {
			return
		}
		t.Run("a row forged beside another", func(t *testing.T) { // SQLite's key refuses it
			copied := storetest.Copy(t, url)
			if _, err := superuser(t, copied).Exec(copyOf("decision_id", "'00000000-0000-0000-0000-000000000001'") + ` WHERE tenant_id = 'acme' AND log_seq = 8`); err != nil {
				t.Fatal(err)
			}
			if r := verify(t, copied, "acme"); len(r.Faults) == 0 || !strings.Contains(r.Faults[0].String(), "leaf 9 (decision 8): 2 rows claim this place") {
				t.Errorf("%v", r.Faults)
			}
		})
	})
}

// A head that somebody has kept tells a log that was rewritten as a whole.
func TestVerifyAgainstKeptHeads(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url)
		ask := func(n int) (kept audit.Kept) {
			t.Helper()
			for range n {
				if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0]; r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			var err error
			if kept.Size, kept.Root, err = s.TreeHead(t.Context(), "acme"); err != nil {
				t.Fatal(err)
			}
			return kept
		}
		first, second := ask(3), ask(4)
		if r := verify(t, url, "acme", first, second, audit.Kept{Root: new(audit.Edge).Root()}); len(r.Faults) > 0 {
			t.Error(r.Faults)
		}
		if r := verify(t, url, "acme", audit.Kept{Size: first.Size, Root: second.Root}, audit.Kept{Size: second.Size + 9}); len(r.Faults) != 2 ||
			!strings.Contains(r.Faults[0].Text, "rewritten") || !strings.Contains(r.Faults[1].Text, "cut off") {
			t.Error(r.Faults)
		}
	})
}

// A log that grows while it is verified is clean.
func TestVerifyWhileTheLogGrows(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url, impatient)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w := &workload{s: s, rnd: rand.New(rand.NewPCG(3, 4)), tenants: []string{"acme"}}
			for range 25 {
				w.step(t)
			}
		}()
		for {
			if r := verify(t, url, "acme"); len(r.Faults) > 0 {
				t.Fatal(r.Faults)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
}
