package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const text = `Feature: The dial

  It moves.

  Rule: It moves down at once

    Scenario: Down
      When it is turned
      Then nothing runs

    Scenario: Never tried
      When it is turned
`

// The page has every scenario that the features have, with what came of it; what
// was not run does not count as passed, and no text of a decision is markup.
func TestPage(t *testing.T) {
	decision := base64.StdEncoding.EncodeToString([]byte(`{"tenant_id":"acme","log_seq":1,"decision_id":"d1","action_type":"block_ip","target":"<script>alert(1)</script>","decision":"auto","rule":"r","rationale":"why","bundle_hash":"sha256:00"}`))
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	feature := write("dial.feature", text)
	step := func(status, more string) string {
		return `{"keyword":"When ","name":"it is turned","line":8,"result":{"status":"` + status + `"}` + more + `}`
	}
	embedded := `,"embeddings":[{"name":"d1","data":"` + decision + `"}]`
	run := func(status string) (page string, failed int) {
		t.Helper()
		results := write("results.json", `[{"uri":"dial.feature","elements":[{"name":"Down","line":7,"steps":[`+step("passed", embedded)+`,`+step(status, embedded)+`]}]}]`)
		out := filepath.Join(dir, "spec.html")
		failed, err := render(results, out, []string{feature})
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), failed
	}
	page, failed := run("passed")
	if failed != 1 || !strings.Contains(page, "1 of 2 scenarios passed") || !strings.Contains(page, "not run") {
		t.Errorf("%d failed:\n%s", failed, page)
	}
	for _, want := range []string{"The dial", "It moves.", "It moves down at once", "&lt;script&gt;", "why", "sha256:00", "They left 1 decisions"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(page, "<script") {
		t.Error("the page runs something")
	}
	if _, failed := run("failed"); failed != 2 {
		t.Errorf("%d failed, want both", failed)
	}
	if _, err := render(write("bad.json", "{"), filepath.Join(dir, "x"), nil); err == nil {
		t.Error("no JSON was taken")
	}
}
