package announce

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/tiergate/tiergate/engine"
)

const public = "https://gate.example/soc"

// compact is JSON without the space that makes it legible.
func compact(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWebhookBody(t *testing.T) {
	const entry = `"tenant_id":"acme","decision_id":"01a212e6-0002-7000-8000-000000000007","action_id":"01a212e6-0003-7000-8000-000000000007",
		"action_type":"isolate_host","target":"host:lab-3","actor":"user:anna","blast_radius":"HIGH","maturity_tier":4,`
	const policy = `"policy":{"revision":"1.1.0","bundle_hash":"sha256:ab"},"config_epoch":4,"log_seq":9,"decided_at":"2026-11-25T13:30:22.940Z",
		"principal":"soar","incident_id":"INC-7","confidence":0.97,"parameters_digest":"sha256:cd","tier_label":"L4-Automate","engine_version":"","policy_epoch":0`
	for name, c := range map[string]struct {
		due  engine.DueAnnouncement
		want string
	}{
		"auto": {autoOf(7), `{"specversion":"1.0","id":"01a212e6-0001-7000-8000-000000000007","source":"/tenants/acme","type":"dev.tiergate.decision.auto.v1",
			"subject":"01a212e6-0002-7000-8000-000000000007","time":"2026-11-25T13:30:22.940Z","datacontenttype":"application/json","data":{` + entry + `
			"decision":"auto","rule":"whitelist_match","rationale":"A whitelist entry lets isolate_host run on host:lab-3.","overrides_applied":["whitelist:w-1"],
			"rollback":"Connect it again with release_host.",` + policy + `}}`},
		"approval": {approvalOf(7), `{"specversion":"1.0","id":"01a212e6-0001-7000-8000-000000000007","source":"/tenants/acme","type":"dev.tiergate.approval.opened.v1",
			"subject":"01a212e6-0004-7000-8000-000000000007","time":"2026-11-25T13:30:22.940Z","datacontenttype":"application/json","data":{` + entry + `
			"decision":"queued_approval","rule":"no_whitelist_match","rationale":"No whitelist entry names host:lab-3, so it waits for approval.","overrides_applied":[],
			"rollback":"Connect it again with release_host.",` + policy + `,
			"approval":{"approval_id":"01a212e6-0004-7000-8000-000000000007","needed":2,"opened_at":"2026-11-25T13:30:22.940Z","expires_at":"2026-11-25T17:30:22.940Z",
			"requester":"soar","url":"https://gate.example/soc/approve#tenant=acme&id=01a212e6-0004-7000-8000-000000000007"}}}`},
		"test": {engine.DueAnnouncement{Announcement: &engine.Announcement{TenantID: "a/b", ID: id(1, 7), Kind: engine.AnnounceTest, Channel: "siem", CreatedAt: day}},
			`{"specversion":"1.0","id":"01a212e6-0001-7000-8000-000000000007","source":"/tenants/a%2Fb","type":"dev.tiergate.test.v1",
			"time":"2026-11-25T13:30:22.940Z","datacontenttype":"application/json","data":{"tenant_id":"a/b","channel":"siem",
			"message":"This channel works. An operator tried it; nothing was decided."}}`},
	} {
		got, err := WebhookBody(public, c.due)
		if want := compact(t, c.want); err != nil || string(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, want)
		}
	}
}

// What changes with time is not in the body: the same bytes on every attempt.
func TestWebhookBodyStays(t *testing.T) {
	first, _ := WebhookBody(public, approvalOf(1))
	later := approvalOf(1)
	later.Attempts, later.LastError, later.NextAttemptAt = 9, "it failed", day.Add(time.Hour)
	later.Approval.Status, later.Approval.Version, later.Approval.Approvers, later.Approval.ClosedBy = engine.ApprovalReleased, 5, []string{"ben"}, "ben"
	later.Approval.ClosedAt, later.Entry.Approval = day.Add(time.Hour), later.Approval
	second, err := WebhookBody(public, later)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("%v\n%s\n%s", err, first, second)
	}
	if bytes.Contains(first, []byte("hunter2")) {
		t.Error("the parameters are told")
	}
}

func TestIncomplete(t *testing.T) {
	noEntry, noApproval, unknown := autoOf(1), approvalOf(1), autoOf(1)
	noEntry.Entry, noApproval.Approval, unknown.Kind = nil, nil, "gossip"
	for _, due := range []engine.DueAnnouncement{noEntry, noApproval, unknown} {
		if _, err := WebhookBody(public, due); !errors.Is(err, errIncomplete) {
			t.Error(err)
		}
		if _, _, err := SlackBody(public, []engine.DueAnnouncement{due}); !errors.Is(err, errIncomplete) {
			t.Error(err)
		}
		if _, _, err := TeamsBody(public, []engine.DueAnnouncement{autoOf(2), due}); !errors.Is(err, errIncomplete) {
			t.Error(err)
		}
	}
	if _, _, err := SlackBody(public, nil); !errors.Is(err, errIncomplete) {
		t.Error(err)
	}
}

// Receivers verify with the library of the standard: with either key while both
// are valid, and neither an altered message nor an old one.
func TestSignature(t *testing.T) {
	now := time.Now()
	body, _ := WebhookBody(public, autoOf(1))
	other := bytes.Repeat([]byte("k"), 32)
	keys := []engine.SigningKey{{Key: key}, {Key: other, Until: now.Add(time.Hour)}, {Key: bytes.Repeat([]byte("x"), 32), Until: now}}
	header, err := webhookHeader(id(1, 1), keys, now, body)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(header.Get("webhook-signature"))); n != 2 {
		t.Errorf("%d signatures", n)
	}
	for _, k := range keys[:2] {
		w, _ := standardwebhooks.NewWebhookRaw(k.Key)
		if err := w.Verify(body, header); err != nil {
			t.Error(err)
		}
		if err := w.Verify(bytes.Replace(body, []byte("lab-3"), []byte("lab-4"), 1), header); err == nil {
			t.Error("an altered body passes")
		}
		moved := header.Clone()
		moved.Set("webhook-id", id(1, 2))
		if err := w.Verify(body, moved); err == nil {
			t.Error("another id passes")
		}
	}
	expired, _ := standardwebhooks.NewWebhookRaw(keys[2].Key)
	if err := expired.Verify(body, header); err == nil {
		t.Error("signed with a key whose time is over")
	}
	old, _ := webhookHeader(id(1, 1), keys, now.Add(-6*time.Minute), body)
	w, _ := standardwebhooks.NewWebhookRaw(key)
	if err := w.Verify(body, old); !errors.Is(err, standardwebhooks.ErrMessageTooOld) {
		t.Errorf("sent again later: %v", err)
	}
	if _, err := webhookHeader(id(1, 1), keys[2:], now, body); !errors.Is(err, errNoKey) {
		t.Errorf("unsigned: %v", err)
	}
}

// shown is every text of a message, one per line.
func shown(t testing.TB, body []byte) string {
	t.Helper()
	var doc any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	var b strings.Builder
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if s, ok := v["text"].(string); ok {
				b.WriteString(s + "\n")
			}
			for _, k := range []string{"blocks", "elements", "text", "attachments", "content", "body", "inlines", "actions", "url"} {
				if s, ok := v[k].(string); ok && k == "url" {
					b.WriteString(s + "\n")
				}
				walk(v[k])
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(doc)
	return b.String()
}

func TestCards(t *testing.T) {
	page := "https://gate.example/soc/approve#tenant=acme&id=" + id(4, 1)
	for name, body := range map[string]func(string, []engine.DueAnnouncement) ([]byte, int, error){"slack": SlackBody, "teams": TeamsBody} {
		for kind, c := range map[string]struct {
			public string
			due    engine.DueAnnouncement
			want   []string
		}{
			"approval": {public, approvalOf(1), []string{"Approval needed: isolate_host", "host:lab-3", "HIGH", "soar, for user:anna",
				"No whitelist entry names host:lab-3", "release_host", "2026-11-25 17:30 UTC", "2 different people"}},
			"without a page": {"", approvalOf(1), []string{"tiergate approvals approve " + id(4, 1)}},
			"auto": {public, autoOf(1), []string{"Let go by the whitelist: isolate_host", "host:lab-3", "w-1", "A whitelist entry lets isolate_host run",
				"release_host", id(2, 1)}},
			"test": {public, engine.DueAnnouncement{Announcement: &engine.Announcement{TenantID: "acme", Kind: engine.AnnounceTest, Channel: "soc"}},
				[]string{"This channel works", "Channel soc, tenant acme"}},
		} {
			got, n, err := body(c.public, []engine.DueAnnouncement{c.due})
			if err != nil || n != 1 {
				t.Fatal(n, err)
			}
			text := shown(t, got)
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("%s %s: %q is missing\n%s", name, kind, w, text)
				}
			}
			if link := strings.Contains(text, page) || strings.Contains(text, slackEscape.Replace(page)); link != (kind == "approval") {
				t.Errorf("%s %s: link %v\n%s", name, kind, link, text)
			}
		}
	}
}

// Several share a message, as many as the receiver takes, each with its target
// whole and its own way on.
func TestDigest(t *testing.T) {
	long := strings.Repeat("\x01", 512) // the longest that a target can become
	for name, body := range map[string]func(string, []engine.DueAnnouncement) ([]byte, int, error){"slack": SlackBody, "teams": TeamsBody} {
		var due []engine.DueAnnouncement
		for i := range chatQuota {
			due = append(due, approvalOf(i))
		}
		got, n, err := body(public, due)
		if err != nil || n < 10 || len(got) > 22_000 {
			t.Fatalf("%s: %d in %d bytes: %v", name, n, len(got), err)
		}
		text := shown(t, got)
		for i := range n {
			if !strings.Contains(text, id(4, i)) {
				t.Errorf("%s: %d is missing", name, i)
			}
		}
		for i := range due {
			due[i].Entry.Target, due[i].Entry.Rationale = long, strings.Repeat(`"\`, 5000)
			due[i].Approval.Requester, due[i].Entry.Rollback = strings.Repeat("🙂", 500), strings.Repeat(`"`, 5000)
		}
		if got, n, err = body(public, due); err != nil || n < 1 || n > 5 || len(got) > 12_000 && name == "slack" || len(got) > 22_000 {
			t.Errorf("%s: %d in %d bytes: %v", name, n, len(got), err)
		}
		if got, n, err = body(public, due[:1]); err != nil || n != 1 || len(got) > 12_000 {
			t.Errorf("%s: %d in %d bytes: %v", name, n, len(got), err)
		}
		if text := strings.ReplaceAll(shown(t, got), "\n", ""); !strings.Contains(text, strings.Repeat(`\u{1}`, 512)) {
			t.Errorf("%s: the target is cut: %s", name, text)
		}
	}
}
