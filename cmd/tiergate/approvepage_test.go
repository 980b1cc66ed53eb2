package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/store/storetest"
)

// hostile is a target that would do something if it were taken for markup, and
// that would read as something else if its reading direction were followed.
const hostile = "host:<img src=x onerror=document.title='hacked'><script>document.title='hacked'</script>\u202egnp.exe \u200b\u00a0w\u0430ks"

// hostileShown is how a person must see it.
const hostileShown = `host:<img src=x onerror=document.title='hacked'><script>document.title='hacked'</script>\u{202E}gnp.exe \u{200B}\u{A0}w` + "\u0430ks"

// pageRig is a gate with people, and a browser.
type pageRig struct {
	gate    *binarytest.Gate
	browser context.Context
}

func newPageRig(t *testing.T) pageRig {
	t.Helper()
	tokens := binarytest.Tokens(t, "agent soar acme agent", "anna anna acme approver", "ben ben acme approver", "olga olga acme operator,approver",
		"audit audit acme auditor", "gina gina globex approver", "any any * approver")
	return pageRig{binarytest.Serve(t, "--database-url", storetest.SQLite(t), "--tokens", tokens), startBrowser(t)}
}

// ask queues an action and returns the id of its approval.
func (r pageRig) ask(t *testing.T, token, action, target string) string {
	t.Helper()
	var q queued
	body, _ := json.Marshal(map[string]any{"action_type": action, "target": target, "parameters": map[string]any{"note": "</pre><b>\u202e"}})
	status, text, err := r.gate.Do("POST", "/decisions", token, "", string(body))
	if err != nil || status != http.StatusOK || json.Unmarshal(text, &q) != nil || q.Approval.Status != "pending" {
		t.Fatalf("%d %v %s", status, err, text)
	}
	return q.Approval.ID
}

type approvalState struct {
	Status    string
	Approvers []string
	Events    []struct{ Kind, Person, Comment string }
}

// state is the approval as the gate has it.
func (r pageRig) state(t *testing.T, id string) (a approvalState) {
	t.Helper()
	status, text, err := r.gate.Do("GET", "/approvals/"+id, "audit", "", "")
	if err != nil || status != http.StatusOK || json.Unmarshal(text, &a) != nil {
		t.Fatalf("%d %v %s", status, err, text)
	}
	return a
}

func (r pageRig) link(id string) string { return r.gate.URL + "/approve#tenant=acme&id=" + id }

// open follows the link of a message, in a browser of its own.
func (r pageRig) open(t *testing.T, id string) *tab {
	t.Helper()
	p := openTab(t, r.browser, r.gate.URL)
	p.do("follow the link", chromedp.Navigate(r.link(id)))
	return p
}

func (p *tab) enter(token string) {
	p.t.Helper()
	p.fill("#token", token)
	p.click("#show")
}

func (p *tab) approve(comment string) {
	p.t.Helper()
	p.fill("#comment", comment)
	p.click("#approve")
	p.sees("#confirm", "Approve exactly this?")
	p.click("#yes")
}

func (p *tab) wasRefused(statuses ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.refused, statuses) {
		p.t.Errorf("the gate refused %v, want %v", p.refused, statuses)
	}
}

// The approval page in a real browser, against the built binary: what a person
// sees is what is asked for, only a press of a button changes anything, and
// nothing of it stays behind.
func TestApprovalPage(t *testing.T) {
	r := newPageRig(t)

	t.Run("looking changes nothing, approving releases", func(t *testing.T) {
		id := r.ask(t, "agent", "isolate_host", hostile)
		for range 2 {
			r.open(t, id).sees("#token-form", "Your token")
		}
		p := r.open(t, id)
		p.do("reload it", chromedp.Reload())
		p.picture("token")
		p.enter("anna")
		p.sees("#action", "isolate_host")
		if got := p.text("#target"); got != hostileShown {
			t.Errorf("the target stands as %q, want %q", got, hostileShown)
		}
		p.sees("#foreign", "\u0430\u00a0U+0430")
		p.sees("#radius", "HIGH")
		p.sees("#clock", "3 h 59 min", "left to answer")
		p.sees("#facts", "soar", `"note": "</pre><b>\u{202E}"`, "waits for approval", "0 of 1", "How it is undone")
		p.sees("#events", "soar", "asked for it")
		if got := p.eval(`document.querySelector("#token").value + document.querySelectorAll("main img, main b, body script").length + document.title`); got != "1Approval · tiergate" {
			t.Errorf("the token is still in its field, or the target became markup: %q", got)
		}
		p.picture("pending")
		if got := r.state(t, id); got.Status != "pending" || len(got.Events) != 1 {
			t.Errorf("looking changed it: %+v", got)
		}

		p.click("#approve") // without a comment
		p.sees("#comment-fault", "Say why")
		p.fill("#comment", "the user <b>confirmed</b> it\nby phone")
		p.click("#approve")
		p.sees("#confirm", "isolate_host", hostileShown, "Cut a host off", "HIGH", "it may run at once")
		p.picture("confirm")
		p.click("#no")
		if got := r.state(t, id); got.Status != "pending" {
			t.Errorf("going back approved it: %+v", got)
		}
		p.click("#approve")
		p.click("#yes")
		p.sees("#said", "Released until", "isolate_host", hostileShown, "may be started now", "anna")
		p.sees("#clock", "left to start it")
		p.sees("#events", "the user <b>confirmed</b> it by phone", "it was released")
		p.picture("released")
		got := r.state(t, id)
		if got.Status != "released" || got.Events[1].Comment != "the user <b>confirmed</b> it by phone" || got.Events[1].Person != "anna" {
			t.Errorf("approved: %+v", got)
		}
		p.wasRefused()

		later := r.open(t, id)
		later.enter("ben")
		later.sees("#said", "Released until")
		if later.eval(`String(document.querySelector("#vote-form").hidden)`) != "true" {
			t.Error("what has ended can be answered")
		}
	})

	t.Run("denied", func(t *testing.T) {
		id := r.ask(t, "agent", "isolate_host", "host:denied")
		p := r.open(t, id)
		p.enter("anna")
		p.fill("#comment", "a false alarm")
		p.click("#deny")
		p.sees("#said", "Denied", "host:denied must not run", "anna said no")
		p.picture("denied")
		if got := r.state(t, id); got.Status != "denied" || got.Events[1].Comment != "a false alarm" {
			t.Errorf("%+v", got)
		}
	})

	t.Run("CRITICAL takes two people", func(t *testing.T) {
		id := r.ask(t, "agent", "wipe_disk", "host:critical")
		anna, ben := r.open(t, id), r.open(t, id)
		anna.enter("anna")
		anna.sees("#radius", "CRITICAL")
		anna.sees("#does", "does not know this action type")
		anna.fill("#comment", "yes")
		anna.click("#approve")
		anna.sees("#confirm", "After you, one more person must approve.")
		anna.click("#yes")
		anna.sees("#said", "one more person must approve", "is not released yet")
		anna.sees("#facts", "1 of 2 who must: anna")
		anna.picture("one-more")
		anna.approve("and again")
		anna.sees("#trouble", "You have approved this before")
		anna.wasRefused("409")
		if got := r.state(t, id); got.Status != "pending" || !slices.Equal(got.Approvers, []string{"anna"}) {
			t.Errorf("%+v", got)
		}
		ben.enter("ben")
		ben.sees("#facts", "1 of 2 who must: anna")
		ben.approve("I agree")
		ben.sees("#said", "Released until")
		anna.click("#again")
		anna.sees("#said", "Released until", "ben")
	})

	t.Run("nobody approves what they asked for", func(t *testing.T) {
		id := r.ask(t, "olga", "isolate_host", "host:own")
		p := r.open(t, id)
		p.enter("olga")
		p.approve("I want it")
		p.sees("#trouble", "Your answer does not count", "own_request")
		p.picture("refused")
		p.wasRefused("403")
		if got := r.state(t, id); got.Status != "pending" || len(got.Approvers) != 0 {
			t.Errorf("%+v", got)
		}
	})

	t.Run("tokens that do not fit", func(t *testing.T) {
		id := r.ask(t, "agent", "isolate_host", "host:tokens")
		p := r.open(t, id)
		p.enter("wrong")
		p.sees("#trouble", "does not know this token")
		p.enter("agent")
		p.sees("#trouble", "This token may not do that")
		p.enter("gina")
		p.sees("#trouble", "no such approval for you", "token is for another tenant")
		p.enter("t\u00f6ken")
		p.sees("#token-fault", "That is no token")
		p.enter("audit")
		p.approve("I only read")
		p.sees("#trouble", "This token may not do that")
		p.wasRefused("401", "403", "404", "403")
		p.click("#forget")
		p.enter("any") // good for every tenant: the link's is asked about
		p.sees("#target", "host:tokens")
		if got := r.state(t, id); got.Status != "pending" || len(got.Events) != 1 {
			t.Errorf("%+v", got)
		}
	})

	t.Run("decided meanwhile by somebody else", func(t *testing.T) {
		id := r.ask(t, "agent", "isolate_host", "host:meanwhile")
		p := r.open(t, id)
		p.enter("anna")
		p.sees("#target", "host:meanwhile")
		if status, text, err := r.gate.Do("POST", "/approvals/"+id+"/deny", "ben", "", `{"comment":"no"}`); err != nil || status != http.StatusOK {
			t.Fatalf("%d %v %s", status, err, text)
		}
		p.approve("yes")
		p.sees("#trouble", "It has ended already", "denied")
		p.sees("#events", "ben", "said no")
		p.wasRefused("409")
	})

	t.Run("approved, but the tenant was stopped; and taken back", func(t *testing.T) {
		refused, cancelled := r.ask(t, "agent", "isolate_host", "host:stopped"), r.ask(t, "agent", "isolate_host", "host:cancelled")
		post := func(path, token, reason string) {
			t.Helper()
			if status, text, err := r.gate.Do("POST", path, token, "", fmt.Sprintf(`{"reason":%q}`, reason)); err != nil || status != http.StatusOK {
				t.Fatalf("%d %v %s", status, err, text)
			}
		}
		post("/stop", "olga", "it misbehaves")
		defer post("/release", "olga", "fixed")
		p := r.open(t, refused)
		p.enter("anna")
		p.approve("yes")
		p.sees("#said", "Approved, but refused by the gate", "host:stopped must not run", "the tenant is stopped now")

		post("/approvals/"+cancelled+"/cancel", "agent", "not needed")
		q := r.open(t, cancelled)
		q.enter("anna")
		q.sees("#said", "Taken back", "host:cancelled")
		q.sees("#events", "not needed")
	})

	t.Run("without a whole link it asks which", func(t *testing.T) {
		id := r.ask(t, "agent", "isolate_host", "host:by-hand")
		p := openTab(t, r.browser, r.gate.URL)
		p.do("open the page", chromedp.Navigate(r.gate.URL+"/approve"))
		p.sees("#link-form", "Which approval?", "/approve#tenant=")
		p.picture("which")
		p.fill("#tenant", "acme")
		p.fill("#id", "nonsense")
		p.click("#open")
		p.sees("#id-fault", "That is no approval id")
		p.fill("#id", strings.ToUpper(id))
		p.click("#open")
		p.enter("anna")
		p.sees("#target", "host:by-hand")

		// Another link in the same tab: the token has to be given again.
		other := r.ask(t, "agent", "isolate_host", "host:other")
		p.do("follow another link", chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`location.hash = "tenant=acme&id=%s"`, other)))
		p.sees("#token-form", "Your token")
		p.enter("anna")
		p.sees("#target", "host:other")

		for _, bad := range []string{"#tenant=acme", "#tenant=ACME&id=" + id, "#tenant=acme&id=" + id + "&id=" + other, "#tenant=acme&id=" + id + "&next=//evil.example", "#<script>"} {
			p.do("follow a broken link", chromedp.Navigate("about:blank"), chromedp.Navigate(r.gate.URL+"/approve"+bad))
			p.sees("#trouble", "This link names no approval")
			p.sees("#link-form", "Which approval?")
		}
	})
}

// The page works from the keyboard alone, and says where its focus is.
func TestApprovalPageByKeyboard(t *testing.T) {
	r := newPageRig(t)
	id := r.ask(t, "agent", "isolate_host", "host:keys")
	p := r.open(t, id)
	focus := func() string { return p.eval(`document.activeElement.id`) }
	p.sees("#token-form")
	if focus() != "token" {
		t.Errorf("the focus is on %q", focus())
	}
	p.do("type", chromedp.KeyEvent("anna\r"))
	p.sees("#target", "host:keys")
	if focus() != "action" {
		t.Errorf("the focus is on %q", focus())
	}
	tabTo := func(id string) {
		t.Helper()
		for range 10 {
			if focus() == id {
				return
			}
			p.do("press Tab", chromedp.KeyEvent("\t"))
		}
		t.Fatalf("Tab does not lead to %s", id)
	}
	tabTo("comment")
	p.do("type", chromedp.KeyEvent("by keyboard"))
	tabTo("approve")
	p.do("press Enter", chromedp.KeyEvent("\r"))
	p.sees("#confirm", "host:keys")
	if focus() != "no" {
		t.Errorf("the question begins on %q: a second Enter must not approve", focus())
	}
	tabTo("yes")
	p.do("press Enter", chromedp.KeyEvent("\r"))
	p.sees("#said", "Released until")
	if focus() != "said" {
		t.Errorf("the focus is on %q", focus())
	}
}

// The watch of these tests sees what it is there for, and the page's policy
// stops what it forbids.
func TestApprovalPagePolicyHolds(t *testing.T) {
	r := newPageRig(t)
	for name, script := range map[string]string{
		"an inline script":  `(() => { const s = document.createElement("script"); s.append("document.title = 'hacked'"); document.body.append(s); return ""; })()`,
		"markup":            `(() => { try { document.body.innerHTML = "<b>hacked</b>"; } catch {} return ""; })()`,
		"a picture":         `(() => { const i = new Image(); i.src = "/metrics"; return ""; })()`,
		"another origin":    `fetch("http://127.0.0.1:1/").then(() => "", () => "")`,
		"a form":            `(() => { const f = document.createElement("form"); f.action = "/openapi.json"; document.body.append(f); f.submit(); return ""; })()`,
		"an inline style":   `(() => { document.body.setAttribute("style", "color: red"); return ""; })()`,
		"the gate's script": `(() => { const s = document.createElement("script"); try { s.src = "/openapi.json"; document.body.append(s); } catch {} return ""; })()`,
	} {
		t.Run(name, func(t *testing.T) {
			p := watchedTab(t, r.browser)
			p.do("open the page", chromedp.Navigate(r.gate.URL+"/approve"))
			p.sees("#link-form")
			p.eval(script)
			stopped := func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return slices.ContainsFunc(p.faults, func(f string) bool { return strings.HasPrefix(f, "the policy stopped") })
			}
			for deadline := time.Now().Add(browserPatience); !stopped(); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("nothing was stopped, or it was not seen")
				}
			}
			p.sees("#link-form", "Which approval?") // still there
			if title := p.eval("document.title"); title != "Approval · tiergate" {
				t.Errorf("the page is called %s", title)
			}
		})
	}
}
