package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	binarytest.Remove()
	os.Exit(code)
}

// onEach runs a test on both databases. open looks into the database behind
// the gate's back.
func onEach(t *testing.T, test func(t *testing.T, url string, open func() *sql.DB)) {
	t.Run("postgres", func(t *testing.T) {
		url := storetest.Postgres(t)
		test(t, url, func() *sql.DB { return openDB(t, "postgres", url) })
	})
	t.Run("sqlite", func(t *testing.T) {
		url := storetest.SQLite(t)
		test(t, url, func() *sql.DB { return openDB(t, "sqlite", strings.TrimPrefix(url, "sqlite:")) })
	})
}

func openDB(t *testing.T, driver, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

type answered struct {
	DecisionID string `json:"decision_id"`
	ActionID   string `json:"action_id"`
	TenantID   string `json:"tenant_id"`
	Decision   string `json:"decision"`
	LogSeq     int64  `json:"log_seq"`
}

// load asks from several callers for several tenants until the gate is gone,
// and returns every answer and every action that got none.
func load(g *binarytest.Gate, callers int, stop <-chan struct{}) (answers []answered, unanswered map[string]string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	unanswered = map[string]string{}
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				id, tenant := uuid.NewString(), fmt.Sprintf("t%d", rand.IntN(5))
				status, body, err := g.Do("POST", "/decisions", "dev", tenant,
					fmt.Sprintf(`{"action_id":%q,"action_type":"search_siem","target":"index:x"}`, id))
				var a answered
				mu.Lock()
				if err == nil && status == http.StatusOK && json.Unmarshal(body, &a) == nil {
					answers = append(answers, a)
				} else {
					unanswered[id] = tenant
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return answers, unanswered
}

// proveLog checks that every answer is in the log as it was given, that
// log_seq has no gaps and that nothing is there twice.
func proveLog(t *testing.T, db *sql.DB, answers []answered) {
	t.Helper()
	rows, err := db.Query(`SELECT tenant_id, log_seq, decision_id, action_id, decision FROM remediation_gate_log ORDER BY tenant_id, log_seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	logged, actions, next := map[string]answered{}, map[string]bool{}, map[string]int64{}
	for rows.Next() {
		var a answered
		if err := rows.Scan(&a.TenantID, &a.LogSeq, &a.DecisionID, &a.ActionID, &a.Decision); err != nil {
			t.Fatal(err)
		}
		next[a.TenantID]++
		if a.LogSeq != next[a.TenantID] {
			t.Fatalf("tenant %s: log_seq %d follows %d", a.TenantID, a.LogSeq, next[a.TenantID]-1)
		}
		if actions[a.TenantID+a.ActionID] {
			t.Fatalf("action %s is there twice", a.ActionID)
		}
		actions[a.TenantID+a.ActionID] = true
		logged[a.DecisionID] = a
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, a := range answers {
		if logged[a.DecisionID] != a {
			t.Fatalf("the answer %+v is in the log as %+v", a, logged[a.DecisionID])
		}
	}
}

// rounds is how often a crash is tried: a few times, or for TIERGATE_SOAK.
func rounds(few int) func() bool {
	n, until := 0, time.Time{}
	if d, err := time.ParseDuration(os.Getenv("TIERGATE_SOAK")); err == nil {
		until = time.Now().Add(d)
	}
	return func() bool {
		n++
		return n <= few || time.Now().Before(until)
	}
}

// kill -9 under load: every answered decision is in the log, and a retried
// action_id gets its one decision.
func TestKillSoak(t *testing.T) {
	onEach(t, func(t *testing.T, url string, open func() *sql.DB) {
		var answers []answered
		var lost map[string]string
		for more := rounds(4); more(); {
			g := binarytest.Serve(t, "--dev", "--database-url", url)
			for id, tenant := range lost { // asked again, after the crash
				status, body, err := g.Do("POST", "/decisions", "dev", tenant,
					fmt.Sprintf(`{"action_id":%q,"action_type":"search_siem","target":"index:x"}`, id))
				var a answered
				if err != nil || status != http.StatusOK || json.Unmarshal(body, &a) != nil || a.ActionID != id {
					t.Fatalf("retry of %s: %d %s %v", id, status, body, err)
				}
				answers = append(answers, a)
			}
			stop := make(chan struct{})
			time.AfterFunc(time.Duration(200+rand.IntN(300))*time.Millisecond, func() { g.Kill(); close(stop) })
			got, none := load(g, 16, stop)
			answers, lost = append(answers, got...), none
			db := open()
			proveLog(t, db, answers)
			db.Close()
		}
		if len(answers) < 100 {
			t.Fatalf("only %d answers: nothing was tried", len(answers))
		}
		t.Logf("%d answers, all in the log", len(answers))
	})
}

// SIGTERM: requests in flight end with an answer that is in the log, or with an
// error; the process ends well.
func TestGracefulStop(t *testing.T) {
	onEach(t, func(t *testing.T, url string, open func() *sql.DB) {
		g := binarytest.Serve(t, "--dev", "--database-url", url)
		stop := make(chan struct{})
		time.AfterFunc(300*time.Millisecond, func() {
			if err := g.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			close(stop)
		})
		answers, _ := load(g, 16, stop)
		if code := g.Wait(); code != exitOK {
			t.Errorf("exit code %d:\n%s", code, g.Stderr())
		}
		proveLog(t, open(), answers)
		if len(answers) == 0 {
			t.Error("no answer before the stop")
		}
	})
}

// The database is down at the start: a clear message, and no secret in it.
func TestServeWithoutDatabase(t *testing.T) {
	start := time.Now()
	var stderr bytes.Buffer
	cmd := exec.Command(binarytest.Path(t), "serve", "--dev", "--addr", "127.0.0.1:0",
		"--database-url", "postgres://gate:hunter2@127.0.0.1:1/gate?sslmode=disable")
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != exitNo {
		t.Errorf("exit code %d (%v)", cmd.ProcessState.ExitCode(), err)
	}
	if text := stderr.String(); !strings.Contains(text, "127.0.0.1:1") || strings.Contains(text, "hunter2") {
		t.Errorf("the message must name the place and no password:\n%s", text)
	}
	if time.Since(start) > 10*time.Second {
		t.Error("it took too long to say so")
	}
}

// The database goes away and comes back under a running gate.
func TestDatabaseOutage(t *testing.T) {
	cluster := storetest.NewCluster(t)
	g := binarytest.Serve(t, "--dev", "--database-url", cluster.Database(t))
	ask := func() (int, []byte, time.Duration) {
		t.Helper()
		start := time.Now()
		status, body, err := g.Do("POST", "/decisions", "dev", "", `{"action_type":"search_siem","target":"index:x"}`)
		if err != nil {
			t.Fatal(err)
		}
		return status, body, time.Since(start)
	}
	if status, body, _ := ask(); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if err := cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		status, body, took := ask()
		if status != http.StatusServiceUnavailable || bytes.Contains(body, []byte(`"decision"`)) {
			t.Fatalf("while the database is down: %d %s", status, body)
		}
		if took > 1500*time.Millisecond {
			t.Errorf("503 took %s, want about a second at most", took)
		}
	}
	if status, _, err := g.Do("GET", "//readyz", "", "", ""); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d %v", status, err)
	}
	if err := cluster.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if status, body, _ := ask(); status == http.StatusOK {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the database is back, the gate is not: %d %s\n%s", status, body, g.Stderr())
		}
	}
}

// Two gates on one PostgreSQL: a change answered by one holds at once on the
// other, because the commit of a row checks the epoch.
func TestTwoGates(t *testing.T) {
	url := storetest.Postgres(t)
	a, b := binarytest.Serve(t, "--dev", "--database-url", url), binarytest.Serve(t, "--dev", "--database-url", url)
	for round := range 20 {
		tier := round % 2 * 3 // L0, L3
		if status, body, err := a.Do("PUT", "/config", "dev", "acme", fmt.Sprintf(`{"maturity_tier":%d,"reason":"race"}`, tier)); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, body, err)
		}
		status, body, err := b.Do("POST", "/decisions", "dev", "acme", `{"action_type":"kill_process","target":"host:a"}`)
		want := map[int]string{0: `"decision":"queued_approval"`, 3: `"decision":"auto"`}[tier]
		if err != nil || status != http.StatusOK || !bytes.Contains(body, []byte(want)) {
			t.Fatalf("round %d at tier %d: %d %s %v", round, tier, status, body, err)
		}
	}
}

// SIGHUP rereads the tokens; a bad file changes nothing.
func TestTokensReread(t *testing.T) {
	path := binarytest.Tokens(t, "old soar acme agent")
	g := binarytest.Serve(t, "--database-url", storetest.SQLite(t), "--tokens", path)
	status := func(token string) int {
		t.Helper()
		status, _, err := g.Do("GET", "/actions", token, "", "")
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	reread := func(from string) {
		t.Helper()
		content := []byte("not a token file\n")
		if from != "" {
			var err error
			if content, err = os.ReadFile(from); err != nil {
				t.Fatal(err)
			}
		}
		before := g.Stderr()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if g.Stderr() != before {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatal("nothing was said about the tokens")
	}
	if status("old") != http.StatusOK || status("new") != http.StatusUnauthorized {
		t.Fatal("the tokens of the start do not hold")
	}
	reread("")
	if status("old") != http.StatusOK {
		t.Error("a bad file took the tokens away")
	}
	reread(binarytest.Tokens(t, "new soar acme agent"))
	if status("old") != http.StatusUnauthorized || status("new") != http.StatusOK {
		t.Error("the new tokens do not hold")
	}
}

// A second gate on one SQLite file refuses to start.
func TestOneGatePerFile(t *testing.T) {
	url := storetest.SQLite(t)
	binarytest.Serve(t, "--dev", "--database-url", url)
	out, err := exec.Command(binarytest.Path(t), "serve", "--dev", "--addr", "127.0.0.1:0", "--database-url", url).CombinedOutput()
	if err == nil || !strings.Contains(string(out), filepath.Base(strings.TrimPrefix(url, "sqlite:"))) {
		t.Errorf("%v\n%s", err, out)
	}
}
