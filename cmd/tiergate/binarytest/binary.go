// Package binarytest gives tests the real thing: the tiergate binary, built
// once per test binary, run as a process of its own.
package binarytest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var built struct {
	once sync.Once
	path string
	err  error
}

// Path builds the binary, the first time, and returns where it is.
func Path(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		dir, err := os.MkdirTemp("", "tiergate-bin-")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "tiergate")
		out, err := exec.Command("go", "build", "-o", built.path, "github.com/tiergate/tiergate/cmd/tiergate").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// Remove deletes what Path built; for TestMain.
func Remove() {
	if built.path != "" {
		os.RemoveAll(filepath.Dir(built.path))
	}
}

// Gate is a running `tiergate serve`.
type Gate struct {
	URL    string // http://127.0.0.1:port
	cmd    *exec.Cmd
	stderr *lockedBuffer
	exited chan struct{}
}

// Serve starts `tiergate serve` on a free loopback port with more arguments and
// waits until it says that it listens. It is killed with the test.
func Serve(t testing.TB, args ...string) *Gate {
	t.Helper()
	g, err := start(Path(t), args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	return g
}

func start(binary string, args []string) (*Gate, error) {
	g := &Gate{stderr: &lockedBuffer{}, exited: make(chan struct{})}
	g.cmd = exec.Command(binary, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := g.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(io.TeeReader(pipe, g.stderr))
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
				ready <- url
			}
		}
		g.cmd.Wait()
		close(g.exited)
	}()
	select {
	case g.URL = <-ready:
		return g, nil
	case <-g.exited:
		return nil, fmt.Errorf("serve ended at once:\n%s", g.stderr)
	case <-time.After(20 * time.Second):
		g.Kill()
		return nil, fmt.Errorf("serve is not ready after 20 s:\n%s", g.stderr)
	}
}

// Kill ends the process as kill -9 does.
func (g *Gate) Kill() { g.cmd.Process.Kill(); <-g.exited }

// Signal sends a signal.
func (g *Gate) Signal(s os.Signal) error { return g.cmd.Process.Signal(s) }

// PID is the process's id.
func (g *Gate) PID() int { return g.cmd.Process.Pid }

// Wait waits until the process has ended and returns its exit code.
func (g *Gate) Wait() int { <-g.exited; return g.cmd.ProcessState.ExitCode() }

// Stderr is what the process has written to stderr so far.
func (g *Gate) Stderr() string { return g.stderr.String() }

// Tokens writes a token file. Each entry is "token name tenant roles".
func Tokens(t testing.TB, entries ...string) (path string) {
	t.Helper()
	var b strings.Builder
	for _, e := range entries {
		token, rest, _ := strings.Cut(e, " ")
		fmt.Fprintf(&b, "%x %s\n", sha256.Sum256([]byte(token)), rest)
	}
	path = filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Do makes a request; path is below the API's base unless it begins with "//".
// It returns the status and body, or an error of the transport.
func (g *Gate) Do(method, path, token, tenant, body string) (int, []byte, error) {
	url := g.URL + "/api/v1/remediation" + path
	if root, ok := strings.CutPrefix(path, "//"); ok {
		url = g.URL + "/" + root
	}
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, url, content)
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if tenant != "" {
		req.Header.Set("X-Tenant-ID", tenant)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

var client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
