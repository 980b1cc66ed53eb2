package statement_test

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/audit/replay"
	"github.com/tiergate/tiergate/audit/replay/replaytest"
	"github.com/tiergate/tiergate/audit/statement"
	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

func policies(bundle func(context.Context, string) ([]byte, error)) replay.Bundles {
	return func(ctx context.Context, hash string) (*engine.Policy, error) {
		archive, err := bundle(ctx, hash)
		if err != nil {
			return nil, err
		}
		b, err := bundles.Read(bytes.NewReader(archive), nil)
		if err != nil {
			return nil, err
		}
		return engine.CompilePolicy(ctx, engine.PolicySource{ID: engine.PolicyID{Revision: b.Revision, BundleHash: b.Hash}, Modules: b.Modules, Data: b.Data})
	}
}

func page(t *testing.T, url string, w evidence.Window) string {
	t.Helper()
	r, err := store.OpenReader(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var file bytes.Buffer
	o := evidence.Options{Window: w, Generator: "test", Statement: func(k *evidence.Kept) (evidence.Statement, error) {
		return statement.New(t.Context(), w, policies(k.Bundle))
	}}
	if _, err := evidence.Write(t.Context(), &file, r, o); err != nil {
		t.Fatal(err)
	}
	f, err := evidence.Open(t.Context(), bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := f.Statement(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestStatement(t *testing.T) {
	url := storetest.SQLite(t)
	phases := replaytest.Log(t, url, 40)
	whole := page(t, url, evidence.Window{Tenant: "acme"})
	for _, want := range []string{
		"<strong>241 decisions</strong>", "Tier L0-Observe → L4-Automate", "Tier L4-Automate → L1-Notify", "Override block of block_ip set", "The tenant was stopped",
		"activate of the policy", "block_ip: auto → queued_approval", "search_siem: auto → queued_approval", "<svg ", `class="stop"`, "Whitelist entry",
	} {
		if !strings.Contains(whole, want) {
			t.Errorf("no %q", want)
		}
	}
	if path := os.Getenv("TIERGATE_STATEMENT"); path != "" {
		if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	part := page(t, url, evidence.Window{Tenant: "acme", From: phases[1], To: phases[2]})
	for _, want := range []string{"at tier <strong>L4-Automate</strong>", "Whitelist entries that stood", "Override block of block_ip set", "<strong>41 decisions</strong>"} {
		if !strings.Contains(part, want) {
			t.Errorf("part: no %q", want)
		}
	}
	if strings.Contains(part, "L1-Notify →") || strings.Contains(part, "The tenant was stopped") {
		t.Error("part: it tells what was outside of the window")
	}
}

// What strangers wrote is text and nothing else, and the page needs nothing from
// elsewhere.
func TestStatementOfHostileText(t *testing.T) {
	url := storetest.SQLite(t)
	s := storetest.Open(t, url)
	const hostile = "</td><script>alert(1)</script><img src=https://evil.example/x>\u202eevil\u2066 {{.}} \"'><svg onload=alert(2)>"
	e := storetest.Entry("acme", 1)
	e.Target, e.Actor, e.Principal, e.Rationale = hostile, "user:"+hostile, hostile, hostile
	tier := 2
	if _, err := s.ChangeConfig(t.Context(), "acme", engine.ConfigChange{MaturityTier: &tier}, engine.ChangeMeta{Actor: hostile, Reason: hostile}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutOverride(t.Context(), &engine.Override{TenantID: "acme", ActionType: "block_ip", Mode: engine.ModeBlock, Constraints: []byte(`{"target":"<script>alert(3)</script>"}`)}, engine.ChangeMeta{Actor: hostile, Reason: hostile}); err != nil {
		t.Fatal(err)
	}
	e.ConfigEpoch = 2
	if r := s.Append(t.Context(), []*engine.Entry{e})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	got := page(t, url, evidence.Window{Tenant: "acme"})
	if !strings.Contains(got, "&lt;script&gt;alert(1)") {
		t.Error("the text is not there")
	}
	for _, tag := range regexp.MustCompile(`(?i)<\s*(script|img|iframe|object|link|svg\s+on)`).FindAllString(got, -1) {
		t.Errorf("%s in the page", tag)
	}
	if strings.ContainsAny(got, "\u202e\u2066") {
		t.Error("text that turns the direction of writing")
	}
	if regexp.MustCompile(`(src|href)\s*=\s*["']?http`).MatchString(got) && !strings.Contains(got, "&lt;img src=https") {
		t.Error("the page needs something from elsewhere")
	}
}
