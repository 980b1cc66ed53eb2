package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/rollout/rollouttest"
	"github.com/tiergate/tiergate/store/storetest"
)

// bundleFile writes a revised bundle's archive and returns its hash, too.
func bundleFile(t *testing.T, revision string, edits ...string) (path, hash string) {
	t.Helper()
	b := rollouttest.Revised(t, revision, edits...)
	path = filepath.Join(t.TempDir(), revision+".tar.gz")
	if err := os.WriteFile(path, rollouttest.Pack(t, b), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, b.Hash
}

func upload(t *testing.T, g *binarytest.Gate, want int, path string) (body []byte) {
	t.Helper()
	archive, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	status, body, err := g.Upload(archive, "dev", "a test")
	if err != nil || status != want {
		t.Fatalf("upload %s: %d %s %v, want %d", path, status, body, err, want)
	}
	return body
}

func move(t *testing.T, g *binarytest.Gate, want int, hash, action string) (body []byte) {
	t.Helper()
	status, body, err := g.Do("POST", "/bundles/"+hash+"/"+action, "dev", "", `{"reason":"a test"}`)
	if err != nil || status != want {
		t.Fatalf("%s: %d %s %v, want %d\n%s", action, status, body, err, want, g.Stderr())
	}
	return body
}

// decidedBy asks until there is an answer, and returns the bundle of it.
func decidedBy(t *testing.T, g *binarytest.Gate) string {
	t.Helper()
	var a struct {
		Policy struct {
			BundleHash string `json:"bundle_hash"`
		}
	}
	for try := 0; ; try++ {
		status, body, err := g.Do("POST", "/decisions", "dev", "", `{"action_type":"search_siem","target":"index:x"}`)
		if err == nil && status == http.StatusServiceUnavailable && try < 10 {
			continue
		}
		if err != nil || status != http.StatusOK || json.Unmarshal(body, &a) != nil {
			t.Fatalf("%d %s %v", status, body, err)
		}
		return a.Policy.BundleHash
	}
}

// The database's bundle decides after a restart, whatever is brought along.
func TestTheDatabasesBundleWins(t *testing.T) {
	onEach(t, func(t *testing.T, url string, _ func() *sql.DB) {
		first, firstHash := bundleFile(t, "1.1.2")
		second, secondHash := bundleFile(t, "1.2.0")
		g := binarytest.Serve(t, "--dev", "--database-url", url, "--bundle", first)
		if got := decidedBy(t, g); got != firstHash {
			t.Errorf("seeded: decided by %s", got)
		}
		g.Kill()
		g = binarytest.Serve(t, "--dev", "--database-url", url)
		if got := decidedBy(t, g); got != firstHash {
			t.Errorf("restarted without --bundle: decided by %s", got)
		}
		g.Kill()
		g = binarytest.Serve(t, "--dev", "--database-url", url, "--bundle", second)
		if got := decidedBy(t, g); got != firstHash {
			t.Errorf("restarted with another --bundle: decided by %s", got)
		}
		if text := g.Stderr(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, firstHash) || !strings.Contains(text, "/bundles/"+secondHash+"/activate") {
			t.Errorf("the warning does not name both bundles and what to do:\n%s", text)
		}
		move(t, g, http.StatusOK, secondHash, "activate")
		if got := decidedBy(t, g); got != secondHash {
			t.Errorf("activated: decided by %s", got)
		}
		g.Kill()
		storetest.CheckLog(t, url, nil)
	})
}

func TestVerificationKey(t *testing.T) {
	dir := t.TempDir()
	tool := func(args ...string) {
		t.Helper()
		cmd := exec.Command(binarytest.Path(t), append([]string{"bundle"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("bundle %v: %v\n%s", args, err, out)
		}
	}
	refuses := func(want int, text string, args ...string) {
		t.Helper()
		out, err := exec.Command(binarytest.Path(t), append([]string{"serve", "--dev", "--addr", "127.0.0.1:0"}, args...)...).CombinedOutput()
		exit, _ := err.(*exec.ExitError)
		if exit == nil || exit.ExitCode() != want || !strings.Contains(string(out), text) {
			t.Errorf("serve %v: %v, want exit %d and %q\n%s", args, err, want, text, out)
		}
	}
	unsigned, hash := bundleFile(t, "1.1.2")
	for _, name := range []string{"old", "new"} {
		tool("keygen", "--output", name)
		tool("sign", "--signing-key", name+".key.pem", "--scope", "production", "-o", name+".tar.gz", unsigned)
	}
	tool("sign", "--signing-key", "old.key.pem", "--scope", "staging", "-o", "staging.tar.gz", unsigned)
	in := func(name string) string { return filepath.Join(dir, name) }
	with := func(key string) []string {
		return []string{"--verification-key", in(key + ".pub.pem"), "--scope", "production"}
	}
	url := storetest.Postgres(t)
	args := append([]string{"--database-url", url}, with("old")...)
	refuses(2, "signature", append(args, "--bundle", unsigned)...)
	refuses(2, "signature", append(args, "--bundle", in("new.tar.gz"))...)
	refuses(2, "signature", append(args, "--bundle", in("staging.tar.gz"))...)
	refuses(2, "archive", append(args, "--bundle", "../../policies")...)
	refuses(2, "verification-key", "--database-url", url, "--verification-key", in("none.pem"))

	serve := func(more ...string) *binarytest.Gate {
		return binarytest.Serve(t, append([]string{"--dev"}, more...)...)
	}
	g := serve(args...) // the built-in bundle seeds: it is trusted by its hash
	builtin := decidedBy(t, g)
	for _, bad := range []string{unsigned, in("new.tar.gz"), in("staging.tar.gz")} {
		if body := upload(t, g, http.StatusBadRequest, bad); !bytes.Contains(body, []byte("bad_bundle")) || !bytes.Contains(body, []byte("signature")) {
			t.Errorf("%s: %s", bad, body)
		}
	}
	if got := decidedBy(t, g); got != builtin {
		t.Errorf("decided by %s", got)
	}
	upload(t, g, http.StatusCreated, in("old.tar.gz"))
	move(t, g, http.StatusOK, hash, "activate")
	if got := decidedBy(t, g); got != hash {
		t.Errorf("decided by %s", got)
	}
	g.Kill()

	// The key changes: what decides must be brought along, signed anew.
	changed := append([]string{"--database-url", url}, with("new")...)
	refuses(1, hash, changed...)
	g = serve(append(changed, "--bundle", in("new.tar.gz"))...)
	if got := decidedBy(t, g); got != hash {
		t.Errorf("decided by %s", got)
	}
	g = serve(changed...) // the others find it in the database
	if got := decidedBy(t, g); got != hash {
		t.Errorf("decided by %s", got)
	}
	storetest.CheckLog(t, url, nil)
}

// Two gates on one PostgreSQL: what one activates decides on the other as soon
// as the activation was answered.
func TestTwoGatesFollowAnActivation(t *testing.T) {
	url := storetest.Postgres(t)
	gates := []*binarytest.Gate{binarytest.Serve(t, "--dev", "--database-url", url), binarytest.Serve(t, "--dev", "--database-url", url)}
	first := decidedBy(t, gates[1])
	path, second := bundleFile(t, "1.1.2", rollouttest.Cautious...)
	upload(t, gates[0], http.StatusCreated, path)
	stop := make(chan struct{})
	loaded := make(chan []answered)
	for _, g := range gates {
		go func() { got, _ := load(g, 4, stop); loaded <- got }()
	}
	for i := range 8 {
		hash, action := second, "rollback"
		if i == 0 {
			action = "activate"
		} else if i%2 == 1 {
			hash = first
		}
		move(t, gates[i%2], http.StatusOK, hash, action)
		for k := range 4 {
			if got := decidedBy(t, gates[k%2]); got != hash {
				t.Errorf("round %d: %s decided after %s was activated", i, got, hash)
			}
		}
	}
	close(stop)
	answers := append(<-loaded, <-loaded...)
	storetest.CheckLog(t, url, nil)
	proveLog(t, openDB(t, "postgres", url), answers)
	t.Logf("%d answers while the policy changed 8 times", len(answers))
}

// kill -9 while bundles are activated under load: afterwards one of them is
// active, wholly, and every row is by the bundle of its epoch.
func TestKillDuringActivationSoak(t *testing.T) {
	onEach(t, func(t *testing.T, url string, open func() *sql.DB) {
		path, second := bundleFile(t, "1.1.2")
		g := binarytest.Serve(t, "--dev", "--database-url", url)
		first := decidedBy(t, g)
		upload(t, g, http.StatusCreated, path)
		move(t, g, http.StatusOK, second, "activate")
		var answers []answered
		moved := 0
		// A busy machine may need more rounds until one change comes before the kill.
		for round, more := 0, rounds(5); more() || moved == 0 && round < 40; round++ {
			if round > 0 {
				g = binarytest.Serve(t, "--dev", "--database-url", url)
			}
			stop := make(chan struct{})
			time.AfterFunc(time.Duration(100+round%7*13)*time.Millisecond, func() { g.Kill(); close(stop) })
			moves := make(chan int)
			go func() {
				n := 0
				for i := 0; ; i++ {
					status, _, err := g.Do("POST", "/bundles/"+[]string{first, second}[i%2]+"/rollback", "dev", "", `{"reason":"crash test"}`)
					if err != nil {
						break
					}
					if status == http.StatusOK {
						n++
					}
				}
				moves <- n
			}()
			got, _ := load(g, 8, stop)
			answers, moved = append(answers, got...), moved+<-moves
			storetest.CheckLog(t, url, nil)
			db := open()
			proveLog(t, db, answers)
			db.Close()
		}
		if moved == 0 || len(answers) == 0 {
			t.Errorf("%d moves, %d answers: nothing was tried", moved, len(answers))
		}
		g = binarytest.Serve(t, "--dev", "--database-url", url)
		if got := decidedBy(t, g); got != first && got != second {
			t.Errorf("%s is active", got)
		}
		t.Logf("%d answers, %d changes of policy", len(answers), moved)
	})
}

// What is no bundle seeds nothing.
func TestSeedThatCannotDecide(t *testing.T) {
	path, _ := bundleFile(t, "1.0.0", rollouttest.Broken...)
	url := storetest.SQLite(t)
	out, err := exec.Command(binarytest.Path(t), "serve", "--dev", "--addr", "127.0.0.1:0", "--database-url", url, "--bundle", path).CombinedOutput()
	exit, _ := err.(*exec.ExitError)
	if exit == nil || exit.ExitCode() != exitUsage || !strings.Contains(string(out), path) {
		t.Errorf("%v\n%s", err, out)
	}
	g := binarytest.Serve(t, "--dev", "--database-url", url)
	if status, body, err := g.Do("GET", "/bundles", "dev", "", ""); err != nil || status != http.StatusOK || strings.Count(string(body), `"revision"`) != 1 {
		t.Errorf("%d %s %v", status, body, err)
	}
}
