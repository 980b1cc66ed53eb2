package features

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/cucumber/godog"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
)

// world is one scenario: who it is about, and what was answered.
type world struct {
	*house
	gate   *binarytest.Gate
	db     *sql.DB
	number int
	tenant string

	asked       string // the last request's body
	status      int
	answer      answer
	earlier     []answer // decisions made before the When
	changes     int      // accepted changes
	stillAuto   []string
	whitelistID string
	deployment  *deployment // where the scenario is about the policy
	pending     *pending    // where it is about an approval
	receivers   map[string]*receiver
	attached    map[string]bool // decisions, to the results

	outcomeSeen, logSeen, noDecision bool
}

type answer struct {
	DecisionID       string   `json:"decision_id"`
	Decision         string   `json:"decision"`
	Rule             string   `json:"rule"`
	Rationale        string   `json:"rationale"`
	BlastRadius      string   `json:"blast_radius"`
	OverridesApplied []string `json:"overrides_applied"`
	LogSeq           int64    `json:"log_seq"`
}

var privateRanges = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}

func (w *world) steps(sc *godog.ScenarioContext) {
	sc.Given(`^the tenant "([^"]*)" was never configured$`, w.unconfigured)
	sc.Given(`^the tenant "([^"]*)" is at tier L(\d)-\w+$`, w.setTier)
	sc.Given(`^the tenant "([^"]*)" is (?:raised|lowered) to tier L(\d)-\w+$`, w.setTier)
	sc.Given(`^an operator (blocks|forces|wants to be asked before) (\w+) because "([^"]*)"$`, w.override)
	sc.Given(`^an operator (forces) (\w+) for (\d+) seconds? because "([^"]*)"$`, w.overrideFor)
	sc.Given(`^an operator forces (\w+) from confidence ([\d.]+) but not against private ranges because "([^"]*)"$`, w.forceOutside)
	sc.Given(`^an operator wants to be asked before (\w+) against private ranges because "([^"]*)"$`, w.askInside)
	sc.Given(`^an operator (stops|releases) the tenant because "([^"]*)"$`, w.stop)
	sc.Given(`^the whitelist lets (\w+) run on targets that start with "([^"]*)" because "([^"]*)"$`, w.whitelist)
	sc.Given(`^the whitelist lets (\w+) run on targets that start with "([^"]*)" for (\d+) seconds? because "([^"]*)"$`, w.whitelistFor)
	sc.Given(`^the operator removes the whitelist entry because "([^"]*)"$`, w.removeWhitelist)
	sc.Given(`^(\d+) seconds have passed$`, func(n int) error { time.Sleep(time.Duration(n) * time.Second); return nil })
	sc.Given(`^the agent was (told to wait with|allowed) (\w+) on "([^"]*)"$`, w.earlierDecision)
	sc.Given(`^a gate whose log cannot be written$`, w.logDown)
	sc.Given(`^the log can be written again$`, w.logUp)

	sc.When(`^the agent asks to (\w+) on "([^"]*)"$`, func(action, target string) error { return w.ask("system", action, target, "") })
	sc.When(`^the agent asks to (\w+) on "([^"]*)" with confidence ([\d.]+)$`, func(action, target, confidence string) error {
		return w.ask("system", action, target, confidence)
	})
	sc.When(`^Anna asks to (\w+) on "([^"]*)"$`, func(action, target string) error { return w.ask("user:anna", action, target, "") })
	sc.When(`^the agent repeats its question$`, w.repeat)

	sc.Then(`^the action (runs by itself|waits for approval|is blocked)$`, w.outcome)
	sc.Then(`^the reason is "([^"]*)"$`, w.reason)
	sc.Then(`^its blast radius is (\w+)$`, w.radius)
	sc.Then(`^the decision names the whitelist entry$`, w.namesWhitelist)
	sc.Then(`^the gate log shows the decision with its rationale and policy$`, w.logShows)
	sc.Then(`^the gate log still shows every decision made before$`, w.logKeeps)
	sc.Then(`^the history still shows every change made before$`, w.historyKeeps)
	sc.Then(`^the operator was told that (\w+) still runs by itself$`, w.toldStillAuto)
	sc.Then(`^the gate gives no decision$`, w.noAnswer)
	sc.Then(`^it is the same decision as before$`, w.sameDecision)
}

// change makes an operator's change that must be accepted.
func (w *world) change(method, path string, body map[string]any) ([]byte, error) {
	text := []byte{}
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	status, answer, err := w.gate.Do(method, path, operatorToken, w.tenant, string(text))
	if err != nil {
		return nil, err
	}
	if status >= 300 {
		return nil, fmt.Errorf("%s %s %s: %d %s", method, path, text, status, answer)
	}
	w.changes++
	var told struct {
		StillAuto []string `json:"still_auto"`
	}
	if json.Unmarshal(answer, &told) == nil && told.StillAuto != nil {
		w.stillAuto = told.StillAuto
	}
	return answer, nil
}

func (w *world) unconfigured(tenant string) error {
	w.tenant = w.name(tenant)
	return nil
}

func (w *world) setTier(tenant string, tier int) error {
	w.tenant = w.name(tenant)
	_, err := w.change("PUT", "/config", map[string]any{"maturity_tier": tier, "reason": "as the scenario says"})
	return err
}

var modes = map[string]string{"blocks": "block", "forces": "force_auto", "wants to be asked before": "require_approval"}

func (w *world) putOverride(action string, body map[string]any) error {
	_, err := w.change("PUT", "/overrides/"+action, body)
	return err
}

func (w *world) override(verb, action, reason string) error {
	return w.putOverride(action, map[string]any{"mode": modes[verb], "reason": reason})
}

func (w *world) overrideFor(verb, action string, seconds int, reason string) error {
	return w.putOverride(action, map[string]any{"mode": modes[verb], "reason": reason, "expires_at": in(seconds)})
}

func (w *world) forceOutside(action, confidence, reason string) error {
	return w.putOverride(action, map[string]any{"mode": "force_auto", "reason": reason,
		"constraints": map[string]any{"min_confidence": json.Number(confidence), "not_target_cidr": privateRanges}})
}

func (w *world) askInside(action, reason string) error {
	return w.putOverride(action, map[string]any{"mode": "require_approval", "reason": reason,
		"constraints": map[string]any{"target_cidr": privateRanges}})
}

func (w *world) stop(verb, reason string) error {
	_, err := w.change("POST", map[string]string{"stops": "/stop", "releases": "/release"}[verb], map[string]any{"reason": reason})
	return err
}

func in(seconds int) string {
	return time.Now().UTC().Add(time.Duration(seconds) * time.Second).Format("2006-01-02T15:04:05.000Z")
}

func (w *world) whitelist(action, prefix, reason string) error {
	return w.whitelistFor(action, prefix, 3600, reason)
}

func (w *world) whitelistFor(action, prefix string, seconds int, reason string) error {
	text, err := w.change("POST", "/whitelist", map[string]any{"action_type": action, "reason": reason,
		"constraints": map[string]any{"target_prefix": prefix}, "expires_at": in(seconds)})
	if err != nil {
		return err
	}
	var entry struct{ ID string }
	err = json.Unmarshal(text, &entry)
	w.whitelistID = entry.ID
	return err
}

func (w *world) removeWhitelist(reason string) error {
	_, err := w.change("DELETE", "/whitelist/"+w.whitelistID+"?reason="+url.QueryEscape(reason), nil)
	return err
}

func (w *world) earlierDecision(how, action, target string) error {
	if err := w.ask("system", action, target, ""); err != nil {
		return err
	}
	want := map[string]string{"told to wait with": "queued_approval", "allowed": "auto"}[how]
	if w.answer.Decision != want {
		return fmt.Errorf("it was %q, not %q", w.answer.Decision, want)
	}
	w.earlier = append(w.earlier, w.answer)
	return nil
}

func (w *world) logDown() error {
	cluster, gate, db := w.frail()
	w.gate, w.db, w.tenant = gate, db, w.name("frail")
	return cluster.Stop()
}

func (w *world) logUp() error {
	if err := w.frailCluster.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if status, _, err := w.gate.Do("GET", "//readyz", "", "", ""); err == nil && status == http.StatusOK {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the gate is not ready again")
		}
	}
}

func (w *world) ask(actor, action, target, confidence string) error {
	body := map[string]any{"action_type": action, "target": target, "actor": actor, "action_id": uuidOf(w.number, len(w.earlier))}
	if confidence != "" {
		body["confidence"] = json.Number(confidence)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	w.asked = string(text)
	return w.repeat()
}

func uuidOf(scenario, question int) string {
	return fmt.Sprintf("00000000-0000-4000-8000-%06d%06d", scenario, question)
}

func (w *world) repeat() error {
	status, text, err := w.gate.Do("POST", "/decisions", agentToken, w.tenant, w.asked)
	if err != nil {
		return err
	}
	w.status, w.answer = status, answer{}
	return json.Unmarshal(text, &w.answer)
}

func (w *world) outcome(what string) error {
	w.outcomeSeen = true
	want := map[string]string{"runs by itself": "auto", "waits for approval": "queued_approval", "is blocked": "blocked"}[what]
	if w.status != http.StatusOK || w.answer.Decision != want {
		return fmt.Errorf("status %d, decision %q because of %s, want %q", w.status, w.answer.Decision, w.answer.Rule, want)
	}
	return nil
}

func (w *world) reason(title string) error {
	id, ok := w.titles[title]
	if !ok {
		return fmt.Errorf("no rule of the policy has the title %q", title)
	}
	if w.answer.Rule != id || w.answer.Rationale == "" {
		return fmt.Errorf("the rule is %q (%q), want %q", w.answer.Rule, w.answer.Rationale, id)
	}
	return nil
}

func (w *world) radius(want string) error {
	if w.answer.BlastRadius != want {
		return fmt.Errorf("it is %s", w.answer.BlastRadius)
	}
	return nil
}

func (w *world) namesWhitelist() error {
	if !slices.Equal(w.answer.OverridesApplied, []string{"whitelist:" + w.whitelistID}) {
		return fmt.Errorf("it names %v, want entry %s", w.answer.OverridesApplied, w.whitelistID)
	}
	return nil
}

func (w *world) logShows() error {
	w.logSeen = true
	return w.inLog(w.answer, w.activeHash())
}

func (w *world) inLog(a answer, want string) error {
	var decision, rule, rationale, hash string
	var seq int64
	err := w.db.QueryRow(`SELECT decision, rule, rationale, bundle_hash, log_seq FROM remediation_gate_log
		WHERE tenant_id = $1 AND decision_id = $2`, w.tenant, a.DecisionID).Scan(&decision, &rule, &rationale, &hash, &seq)
	if err != nil {
		return fmt.Errorf("decision %s of %s: %w", a.DecisionID, w.tenant, err)
	}
	if decision != a.Decision || rule != a.Rule || rationale != a.Rationale || hash != want || seq != a.LogSeq {
		return fmt.Errorf("the row says %s by %s, %q, %s, number %d; the answer was %+v", decision, rule, rationale, hash, seq, a)
	}
	return nil
}

func (w *world) logKeeps() error {
	if len(w.earlier) == 0 {
		return errors.New("nothing was decided before")
	}
	for _, a := range w.earlier {
		if err := w.inLog(a, w.hash); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) historyKeeps() error {
	status, text, err := w.gate.Do("GET", "/config/history", operatorToken, w.tenant, "")
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("%d %w %s", status, err, text)
	}
	var history struct {
		Entries []struct{ Epoch int }
	}
	if err := json.Unmarshal(text, &history); err != nil {
		return err
	}
	if len(history.Entries) != w.changes || w.changes == 0 || history.Entries[w.changes-1].Epoch != w.changes {
		return fmt.Errorf("it shows %v, want %d changes", history.Entries, w.changes)
	}
	return nil
}

func (w *world) toldStillAuto(action string) error {
	if !slices.Contains(w.stillAuto, action) {
		return fmt.Errorf("the operator was told %v", w.stillAuto)
	}
	return nil
}

func (w *world) noAnswer() error {
	w.outcomeSeen, w.noDecision = true, true
	defer func() { _ = w.frailCluster.Start() }()
	if w.status != http.StatusServiceUnavailable || w.answer.Decision != "" {
		return fmt.Errorf("status %d, decision %q", w.status, w.answer.Decision)
	}
	return nil
}

func (w *world) sameDecision() error {
	if last := w.earlier[len(w.earlier)-1]; last.DecisionID != w.answer.DecisionID || last.LogSeq != w.answer.LogSeq {
		return fmt.Errorf("it is %s, before it was %s", w.answer.DecisionID, last.DecisionID)
	}
	return nil
}
