package features

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cucumber/godog"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
	"github.com/tiergate/tiergate/rollout/rollouttest"
	"github.com/tiergate/tiergate/store/storetest"
)

// deployment is what a scenario about the policy has to itself: gates on a
// database whose active bundle nobody else relies on.
type deployment struct {
	other  *binarytest.Gate
	active string            // hash
	hashes map[string]string // by revision
	url    string
}

func (w *world) policySteps(sc *godog.ScenarioContext) {
	sc.Given(`^two gates for the tenant "([^"]*)" at tier L(\d)-\w+$`, w.twoGates)
	sc.Given(`^Paula brings policy ([\d.]+), in which search_siem waits for approval, because "([^"]*)"$`, w.bring)
	sc.Given(`^Paula brings policy ([\d.]+), in which HIGH actions run by themselves at L4, because "([^"]*)"$`, w.bringReckless)
	sc.Given(`^Paula brings policy ([\d.]+), in which an action with more than two overrides waits for approval, because "([^"]*)"$`, w.bringCrowded)
	sc.Given(`^Paula may not activate policy ([\d.]+) without taking on what its proof does not cover$`, w.notCovered)
	sc.Given(`^Paula activates policy ([\d.]+) and takes on what its proof does not cover because "([^"]*)"$`, w.activateAll)
	sc.Given(`^Paula may not activate policy ([\d.]+), which breaks the promise "([^"]*)"$`, w.breaksPromise)
	sc.Given(`^Paula may not bring policy ([\d.]+), which gives no decision where an operator blocks$`, w.mayNotBring)
	sc.Given(`^Paula (activates|goes back to) policy ([\d.]+) because "([^"]*)"$`, w.makeActive)
	sc.Given(`^Paula may not activate policy ([\d.]+), which is older$`, w.mayNotActivate)
	sc.Given(`^an operator may not activate policy ([\d.]+)$`, w.operatorMayNot)
	sc.Given(`^Paula lets policy ([\d.]+) decide beside the active one because "([^"]*)"$`, w.startShadow)
	sc.When(`^the agent asks the other gate to (\w+) on "([^"]*)"$`, w.askOther)
	sc.Then(`^the policy's history shows that Paula (brought|activated|went back to) ([\d.]+) because "([^"]*)"$`, w.policyHistory)
	sc.Then(`^every policy that the gate log names is kept$`, w.policiesKept)
	sc.Then(`^Paula sees that policy ([\d.]+) would have let it wait for approval$`, w.shadowSaw)
}

func (w *world) twoGates(tenant string, tier int) error {
	url := storetest.Postgres(w.t)
	w.gate, w.db = w.serve(url), openDB(w.t, url)
	w.deployment = &deployment{other: w.serve(url), active: w.hash, hashes: map[string]string{"1.1.1": w.hash}, url: url}
	return w.setTier(tenant, tier)
}

// activeHash is the bundle that decides in this scenario.
func (w *world) activeHash() string {
	if w.deployment == nil {
		return w.hash
	}
	return w.deployment.active
}

func (w *world) bring(revision, reason string) error {
	return w.upload(rollouttest.Revised(w.t, revision, rollouttest.Cautious...), reason, http.StatusCreated)
}

func (w *world) bringReckless(revision, reason string) error {
	return w.upload(rollouttest.Revised(w.t, revision, rollouttest.Reckless...), reason, http.StatusCreated)
}

func (w *world) bringCrowded(revision, reason string) error {
	return w.upload(rollouttest.Revised(w.t, revision, rollouttest.Crowded...), reason, http.StatusCreated)
}

// notCovered: the gate says what the proof does not look at.
func (w *world) notCovered(revision string) error {
	status, text, err := w.gate.Do("POST", "/bundles/"+w.deployment.hashes[revision]+"/activate", adminToken, "", `{"reason": "caution"}`)
	if err == nil && (status != http.StatusConflict || !strings.Contains(string(text), "not_covered") || !strings.Contains(string(text), "input.overrides as a whole")) {
		err = fmt.Errorf("%d %s", status, text)
	}
	return err
}

func (w *world) activateAll(revision, reason string) error {
	status, text, err := w.gate.Do("POST", "/bundles/"+w.deployment.hashes[revision]+"/activate", adminToken, "",
		`{"reason": "`+reason+`", "accept_not_covered": true}`)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, text)
	}
	w.deployment.active = w.deployment.hashes[revision]
	return err
}

// breaksPromise: the proof of the real binary refuses, and says why.
func (w *world) breaksPromise(revision, promise string) error {
	status, text, err := w.gate.Do("POST", "/bundles/"+w.deployment.hashes[revision]+"/activate", adminToken, "", `{"reason": "fewer questions"}`)
	if err != nil || status != http.StatusConflict || !strings.Contains(string(text), "proof_failed") {
		return fmt.Errorf("%d %w %s", status, err, text)
	}
	var refused struct {
		Report struct {
			Promises []struct {
				Title          string
				Holds          bool
				Counterexample struct{ Sentence string }
			}
		}
	}
	if err := json.Unmarshal(text, &refused); err != nil {
		return err
	}
	for _, p := range refused.Report.Promises {
		if p.Title == promise && !p.Holds && strings.Contains(p.Counterexample.Sentence, "auto by tier_allows") {
			return nil
		}
	}
	return fmt.Errorf("the report does not say so: %s", text)
}

func (w *world) mayNotBring(revision string) error {
	return w.upload(rollouttest.Revised(w.t, revision, rollouttest.Broken...), "a mistake", http.StatusBadRequest)
}

func (w *world) upload(b *bundles.Bundle, reason string, want int) error {
	w.deployment.hashes[b.Revision] = b.Hash
	status, text, err := w.gate.Upload(rollouttest.Pack(w.t, b), adminToken, reason)
	if err == nil && status != want {
		err = fmt.Errorf("%d %s, want %d", status, text, want)
	}
	return err
}

func (w *world) policyMove(token, revision, action, reason string, want int) error {
	body, err := json.Marshal(map[string]string{"reason": reason})
	if err != nil {
		return err
	}
	status, text, err := w.gate.Do("POST", "/bundles/"+w.deployment.hashes[revision]+"/"+action, token, "", string(body))
	if err == nil && status != want {
		err = fmt.Errorf("%d %s, want %d", status, text, want)
	}
	return err
}

func (w *world) makeActive(verb, revision, reason string) error {
	action := map[string]string{"activates": "activate", "goes back to": "rollback"}[verb]
	err := w.policyMove(adminToken, revision, action, reason, http.StatusOK)
	w.deployment.active = w.deployment.hashes[revision]
	return err
}

func (w *world) mayNotActivate(revision string) error {
	return w.policyMove(adminToken, revision, "activate", "a mistake", http.StatusConflict)
}

func (w *world) operatorMayNot(revision string) error {
	return w.policyMove(operatorToken, revision, "activate", "a mistake", http.StatusForbidden)
}

func (w *world) startShadow(revision, reason string) error {
	return w.policyMove(adminToken, revision, "shadow", reason, http.StatusOK)
}

func (w *world) askOther(action, target string) error {
	w.gate = w.deployment.other
	for try := 0; ; try++ {
		err := w.ask("system", action, target, "")
		if err != nil || w.status != http.StatusServiceUnavailable || try == 5 {
			return err // 503: on a slow machine it takes a moment to compile
		}
	}
}

func (w *world) policyHistory(verb, revision, reason string) error {
	kind := map[string]string{"brought": "upload", "activated": "activate", "went back to": "rollback"}[verb]
	status, text, err := w.gate.Do("GET", "/bundles/history", operatorToken, w.tenant, "")
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("%d %w %s", status, err, text)
	}
	var history struct {
		Entries []struct {
			Kind, Actor, Reason string
			BundleHash          string `json:"bundle_hash"`
		}
	}
	if err := json.Unmarshal(text, &history); err != nil {
		return err
	}
	for _, e := range history.Entries {
		if e.Kind == kind && e.BundleHash == w.deployment.hashes[revision] && strings.EqualFold(e.Actor, "paula") && e.Reason == reason {
			return nil
		}
	}
	return fmt.Errorf("it shows %+v", history.Entries)
}

func (w *world) policiesKept() error {
	var missing, named int
	err := w.db.QueryRow(`SELECT count(DISTINCT bundle_hash), count(*) FILTER (WHERE bundle_hash NOT IN (SELECT bundle_hash FROM policy_bundle)) FROM remediation_gate_log`).Scan(&named, &missing)
	if err == nil && (missing > 0 || named < 2) {
		err = fmt.Errorf("%d policies decided, the policies of %d rows are not kept", named, missing)
	}
	return err
}

func (w *world) shadowSaw(revision string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status, text, err := w.gate.Do("GET", "/bundles/"+w.deployment.hashes[revision]+"/shadow", adminToken, "", "")
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("%d %w %s", status, err, text)
		}
		var report struct {
			Samples []struct {
				DecisionID string `json:"decision_id"`
				Shadow     string
			}
		}
		if err := json.Unmarshal(text, &report); err != nil {
			return err
		}
		for _, s := range report.Samples {
			if s.DecisionID == w.answer.DecisionID && s.Shadow == "queued_approval" {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return errors.New("the shadow's report does not show it: " + string(text))
		}
	}
}
