package notary

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/store/storetest"
)

// What cannot be written outside is told, tried again, and is in nobody's way.
func TestFolderThatFails(t *testing.T) {
	s, dir := storetest.Open(t, storetest.SQLite(t)), t.TempDir()
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	n := newNotary(t, Options{Log: s, Signer: newSigner(t), Folder: openFolder(t, dir), Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: registry})
	inTheWay := filepath.Join(dir, "acme")
	if err := os.WriteFile(inTheWay, nil, 0o644); err != nil { // where the tenant's folder is to be
		t.Fatal(err)
	}
	add(t, s, "acme")
	add(t, s, "globex")
	if err := n.Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := n.outlets[0]
	for range 2 {
		if err := o.drain(t.Context()); err == nil {
			t.Fatal("writing below a file succeeded")
		}
	}
	newest(t, s, dir, "globex", n.Keys())
	if n.Failing() == "" || gauge(t, registry, "tiergate_checkpoints_waiting") != 1 || gauge(t, registry, "tiergate_checkpoint_failures_total") != 2 {
		t.Errorf("failing %q, metrics %v %v", n.Failing(), gauge(t, registry, "tiergate_checkpoints_waiting"), gauge(t, registry, "tiergate_checkpoint_failures_total"))
	}
	if strings.Count(log.String(), "do not arrive outside") != 1 || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("the log: %s", &log)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	turn(t, n)
	newest(t, s, dir, "acme", n.Keys())
	if n.Failing() != "" || gauge(t, registry, "tiergate_checkpoints_waiting") != 0 || !strings.Contains(log.String(), "arrive outside again") {
		t.Errorf("afterwards: %q %s", n.Failing(), &log)
	}
}

// A tenant's name never leads out of the folder, and a link in it neither.
func TestFolderStaysInside(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	f := openFolder(t, dir)
	for _, tenant := range []string{"", ".", "..", "../x", "a/b", "/etc", ".hidden", "A", "a\x00"} {
		if err := f.write(t.Context(), tenant, []byte("x\n")); err == nil {
			t.Errorf("wrote for tenant %q", tenant)
		}
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "acme")); err != nil {
		t.Fatal(err)
	}
	if err := f.write(t.Context(), "acme", []byte("x\n")); err == nil {
		t.Error("wrote through a link that leads out")
	}
	if left, _ := os.ReadDir(elsewhere); len(left) > 0 {
		t.Errorf("something was written outside: %v", left)
	}
}

func TestPush(t *testing.T) {
	var mu sync.Mutex
	var got []string
	status := http.StatusServiceUnavailable
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Method+" "+r.URL.String()+" "+r.Header.Get("Content-Type")+" "+user+":"+password+"\n"+string(body))
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(status)
	}))
	defer receiver.Close()
	p, err := NewPush(strings.Replace(receiver.URL, "://", "://gate:s3cret@", 1) + "/in?token=t0ken")
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, storetest.SQLite(t))
	var log bytes.Buffer
	n := newNotary(t, Options{Log: s, Signer: newSigner(t), Push: p, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	o := n.outlets[0]
	for _, code := range []int{http.StatusServiceUnavailable, http.StatusFound, http.StatusOK} {
		mu.Lock()
		status = code
		mu.Unlock()
		add(t, s, "acme")
		if err := n.Turn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := o.drain(t.Context()); (err == nil) != (code == 200) {
			t.Errorf("%d: %v", code, err)
		}
	}
	point, err := s.Checkpoint(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if want := "POST /in?token=t0ken text/plain; charset=utf-8 gate:s3cret\n" + string(point.Note); len(got) != 3 || got[2] != want || o.waiting() != 0 {
		t.Errorf("%q, want at last %q", got, want)
	}
	receiver.Close()
	add(t, s, "acme")
	if err := n.Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.drain(t.Context()); err == nil {
		t.Error("nobody listens, and it arrived")
	}
	if text := log.String(); strings.Contains(text, "s3cret") || strings.Contains(text, "t0ken") || !strings.Contains(text, "503") {
		t.Errorf("the log: %s", text)
	}
	for _, bad := range []string{"", "x", "ftp://a/b", "https://", "http://gate:s3cret@h/%zz", "https://a/#b"} {
		if _, err := NewPush(bad); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A receiver that never answers does not keep a gate from ending.
func TestEndsThoughNobodyAnswers(t *testing.T) {
	block := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-block }))
	defer receiver.Close()
	defer close(block)
	p, err := NewPush(receiver.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, storetest.SQLite(t))
	add(t, s, "acme")
	n := newNotary(t, Options{Log: s, Signer: newSigner(t), Push: p})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.Run(ctx) }()
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	cancel()
	<-done
	if took := time.Since(began); took > lastPatience+2*time.Second {
		t.Errorf("it took %v to end", took)
	}
}
