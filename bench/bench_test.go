package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The load generator counts what the server answered, sends what it was given
// and does not take an error for an answer.
func TestDrive(t *testing.T) {
	var answered atomic.Int64
	status := http.StatusOK
	v := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != `{"a":1}` || r.Header.Get("X-Tenant-ID") != "acme" {
			t.Errorf("asked %q with %v (%v)", body, r.Header, err)
		}
		answered.Add(1)
		w.WriteHeader(status)
		io.WriteString(w, "yes")
	}))
	defer v.Close()
	addr := strings.TrimPrefix(v.URL, "http://")
	requests := [][]byte{httpRequest("/x", []byte(`{"a":1}`), "X-Tenant-ID: acme")}
	l, err := drive(t.Context(), addr, requests, 3, 50*time.Millisecond)
	if n := answered.Load(); err != nil || l.rate <= 0 || l.rate*0.05 > float64(n) || l.p50 <= 0 || l.p99 < l.p50 {
		t.Fatalf("%+v of %d answers (%v)", l, n, err)
	}
	if body, err := askOnce(addr, requests[0]); err != nil || string(body) != "yes" {
		t.Fatalf("%q (%v)", body, err)
	}
	status = http.StatusServiceUnavailable
	if l, err := drive(t.Context(), addr, requests, 3, 50*time.Millisecond); err == nil {
		t.Fatalf("%+v of a server that answers 503", l)
	}
}

// The corpus can be put to the API: every document has a tenant, and every
// request names one.
func TestTenants(t *testing.T) {
	all, requests, err := tenants(corpus())
	if err != nil || len(requests) != len(corpus()) {
		t.Fatalf("%d requests (%v)", len(requests), err)
	}
	if w := all["whitelist"]; w == nil || len(w.whitelist) == 0 {
		t.Fatal("no whitelist")
	}
	for _, r := range requests {
		_, rest, _ := bytes.Cut(r, []byte("X-Tenant-ID: "))
		if name, _, _ := bytes.Cut(rest, []byte("\r\n")); all[string(name)] == nil {
			t.Fatalf("no tenant %q", name)
		}
	}
}

func TestScratch(t *testing.T) {
	cleaned := ""
	err := withScratch(t.Context(), func(s *scratch) error {
		s.Cleanup(func() { cleaned += "a" })
		s.Cleanup(func() { cleaned += "b" })
		s.Fatalf("no %s", "database")
		return nil
	})
	if err == nil || err.Error() != "no database" || cleaned != "ba" {
		t.Fatalf("%v, cleaned %q", err, cleaned)
	}
	if err := withScratch(t.Context(), func(*scratch) error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestTable(t *testing.T) {
	made := table{title: "Speed", header: []string{"", "p50"}, rows: [][]string{{"ours", micros(1500)}, {"théirs", micros(150_000)}}}
	made.goal(false, "faster")
	made.note("on one core")
	for markdown, want := range map[bool]string{
		false: "Speed\n\n            p50\n------  -------\nours    1.50 µs\nthéirs   150 µs\n\n  MISSED: faster\n  on one core\n\n",
		true:  "### Speed\n\n|        |     p50 |\n| ------ | ------: |\n| ours   | 1.50 µs |\n| théirs |  150 µs |\n\n- MISSED: faster\n- on one core\n\n",
	} {
		var b strings.Builder
		if made.print(&b, markdown); b.String() != want {
			t.Errorf("got\n%s\nwant\n%s", b.String(), want)
		}
	}
}
