package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/store/storetest"
)

// keygen makes a key with the binary and returns the files of both halves.
func keygen(t *testing.T, name string) (signer, verifier string) {
	t.Helper()
	dir := t.TempDir()
	signer, verifier = filepath.Join(dir, "key"), filepath.Join(dir, "key.pub")
	out, err := exec.Command(binarytest.Path(t), "keygen", "--name", name, "-o", signer).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(verifier, out, 0o644); err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

// askBlockIP asks for a MEDIUM action and returns decision and rule.
func askBlockIP(t *testing.T, g *binarytest.Gate, tenant string) string {
	t.Helper()
	status, body, err := g.Do("POST", "/decisions", "dev", tenant, `{"action_type":"block_ip","target":"203.0.113.9"}`)
	var a struct{ Decision, Rule string }
	if err != nil || status != 200 || json.Unmarshal(body, &a) != nil {
		t.Fatalf("ask: %d %s %v", status, body, err)
	}
	return a.Decision + " " + a.Rule
}

func call(t *testing.T, g *binarytest.Gate, method, path, tenant, body string) string {
	t.Helper()
	status, answer, err := g.Do(method, path, "dev", tenant, body)
	if err != nil || status/100 != 2 {
		t.Fatalf("%s %s: %d %s %v\n%s", method, path, status, answer, err, g.Stderr())
	}
	return string(answer)
}

func end(t *testing.T, g *binarytest.Gate) {
	t.Helper()
	if err := g.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := g.Wait(); code != 0 {
		t.Fatalf("serve ended with %d\n%s", code, g.Stderr())
	}
}

// An old copy of the database is put back, as after a crash or to make rows
// vanish. The gate notices at start, and nothing of that tenant is auto until an
// operator has released it.
func TestRestoredBackup(t *testing.T) {
	for name, url := range map[string]string{"postgres": storetest.Postgres(t), "sqlite": storetest.SQLite(t)} {
		t.Run(name, func(t *testing.T) {
			key, pub := keygen(t, "gate.example")
			dir := filepath.Join(t.TempDir(), "outside")
			latest := func(tenant string) []byte {
				text, err := os.ReadFile(filepath.Join(dir, tenant, "latest"))
				if err != nil {
					t.Fatal(err)
				}
				return text
			}
			serve := func(url string) *binarytest.Gate {
				return binarytest.Serve(t, "--dev", "--database-url", url, "--signing-key", key, "--checkpoint-dir", dir)
			}
			g := serve(url)
			for _, tenant := range []string{"acme", "globex"} {
				call(t, g, "PUT", "/config", tenant, `{"maturity_tier":3,"reason":"the pilot went well"}`)
			}
			askBlockIP(t, g, "acme")
			askBlockIP(t, g, "globex")
			end(t, g)
			backup := storetest.Copy(t, url)

			g = serve(url)
			if got := askBlockIP(t, g, "acme"); got != "auto tier_allows" {
				t.Fatal(got)
			}
			end(t, g)
			lost := latest("acme")
			lostFile := filepath.Join(t.TempDir(), "lost")
			if err := os.WriteFile(lostFile, lost, 0o644); err != nil {
				t.Fatal(err)
			}
			if code, out := runVerify(t, "--database-url", url, "--checkpoint", lostFile, "--key", pub); code != 0 || !strings.HasPrefix(out, "acme: ") || strings.Contains(out, "globex") {
				t.Errorf("verify the log as it was: %d %s", code, out)
			}
			if code, out := runVerify(t, "--database-url", backup, "--checkpoint", lostFile, "--key", pub); code != exitIncomplete || !strings.Contains(out, "its end is missing") {
				t.Errorf("verify the backup: %d %s", code, out)
			}

			held := func(want string) {
				t.Helper()
				if got := call(t, g, "GET", "//readyz", "", ""); !strings.Contains(got, `"ready":true`) || !strings.Contains(got, `"tenants_held":`+want) {
					t.Errorf("readyz: %s", got)
				}
			}
			for range 2 { // a second start changes nothing
				g = serve(backup)
				if got := askBlockIP(t, g, "acme"); got != "queued_approval stopped" {
					t.Fatalf("acme after the restore: %s", got)
				}
				if got := askBlockIP(t, g, "globex"); got != "auto tier_allows" {
					t.Errorf("globex after the restore: %s", got)
				}
				held("1")
				time.Sleep(1500 * time.Millisecond) // a look, too
				history := call(t, g, "GET", "/config/history", "acme", "")
				if n := strings.Count(history, "is not in it. An older copy of the database was restored"); n != 1 {
					t.Errorf("the record: %s", history)
				}
				if !bytes.Equal(latest("acme"), lost) {
					t.Error("the checkpoint that shows the restore was replaced")
				}
				if !strings.Contains(g.Stderr(), "the log is not the one that was signed") {
					t.Errorf("the log: %s", g.Stderr())
				}
				end(t, g)
			}

			g = serve(backup)
			call(t, g, "POST", "/release", "acme", `{"reason":"we restored the backup of Monday"}`)
			if got := askBlockIP(t, g, "acme"); got != "auto tier_allows" {
				t.Errorf("after the release: %s", got)
			}
			end(t, g)
			if bytes.Equal(latest("acme"), lost) {
				t.Error("after the release there is no new checkpoint")
			}
			anew := filepath.Join(dir, "acme", "latest")
			if code, out := runVerify(t, "--database-url", backup, "--checkpoint", anew, "--key", pub); code != 0 {
				t.Errorf("verify against the new checkpoint: %d %s", code, out)
			}
			// Whoever has kept the lost one still sees it.
			if code, out := runVerify(t, "--database-url", backup, "--checkpoint", lostFile, "--key", pub); code != exitTampered || !strings.Contains(out, "what is there was rewritten") {
				t.Errorf("verify against the lost checkpoint: %d %s", code, out)
			}
			g = serve(backup)
			held("0")
			if got := askBlockIP(t, g, "acme"); got != "auto tier_allows" {
				t.Errorf("the start after the release: %s", got)
			}
		})
	}
}

// Without a key the gate runs as before and says what it does not do; what is
// wrong with a key is told before anything is served.
func TestServeKeys(t *testing.T) {
	g := binarytest.Serve(t, "--dev", "--database-url", storetest.SQLite(t))
	if !strings.Contains(g.Stderr(), "no checkpoints and receipts are signed") {
		t.Errorf("%s", g.Stderr())
	}
	key, pub := keygen(t, "gate.example")
	secret, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, secret[:40], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--signing-key", bad}, "no signer key"},
		{[]string{"--signing-key", pub}, "cannot sign"},
		{[]string{"--signing-key", bad + "x"}, "keygen"},
		{[]string{"--checkpoint-dir", t.TempDir()}, "need --signing-key"},
		{[]string{"--signing-key", key, "--retired-keys", key}, "a secret"},
		{[]string{"--signing-key", key, "--retired-keys", bad}, "line 1"},
		{[]string{"--signing-key", key, "--checkpoint-dir", bad}, "cannot be written"},
		{[]string{"--signing-key", key, "--checkpoint-push", "x"}, "want the URL"},
	} {
		out, err := exec.Command(binarytest.Path(t), append([]string{"serve", "--dev", "--addr", "127.0.0.1:0", "--database-url", storetest.SQLite(t)}, c.args...)...).CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != exitUsage || !strings.Contains(string(out), c.want) || strings.Contains(string(out), string(secret[30:40])) {
			t.Errorf("%v: %v %s", c.args, err, out)
		}
	}
}

// What verify is told about signatures, apart from what it finds in the log.
func TestVerifySignatures(t *testing.T) {
	url := storetest.SQLite(t)
	key, pub := keygen(t, "gate.example")
	_, other := keygen(t, "gate.example")
	g := binarytest.Serve(t, "--dev", "--database-url", url, "--signing-key", key)
	askBlockIP(t, g, "acme")
	askBlockIP(t, g, "globex")
	var note string
	for range 50 {
		status, body, err := g.Do("GET", "/log/checkpoint", "dev", "acme", "")
		if err == nil && status == 200 {
			note = string(body)
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	end(t, g)
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file(note)
	both, _ := os.ReadFile(pub)
	second, _ := os.ReadFile(other)
	keys := file("# present\n" + string(both) + "# retired\n" + string(second))
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"good", []string{"--checkpoint", good, "--key", pub}, 0, "acme: "},
		{"of two keys", []string{"--checkpoint", good, "--key", keys, "--tenant", "acme"}, 0, "acme: "},
		{"two files of keys", []string{"--checkpoint", good, "--key", other, "--key", pub}, 0, "acme: "},
		{"another key of that name", []string{"--checkpoint", good, "--key", other}, exitSignature, "no signature"},
		{"another size", []string{"--checkpoint", file(strings.Replace(note, "\n4\n", "\n3\n", 1)), "--key", pub}, exitSignature, "not signed so"},
		{"no checkpoint", []string{"--checkpoint", file("x"), "--key", pub}, exitUnreadable, "not a checkpoint"},
		{"no file", []string{"--checkpoint", good + "x", "--key", pub}, exitUnreadable, ""},
		{"a secret as key", []string{"--checkpoint", good, "--key", key}, exitSignature, "a secret"},
		{"no key in the file", []string{"--checkpoint", good, "--key", file("# none\n")}, exitSignature, "no key"},
		{"no key", []string{"--checkpoint", good}, exitUsage, "--key"},
		{"no checkpoint", []string{"--key", pub}, exitUsage, "--checkpoint"},
		{"another tenant", []string{"--checkpoint", good, "--key", pub, "--tenant", "globex"}, exitUsage, "of tenant acme"},
	} {
		if code, out := runVerify(t, append(c.args, "--database-url", url)...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: %d %s", c.name, code, out)
		}
	}
	if c, err := checkpoint.Open([]byte(note), mustKeys(t, string(both))); err != nil || c.Tenant != "acme" {
		t.Errorf("%q: %+v %v", note, c, err)
	}
}

func mustKeys(t *testing.T, text string) checkpoint.Keys {
	t.Helper()
	k, err := checkpoint.ParseKeys([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
