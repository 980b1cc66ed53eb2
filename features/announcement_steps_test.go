package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cucumber/godog"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// receiver is an HTTP server that a channel leads to.
type receiver struct {
	*httptest.Server
	secret string
	sick   atomic.Bool

	mu       sync.Mutex
	messages []message // that it took
}

type message struct {
	header http.Header
	body   []byte
	event  struct {
		ID, Type, Subject string
		Data              struct {
			Decision         string
			Rule, Rationale  string
			Target           string
			ActionType       string   `json:"action_type"`
			OverridesApplied []string `json:"overrides_applied"`
			Approval         struct {
				ID        string `json:"approval_id"`
				ExpiresAt string `json:"expires_at"`
				URL       string
			}
		}
	}
}

// receiverPath is a part of each receiver's URL that nobody may see.
const receiverPath = "/hook-pa55word"

func (w *world) announcementSteps(sc *godog.ScenarioContext) {
	sc.Given(`^the receiver "([^"]*)" is a webhook of the tenant$`, func(name string) error { return w.setReceiver(name, false) })
	sc.Given(`^the receiver "([^"]*)" is a webhook that is told of approvals$`, func(name string) error { return w.setReceiver(name, true) })
	sc.Given(`^(\w+) is whitelisted on "([^"]*)" and announced to "([^"]*)"$`, w.whitelistAnnounced)
	sc.Step(`^"([^"]*)" (answers nothing but errors|works again)$`, func(name, how string) error {
		w.receivers[name].sick.Store(how != "works again")
		return nil
	})
	sc.Then(`^within seconds "([^"]*)" is told that it ran by itself, by which entry and why$`, w.toldAuto)
	sc.Then(`^the message is signed by the gate, and a changed copy of it is not$`, w.signed)
	sc.Then(`^the auditor finds an announcement that was given up because there is no channel "([^"]*)"$`, w.givenUp)
	sc.Then(`^within seconds "([^"]*)" is told once that (\w+) on "([^"]*)" waits, and until when$`, w.toldApproval)
	sc.Then(`^following the link of the message changes nothing$`, w.linkChangesNothing)
	sc.Then(`^the history shows who set the channel "([^"]*)", and neither its path nor its key$`, w.channelHistory)
	sc.After(w.closeReceivers)
}

func (w *world) setReceiver(name string, approvals bool) error {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(r.take))
	if w.receivers == nil {
		w.receivers = map[string]*receiver{}
	}
	w.receivers[name] = r
	body, err := w.change("PUT", "/channels/"+name, map[string]any{"format": "webhook", "url": r.URL + receiverPath, "approvals": approvals, "reason": "as the scenario says"})
	if err != nil {
		return err
	}
	var made struct{ Secret string }
	if err := json.Unmarshal(body, &made); err != nil {
		return err
	}
	r.secret = made.Secret
	return nil
}

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil || r.sick.Load() {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	m := message{header: req.Header, body: body}
	if err := json.Unmarshal(body, &m.event); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	w.WriteHeader(http.StatusNoContent)
}

// taken are the messages that a receiver took.
func (r *receiver) taken() []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]message(nil), r.messages...)
}

// told waits until a receiver has taken a message.
func (w *world) told(name string) (message, error) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if list := w.receivers[name].taken(); len(list) > 0 {
			return list[0], nil
		}
	}
	return message{}, fmt.Errorf("%s was told nothing", name)
}

func (w *world) whitelistAnnounced(action, target, notify string) error {
	_, err := w.change("POST", "/whitelist", map[string]any{
		"action_type": action, "constraints": map[string]any{"target": target}, "expires_at": "2200-01-01T00:00:00Z",
		"reason": "as the scenario says", "notify": []string{notify},
	})
	return err
}

func (w *world) toldAuto(name string) error {
	m, err := w.told(name)
	if err != nil {
		return err
	}
	d := m.event.Data
	if m.event.Subject != w.answer.DecisionID || d.Decision != "auto" || d.Rationale != w.answer.Rationale || len(d.OverridesApplied) != 1 || !strings.HasPrefix(d.OverridesApplied[0], "whitelist:") {
		return fmt.Errorf("told %s", m.body)
	}
	return nil
}

func (w *world) signed() error {
	signed := 0
	for name, r := range w.receivers {
		for _, m := range r.taken() {
			v, err := standardwebhooks.NewWebhook(r.secret)
			if err != nil {
				return err
			}
			if err := v.Verify(m.body, m.header); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			changed := []byte(strings.Replace(string(m.body), "host:wks-042", "host:wks-043", 1))
			if v.Verify(changed, m.header) == nil {
				return fmt.Errorf("a changed message is taken for signed: %s", changed)
			}
			signed++
		}
	}
	if signed == 0 {
		return errors.New("no message")
	}
	return nil
}

func (w *world) givenUp(channel string) error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var list struct {
			Entries []struct {
				Channel    string
				LastError  string `json:"last_error"`
				DecisionID string `json:"decision_id"`
			}
		}
		if _, err := w.send("GET", "/announcements?status=dead", operatorToken, nil, &list); err != nil {
			return err
		}
		if len(list.Entries) == 1 && list.Entries[0].Channel == channel && list.Entries[0].DecisionID == w.answer.DecisionID && strings.Contains(list.Entries[0].LastError, "no channel") {
			return nil
		}
	}
	return fmt.Errorf("no such announcement")
}

func (w *world) toldApproval(name, action, target string) error {
	if _, err := w.told(name); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // in which a second message would come
	list := w.receivers[name].taken()
	if len(list) != 1 {
		return fmt.Errorf("%s was told %d times", name, len(list))
	}
	d := list[0].event.Data
	if d.ActionType != action || d.Target != target || d.Approval.ID == "" || d.Approval.ExpiresAt == "" {
		return fmt.Errorf("told %s", list[0].body)
	}
	w.pending = &pending{approval: approvalState{ID: d.Approval.ID}}
	return nil
}

func (w *world) linkChangesNothing() error {
	resp, err := http.Get(w.gate.URL + "/approve")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the page that asks: %s", resp.Status)
	}
	var now approvalState
	if _, err := w.send("GET", "/approvals/"+w.pending.approval.ID, annaToken, nil, &now); err != nil {
		return err
	}
	if now.Status != "pending" || len(now.Events) != 1 {
		return fmt.Errorf("after the link was followed: %+v", now)
	}
	return nil
}

func (w *world) channelHistory(name string) error {
	status, body, err := w.gate.Do("GET", "/config/history", operatorToken, w.tenant, "")
	if err != nil {
		return err
	}
	text := string(body)
	if status != http.StatusOK || !strings.Contains(text, `"channel_set"`) || !strings.Contains(text, `"name":"`+name+`"`) || !strings.Contains(text, `"actor":`) {
		return fmt.Errorf("the history: %d %s", status, text)
	}
	if strings.Contains(text, "pa55word") || strings.Contains(text, strings.TrimPrefix(w.receivers[name].secret, "whsec_")) {
		return fmt.Errorf("the history shows a secret: %s", text)
	}
	w.outcomeSeen, w.noDecision = true, true
	return nil
}

func (w *world) closeReceivers(ctx context.Context, _ *godog.Scenario, _ error) (context.Context, error) {
	for _, r := range w.receivers {
		r.Close()
	}
	return ctx, nil
}
