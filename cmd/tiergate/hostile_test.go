package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/uuid"
)

// evil is what a server may say: it clears the screen, sets the title, breaks the
// line, turns the reading direction, and spells out a token.
const evil = "\x1b[2J\x1b]0;pwned\x07\nFAKE ROW\r\u009b31m\u202e" + evilToken

const evilToken = "s3cr3t-token-0123456789"

// hostileGate answers everything well-formed, and evil in every text that it may
// choose.
func hostileGate(t *testing.T, status int) *httptest.Server {
	text, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	override := `{"constraints":{"target":E,E:E,"target_prefix":[E,"a b"]},"expires_at":E,"reason":E,"set_by":E,"set_at":E}`
	config := `{"tenant_id":E,"maturity_tier":1,"tier_label":E,"stopped":true,"action_overrides":{E:{E:` + override + `},"block_ip":{"block":` + override + `}},"config_epoch":7,"changed_by":E,"changed_at":E,"still_auto":[E]}`
	entry := `{"id":E,"action_type":E,"constraints":{"target":E},"expires_at":E,"reason":E,"notify":[E],"set_by":E,"set_at":E}`
	row := `{"log_seq":9,"decided_at":E,"decision":E,"rule":E,"blast_radius":E,"tier_label":E,"action_type":E,"actor":E,"target":E}`
	answers := map[string]string{
		"/config": config, "/stop": config, "/release": config, "/overrides/block_ip": config, "/whitelist": `{"entries":[` + entry + `],"next_cursor":E}`,
		"/gate-log": `{"entries":[` + row + `],"next_cursor":E}`,
		"/matrix":   `{"matrix":[{"action_type":E,"blast_radius":E,"decision":"blocked","constrained_overrides":[E]}]}`,
		"/actions":  `{"actions":[{"action_type":E,"blast_radius":E,"description":E},{"action_type":"block_ip","blast_radius":E,"description":E}]}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/api/v1/remediation")
		answer := answers[path]
		if r.Method == http.MethodPost && path == "/whitelist" {
			answer = entry
		}
		if strings.HasPrefix(path, "/decisions") {
			var asked struct {
				ActionID     string `json:"action_id"`
				MaturityTier *int   `json:"maturity_tier"`
			}
			json.NewDecoder(r.Body).Decode(&asked)
			if asked.ActionID == "" {
				asked.ActionID = uuid.NewString()
			}
			decision := "auto"
			if asked.MaturityTier != nil && *asked.MaturityTier < 2 {
				decision = "blocked"
			}
			answer = fmt.Sprintf(`{"decision_id":E,"action_id":%q,"tenant_id":E,"decision":%q,"rule":E,"rationale":E,"blast_radius":E,"tier_label":E,"overrides_applied":[E],"rollback":E,"log_seq":1,"decided_at":E,"valid_until":E}`, asked.ActionID, decision)
		}
		kind := "application/json"
		if status >= 400 {
			kind, answer = "application/problem+json", `{"type":E,"title":E,"status":200,"detail":E,"errors":[{"field":E,"detail":E}]}`
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		w.Write([]byte(strings.ReplaceAll(answer, "E", string(text))))
	}))
	t.Cleanup(s.Close)
	return s
}

// Nothing that a gate says does anything to a terminal, in any command, as a
// table and as JSON, in answers, in questions and in errors; and JSON stays what
// it says.
func TestHostileText(t *testing.T) {
	t.Setenv("TIERGATE_TOKEN", evilToken)
	for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusInternalServerError} {
		t.Setenv("TIERGATE_URL", hostileGate(t, status).URL)
		for _, line := range []string{
			"tier get", "tier set 0 --reason x", "tier set 4 --reason x --yes", "tier set 4 --reason x", "override list", "override set block_ip block --reason x --yes",
			"override set block_ip block --reason x --target a", "override set block_ip force_auto --reason x", "override rm block_ip --reason x",
			"whitelist list", "whitelist add block_ip --target a --for 1h --reason x", "whitelist add block_ip --target a --for 1h --reason x --yes",
			"whitelist rm a --reason x", "stop --reason x", "release --reason x", "release --reason x --yes", "ask block_ip a", "ask block_ip a --preview", "log",
			"__complete ask ",
		} {
			for _, form := range []string{"", " --json"} {
				if strings.HasPrefix(line, "__") && form != "" {
					continue
				}
				args := strings.Split(line+form, " ")
				var stdout, stderr bytes.Buffer
				run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
				shown := stdout.String() + stderr.String()
				if strings.ContainsFunc(shown, func(r rune) bool {
					return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r))
				}) || strings.Contains(shown, "\nFAKE ROW") {
					t.Errorf("%s at %d shows %q", line+form, status, shown)
				}
				if form != "" && stdout.Len() > 0 {
					var v any
					if err := json.Unmarshal(stdout.Bytes(), &v); err != nil {
						t.Errorf("%s: %v", line, err)
					} else if said, _ := json.Marshal(v); !bytes.Contains(said, []byte("u001b")) {
						t.Errorf("%s does not say what the gate said: %s", line, said)
					}
				}
				if strings.Contains(stderr.String(), "tiergate: ") && status >= 400 && strings.Contains(shown, evilToken) {
					t.Errorf("%s at %d shows the token: %q", line+form, status, shown)
				}
				if status == http.StatusOK && !strings.Contains(shown, "u{1b}") && !strings.Contains(shown, "u001b") &&
					!strings.Contains(line, " rm ") && !strings.HasPrefix(line, "__") {
					t.Errorf("%s shows nothing of it, so nothing was tried: %q", line+form, shown)
				}
			}
		}
	}
}

// A gate that hangs does not make a shell wait.
func TestCompletionDoesNotWait(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	t.Setenv("TIERGATE_TOKEN", "dev")
	t.Setenv("TIERGATE_URL", s.URL)
	var stdout, stderr bytes.Buffer
	start := time.Now()
	code := run(t.Context(), []string{"__complete", "ask", ""}, strings.NewReader(""), &stdout, &stderr)
	if took := time.Since(start); code != exitOK || took < completionPatience || took > completionPatience+2*time.Second {
		t.Errorf("exit code %d after %s", code, took)
	}
	if stdout.String() != ":4\n" || strings.Contains(stderr.String(), "tiergate:") {
		t.Errorf("%q %q", stdout.String(), stderr.String())
	}
}
