package tiergate_test

import (
	"bufio"
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/store/storetest"
)

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// The tour of the README runs as it is written, against `make run`.
func TestReadmeTour(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tour, ok := strings.Cut(string(readme), "<!-- tour: begin -->")
	tour, _, ok2 := strings.Cut(tour, "<!-- tour: end -->")
	if !ok || !ok2 {
		t.Fatal("README.md has no tour between its markers")
	}
	var script strings.Builder
	script.WriteString("set -eu\nset -o pipefail\n")
	for _, m := range shellBlock.FindAllStringSubmatch(tour, -1) {
		script.WriteString(m[1])
	}
	dir := checkout(t)
	url := makeRun(t, dir)
	text := strings.ReplaceAll(script.String(), "http://127.0.0.1:8080", url)
	cmd := exec.Command("bash", "-c", text)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the tour fails: %v\n%s", err, out)
	}
	for _, want := range []string{
		`"rule":"tier_requires_approval"`, `"rule":"tier_allows"`, `"rule":"approval_override"`, `"rule":"whitelist_match"`, `"rule":"no_whitelist_match"`,
		`"stopped":true`, `"auto_when"`, `"kind":"stop"`, `"rule": "no_whitelist_match"`, `"bundle_hash": "sha256:`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the tour does not show %s:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "problems/") {
		t.Errorf("something in the tour was refused:\n%s", out)
	}
}

// checkout copies what git tracks, so that the tour leaves nothing here.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("bash", "-c", `git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$0"`, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy the tree: %v\n%s", err, out)
	}
	return dir
}

// makeRun starts `make run` on a free port and waits until it listens.
func makeRun(t *testing.T, dir string) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "make", "run", "ADDR=127.0.0.1:0")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		for s := bufio.NewScanner(pipe); s.Scan(); {
			select {
			case lines <- s.Text():
			default:
			}
		}
		close(lines)
	}()
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if _, err := os.Stat(filepath.Join(dir, "tiergate.db")); err != nil {
			t.Errorf("make run kept no log: %v", err)
		}
	})
	var all []string
	for timeout := time.After(5 * time.Minute); ; {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("make run ended:\n%s", strings.Join(all, "\n"))
			}
			all = append(all, line)
			if url, ok := strings.CutPrefix(line, "listening on "); ok {
				return url
			}
		case <-timeout:
			t.Fatalf("make run does not listen:\n%s", strings.Join(all, "\n"))
		}
	}
}

// The PostgreSQL commands of the README work in their order, on a real server:
// a database of its own stands in for db.example.
func TestReadmePostgres(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```\n(psql postgres://owner.*?)```").FindStringSubmatch(string(readme))
	if block == nil {
		t.Fatal("README.md has no PostgreSQL commands")
	}
	cluster := storetest.NewCluster(t)
	owner, err := url.Parse(cluster.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	gate := *owner
	gate.User = url.UserPassword("gate", "gate")
	tokens := binarytest.Tokens(t, "foo soar acme agent")
	for line := range strings.Lines(block[1]) {
		line = strings.NewReplacer(
			"postgres://owner@db.example/gate", "'"+owner.String()+"'", "postgres://gate@db.example/gate", "'"+gate.String()+"'",
			"CREATE ROLE gate LOGIN", "CREATE ROLE gate LOGIN PASSWORD 'gate'", "/etc/tiergate/tokens", tokens).Replace(line)
		line = strings.Replace(line, "-c 'CREATE ROLE gate LOGIN PASSWORD 'gate''", `-c "CREATE ROLE gate LOGIN PASSWORD 'gate'"`, 1)
		if args, isServe := strings.CutPrefix(line, "tiergate serve "); isServe {
			fields := strings.Fields(strings.ReplaceAll(args, "'", ""))
			g := binarytest.Serve(t, fields...)
			if status, body, err := g.Do("POST", "/decisions", "foo", "", `{"action_type":"search_siem","target":"index:x"}`); err != nil || status != 200 {
				t.Errorf("%d %s %v", status, body, err)
			}
			if strings.Contains(g.Stderr(), "level=WARN") {
				t.Errorf("a member of tiergate_writer is warned about:\n%s", g.Stderr())
			}
			continue
		}
		line = strings.Replace(line, "tiergate migrate", binarytest.Path(t)+" migrate", 1)
		if out, err := exec.Command("bash", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	binarytest.Remove()
	os.RemoveAll(stock.dir)
	os.Exit(code)
}
