package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/store/storetest"
)

// Figures of the long poll, on the built binary.
const (
	waiters       = 5000
	maxWaitersMiB = 190 // 200 MB: the whole process
	maxHere       = 50 * time.Millisecond
	maxThere      = 500 * time.Millisecond
)

type queued struct {
	DecisionID string `json:"decision_id"`
	Approval   struct{ ID, Status string }
}

func ask(t *testing.T, g *binarytest.Gate, target string) queued {
	t.Helper()
	var q queued
	status, text, err := g.Do("POST", "/decisions", "agent", "", fmt.Sprintf(`{"action_type": "isolate_host", "target": %q}`, target))
	if err != nil || status != http.StatusOK || json.Unmarshal(text, &q) != nil || q.Approval.Status != "pending" {
		t.Fatalf("%d %v %s", status, err, text)
	}
	return q
}

func approve(t *testing.T, g *binarytest.Gate, q queued) {
	t.Helper()
	status, text, err := g.Do("POST", "/approvals/"+q.Approval.ID+"/approve", "anna", "", `{"comment": "yes"}`)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %v %s", status, err, text)
	}
}

func approvalTokens(t *testing.T) string {
	return binarytest.Tokens(t, "agent soar acme agent", "anna anna acme approver")
}

// What an approval makes of whoever waits for it, on the gate where it is given
// and on another one: the median time to the answer.
func TestApproveToAnswered(t *testing.T) {
	url, tokens := storetest.Postgres(t), approvalTokens(t)
	here := binarytest.Serve(t, "--database-url", url, "--tokens", tokens)
	there := binarytest.Serve(t, "--database-url", url, "--tokens", tokens)
	for name, c := range map[string]struct {
		waits *binarytest.Gate
		limit time.Duration
	}{"on one gate": {here, maxHere}, "across two": {there, maxThere}} {
		var took []time.Duration
		for i := range 15 {
			q := ask(t, here, fmt.Sprintf("host:%s-%d", name, i))
			answered := make(chan time.Time)
			go func() {
				status, text, err := c.waits.Do("GET", "/decisions/"+q.DecisionID+"?wait=15s", "agent", "", "")
				if err != nil || status != http.StatusOK || !strings.Contains(string(text), `"status":"released"`) {
					t.Errorf("%d %v %s", status, err, text)
				}
				answered <- time.Now()
			}()
			time.Sleep(100 * time.Millisecond)
			approve(t, here, q)
			given := time.Now()
			took = append(took, (<-answered).Sub(given))
		}
		slices.Sort(took)
		t.Logf("%s: median %v, longest %v", name, took[len(took)/2], took[len(took)-1])
		if took[len(took)/2] > c.limit {
			t.Errorf("%s: median %v, want under %v", name, took[len(took)/2], c.limit)
		}
	}
}

// 5,000 requests wait on one gate, and the gate stays small; then one approval
// answers all of them.
func TestManyWaiters(t *testing.T) {
	if testing.Short() {
		t.Skip("opens 10,000 sockets")
	}
	g := binarytest.Serve(t, "--database-url", storetest.SQLite(t), "--tokens", approvalTokens(t))
	q := ask(t, g, "host:a")
	before := memory(t, g)
	address := strings.TrimPrefix(g.URL, "http://")
	request := "GET /api/v1/remediation/decisions/" + q.DecisionID + "?wait=60s HTTP/1.1\r\nHost: " + address + "\r\nAuthorization: Bearer agent\r\n\r\n"
	var answered sync.WaitGroup
	var wrong sync.Map
	for i := range waiters {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		answered.Go(func() {
			b := make([]byte, 4096)
			n, err := c.Read(b)
			if err != nil || !strings.Contains(string(b[:n]), "200 OK") || !strings.Contains(string(b[:n]), `"status":"released"`) {
				wrong.Store(i, fmt.Sprintf("%v %s", err, b[:n]))
			}
		})
	}
	for deadline := time.Now().Add(30 * time.Second); waiting(t, g) < waiters; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d wait", waiting(t, g))
		}
	}
	mib := memory(t, g) // once it has given back what it needed to get there
	for tries := 0; tries < 50 || tries < 200 && mib > maxWaitersMiB; tries++ {
		time.Sleep(100 * time.Millisecond)
		mib = min(mib, memory(t, g))
	}
	t.Logf("%d wait, the gate holds %d MiB, %d of them for who waits", waiters, mib, mib-before)
	if mib > maxWaitersMiB {
		t.Errorf("the gate holds %d MiB, want at most %d", mib, maxWaitersMiB)
	}
	start := time.Now()
	approve(t, g, q)
	answered.Wait()
	t.Logf("all answered %v after the approval was asked for", time.Since(start))
	wrong.Range(func(_, v any) bool { t.Errorf("%.300s", v); return false })
	if n := waiting(t, g); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

// waiting reads the gauge of requests that wait.
func waiting(t *testing.T, g *binarytest.Gate) int {
	t.Helper()
	_, text, err := g.Do("GET", "//metrics", "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\ntiergate_approval_waiters ")
	number, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// memory is the resident set of the gate's process, in MiB.
func memory(t *testing.T, g *binarytest.Gate) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, _ := strconv.Atoi(f[1])
			return kib / 1024
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
