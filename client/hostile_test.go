package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func fake(t *testing.T, answer http.HandlerFunc, o Options) *Client {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	o.URL = s.URL
	return newClient(t, o)
}

func says(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// A redirect is never followed: not to another host, not to another port, not
// to the same one, whatever the method.
func TestRedirects(t *testing.T) {
	var got atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		for _, to := range []string{elsewhere.URL, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), "/api/v1/remediation/config"} {
			var asked atomic.Int32
			c := fake(t, func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.Header().Set("Location", to)
				w.WriteHeader(status)
			}, Options{})
			_, read := c.Config(t.Context())
			_, write := c.SetTier(t.Context(), 4, "x", "")
			for _, err := range []error{read, write} {
				if !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), "sends on to") {
					t.Errorf("%d to %s: %v", status, to, err)
				}
			}
			if asked.Load() != 2 || got.Load() != 0 {
				t.Fatalf("%d to %s: %d requests here and %d there", status, to, asked.Load(), got.Load())
			}
		}
	}
}

// No error repeats the token, although the server does.
func TestTokenInNoError(t *testing.T) {
	echo := func(kind, body string) http.HandlerFunc { return says(http.StatusBadRequest, kind, body) }
	for name, answer := range map[string]http.HandlerFunc{
		"title":        echo("application/problem+json", `{"title":"`+secret+`"}`),
		"type":         echo("application/problem+json", `{"type":"x/`+secret+`"}`),
		"detail":       echo("application/problem+json", `{"detail":"you sent Bearer `+secret+`"}`),
		"field":        echo("application/problem+json", `{"errors":[{"field":"`+secret+`","detail":"`+secret+`"}]}`),
		"bad problem":  echo("application/problem+json", `{"`+secret+`":1,"`+secret+`":2}`),
		"content type": echo("text/"+secret, "x"),
		"bad JSON":     says(200, "application/json", `{"`+secret+`":1,"`+secret+`":2}`),
		"bad decision": says(200, "application/json", `{"decision":"`+secret+`"}`),
		"redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://"+secret+".example")
			w.WriteHeader(302)
		},
		"no HTTP": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				fmt.Fprintf(conn, "%s\r\n\r\n", secret)
				conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := fake(t, answer, Options{})
			_, err := c.Decide(t.Context(), Question{ActionType: "block_ip", Target: "x"})
			if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What is too large, too slow or without end is an error, and soon.
func TestBounds(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request, status int, kind string) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 64<<10)); err != nil {
				return
			}
		}
	}
	var bomb bytes.Buffer // 16 KiB here and 16 MiB there
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 16<<20))
	z.Close()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"an endless answer":  {func(w http.ResponseWriter, r *http.Request) { endless(w, r, 200, "application/json") }, "larger than"},
		"an endless problem": {func(w http.ResponseWriter, r *http.Request) { endless(w, r, 400, "application/problem+json") }, "larger than"},
		"an endless error":   {func(w http.ResponseWriter, r *http.Request) { endless(w, r, 502, "text/html") }, "larger than"},
		"large headers": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 10<<10))
			}
		}, "header"},
		"a bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		}, "cannot be read"},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }, "no answer within 500ms"},
		"a drop at a time": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				w.Write([]byte(" "))
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, "no answer within 500ms"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"tenant_id":"a"`)
		}, "ended before the answer"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake(t, c.answer, Options{MaxBytes: 1 << 20, Timeout: 500 * time.Millisecond})
			start := time.Now()
			_, err := client.Config(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

const goodDecision = `"decision_id":"d","action_id":"a","rule":"tier_allows","decided_at":"2026-11-23T08:00:00.000Z"`

// Only a whole answer, spelled as the API spells it, lets an action run.
func TestOnlyAutoIsAuto(t *testing.T) {
	for body, taken := range map[string]bool{
		`{"decision":"auto","log_seq":1,` + goodDecision + `}`:                      true,
		`{"decision":"auto","log_seq":1,"more":[1],` + goodDecision + `}`:           true,
		`{"decision":"auto",` + goodDecision + `}`:                                  false, // no row
		`{"decision":"Auto","log_seq":1,` + goodDecision + `}`:                      false,
		`{"Decision":"auto","log_seq":1,` + goodDecision + `}`:                      false,
		`{"decision":"blocked","decision":"auto","log_seq":1,` + goodDecision + `}`: false,
		`{"decision":"auto","log_seq":1}`:                                           false,
		`{"decision":"auto","log_seq":1,` + goodDecision + `} {}`:                   false,
		`{"decision":"auto","log_seq":1,"x":"` + "\xff" + `",` + goodDecision + `}`: false,
		`"auto"`: false,
		`null`:   false,
		``:       false,
	} {
		c := fake(t, says(200, "application/json", body), Options{})
		a, err := c.Decide(t.Context(), Question{ActionID: "a", ActionType: "block_ip", Target: "x"})
		if taken != (err == nil) || taken != (a.Value.Decision == Auto) {
			t.Errorf("%s: %q %v", body, a.Value.Decision, err)
		}
		if err != nil && !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v", body, err)
		}
	}
	good := `{"decision":"auto","log_seq":1,` + goodDecision + `}`
	for name, c := range map[string]*Client{
		"another action": fake(t, says(200, "application/json", strings.Replace(good, `"a"`, `"b"`, 1)), Options{}),
		"a page":         fake(t, says(200, "text/html", good), Options{}),
		"accepted":       fake(t, says(202, "application/json", good), Options{}),
		"nothing":        fake(t, says(204, "application/json", ""), Options{}),
	} {
		if a, err := c.Decide(t.Context(), Question{ActionID: "a"}); !errors.Is(err, ErrAnswer) || a.Value.Decision != "" {
			t.Errorf("%s: %q %v", name, a.Value.Decision, err)
		}
	}
}

// A configuration that lacks what it is about is none: {} is not L0 and running.
func TestNoHalfAnswers(t *testing.T) {
	for _, body := range []string{`{}`, `{"tenant_id":"a"}`, `{"tenant_id":"a","tier_label":"L0","maturity_tier":0}`,
		`{"tenant_id":"a","tier_label":"L9","maturity_tier":9,"stopped":false}`, `{"entries":null}`, `{"entries":[{}]}`, `{"matrix":[{"action_type":"x"}]}`} {
		c := fake(t, says(200, "application/json", body), Options{})
		ctx := t.Context()
		_, config := c.Config(ctx)
		_, tier := c.SetTier(ctx, 1, "x", "")
		_, whitelist := c.Whitelist(ctx, "", 0, "")
		_, added := c.AddWhitelist(ctx, WhitelistAddition{})
		_, log := c.Log(ctx, LogQuery{})
		_, actions := c.Actions(ctx)
		_, matrix := c.Matrix(ctx)
		for _, err := range []error{config, tier, whitelist, added, log, actions, matrix, c.DeleteWhitelist(ctx, "x", "x")} {
			if !errors.Is(err, ErrAnswer) {
				t.Errorf("%s is taken: %v", body, err)
			}
		}
	}
}

// Whether a change was made is said to be unknown exactly where it is.
func TestUnknownOutcome(t *testing.T) {
	cut := fake(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}, Options{})
	_, read := cut.Config(t.Context())
	_, write := cut.Stop(t.Context(), "x")
	_, preview := cut.Preview(t.Context(), WhatIf{})
	nobody := newClient(t, Options{URL: "http://127.0.0.1:1"})
	_, refused := nobody.Stop(t.Context(), "x")
	for name, c := range map[string]struct {
		err     error
		unknown bool
	}{"a read": {read, false}, "a preview": {preview, false}, "a change": {write, true}, "a change that was never sent": {refused, false}} {
		var u *Unreachable
		if !errors.As(c.err, &u) || u.Unknown != c.unknown || strings.Contains(c.err.Error(), "not known") != c.unknown {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	// A person who interrupts a change may be too late.
	ctx, cancel := context.WithCancel(t.Context())
	slow := fake(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}, Options{})
	if _, err := slow.Stop(ctx, "x"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "interrupted; whether it was done is not known") {
		t.Errorf("an interrupted change: %v", err)
	}
	if _, err := slow.Config(ctx); err == nil || err.Error() != context.Canceled.Error() && !strings.HasSuffix(err.Error(), "context canceled") {
		t.Errorf("an interrupted read: %v", err)
	}
}

// A problem is one line: what, where; hostile text does nothing, and its status
// is the one of HTTP.
func TestProblem(t *testing.T) {
	for body, want := range map[string]string{
		`{"type":"https://tiergate.dev/problems/bad_request","title":"The request is not valid","status":200,"detail":"x","errors":[{"field":"target","detail":"is required"},{"field":"","detail":"and more"}]}`: "The request is not valid (400 bad_request): target: is required; and more",
		`{"type":"not_found","title":"Nothing is here","detail":"a\nb\u001b[2J"}`: `Nothing is here (400 not_found): a\u{a}b\u{1b}[2J`,
		`{}`: " (400 ): ",
		`{"errors":[` + strings.TrimSuffix(strings.Repeat(`{"field":"f","detail":"d"},`, 5000), ",") + `]}`: " (400 ): " + strings.Repeat("f: d; ", 20) + "and 4980 more",
	} {
		c := fake(t, says(400, "application/problem+json; charset=utf-8", body), Options{})
		_, err := c.Config(t.Context())
		var p *Problem
		if !errors.As(err, &p) || err.Error() != want || p.Status != 400 {
			t.Errorf("%.100s gives %.200q, want %.200q", body, err, want)
		}
	}
}
