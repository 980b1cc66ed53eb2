package store_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// victimEnv holds the database URL in the process that is to be killed.
const victimEnv = "TIERGATE_TEST_VICTIM"

// TestMain runs the victim of TestKillUnderLoad, or of TestKillWhileVoting, when
// this is its process.
func TestMain(m *testing.M) {
	if url := os.Getenv(victimEnv); url != "" {
		victim(url)
	}
	if url := os.Getenv(voterEnv); url != "" {
		voter(url)
	}
	os.Exit(m.Run())
}

// victim appends until it is killed, and prints each answer when it has it.
func victim(url string) {
	s, err := store.Open(context.Background(), store.Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for c := range 32 {
		go func() {
			for i := c; ; i++ {
				e := storetest.Entry(fmt.Sprintf("t%d", i%3), 0)
				mu.Lock()
				fmt.Printf("ask %s %s\n", e.TenantID, e.ActionID)
				mu.Unlock()
				if r := s.Append(context.Background(), []*engine.Entry{e})[0]; r.Err == nil {
					mu.Lock()
					fmt.Printf("got %s %s %s %d\n", e.TenantID, e.ActionID, e.DecisionID, e.LogSeq)
					mu.Unlock()
				}
			}
		}()
	}
	select {}
}

// TestKillUnderLoad kills a gate's process with SIGKILL, round after round.
// Every answer that it gave is in the log, and an action that is asked again
// gets its stored answer. TIERGATE_KILL_ROUNDS sets the number of rounds.
func TestKillUnderLoad(t *testing.T) {
	rounds := 4
	if n, err := strconv.Atoi(os.Getenv("TIERGATE_KILL_ROUNDS")); err == nil {
		rounds = n
	}
	for _, url := range []string{storetest.Postgres(t), storetest.SQLite(t)} {
		var answered []*engine.Entry
		for range rounds {
			answered = append(answered, killOnce(t, url)...)
			storetest.CheckLog(t, url, answered)
		}
		t.Logf("%d answers in %d rounds", len(answered), rounds)
	}
}

// runAndKill runs this test binary with env set to url, gives each line that it
// prints to line, and kills it a while after the first for which that is true.
func runAndKill(t *testing.T, env, url string, line func(fields []string) bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer killer.Stop()
	begun := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if line(strings.Fields(lines.Text())) && !begun {
			begun = true
			killer.Reset(250 * time.Millisecond)
		}
	}
	cmd.Wait()
	if !begun {
		t.Fatal("the process that was to be killed was told nothing")
	}
}

func killOnce(t *testing.T, url string) (answered []*engine.Entry) {
	asked := map[string]string{} // action_id → tenant, without an answer
	runAndKill(t, victimEnv, url, func(f []string) bool {
		switch {
		case len(f) == 3 && f[0] == "ask":
			asked[f[2]] = f[1]
		case len(f) == 5 && f[0] == "got":
			seq, _ := strconv.ParseInt(f[4], 10, 64)
			e := &engine.Entry{DecisionID: f[3], LogSeq: seq}
			e.TenantID, e.ActionID, e.Decision = f[1], f[2], engine.QueuedApproval
			answered = append(answered, e)
			delete(asked, f[2])
			return true
		}
		return false
	})
	s, err := store.Open(t.Context(), store.Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	for round := range 2 { // the second time, every one is a repetition
		for action, tenant := range asked {
			e := storetest.Entry(tenant, 0)
			e.ActionID = action
			r := s.Append(t.Context(), []*engine.Entry{e})[0]
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if round == 1 && !r.Repeated {
				t.Error("asked twice, answered anew")
			}
			answered = append(answered, r.Entry)
		}
	}
	last := answered[0]
	e := storetest.Entry(last.TenantID, 0)
	e.ActionID = last.ActionID
	if r := s.Append(t.Context(), []*engine.Entry{e})[0]; r.Err != nil || !r.Repeated || r.Entry.DecisionID != last.DecisionID || r.Entry.LogSeq != last.LogSeq {
		t.Errorf("a killed gate's answer %+v, asked again: %+v", last, r)
	}
	return answered
}
