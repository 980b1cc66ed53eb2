package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// TestWriterRole: as the gate's role, and even as the owner, the log takes new
// rows only, and never an auto row with CRITICAL.
func TestWriterRole(t *testing.T) {
	owner := storetest.Postgres(t)
	if err := store.Migrate(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	db := storetest.DB(t, owner)
	db.SetMaxOpenConns(1)
	login := fmt.Sprintf("gate_login_%d", time.Now().UnixNano())
	exec := func(q string) error { _, err := db.Exec(q); return err }
	if err := exec(`CREATE ROLE ` + login + ` LOGIN PASSWORD 'p%ss w0rd' IN ROLE tiergate_writer`); err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(owner)
	u.User = url.UserPassword(login, "p%ss w0rd")
	s := storetest.Open(t, u.String())
	if s.Warning() != "" {
		t.Errorf("warning for a writer: %s", s.Warning())
	}
	if as := storetest.Open(t, owner); !strings.Contains(as.Warning(), "SET ROLE tiergate_writer") {
		t.Errorf("warning for the owner: %q", as.Warning())
	}
	if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	if _, err := s.SetStopped(t.Context(), "acme", true, meta); err != nil {
		t.Fatal(err)
	}
	partition := "remediation_gate_log_" + time.Now().UTC().Format("200601")
	auto := `INSERT INTO remediation_gate_log SELECT (l).* FROM (SELECT jsonb_populate_record(l, '{"blast_radius":"CRITICAL","decision":"auto"}') AS l FROM remediation_gate_log l) x`
	for _, q := range []string{
		`UPDATE remediation_gate_log SET rationale = 'x'`, `DELETE FROM remediation_gate_log`, `TRUNCATE remediation_gate_log`,
		`UPDATE ` + partition + ` SET rationale = 'x'`, `DELETE FROM ` + partition, `TRUNCATE ` + partition,
		`UPDATE config_change SET reason = 'x'`, `DELETE FROM config_change`, `TRUNCATE config_change`,
		`UPDATE remediation_action SET log_seq = 9`, `DELETE FROM remediation_action`, `TRUNCATE remediation_action`,
		auto,
	} {
		if err := exec(q); err == nil {
			t.Errorf("as owner: %s: allowed", q)
		}
		if err := exec(`BEGIN; SET LOCAL ROLE tiergate_writer; ` + q); err == nil {
			t.Errorf("as writer: %s: allowed", q)
		}
		exec(`ROLLBACK`)
	}
	for _, q := range []string{`DROP TABLE remediation_gate_log`, `ALTER TABLE remediation_gate_log DISABLE TRIGGER ALL`, `DELETE FROM tenant_head`, `DELETE FROM decision_parameters`, `CREATE TABLE x (y int)`} {
		if err := exec(`BEGIN; SET LOCAL ROLE tiergate_writer; ` + q); err == nil {
			t.Errorf("as writer: %s: allowed", q)
		}
		exec(`ROLLBACK`)
	}
	storetest.CheckLog(t, owner, nil)
}

func TestSQLiteLogIsAppendOnly(t *testing.T) {
	url := storetest.SQLite(t)
	s := storetest.Open(t, url)
	if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0)})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	db := storetest.DB(t, url)
	for _, q := range []string{`UPDATE remediation_gate_log SET rationale = 'x'`, `DELETE FROM remediation_gate_log`, `DELETE FROM remediation_action`} {
		if _, err := db.Exec(q); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", q, err)
		}
	}
	if _, err := store.Open(t.Context(), store.Options{URL: url}); err == nil || !strings.Contains(err.Error(), "another gate") {
		t.Errorf("a second gate on the file: %v", err)
	}
}

// TestOpenSaysWhatIsWrong: what happened, where, what next; never a password.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	owner := storetest.Postgres(t)
	admin := storetest.DB(t, owner)
	login := fmt.Sprintf("stranger_%d", time.Now().UnixNano())
	if _, err := admin.Exec(`CREATE ROLE ` + login + ` LOGIN PASSWORD 's3cret'`); err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(owner)
	with := func(user, password string) string {
		c := *u
		c.User = url.UserPassword(user, password)
		return c.String()
	}
	for _, c := range []struct{ url, want string }{
		{"postgres://gate:s3cret@127.0.0.1:1/gate", "127.0.0.1:1"},
		{"postgres://gate:s3cret%@127.0.0.1:1/gate", "percent-encoded"},
		{"postgres://gate:s3cret@127.0.0.1:s3cret/gate", "cannot be read"},
		{"postgres://gate:s3cret@[::1/gate", "cannot be read"},
		{with("postgres", "s3cret"), "password"},
		{with(login, "s3cret"), "tiergate migrate --database-url OWNER_URL"},
		{"mysql://gate:s3cret@x/y", "postgres://"},
		{"", "postgres://"},
		{"sqlite:", "sqlite:tiergate.db"},
		{"sqlite:/nonexistent/dir/x.db", "/nonexistent/dir/x.db"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		s, err := store.Open(ctx, store.Options{URL: c.url})
		cancel()
		if err == nil {
			s.Close(t.Context())
			t.Errorf("%s: opened", c.url)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s:\n%v\nwant %q", c.url, err, c.want)
		}
	}
}

// TestManyStartAtOnce on an empty database: one migrates, the others wait.
func TestManyStartAtOnce(t *testing.T) {
	url := storetest.Postgres(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.Open(t.Context(), store.Options{URL: url})
			if err != nil {
				t.Error(err)
				return
			}
			s.Close(t.Context())
		})
	}
	wg.Wait()
}

func TestFullQueueAndClose(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open(func(o *store.Options) { o.QueueSize = 10 })
		batch := make([]*engine.Entry, 25)
		for i := range batch {
			batch[i] = storetest.Entry("acme", 0)
		}
		for i, r := range s.Append(t.Context(), batch) {
			if (i < 10) != (r.Err == nil) || i >= 10 && !errors.Is(r.Err, engine.ErrQueueFull) {
				t.Errorf("entry %d: %v", i, r.Err)
			}
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := s.Append(t.Context(), batch[:1])[0]; !errors.Is(r.Err, engine.ErrUnavailable) {
			t.Errorf("closed: %v", r.Err)
		}
		if _, err := s.SetStopped(t.Context(), "acme", true, meta); !errors.Is(err, engine.ErrUnavailable) {
			t.Errorf("closed: %v", err)
		}
		if s.Health(t.Context()).Writable {
			t.Error("closed, and writable")
		}
	})
}

func TestUnsoundEntriesAreCountedAndHarmless(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		reg := prometheus.NewRegistry()
		s := open(func(o *store.Options) { o.Registerer = reg })
		for _, c := range []string{`{"target":"t"}`, `{"target":"t","color":1}`, `{"min_confidence":0.5}`, `null`, `[]`} {
			if _, err := s.AddWhitelist(t.Context(), engine.WhitelistEntry{TenantID: "a", ActionType: "x", Constraints: []byte(c), ExpiresAt: far}, meta); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.PutOverride(t.Context(), &engine.Override{TenantID: "a", ActionType: "x", Mode: engine.ModeBlock, Constraints: []byte(`{"min_confidence":0.5}`)}, meta); err != nil {
			t.Fatal(err)
		}
		f, err := s.Facts("a", "x", "t", time.Now())
		if err != nil || len(f.Whitelist) != 1 || len(f.Overrides) != 1 {
			t.Errorf("%+v %v", f, err)
		}
		if list, err := s.Whitelist(t.Context(), "a", "x", "", 10); err != nil || len(list) != 5 {
			t.Errorf("listed %d %v", len(list), err)
		}
		got := unsound(t, reg)
		if got["override"] != 1 || got["whitelist"] != 4 {
			t.Errorf("counted %v", got)
		}
	})
}

// unsound reads tiergate_unsound_entries by kind.
func unsound(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "tiergate_unsound_entries" {
			for _, m := range f.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return got
}

// TestErrURL is for who wrote the URL, not for who runs the database.
func TestErrURL(t *testing.T) {
	for url, want := range map[string]bool{
		"": true, "x": true, "mysql://h/d": true, "sqlite:": true, "sqlite::memory:": true, "postgres://h:p%@x/y": true,
		"postgres://h/d?sslmode=nonsense": true, "postgres://h/d?a=%zz": true,
		"sqlite:/nonexistent/dir/x.db": false, "postgres://gate@127.0.0.1:1/gate": false,
	} {
		s, err := store.Open(t.Context(), store.Options{URL: url})
		if err == nil {
			s.Close(t.Context())
		}
		if errors.Is(err, store.ErrURL) != want || err == nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := store.Migrate(t.Context(), "sqlite:x.db"); !errors.Is(err, store.ErrURL) {
		t.Error(err)
	}
}

// TestNotSQLite: a wrong file is left alone, and what is beside it, too.
func TestNotSQLite(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"x", "a text that is longer than the magic of SQLite"} {
		path := filepath.Join(dir, "notes.txt")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + path}); err == nil || !strings.Contains(err.Error(), "not a SQLite database") || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("the file now: %q %v", got, err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v %v", files, err)
	}
	empty := filepath.Join(dir, "empty.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	storetest.Open(t, "sqlite:"+empty)
}

// TestRolesThatMayNot: what is missing is named with the words that give it.
func TestRolesThatMayNot(t *testing.T) {
	c := storetest.NewCluster(t)
	as := func(owner, role string) string {
		u, err := url.Parse(owner)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(role, "p")
		return u.String()
	}
	owned := c.Database(t)
	u, _ := url.Parse(owned)
	c.Exec(t, `CREATE ROLE keeper LOGIN PASSWORD 'p'`)
	c.Exec(t, `CREATE ROLE "St ranger" LOGIN PASSWORD 'p'`)
	c.Exec(t, `ALTER DATABASE `+strings.TrimPrefix(u.Path, "/")+` OWNER TO keeper`)
	if _, err := storetest.DB(t, owned).Exec(`ALTER SCHEMA public OWNER TO keeper`); err != nil {
		t.Fatal(err)
	}
	says := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	says(store.Migrate(t.Context(), as(owned, "keeper")), "`CREATE ROLE tiergate_writer NOLOGIN; GRANT tiergate_writer TO keeper; CREATE ROLE tiergate_auditor NOLOGIN`")
	first := c.Database(t)
	if err := store.Migrate(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	says(store.Migrate(t.Context(), as(owned, "keeper")), "`GRANT tiergate_writer TO keeper`")
	_, err := store.Open(t.Context(), store.Options{URL: as(first, "St ranger")})
	says(err, "`GRANT tiergate_writer TO \"St ranger\"`")
	c.Exec(t, `GRANT tiergate_writer TO keeper, "St ranger"`)
	// A cluster whose roles are from before there were auditors.
	dropped := c.Database(t)
	if err := store.Migrate(t.Context(), dropped); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{first, dropped} {
		if _, err := storetest.DB(t, url).Exec(`DROP OWNED BY tiergate_auditor`); err != nil {
			t.Fatal(err)
		}
	}
	c.Exec(t, `DROP ROLE tiergate_auditor`)
	says(store.Migrate(t.Context(), as(owned, "keeper")), "`CREATE ROLE tiergate_auditor NOLOGIN`")
	c.Exec(t, `CREATE ROLE tiergate_auditor NOLOGIN`)
	if err := store.Migrate(t.Context(), as(owned, "keeper")); err != nil {
		t.Error(err)
	}
	storetest.Open(t, as(first, "St ranger"))
}
