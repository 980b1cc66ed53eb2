package features

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cucumber/godog"
)

// The people of the approvals' scenarios, and their tokens.
const (
	annaToken     = "features-anna"
	benToken      = "features-ben"
	benPhoneToken = "features-ben-phone"
	botToken      = "features-bot"
	otherToken    = "features-other"
	auditorToken  = operatorToken
)

var peoplesTokens = []string{
	annaToken + " anna * operator,approver", benToken + " ben * approver", benPhoneToken + " ben-phone * approver ben",
	botToken + " bot * agent,approver", otherToken + " oscar elsewhere approver",
}

// pending is the approval that a scenario is about.
type pending struct {
	decision string // that opened it
	approval approvalState
	status   int // of the last vote or report
	heard    chan approvalState
}

type approvalState struct {
	ID         string
	Status     string
	ValidUntil time.Time `json:"valid_until"`
	Released   string    `json:"release_decision_id"`
	Events     []struct{ Kind, Person, Comment, Rule string }
}

func (w *world) approvalSteps(sc *godog.ScenarioContext) {
	sc.Given(`^(the agent|Anna) waits for approval to (\w+) on "([^"]*)"$`, w.waits)
	sc.Given(`^(Anna|Ben) has approved it because "([^"]*)"$`, w.hasApproved)
	sc.Given(`^the agent listens for the answer$`, w.listens)
	sc.When(`^(Anna|Ben|another agent|an approver of another tenant) (approves|denies) it because "([^"]*)"$`, w.votes)
	sc.When(`^(Ben) (approves) it with another token because "([^"]*)"$`, func(_, verb, comment string) error {
		return w.votes("Ben's phone", verb, comment)
	})
	sc.When(`^the agent takes it back because "([^"]*)"$`, w.takesBack)
	sc.When(`^the agent reports that it (executed|failed) because "([^"]*)"$`, w.reports)
	sc.Then(`^the action is (released|denied|refused|cancelled)$`, w.ended)
	sc.Then(`^the action still waits for approval$`, func() error { return w.stands("pending") })
	sc.Then(`^the vote is not taken$`, w.notTaken)
	sc.Then(`^the approval says "([^"]*)"$`, w.approvalSays)
	sc.Then(`^the agent may begin within a minute$`, w.mayBegin)
	sc.Then(`^the agent hears that it is released$`, w.hears)
	sc.Then(`^the gate log shows that it was decided again and is (?:still|now) "([^"]*)"$`, w.decidedAgain)
	sc.Then(`^the gate log shows no second decision$`, w.notDecidedAgain)
	sc.Then(`^the gate log shows no CRITICAL action that ran by itself$`, w.noCriticalAuto)
	sc.Then(`^the evidence names (\w+) and "([^"]*)"$`, w.evidence)
	sc.Then(`^it waits for (the same approval as before|another approval)$`, w.sameApproval)
	sc.Then(`^the report is (taken|not taken)$`, w.reportTaken)
	sc.Then(`^the auditor finds it among what "([^"]*)"$`, w.found)
}

// send makes a request about the approval or its decision.
func (w *world) send(method, path, token string, body map[string]any, into any) (int, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return 0, err
		}
	}
	tenant := w.tenant
	if token == otherToken {
		tenant = "" // its own
	}
	status, answer, err := w.gate.Do(method, path, token, tenant, string(text))
	if err == nil && status < 300 && into != nil {
		err = json.Unmarshal(answer, into)
	}
	return status, err
}

func (w *world) waits(who, action, target string) error {
	token := map[string]string{"the agent": agentToken, "Anna": annaToken}[who]
	var told struct {
		DecisionID string `json:"decision_id"`
		Decision   string
		Approval   approvalState
	}
	status, err := w.send("POST", "/decisions", token, map[string]any{"action_type": action, "target": target}, &told)
	if err == nil && (status != http.StatusOK || told.Decision != "queued_approval" || told.Approval.Status != "pending") {
		err = fmt.Errorf("%d %+v", status, told)
	}
	w.pending = &pending{decision: told.DecisionID, approval: told.Approval}
	return err
}

func (w *world) votes(who, verb, comment string) error {
	token := map[string]string{"Anna": annaToken, "Ben": benToken, "Ben's phone": benPhoneToken, "another agent": botToken, "an approver of another tenant": otherToken}[who]
	verdict := map[string]string{"approves": "/approve", "denies": "/deny"}[verb]
	var err error
	w.pending.status, err = w.send("POST", "/approvals/"+w.pending.approval.ID+verdict, token, map[string]any{"comment": comment}, &w.pending.approval)
	return err
}

func (w *world) hasApproved(who, comment string) error {
	if err := w.votes(who, "approves", comment); err != nil || w.pending.status != http.StatusOK {
		return fmt.Errorf("%d %w", w.pending.status, err)
	}
	return nil
}

func (w *world) takesBack(reason string) error {
	var err error
	w.pending.status, err = w.send("POST", "/approvals/"+w.pending.approval.ID+"/cancel", agentToken, map[string]any{"reason": reason}, &w.pending.approval)
	return err
}

func (w *world) listens() error {
	p := w.pending
	p.heard = make(chan approvalState, 1)
	go func() {
		var row struct{ Approval approvalState }
		if status, err := w.send("GET", "/decisions/"+p.decision+"?wait=15s", agentToken, nil, &row); err != nil || status != http.StatusOK {
			row.Approval.Status = fmt.Sprintf("%d %v", status, err)
		}
		p.heard <- row.Approval
	}()
	time.Sleep(200 * time.Millisecond) // until it listens
	return nil
}

func (w *world) hears() error {
	select {
	case a := <-w.pending.heard:
		if a.Status != "released" || a.Released != w.pending.approval.Released {
			return fmt.Errorf("it heard %+v", a)
		}
		return nil
	case <-time.After(5 * time.Second):
		return errors.New("it heard nothing for 5 seconds")
	}
}

func (w *world) ended(how string) error {
	if w.pending.status != http.StatusOK {
		return fmt.Errorf("the vote was answered with %d", w.pending.status)
	}
	return w.stands(how)
}

// stands looks where the approval stands, as an auditor sees it.
func (w *world) stands(want string) error {
	w.outcomeSeen = true
	status, err := w.send("GET", "/approvals/"+w.pending.approval.ID, auditorToken, nil, &w.pending.approval)
	if err == nil && (status != http.StatusOK || w.pending.approval.Status != want) {
		err = fmt.Errorf("%d, it is %s, want %s", status, w.pending.approval.Status, want)
	}
	return err
}

func (w *world) notTaken() error {
	if w.pending.status != http.StatusForbidden && w.pending.status != http.StatusConflict && w.pending.status != http.StatusNotFound {
		return fmt.Errorf("the vote was answered with %d", w.pending.status)
	}
	return nil
}

func (w *world) approvalSays(title string) error {
	last := w.pending.approval.Events[len(w.pending.approval.Events)-1]
	if id, ok := w.titles[title]; !ok || last.Rule != id {
		return fmt.Errorf("the last step is by the rule %q", last.Rule)
	}
	return nil
}

func (w *world) mayBegin() error {
	if left := time.Until(w.pending.approval.ValidUntil); left < 30*time.Second || left > time.Minute {
		return fmt.Errorf("it may begin within %v", left)
	}
	return nil
}

// again reads the rows that were made by the approval.
func (w *world) again() (n int, decision, supersedes string, err error) {
	w.logSeen = true
	err = w.db.QueryRow(`SELECT count(*), coalesce(max(decision), ''), coalesce(max(supersedes::text), '') FROM remediation_gate_log
		WHERE tenant_id = $1 AND approval_id = $2 AND supersedes IS NOT NULL`, w.tenant, w.pending.approval.ID).Scan(&n, &decision, &supersedes)
	return n, decision, supersedes, err
}

func (w *world) decidedAgain(want string) error {
	n, decision, supersedes, err := w.again()
	if err == nil && (n != 1 || decision != want || supersedes != w.pending.decision) {
		err = fmt.Errorf("%d rows, %s, instead of %s", n, decision, supersedes)
	}
	return err
}

func (w *world) notDecidedAgain() error {
	n, _, _, err := w.again()
	if err == nil && n != 0 {
		err = fmt.Errorf("it shows %d", n)
	}
	return err
}

func (w *world) noCriticalAuto() error {
	var n int
	err := w.db.QueryRow(`SELECT count(*) FROM remediation_gate_log WHERE blast_radius = 'CRITICAL' AND decision = 'auto'`).Scan(&n)
	if err == nil && n != 0 {
		err = fmt.Errorf("it shows %d", n)
	}
	return err
}

func (w *world) evidence(who, comment string) error {
	for _, e := range w.pending.approval.Events {
		if (e.Kind == "approve" || e.Kind == "deny") && e.Comment == comment && e.Person == map[string]string{"Anna": "anna", "Ben": "ben"}[who] {
			return nil
		}
	}
	return fmt.Errorf("it shows %+v", w.pending.approval.Events)
}

func (w *world) sameApproval(which string) error {
	var row struct{ Approval approvalState }
	status, err := w.send("GET", "/decisions/"+w.answer.DecisionID, agentToken, nil, &row)
	if err == nil && (status != http.StatusOK || row.Approval.ID == "" || (row.Approval.ID == w.pending.approval.ID) != (which == "the same approval as before")) {
		err = fmt.Errorf("%d, it waits for %s, before it was %s", status, row.Approval.ID, w.pending.approval.ID)
	}
	return err
}

func (w *world) reports(what, detail string) error {
	var err error
	w.pending.status, err = w.send("POST", "/decisions/"+w.pending.decision+"/outcome", agentToken, map[string]any{"status": what, "detail": detail}, nil)
	return err
}

func (w *world) reportTaken(how string) error {
	w.outcomeSeen = true
	if (w.pending.status == http.StatusCreated) != (how == "taken") {
		return fmt.Errorf("it was answered with %d", w.pending.status)
	}
	return nil
}

func (w *world) found(outcome string) error {
	var page struct {
		Entries []struct{ Supersedes string }
	}
	status, err := w.send("GET", "/gate-log?outcome="+outcome, auditorToken, nil, &page)
	if err == nil && (status != http.StatusOK || len(page.Entries) != 1 || page.Entries[0].Supersedes != w.pending.decision) {
		err = fmt.Errorf("%d %+v", status, page)
	}
	return err
}
