package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	binarytest.Remove()
	os.Exit(code)
}

// The example, the real gate, and an agent that tries what it can.
func TestExecutor(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if out, err := exec.Command(binarytest.Path(t), "keygen", "--name", "gate.example", "-o", key).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	gate := binarytest.Serve(t, "--dev", "--database-url", "sqlite:"+filepath.Join(dir, "gate.db"), "--signing-key", key, "--receipt-ttl", "2s")
	ask := func(tenant, target string) (decision, receipt string) {
		t.Helper()
		status, body, err := gate.Do("POST", "/decisions", "dev", tenant, `{"action_type":"block_ip","target":"`+target+`","parameters":{"ttl":60}}`)
		var a struct{ Decision, Receipt string }
		if err != nil || status != 200 || json.Unmarshal(body, &a) != nil {
			t.Fatalf("%d %s %v", status, body, err)
		}
		return a.Decision, a.Receipt
	}
	if decision, receipt := ask("acme", "203.0.113.9"); decision != "queued_approval" || receipt != "" {
		t.Errorf("at L0: %s %q", decision, receipt)
	}
	for _, tenant := range []string{"acme", "globex"} {
		if status, body, err := gate.Do("PUT", "/config", "dev", tenant, `{"maturity_tier":3}`); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, body, err)
		}
	}
	keys, err := fetchKeys(gate.URL)
	if err != nil {
		t.Fatal(err)
	}
	var ran []string
	e := httptest.NewServer(&executor{keys: keys, tenant: "acme", run: func(actionType, target string, _ json.RawMessage) error {
		ran = append(ran, actionType+" "+target)
		return nil
	}})
	defer e.Close()
	run := func(want int, target, ttl, receipt string) {
		t.Helper()
		resp, err := http.Post(e.URL+"/run", "application/json", strings.NewReader(`{"action_type":"block_ip","target":"`+target+`","parameters":{"ttl": `+ttl+`},"receipt":"`+receipt+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			t.Errorf("%s for %s: %d %s, want %d", target, ttl, resp.StatusCode, text, want)
		}
	}
	_, receipt := ask("acme", "203.0.113.9")
	_, theirs := ask("globex", "203.0.113.9")
	run(403, "203.0.113.9", "60", "")         // skipped the gate
	run(403, "203.0.113.10", "60", receipt)   // changed the target
	run(403, "203.0.113.9", "86400", receipt) // changed the parameters
	run(403, "203.0.113.9", "60", theirs)     // another tenant's
	run(200, "203.0.113.9", "60", receipt)
	run(403, "203.0.113.9", "60", receipt) // a second time
	_, receipt = ask("acme", "203.0.113.11")
	time.Sleep(2100 * time.Millisecond)
	run(403, "203.0.113.11", "60", receipt) // waited too long
	if strings.Join(ran, ",") != "block_ip 203.0.113.9" {
		t.Errorf("carried out: %v", ran)
	}
}
