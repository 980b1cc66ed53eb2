package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/review"
	"github.com/tiergate/tiergate/store/storetest"
)

var backtestMeta = engine.ChangeMeta{Actor: "alice", Reason: "for the test"}

// policyFolder is a copy of the shipped policy of another revision, with one
// replacement in its tiers.
func policyFolder(t testing.TB, revision, old, new string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../policies")); err != nil {
		t.Fatal(err)
	}
	for file, r := range map[string]*strings.Replacer{
		".manifest":            strings.NewReplacer(`"1.1.0"`, fmt.Sprintf("%q", revision)),
		"gate/tiers/data.yaml": strings.NewReplacer(old, new),
	} {
		path := filepath.Join(dir, file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(r.Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// writeLog writes n rows for each of two tenants at url through a real gate and
// store, which stay open. The bundle is one that the binary does not have; it is
// kept in the database if keep is set.
func writeLog(t testing.TB, url string, n int, keep bool) (folder string) {
	t.Helper()
	folder = policyFolder(t, "0.9.0", "MINIMAL: tier_allows\n      LOW: tier_requires_approval", "MINIMAL: tier_requires_approval\n      LOW: tier_requires_approval")
	b, err := bundles.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	p, err := loadPolicy(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, url)
	o := engine.GateOptions{Facts: s, Log: s, Policy: p, EngineVersion: engineVersion()}
	if keep {
		var archive bytes.Buffer
		if err := b.WriteArchive(&archive); err != nil {
			t.Fatal(err)
		}
		head, err := s.SeedPolicy(t.Context(), b.Hash, b.Revision, archive.Bytes(), backtestMeta)
		if err != nil {
			t.Fatal(err)
		}
		o.PolicyEpoch = head.Epoch
	}
	gate := engine.NewGate(o)
	tier := 1
	for _, tenant := range []string{"acme", "beta"} {
		if _, err := s.ChangeConfig(t.Context(), tenant, engine.ConfigChange{MaturityTier: &tier}, backtestMeta); err != nil {
			t.Fatal(err)
		}
		types := []string{"notify_slack", "block_ip", "isolate_host", "made_up"}
		for done := 0; done < n; done += 500 {
			var requests []*engine.Request
			for i := done; i < min(n, done+500); i++ {
				confidence := float64(i%100) / 100
				requests = append(requests, &engine.Request{TenantID: tenant, ActionType: types[i%len(types)], Target: fmt.Sprintf("host:wks-%d", i),
					Actor: "system", Confidence: &confidence, Parameters: []byte(`{"said":1}`)})
			}
			for _, outcome := range gate.DecideBatch(t.Context(), requests) {
				if outcome.Err != nil {
					t.Fatal(outcome.Err)
				}
			}
		}
	}
	return folder
}

// runBacktest runs the command in this process, as JSON.
func runBacktest(t testing.TB, args ...string) (code int, r review.BacktestReport, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"backtest", "--format", "json"}, args...), strings.NewReader(""), &out, &errs)
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	return code, r, errs.String()
}

func onBoth(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("postgres", func(t *testing.T) { test(t, storetest.Postgres(t)) })
	t.Run("sqlite", func(t *testing.T) { test(t, storetest.SQLite(t)) })
}

// A log that a gate wrote, read beside that gate: every row follows from the
// bundle that the database keeps, and the new policy's changes are counted.
func TestBacktestOfARealLog(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		writeLog(t, url, 1200, true)
		code, r, stderr := runBacktest(t, "--bundle", "../../policies", "--database-url", url, "--samples", "3")
		if code != exitOK || r.Rows != 2400 || r.Replayed != 2400 || r.Compared != 2400 || r.Violated != 0 || len(r.Skipped) != 0 {
			t.Fatalf("exit %d %s %+v", code, stderr, r)
		}
		// The bundle that logged asks at L1 before what is MINIMAL; the shipped one does not.
		if r.Changed != 600 || r.Widened != 600 || len(r.Transitions) != 2 || r.Transitions[0].Count != 300 || len(r.Transitions[0].Samples) != 3 ||
			r.Transitions[0].TenantID != "acme" || r.Transitions[0].ActionType != "notify_slack" || r.Transitions[0].Samples[0].LogSeq != 1 {
			t.Errorf("%+v", r.Transitions)
		}
		if code, _, stderr := runBacktest(t, "--bundle", "../../policies", "--database-url", url, "--fail-on-widening"); code != exitNo || !strings.Contains(stderr, "600 decisions would be wider") {
			t.Errorf("--fail-on-widening: exit %d %s", code, stderr)
		}
		if code, r, _ := runBacktest(t, "--bundle", "../../policies", "--database-url", url, "--tenant", "beta"); code != exitOK || r.Rows != 1200 {
			t.Errorf("one tenant: exit %d, %d rows", code, r.Rows)
		}
		if code, _, stderr := runBacktest(t, "--bundle", "../../policies", "--database-url", url, "--tenant", "gamma"); code != exitUsage || !strings.Contains(stderr, "gamma") {
			t.Errorf("no such tenant: exit %d %s", code, stderr)
		}
		if code, r, _ := runBacktest(t, "--bundle", "../../policies", "--database-url", url, "--to", "2020-01-01"); code != exitOK || r.Rows != 0 {
			t.Errorf("before all rows: exit %d, %d rows", code, r.Rows)
		}
		if code, r, _ := runBacktest(t, "--bundle", "../../policies", "--database-url", url, "--from", "2020-01-01", "--to", "2200-01-01T00:00:00Z"); code != exitOK || r.Rows != 2400 {
			t.Errorf("around all rows: exit %d, %d rows", code, r.Rows)
		}
	})
}

// Without the bundle that rows name they are not replayed, and said to be; a
// folder with that bundle helps.
func TestBacktestWithoutTheBundle(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		folder := writeLog(t, url, 40, false)
		code, r, _ := runBacktest(t, "--bundle", "../../policies", "--database-url", url)
		if code != exitOK || r.Replayed != 0 || r.Compared != 80 || len(r.Skipped) != 1 || r.Skipped[0].Reason != review.SkipNoBundle || r.Skipped[0].Count != 80 {
			t.Errorf("exit %d %+v", code, r)
		}
		shelf := t.TempDir()
		if err := os.Rename(folder, filepath.Join(shelf, "old")); err != nil {
			t.Fatal(err)
		}
		code, r, _ = runBacktest(t, "--bundle", "../../policies", "--database-url", url, "--bundle-dir", shelf)
		if code != exitOK || r.Replayed != 80 || r.Violated != 0 || len(r.Skipped) != 0 {
			t.Errorf("with --bundle-dir: exit %d %+v", code, r)
		}
		// The parameters are still there for a policy that reads them.
		reading := policyFolder(t, "1.1.0", "", "")
		rego := filepath.Join(reading, "gate", "gate.rego")
		text, err := os.ReadFile(rego)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.Replace(string(text), "package gate\n", "package gate\n\n_said := input.request.parameters.said\n", 1))
		if err := os.WriteFile(rego, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, r, stderr := runBacktest(t, "--bundle", reading, "--database-url", url, "--bundle-dir", shelf); code != exitOK || r.Compared != 80 {
			t.Errorf("a policy that reads parameters: exit %d %s %+v", code, stderr, r)
		}
		if _, err := storetest.DB(t, url).Exec(`DELETE FROM decision_parameters`); err != nil {
			t.Fatal(err)
		}
		if code, r, _ := runBacktest(t, "--bundle", reading, "--database-url", url, "--bundle-dir", shelf); code != exitOK || r.Compared != 0 || len(r.Skipped) != 1 || r.Skipped[0].Reason != review.SkipParameters {
			t.Errorf("parameters are erased: exit %d %+v", code, r)
		}
	})
}

// Rows that somebody changed in the database are found; rows that nobody can
// read are named.
func TestBacktestOfATamperedLog(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		writeLog(t, url, 40, true)
		tamper(t, url, `UPDATE remediation_gate_log SET input = CAST('{"now":' AS `+blob(url)+`) WHERE tenant_id = 'acme' AND log_seq = 7`)
		code, r, stderr := runBacktest(t, "--bundle", "../../policies", "--database-url", url)
		if code != exitUsage || !strings.Contains(stderr, "1 rows could not be read") || r.Unreadable != 1 || r.Skipped[0].Samples[0].LogSeq != 7 {
			t.Errorf("exit %d %s %+v", code, stderr, r)
		}
		tamper(t, url, `UPDATE remediation_gate_log SET decision = 'auto', rule = 'tier_allows' WHERE tenant_id = 'beta' AND log_seq = 2`)
		code, r, stderr = runBacktest(t, "--bundle", "../../policies", "--database-url", url)
		if code != exitNo || !strings.Contains(stderr, "P4") || r.Violated != 1 || r.Violations[0].TenantID != "beta" || r.Violations[0].LogSeq != 2 {
			t.Errorf("exit %d %s %+v", code, stderr, r)
		}
	})
}

func blob(url string) string {
	if strings.HasPrefix(url, "sqlite:") {
		return "blob"
	}
	return "bytea"
}

// tamper changes the log as an owner who switches its triggers off could.
func tamper(t testing.TB, url, statement string) {
	t.Helper()
	db := storetest.DB(t, url)
	db.SetMaxOpenConns(1)
	off := `SET session_replication_role = replica`
	if strings.HasPrefix(url, "sqlite:") {
		off = `DROP TRIGGER IF EXISTS remediation_gate_log_refuse_update`
	}
	for _, s := range []string{off, statement} {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// SELECT is all that a reader's role needs.
func TestBacktestAsAReader(t *testing.T) {
	owner := storetest.Postgres(t)
	writeLog(t, owner, 40, true)
	db := storetest.DB(t, owner)
	for _, s := range []string{
		`CREATE ROLE auditor_of_backtests LOGIN PASSWORD 'p'`,
		`GRANT SELECT ON remediation_gate_log, tenant_head, policy_bundle, policy_bundle_copy TO auditor_of_backtests`,
	} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(owner)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("auditor_of_backtests", "p")
	if code, r, stderr := runBacktest(t, "--bundle", "../../policies", "--database-url", u.String()); code != exitOK || r.Replayed != 80 {
		t.Errorf("exit %d %s %+v", code, stderr, r)
	}
	if _, err := db.Exec(`REVOKE SELECT ON remediation_gate_log FROM auditor_of_backtests`); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runBacktest(t, "--bundle", "../../policies", "--database-url", u.String()); code != exitUsage || !strings.Contains(stderr, "SELECT") {
		t.Errorf("without SELECT: exit %d %s", code, stderr)
	}
	if _, err := db.Exec(`DROP OWNED BY auditor_of_backtests; DROP ROLE auditor_of_backtests`); err != nil {
		t.Fatal(err)
	}
}

// What is no gate's database is refused, and nothing is made.
func TestBacktestOfNoDatabase(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte("not a database at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{
		"no file":          "sqlite:" + filepath.Join(dir, "none.db"),
		"a text":           "sqlite:" + text,
		"a folder":         "sqlite:" + dir,
		"no scheme":        "gate.db",
		"an empty cluster": storetest.Postgres(t),
	} {
		if code, _, stderr := runBacktest(t, "--bundle", "../../policies", "--database-url", url); code != exitUsage || stderr == "" {
			t.Errorf("%s: exit %d %s", name, code, stderr)
		}
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("something was made: %v", list)
	}
}

// Rows per second of the whole command, database included, on all cores.
func BenchmarkBacktest(b *testing.B) {
	for name, url := range map[string]string{"postgres": storetest.Postgres(b), "sqlite": storetest.SQLite(b)} {
		b.Run(name, func(b *testing.B) {
			const rows = 100_000
			writeLog(b, url, rows/2, true)
			var seconds float64
			runs := 0
			for b.Loop() {
				runs++
				code, r, stderr := runBacktest(b, "--bundle", "../../policies", "--database-url", url)
				if code != exitOK || r.Rows != rows {
					b.Fatal(code, stderr)
				}
				seconds += r.Seconds
			}
			b.ReportMetric(float64(rows*runs)/seconds, "rows/s")
		})
	}
}
