package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

// runVerify runs the command and returns what it exits with.
func runVerify(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	c := verifyCommand()
	var b bytes.Buffer
	c.SetOut(&b)
	c.SetErr(&b)
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	err := c.ExecuteContext(t.Context())
	var exit exitError
	switch {
	case err == nil:
		return 0, b.String()
	case errors.As(err, &exit):
		return exit.code, b.String() + err.Error()
	}
	return exitUsage, b.String() + err.Error()
}

func TestVerify(t *testing.T) {
	for database, url := range map[string]string{"postgres": storetest.Postgres(t), "sqlite": storetest.SQLite(t)} {
		t.Run(database, func(t *testing.T) {
			s := storetest.Open(t, url)
			ask := func(tenant string) {
				t.Helper()
				if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry(tenant, 0)})[0]; r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			ask("acme")
			ask("globex")
			code, out := runVerify(t, "--tree-only", "--database-url", url)
			if code != 0 || !strings.HasPrefix(out, "acme: 1 decision, 1 approval_event: 3:") || !strings.Contains(out, "\nglobex: ") {
				t.Fatalf("%d %s", code, out)
			}
			line, _, _ := strings.Cut(out, "\n")
			kept := line[strings.LastIndex(line, " ")+1:]
			ask("acme")
			if code, out := runVerify(t, "--tree-only", "--database-url", url, "--tenant", "acme", "--kept", kept); code != 0 || strings.Contains(out, "globex") {
				t.Errorf("%d %s", code, out)
			}
			if code, out := runVerify(t, "--tree-only", "--database-url", url, "--tenant", "globex", "--kept", kept); code != exitTampered || !strings.Contains(out, "rewritten") {
				t.Errorf("another tenant's head: %d %s", code, out)
			}
			db := storetest.DB(t, url)
			db.SetMaxOpenConns(1)
			disarm := `SET session_replication_role = replica`
			if database == "sqlite" {
				disarm = `DROP TRIGGER remediation_gate_log_refuse_update`
			}
			for _, q := range []string{disarm, `UPDATE remediation_gate_log SET target = 'host:other' WHERE tenant_id = 'globex'`} {
				if _, err := db.Exec(q); err != nil {
					t.Fatal(err)
				}
			}
			if code, out := runVerify(t, "--tree-only", "--database-url", url); code != exitTampered || !strings.Contains(out, "globex: tampered: leaf 1 (decision 1): the row is not as it was written") ||
				!strings.Contains(out, "of 2 tenants 1 have evidence that is not as it was written") {
				t.Errorf("%d %s", code, out)
			}
		})
	}
	for _, args := range [][]string{{}, {"--database-url", "sqlite:x", "--kept", "3:x", "--tenant", "a"}, {"--database-url", "sqlite:x", "--kept", "x", "--tenant", "a"},
		{"--database-url", "sqlite:x", "--kept", "1:6dZoEdoroY3gOLEXjVYk/HbeYP/Bl7kY9CvkoiIftQU="}, {"x", "y"}, {"x", "--tree-only"}} {
		if code, out := runVerify(t, args...); code != exitUsage {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
	for _, url := range []string{"sqlite:" + t.TempDir() + "/none.db", "mysql://x"} {
		if code, out := runVerify(t, "--database-url", url); code != exitUnreadable {
			t.Errorf("%s: %d %s", url, code, out)
		}
	}
}
