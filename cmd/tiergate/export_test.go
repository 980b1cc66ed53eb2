package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/audit/replay/replaytest"
	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// runHere runs a command line in this process.
func runHere(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(ctx, args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// keep writes a file of a test and returns its path.
func keep(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// signed is a checkpoint of the head that a command has printed.
func signed(t testing.TB, s *checkpoint.Signer, tenant, printed string) []byte {
	t.Helper()
	head := strings.TrimSpace(printed[strings.LastIndex(strings.TrimSpace(printed), " ")+1:])
	size, root, _ := strings.Cut(head, ":")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		t.Fatalf("%q: %v", printed, err)
	}
	h, err := tlog.ParseHash(root)
	if err != nil {
		t.Fatal(err)
	}
	text, err := checkpoint.Sign(s, tenant, n, h)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newSigner(t testing.TB, name string) *checkpoint.Signer {
	t.Helper()
	secret, _, err := checkpoint.NewKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.ParseSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// From the database to a file, and from the file alone to each exit code.
func TestExportThenVerify(t *testing.T) {
	for database, url := range map[string]string{"postgres": storetest.Postgres(t), "sqlite": storetest.SQLite(t)} {
		t.Run(database, func(t *testing.T) {
			ctx, dir := t.Context(), t.TempDir()
			phases := replaytest.Log(t, url, 20)
			file := filepath.Join(dir, "evidence.zip")
			code, out, errs := runHere(ctx, "export", "--database-url", url, "--tenant", "acme", "-o", file)
			content, err := os.ReadFile(file)
			if code != 0 || err != nil || !strings.HasPrefix(out, fmt.Sprintf("%x  %s\n", sha256.Sum256(content), file)) {
				t.Fatalf("%d %s %s %v", code, out, errs, err)
			}
			key, wrong := newSigner(t, "gate.example"), newSigner(t, "gate.example")
			keys := keep(t, dir, "keys", []byte(key.Verifier()+"\n"))
			wrongKeys := keep(t, dir, "wrong", []byte(wrong.Verifier()+"\n"))
			note := keep(t, dir, "checkpoint", signed(t, key, "acme", out))
			theirs := keep(t, dir, "theirs", signed(t, key, "globex", out))
			size, root, _ := strings.Cut(strings.TrimSpace(out[strings.LastIndex(strings.TrimSpace(out), " ")+1:]), ":")
			n, _ := strconv.Atoi(size)
			longer := keep(t, dir, "longer", signed(t, key, "acme", fmt.Sprintf("x %d:%s", n+1, root)))
			window := filepath.Join(dir, "window.zip")
			if code, out, errs := runHere(ctx, "export", "--database-url", url, "--tenant", "acme", "-o", window, "--from", engine.FormatTime(phases[1]), "--to", engine.FormatTime(phases[3]),
				"--checkpoint", note, "--keys", keys); code != 0 {
				t.Fatalf("%d %s %s", code, out, errs)
			}
			flipped := bytes.Clone(content)
			flipped[len(flipped)/3] ^= 4
			damaged := keep(t, dir, "damaged.zip", flipped)
			for name, c := range map[string]struct {
				args []string
				code int
				want string
			}{
				"a file":                   {[]string{file}, 0, "121 of 121 decisions saw what the configuration says, and 121 were decided again"},
				"a file, not decided":      {[]string{file, "--no-redecide"}, 0, "121 of 121 decisions saw what the configuration says:"},
				"a file and a checkpoint":  {[]string{file, "--checkpoint", note, "--key", keys}, 0, "checkpoints that agree: 1"},
				"a window with its own":    {[]string{window}, 0, "they vouch for nothing"},
				"a window and a key":       {[]string{window, "--key", keys}, 0, "43 of 43 decisions"},
				"a window as JSON":         {[]string{window, "--key", keys, "--json"}, 0, `"redecided":43`},
				"the database":             {[]string{"--database-url", url, "--tenant", "acme", "--checkpoint", note, "--key", keys}, 0, "121 were decided again"},
				"all tenants":              {[]string{"--database-url", url}, 0, "globex: "},
				"a byte flipped":           {[]string{damaged}, exitTampered, "the file was changed"},
				"a longer checkpoint":      {[]string{file, "--checkpoint", longer, "--key", keys}, exitIncomplete, "its end is missing"},
				"another key":              {[]string{window, "--key", wrongKeys}, exitSignature, "no signature of a trusted key"},
				"no key":                   {[]string{file, "--checkpoint", note}, exitUsage, "--checkpoint needs --key"},
				"another tenant's":         {[]string{file, "--checkpoint", theirs, "--key", keys}, exitUsage, "of tenant globex"},
				"no key in a file of keys": {[]string{file, "--key", note}, exitSignature, "no verifier key"},
				"no such file":             {[]string{filepath.Join(dir, "none.zip")}, exitUnreadable, "no such file"},
				"a folder":                 {[]string{dir}, exitUnreadable, "no regular file"},
				"no zip":                   {[]string{keys}, exitUnreadable, "not a file that can be read"},
				"another tenant":           {[]string{file, "--tenant", "globex"}, exitUsage, "not of --tenant globex"},
				"both":                     {[]string{file, "--database-url", url}, exitUsage, "exclude each other"},
			} {
				if code, out, errs := runHere(ctx, append([]string{"verify"}, c.args...)...); code != c.code || !strings.Contains(out+errs, c.want) {
					t.Errorf("%s: exit %d, want %d with %q:\n%s%s", name, code, c.code, c.want, out, errs)
				}
			}
		})
	}
}

// What a superuser does to the tables shows in an exported file, too, and the exit
// code tells gone from changed.
func TestExportOfATamperedDatabase(t *testing.T) {
	for name, c := range map[string]struct {
		statements []string
		inPlace    int
		file       int
		want       string
	}{
		"a decision": {[]string{`DROP TRIGGER remediation_gate_log_refuse_update`, `UPDATE remediation_gate_log SET decision = 'blocked' WHERE tenant_id = 'acme' AND log_seq = 7`},
			exitTampered, exitTampered, "(decision 7): the row is not as it was written"},
		"a row gone": {[]string{`DROP TRIGGER remediation_gate_log_refuse_delete`, `DELETE FROM remediation_gate_log WHERE tenant_id = 'acme' AND log_seq = 7`},
			exitIncomplete, exitIncomplete, "the row is gone"},
		"all rows gone": {[]string{`DROP TRIGGER remediation_gate_log_refuse_delete`, `DELETE FROM remediation_gate_log`},
			exitIncomplete, exitIncomplete, "the row is gone"},
		"parameters": {[]string{`UPDATE decision_parameters SET parameters = x'7b7d'`}, exitTampered, exitTampered, "the parameters"},
	} {
		t.Run(name, func(t *testing.T) {
			url := storetest.SQLite(t)
			replaytest.Log(t, url, 12)
			db := storetest.DB(t, url)
			for _, q := range c.statements {
				if _, err := db.Exec(q); err != nil {
					t.Fatal(err)
				}
			}
			if code, out, errs := runHere(t.Context(), "verify", "--database-url", url, "--tenant", "acme"); code != c.inPlace || !strings.Contains(out, c.want) {
				t.Errorf("in place: %d %s%s", code, out, errs)
			}
			file := filepath.Join(t.TempDir(), "evidence.zip")
			if code, out, errs := runHere(t.Context(), "export", "--database-url", url, "--tenant", "acme", "-o", file); code != 0 {
				t.Fatalf("export: %d %s%s", code, out, errs)
			}
			if code, out, errs := runHere(t.Context(), "verify", file); code != c.file || !strings.Contains(out, c.want) {
				t.Errorf("the file: %d %s%s", code, out, errs)
			}
		})
	}
}

// A page for people that the rows do not bear out is found, with all digests made
// to fit: the page is made again.
func TestForgedStatement(t *testing.T) {
	url, dir := storetest.SQLite(t), t.TempDir()
	replaytest.Log(t, url, 12)
	r, err := store.OpenReader(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w := evidence.Window{Tenant: "acme"}
	var file bytes.Buffer
	_, err = evidence.Write(t.Context(), &file, r, evidence.Options{Window: w, Generator: engineVersion(), Statement: func(k *evidence.Kept) (evidence.Statement, error) {
		s, err := statementOf(t.Context(), w)(k)
		return forged{s}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	path := keep(t, dir, "forged.zip", file.Bytes())
	if code, out, errs := runHere(t.Context(), "verify", path); code != exitTampered || !strings.Contains(out, "statement.html is not what the rows say") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// forged says that nothing was blocked.
type forged struct{ evidence.Statement }

func (f forged) Write(ctx context.Context, w io.Writer, m *evidence.Manifest) error {
	var page bytes.Buffer
	if err := f.Statement.Write(ctx, &page, m); err != nil {
		return err
	}
	_, err := w.Write(bytes.ReplaceAll(page.Bytes(), []byte("block_override"), []byte("tier_allows")))
	return err
}

// Nothing is left of an export that did not come to its end.
func TestExportLeavesNothingBehind(t *testing.T) {
	url, dir := storetest.SQLite(t), t.TempDir()
	replaytest.Log(t, url, 12)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(dir, "evidence.zip")
	for name, c := range map[string]struct {
		ctx  context.Context
		args []string
		code int
	}{
		"interrupted":       {ended, []string{"--tenant", "acme", "-o", file}, exitNo},
		"nobody":            {t.Context(), []string{"--tenant", "nobody", "-o", file}, exitUsage},
		"no tenant":         {t.Context(), []string{"-o", file}, exitUsage},
		"no place":          {t.Context(), []string{"--tenant", "acme"}, exitUsage},
		"an empty window":   {t.Context(), []string{"--tenant", "acme", "-o", file, "--from", "2026-02-01", "--to", "2026-01-01"}, exitUsage},
		"no such folder":    {t.Context(), []string{"--tenant", "acme", "-o", filepath.Join(dir, "none", "x.zip")}, exitNo},
		"no day":            {t.Context(), []string{"--tenant", "acme", "-o", file, "--from", "yesterday"}, exitUsage},
		"no such keys file": {t.Context(), []string{"--tenant", "acme", "-o", file, "--keys", filepath.Join(dir, "none")}, exitUsage},
	} {
		code, out, errs := runHere(c.ctx, append([]string{"export", "--database-url", url}, c.args...)...)
		if code != c.code || errs == "" {
			t.Errorf("%s: %d %s%s", name, code, out, errs)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
}
