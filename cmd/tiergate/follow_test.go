package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/store/storetest"
)

// watched is what a process writes; seen is closed once that is in it.
type watched struct {
	mu    sync.Mutex
	b     bytes.Buffer
	until string
	seen  chan struct{}
	done  bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.Write(p)
	if !w.done && strings.Contains(w.b.String(), w.until) {
		w.done = true
		close(w.seen)
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// log --follow goes on across a kill -9 of the gate, leaves no row out, shows
// none twice, and Ctrl-C ends it well; as a table and as JSON.
func TestFollowAcrossRestart(t *testing.T) {
	database := storetest.SQLite(t)
	g := binarytest.Serve(t, "--dev", "--database-url", database)
	const before, during, after = 3, 60, 4 // during: more than one turn reads
	ask := func(from, to int) {
		t.Helper()
		for i := from; i <= to; i++ {
			status, body, err := g.Do("POST", "/decisions", "dev", "", fmt.Sprintf(`{"action_type":"search_siem","target":"index:%d"}`, i))
			if err != nil || status != http.StatusOK {
				t.Fatalf("%d %s %v", status, body, err)
			}
		}
	}
	ask(1, before)
	follow := func(until string, args ...string) (*exec.Cmd, *watched, *watched) {
		cmd := exec.Command(binarytest.Path(t), append([]string{"log", "--follow"}, args...)...)
		cmd.Env = append(os.Environ(), "TIERGATE_URL="+g.URL, "TIERGATE_TOKEN=dev")
		out, err := &watched{until: until, seen: make(chan struct{})}, &watched{until: "asking again", seen: make(chan struct{})}
		cmd.Stdout, cmd.Stderr = out, err
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd, out, err
	}
	last := fmt.Sprintf("index:%d", before+during+after)
	table, tableOut, tableErr := follow(last, "--limit", fmt.Sprint(before))
	lines, linesOut, linesErr := follow(last, "--json", "--limit", fmt.Sprint(before))
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(tableOut.String(), "index:3") || !strings.Contains(linesOut.String(), "index:3"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the rows of before do not come")
		}
	}
	ask(before+1, before+during)
	g.Kill()
	wait := func(what string, seen <-chan struct{}) {
		t.Helper()
		select {
		case <-seen:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s does not come\n%s\n%s", what, tableErr, linesErr)
		}
	}
	wait("that the gate is away", tableErr.seen)
	wait("that the gate is away", linesErr.seen)
	g = binarytest.Serve(t, "--dev", "--database-url", database, "--addr", strings.TrimPrefix(g.URL, "http://"))
	ask(before+during+1, before+during+after)
	wait("the last row", tableOut.seen)
	wait("the last row", linesOut.seen)
	for _, cmd := range []*exec.Cmd{table, lines} {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("Ctrl-C: %v", err)
		}
	}
	rows := strings.Split(strings.TrimSpace(tableOut.String()), "\n")[1:]
	documents := strings.Split(strings.TrimSpace(linesOut.String()), "\n")
	if len(rows) != before+during+after || len(documents) != len(rows) {
		t.Fatalf("%d rows and %d documents, want %d", len(rows), len(documents), before+during+after)
	}
	for i := range rows {
		var e struct {
			Target string
			Seq    int `json:"log_seq"`
		}
		want := fmt.Sprintf("index:%d", i+1)
		if err := json.Unmarshal([]byte(documents[i]), &e); err != nil || e.Seq != i+1 || e.Target != want || !strings.HasSuffix(rows[i], "  "+want) {
			t.Errorf("row %d: %s\n%s\n%v", i+1, rows[i], documents[i], err)
		}
	}
}
