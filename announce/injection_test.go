package announce

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/tiergate/tiergate/engine"
)

var hostile = []string{
	"<!channel>", "<!here> <@U024BE7LH> <#C1>", "<http://evil.example|Approve>", "*bold* _i_ `c` ~s~ :bomb:", "&lt;!channel&gt; &amp;",
	"[Approve](https://evil.example)", "**x** <at>Anna</at>", "{{DATE(2017-02-14T06:00:00Z)}}", "{{{{TIME(2017-02-14T06:00:00Z)}}", "${x} @{triggerBody()}",
	"\u202egnp.exe", "a\nApproved by: ben\n", "\x1b]8;;https://evil.example\x07x", "</script>\",\"type\":\"mrkdwn\",\"x\":\"", "\xff\xfe", "\u3164\u2800",
	strings.Repeat("<!channel>", 51), strings.Repeat("\x00", 512), strings.Repeat("🙂", 128), "<https://gate.example/soc/approve#tenant=acme&id=0|x>",
}

// FuzzMarkup: whatever an agent writes, the only links and marked-up texts in a
// message are ours, nobody is mentioned, and what cannot be seen is shown.
func FuzzMarkup(f *testing.F) {
	for i, s := range hostile {
		f.Add(s, hostile[(i+1)%len(hostile)], hostile[(i+2)%len(hostile)], "user:"+s, s, s, s, byte(1+i%4))
	}
	f.Add("", "", "", "", "", "", "", byte(0))
	f.Add("x", "", "", "", "", "", strings.Repeat("<", 3000), byte(1))
	f.Fuzz(func(t *testing.T, target, rationale, rollback, actor, requester, action, tenant string, several byte) {
		if len(target) > 512 {
			return
		}
		var due []engine.DueAnnouncement
		for i := range int(several)%20 + 1 {
			d := approvalOf(i)
			if i%2 == 1 {
				d = autoOf(i)
				d.Entry.OverridesApplied = []string{"whitelist:" + requester}
			} else {
				d.Approval.Requester = requester
			}
			e := d.Entry
			d.TenantID, d.Channel, e.TenantID, e.ActionType, e.Target, e.Rationale, e.Rollback, e.Actor, e.Principal = tenant, action, tenant, action, target, rationale, rollback, actor, requester
			due = append(due, d)
		}
		for _, base := range []string{public, ""} {
			checkSlack(t, base, due)
			checkTeams(t, base, due)
		}
		body, err := WebhookBody(public, due[0])
		var ev struct{ Data decisionData }
		if err != nil || json.Unmarshal(body, &ev) != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if utf8.ValidString(target) && ev.Data.Target != target {
			t.Errorf("target %q became %q", target, ev.Data.Target)
		}
	})
}

// checkSeen fails where a text has what a person cannot see. Lines are ours.
func checkSeen(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool {
		return r != '\n' && (unseen(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r))
	}) {
		t.Errorf("not all can be seen: %q", text)
	}
}

func checkSlack(t *testing.T, base string, due []engine.DueAnnouncement) {
	t.Helper()
	body, n, err := SlackBody(base, due)
	if err != nil || n < 1 || n > len(due) {
		t.Fatal(n, err)
	}
	var m struct {
		Text   string
		Blocks []struct {
			Type     string
			Text     *slackTextObject
			Elements []slackTextObject
		}
	}
	if err := json.Unmarshal(body, &m); err != nil || len(m.Blocks) > slackBlocks || len(body) > 13_000 {
		t.Fatalf("%v, %d blocks, %d bytes", err, len(m.Blocks), len(body))
	}
	if strings.Trim(m.Text, "abcdefghijklmnopqrstuvwxyzATL0123456789_: ") != "" {
		t.Errorf("the notification says %q", m.Text)
	}
	var links []string
	whole := ""
	for _, b := range m.Blocks {
		texts := b.Elements
		if b.Text != nil {
			texts = append(texts, *b.Text)
		}
		for _, o := range texts {
			checkSeen(t, o.Text)
			whole += o.Text
			limit := 3000
			if b.Type == "header" {
				limit = slackHeader
			}
			if n := utf8.RuneCountInString(o.Text); n > limit || n == 0 {
				t.Errorf("a %s of %d characters", b.Type, n)
			}
			switch {
			case o.Type == "plain_text" && o.Emoji != nil && !*o.Emoji:
			case o.Type == "mrkdwn" && o.Verbatim:
				links = append(links, o.Text)
			default:
				t.Errorf("%+v", o)
			}
		}
	}
	if !strings.Contains(whole, visible(due[0].Entry.Target, 0)) {
		t.Errorf("the target %q is not whole in %q", due[0].Entry.Target, whole)
	}
	var want []string
	for _, d := range due[:n] {
		if d.Approval != nil && approvalPage(base, d.TenantID, d.Approval.ID) != "" {
			want = append(want, "<"+slackEscape.Replace(approvalPage(base, d.TenantID, d.Approval.ID))+"|Open the approval>")
		}
	}
	if !slices.Equal(links, want) || strings.Count(strings.Join(links, ""), "<") != len(want) {
		t.Errorf("links %q, want %q", links, want)
	}
}

func checkTeams(t *testing.T, base string, due []engine.DueAnnouncement) {
	t.Helper()
	body, n, err := TeamsBody(base, due)
	if err != nil || n < 1 || n > len(due) {
		t.Fatal(n, err)
	}
	if len(body) > 26_000 {
		t.Errorf("%d bytes", len(body))
	}
	var m struct {
		Type        string
		Attachments []struct {
			Content struct {
				Type, Version string
				Body          []struct {
					Type    string
					Inlines []struct {
						Type, Text   string
						SelectAction any
					}
					Actions []openAction
				}
			}
		}
	}
	if err := json.Unmarshal(body, &m); err != nil || m.Type != "message" || len(m.Attachments) != 1 || m.Attachments[0].Content.Type != "AdaptiveCard" {
		t.Fatalf("%v: %s", err, body)
	}
	var links, want []string
	for _, b := range m.Attachments[0].Content.Body {
		switch b.Type {
		case "RichTextBlock":
			for _, r := range b.Inlines {
				checkSeen(t, r.Text)
				if r.Type != "TextRun" || r.SelectAction != nil || r.Text == "" || strings.Contains(r.Text, "{{") {
					t.Errorf("%+v", r)
				}
			}
		case "ActionSet":
			for _, a := range b.Actions {
				if a.Type != "Action.OpenUrl" {
					t.Errorf("%+v", a)
				}
				links = append(links, a.URL)
			}
		default:
			t.Errorf("a %s reads Markdown", b.Type)
		}
	}
	for _, d := range due[:n] {
		if d.Approval != nil && approvalPage(base, d.TenantID, d.Approval.ID) != "" {
			want = append(want, approvalPage(base, d.TenantID, d.Approval.ID))
		}
	}
	if !slices.Equal(links, want) {
		t.Errorf("links %q, want %q", links, want)
	}
	for _, l := range links {
		if !strings.HasPrefix(l, base+"/approve#") || strings.ContainsAny(l, "<>|\" ") {
			t.Errorf("link %q", l)
		}
	}
}
