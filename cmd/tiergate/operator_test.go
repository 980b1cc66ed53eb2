package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/store/storetest"
)

// operatorCmds are the commands of scripts that need a gate. Each points
// TIERGATE_URL at what it starts.
func operatorCmds(t *testing.T) map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		// gate [ARGS…] starts a real one, with --dev unless arguments say otherwise.
		"gate": func(ts *testscript.TestScript, _ bool, args []string) {
			if len(args) == 0 {
				args = []string{"--dev"}
			}
			for i, a := range args {
				if !strings.HasPrefix(a, "-") {
					args[i] = ts.MkAbs(a)
				}
			}
			g := binarytest.Serve(t, append(args, "--database-url", "sqlite:"+filepath.Join(t.TempDir(), "gate.db"))...)
			ts.Defer(g.Kill)
			ts.Setenv("GATE", g.URL)
			ts.Setenv("TIERGATE_URL", g.URL)
		},
		// busygate METHOD PATH [N]: the real gate, on which somebody changes the
		// configuration just before each such request, or before the first N.
		"busygate": func(ts *testscript.TestScript, _ bool, args []string) {
			times := int32(1 << 30)
			if len(args) == 3 {
				n, err := strconv.Atoi(args[2])
				ts.Check(err)
				times = int32(n)
			}
			s := busyGate(t, ts.Getenv("GATE"), args[0], args[1], times)
			ts.Defer(s.Close)
			ts.Setenv("TIERGATE_URL", s.URL)
		},
		// newest VAR: the id of the newest approval that waits.
		"newest": func(ts *testscript.TestScript, _ bool, args []string) {
			g := binarytest.Gate{URL: ts.Getenv("GATE")}
			var page struct{ Entries []struct{ ID string } }
			status, body, err := g.Do("GET", "/approvals?status=pending", "dev", "", "")
			if err != nil || status != http.StatusOK || json.Unmarshal(body, &page) != nil || len(page.Entries) == 0 {
				ts.Fatalf("%d %s %v", status, body, err)
			}
			ts.Setenv(args[0], page.Entries[0].ID)
		},
		// notagate: something else listens there.
		"notagate": func(ts *testscript.TestScript, _ bool, _ []string) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>welcome")) }))
			ts.Defer(s.Close)
			ts.Setenv("TIERGATE_URL", s.URL)
		},
	}
}

func busyGate(t *testing.T, gate, method, path string, times int32) *httptest.Server {
	to, err := url.Parse(gate)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	busy := binarytest.Gate{URL: gate}
	var n atomic.Int32
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == method && strings.HasSuffix(r.URL.Path, path) && n.Add(1) <= times {
			status, body, err := busy.Do("PUT", "/overrides/search_siem", "dev", "", `{"mode":"block","reason":"somebody else"}`)
			if err != nil || status != http.StatusOK {
				t.Errorf("the other change: %d %s %v", status, body, err)
			}
		}
		r.Host = to.Host
		proxy.ServeHTTP(w, r)
	}))
}

// An answer that gets lost on the way is not a lost question: the error names the
// action, and asking again about it finds the row that was written.
func TestAskAgain(t *testing.T) {
	g := binarytest.Serve(t, "--dev", "--database-url", storetest.SQLite(t))
	lossy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if status, answer, err := g.Do("POST", "/decisions", "dev", "", string(body)); err != nil || status != http.StatusOK {
			t.Errorf("%d %s %v", status, answer, err)
		}
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			conn.Close()
		}
	}))
	defer lossy.Close()
	t.Setenv("TIERGATE_TOKEN", "dev")
	ask := func(url string, more ...string) (code int, stdout, stderr string) {
		t.Setenv("TIERGATE_URL", url)
		var out, err bytes.Buffer
		code = run(t.Context(), append([]string{"ask", "search_siem", "index:main"}, more...), strings.NewReader(""), &out, &err)
		return code, out.String(), err.String()
	}
	code, stdout, stderr := ask(lossy.URL)
	_, id, named := strings.Cut(stderr, "--action-id ")
	if code != exitNo || stdout != "" || !named || !strings.Contains(stderr, "whether it was done is not known") {
		t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
	}
	id, _, _ = strings.Cut(id, ".")
	for range 2 {
		code, stdout, stderr = ask(g.URL, "--action-id", id)
		if code != exitNo || !strings.Contains(stdout, "log row      1\n") || !strings.Contains(stdout, id) {
			t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
		}
	}
}
