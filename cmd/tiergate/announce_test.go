package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/store/storetest"
)

// takesAll is a receiver that counts how often it was told of each decision.
type takesAll struct {
	*httptest.Server
	sick atomic.Bool
	mu   sync.Mutex
	seen map[string]int
}

func newTakesAll(t *testing.T) *takesAll {
	r := &takesAll{seen: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var event struct{ Subject string }
		if r.sick.Load() || json.Unmarshal(body, &event) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen[event.Subject]++
	}))
	t.Cleanup(r.Close)
	return r
}

// told is how many different decisions it was told of.
func (r *takesAll) told() (different, all int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.seen {
		all += n
	}
	return len(r.seen), all
}

// must makes an operator's change.
func must(t *testing.T, g *binarytest.Gate, method, path, body string) []byte {
	t.Helper()
	status, answer, err := g.Do(method, path, "olga", "", body)
	if err != nil || status/100 != 2 {
		t.Fatalf("%s %s %s: %d %s %v", method, path, body, status, answer, err)
	}
	return answer
}

const announceLoopback = "127.0.0.0/8"

// Two gates on one database, a receiver that is away, and one gate killed while
// it has claimed some: when the receiver is back, it is told of every decision
// that anybody was given.
func TestAnnouncementsSurviveKills(t *testing.T) {
	database := storetest.Postgres(t)
	tokens := binarytest.Tokens(t, "agent soar default agent", "olga olga default operator,auditor")
	serve := func() *binarytest.Gate {
		return binarytest.Serve(t, "--database-url", database, "--tokens", tokens, "--announce-allow", announceLoopback)
	}
	gates := []*binarytest.Gate{serve(), serve()}
	receiver := newTakesAll(t)
	receiver.sick.Store(true)
	must(t, gates[0], "PUT", "/config", `{"maturity_tier":4}`)
	must(t, gates[0], "PUT", "/channels/siem", `{"format":"webhook","url":"`+receiver.URL+`","reason":"test"}`)
	must(t, gates[0], "POST", "/whitelist", `{"action_type":"isolate_host","constraints":{"target_prefix":"host:"},"expires_at":"2200-01-01T00:00:00Z","reason":"test","notify":["webhook:siem"]}`)
	var given []string
	var mu sync.Mutex
	var asking sync.WaitGroup
	for k, g := range gates {
		asking.Go(func() {
			for i := range 150 {
				status, body, err := g.Do("POST", "/decisions", "agent", "", fmt.Sprintf(`{"action_type":"isolate_host","target":"host:%d-%d"}`, k, i))
				if err != nil || status != http.StatusOK {
					continue // the gate was killed: nobody was given a decision
				}
				var d struct {
					DecisionID string `json:"decision_id"`
					Rule       string
				}
				if err := json.Unmarshal(body, &d); err != nil || d.Rule != "whitelist_match" {
					t.Errorf("%s %v", body, err)
					return
				}
				mu.Lock()
				given = append(given, d.DecisionID)
				if len(given) == 200 {
					go gates[1].Kill()
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	receiver.sick.Store(false)
	third := serve()
	// What the dead gate had claimed comes back after its lease of a minute.
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		different, all := receiver.told()
		if different >= len(given) {
			t.Logf("%d decisions were given, the receiver was told of %d, %d times in all", len(given), different, all)
			break
		}
		if time.Now().After(deadline) {
			_, body, _ := third.Do("GET", "/announcements?status=pending&limit=3", "olga", "", "")
			t.Fatalf("%d decisions were given, the receiver was told of %d; for example %s", len(given), different, body)
		}
	}
	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	for _, id := range given {
		if receiver.seen[id] == 0 {
			t.Errorf("decision %s was never announced", id)
		}
	}
}

// Neither the log nor the metrics of a gate show a URL or a key, also when a
// receiver fails in every way.
func TestChannelSecretsStayOutOfLogs(t *testing.T) {
	g := binarytest.Serve(t, "--dev", "--database-url", storetest.SQLite(t))
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://10.0.0.1/s3cr3t-elsewhere", http.StatusFound)
	}))
	t.Cleanup(away.Close)
	const key = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	for name, url := range map[string]string{"moved": away.URL + "/s3cr3t", "nobody": "http://127.0.0.1:1/s3cr3t", "plain": strings.Replace(away.URL, "http:", "https:", 1) + "/s3cr3t"} {
		if status, body, err := g.Do("PUT", "/channels/"+name, "dev", "", `{"format":"webhook","url":"`+url+`","secret":"`+key+`","reason":"test"}`); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, body, err)
		}
		if status, body, err := g.Do("POST", "/channels/"+name+"/test", "dev", "", ""); err != nil || status != http.StatusAccepted {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
	var list []byte
	for deadline := time.Now().Add(30 * time.Second); strings.Count(string(list), `"last_error"`) < 3; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not all have failed: %s", list)
		}
		_, list, _ = g.Do("GET", "/announcements", "dev", "", "")
	}
	_, metrics, _ := g.Do("GET", "//metrics", "", "", "")
	_, channels, _ := g.Do("GET", "/channels", "dev", "", "")
	for what, text := range map[string]string{"log": g.Stderr(), "announcements": string(list), "metrics": string(metrics), "channels": string(channels)} {
		if i := slices.IndexFunc([]string{"s3cr3t", key, strings.TrimPrefix(key, "whsec_"), "012345678901234567890123"}, func(s string) bool { return strings.Contains(text, s) }); i >= 0 {
			t.Errorf("the %s shows a secret: %s", what, text)
		}
	}
	for _, want := range []string{"302", "refused"} {
		if !strings.Contains(string(list), want) {
			t.Errorf("the announcements do not say %q: %s", want, list)
		}
	}
}
