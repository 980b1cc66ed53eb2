package announce

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
)

const testText = "This channel works. An operator tried it; nothing was decided."

// What a message shows of texts that can be long. The target is shown whole,
// always: it is what somebody approves.
const (
	maxRationale = 1200
	maxRollback  = 600
	maxName      = 256
	maxBrief     = 300  // of the rationale, where several announcements share a message
	maxPage      = 2000 // a link, longer than any that is real
)

// card is what a message for people says, before it has a format. Every text
// but those of words and page may be an agent's, and is ready to be seen.
type card struct {
	words   string // safe in any mark-up: a kind, and an action type if it is spelled as one
	title   string
	target  string
	facts   []fact
	brief   string // the facts in a line
	footer  string
	page    string // where a person goes on; "" where there is none
	command string // what a person types instead
}

type fact struct{ label, text string }

// cardOf is what to say of due, which must be complete.
func cardOf(publicURL string, due engine.DueAnnouncement) card {
	switch due.Kind {
	case engine.AnnounceApproval:
		return approvalCard(publicURL, due)
	case engine.AnnounceAuto:
		return autoCard(due.Entry)
	}
	c := card{words: "Test of tiergate", title: "Test of tiergate", facts: []fact{{"Test", testText}}, brief: testText}
	c.footer = fmt.Sprintf("Channel %s, tenant %s", visible(due.Channel, maxName), visible(due.TenantID, maxName))
	return c
}

func approvalCard(publicURL string, due engine.DueAnnouncement) card {
	e, a := due.Entry, due.Approval
	c := card{
		words: "Approval needed: " + safeAction(e.ActionType), title: "Approval needed: " + visible(e.ActionType, 64), target: visible(e.Target, 0),
		page: approvalPage(publicURL, due.TenantID, a.ID),
	}
	if isID(a.ID) {
		c.command = "tiergate approvals approve " + a.ID + " --comment WHY"
	}
	needs := "one person's approval"
	if a.Needed > 1 {
		needs = fmt.Sprintf("the approval of %d different people", a.Needed)
	}
	c.facts = []fact{
		{"Blast radius", e.BlastRadius.String()},
		{"Asked by", askedBy(a.Requester, e.Actor)},
		{"Why it waits", orNone(visible(e.Rationale, maxRationale))},
		{"Rollback", rollback(e)},
		{"Until", clock(a.ExpiresAt)},
		{"Needs", needs},
	}
	c.brief = fmt.Sprintf("%s, asked by %s, until %s, needs %s. %s",
		e.BlastRadius, askedBy(a.Requester, e.Actor), clock(a.ExpiresAt), needs, visible(e.Rationale, maxBrief))
	c.footer = fmt.Sprintf("Approval %s, decision %s, tenant %s", visible(a.ID, maxName), visible(e.DecisionID, maxName), visible(e.TenantID, maxName))
	return c
}

func autoCard(e *engine.Entry) card {
	asked := askedBy(e.Principal, e.Actor)
	c := card{
		words: "Let go by the whitelist: " + safeAction(e.ActionType), title: "Let go by the whitelist: " + visible(e.ActionType, 64), target: visible(e.Target, 0),
	}
	entry := "unknown"
	for _, o := range e.OverridesApplied {
		if id, ok := strings.CutPrefix(o, "whitelist:"); ok {
			entry = orNone(visible(id, maxName))
		}
	}
	c.facts = []fact{
		{"Whitelist entry", entry},
		{"Blast radius", e.BlastRadius.String()},
		{"Asked by", asked},
		{"Why", orNone(visible(e.Rationale, maxRationale))},
		{"Rollback", rollback(e)},
		{"Decided", clock(e.DecidedAt)},
	}
	c.brief = fmt.Sprintf("%s, asked by %s, by whitelist entry %s, at %s. Rollback: %s",
		e.BlastRadius, asked, entry, clock(e.DecidedAt), visible(e.Rollback, maxBrief))
	c.footer = fmt.Sprintf("Decision %s, tenant %s", visible(e.DecisionID, maxName), visible(e.TenantID, maxName))
	return c
}

// orNone is for texts that are never empty: neither Slack nor Teams shows one.
func orNone(s string) string {
	if s == "" {
		return "not said"
	}
	return s
}

func rollback(e *engine.Entry) string {
	if e.Rollback == "" {
		return "none is known"
	}
	return visible(e.Rollback, maxRollback)
}

// askedBy names who asked and for whom, where that is somebody else.
func askedBy(person, actor string) string {
	s := orNone(visible(person, maxName))
	if user, ok := strings.CutPrefix(actor, "user:"); ok && user != person {
		s += ", for " + visible(actor, maxName)
	}
	return s
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// safeAction is an action type, or other words where it is not spelled as one.
func safeAction(s string) string {
	if len(s) < 2 || len(s) > 64 || s[0] < 'a' || s[0] > 'z' || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return "an action"
	}
	return s
}

// digestTitle says what several cards are: "3 announcements: 2 approvals needed".
func digestTitle(cards []card) string {
	approvals := 0
	for _, c := range cards {
		if strings.HasPrefix(c.words, "Approval") {
			approvals++
		}
	}
	s := fmt.Sprintf("%d announcements", len(cards))
	switch approvals {
	case 0:
	case 1:
		s += ": 1 approval needed"
	default:
		s += fmt.Sprintf(": %d approvals needed", approvals)
	}
	return s
}

// approvalPage is where a person decides about an approval, "" where the gate
// has no such place. Opening it approves nothing. Tenant and id are behind the
// "#", so that no server on the way writes them into a log.
func approvalPage(publicURL, tenant, id string) string {
	base, err := cleanPublicURL(publicURL)
	if err != nil || base == "" || !isID(id) {
		return ""
	}
	page := base + "/approve#tenant=" + url.QueryEscape(tenant) + "&id=" + id
	if len(page) > maxPage {
		return ""
	}
	return page
}

// cleanPublicURL checks what an operator says is the gate's address, and gives it
// without the slash at the end. "" is none.
func cleanPublicURL(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("#<>|\"`\\", r) }) {
		return "", errors.New("the public URL must be https://HOST or https://HOST/PATH, without user name, query or fragment")
	}
	return strings.TrimRight(s, "/"), nil
}

// isID reports whether s is spelled as an id of ours, which is safe anywhere.
func isID(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "0123456789abcdefABCDEF-") == "" && s[0] != '-'
}
