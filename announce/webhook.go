package announce

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/tiergate/tiergate/engine"
)

// The types of events, each with the version of its data. A field may be added
// under a version; a field that goes or changes its meaning makes another one.
const (
	TypeAuto     = "dev.tiergate.decision.auto.v1"
	TypeApproval = "dev.tiergate.approval.opened.v1"
	TypeTest     = "dev.tiergate.test.v1"
)

// errIncomplete: what an announcement is about could not be read.
var errIncomplete = errors.New("the decision or the approval that this is about could not be read")

// event is a CloudEvents 1.0 event in structured JSON form.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
type event struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject,omitempty"`
	Time            string `json:"time"`
	DataContentType string `json:"datacontenttype"`
	Data            any    `json:"data"`
}

// decisionData has the names of the gate log's API.
type decisionData struct {
	TenantID         string        `json:"tenant_id"`
	DecisionID       string        `json:"decision_id"`
	ActionID         string        `json:"action_id"`
	ActionType       string        `json:"action_type"`
	Target           string        `json:"target"`
	Actor            string        `json:"actor"`
	BlastRadius      string        `json:"blast_radius"`
	MaturityTier     int           `json:"maturity_tier"`
	Decision         string        `json:"decision"`
	Rule             string        `json:"rule"`
	Rationale        string        `json:"rationale"`
	OverridesApplied []string      `json:"overrides_applied"`
	Rollback         string        `json:"rollback"`
	Policy           policyData    `json:"policy"`
	ConfigEpoch      int64         `json:"config_epoch"`
	LogSeq           int64         `json:"log_seq"`
	DecidedAt        string        `json:"decided_at"`
	Principal        string        `json:"principal"`
	IncidentID       string        `json:"incident_id,omitempty"`
	Confidence       *float64      `json:"confidence,omitempty"`
	ParametersDigest string        `json:"parameters_digest,omitempty"`
	TierLabel        string        `json:"tier_label"`
	EngineVersion    string        `json:"engine_version"`
	PolicyEpoch      int64         `json:"policy_epoch"`
	ApprovalID       string        `json:"approval_id,omitempty"`
	Supersedes       string        `json:"supersedes,omitempty"`
	Approval         *approvalData `json:"approval,omitempty"`
}

type policyData struct {
	Revision   string `json:"revision"`
	BundleHash string `json:"bundle_hash"`
}

type approvalData struct {
	ApprovalID string `json:"approval_id"`
	Needed     int    `json:"needed"`
	OpenedAt   string `json:"opened_at"`
	ExpiresAt  string `json:"expires_at"`
	Requester  string `json:"requester"`
	URL        string `json:"url,omitempty"`
}

// testData is about no decision.
type testData struct {
	TenantID string `json:"tenant_id"`
	Channel  string `json:"channel"`
	Message  string `json:"message"`
}

// WebhookBody is what a webhook gets. It has only facts that do not change, so
// that every attempt has the same bytes: no status, and no parameters, of which
// the digest is enough to compare. (Two facts can differ if they were changed
// while an announcement waited: publicURL, by whoever runs the gate, and the
// number of approvals needed, by a stricter policy and a vote.)
func WebhookBody(publicURL string, due engine.DueAnnouncement) ([]byte, error) {
	if !complete(due) {
		return nil, errIncomplete
	}
	ev := event{
		SpecVersion: "1.0", ID: due.ID, DataContentType: "application/json",
		// The source names the tenant and not the gate: source and id together
		// are how a receiver knows an event, whichever gate sends it.
		Source: "/tenants/" + url.PathEscape(due.TenantID),
	}
	switch due.Kind {
	case engine.AnnounceTest:
		ev.Type, ev.Time = TypeTest, engine.FormatTime(due.CreatedAt)
		ev.Data = testData{due.TenantID, due.Channel, testText}
	case engine.AnnounceApproval:
		a := due.Approval
		ev.Type, ev.Subject, ev.Time = TypeApproval, a.ID, engine.FormatTime(a.OpenedAt)
		d := dataOf(due.Entry)
		d.Approval = &approvalData{
			ApprovalID: a.ID, Needed: a.Needed, OpenedAt: engine.FormatTime(a.OpenedAt), ExpiresAt: engine.FormatTime(a.ExpiresAt),
			Requester: a.Requester, URL: approvalPage(publicURL, due.TenantID, a.ID),
		}
		ev.Data = d
	case engine.AnnounceAuto:
		ev.Type, ev.Subject, ev.Time = TypeAuto, due.Entry.DecisionID, engine.FormatTime(due.Entry.DecidedAt)
		ev.Data = dataOf(due.Entry)
	}
	return encode(ev)
}

// complete reports whether all is there that the kind of due is about.
func complete(due engine.DueAnnouncement) bool {
	switch due.Kind {
	case engine.AnnounceTest:
		return true
	case engine.AnnounceApproval:
		return due.Entry != nil && due.Approval != nil
	case engine.AnnounceAuto:
		return due.Entry != nil
	}
	return false
}

// allComplete reports whether there are any, and all are complete.
func allComplete(due []engine.DueAnnouncement) bool {
	for _, d := range due {
		if !complete(d) {
			return false
		}
	}
	return len(due) > 0
}

func dataOf(e *engine.Entry) decisionData {
	d := decisionData{
		TenantID: e.TenantID, DecisionID: e.DecisionID, ActionID: e.ActionID, ActionType: e.ActionType, Target: e.Target, Actor: e.Actor,
		BlastRadius: e.BlastRadius.String(), MaturityTier: e.MaturityTier, Decision: e.Decision.String(), Rule: e.Rule,
		Rationale: e.Rationale, OverridesApplied: e.OverridesApplied, Rollback: e.Rollback,
		Policy: policyData{e.Policy.Revision, e.Policy.BundleHash}, ConfigEpoch: e.ConfigEpoch, LogSeq: e.LogSeq,
		DecidedAt: engine.FormatTime(e.DecidedAt), Principal: e.Principal, IncidentID: e.IncidentID,
		Confidence: e.Confidence, ParametersDigest: e.ParametersDigest,
		TierLabel: e.TierLabel, EngineVersion: e.EngineVersion, PolicyEpoch: e.PolicyEpoch, ApprovalID: e.ApprovalID, Supersedes: e.Supersedes,
	}
	if d.OverridesApplied == nil {
		d.OverridesApplied = []string{}
	}
	return d
}

// encode writes JSON without the escapes that are for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// errNoKey: a webhook without a signature would be refused by every receiver
// that checks, and train the others not to.
var errNoKey = errors.New("the channel has no signing key that is valid now: set the channel anew")

// webhookHeader signs body for an attempt at now with every key that is valid,
// as Standard Webhooks has it: a receiver that knows one of them accepts it, and
// one that checks the time refuses it when somebody sends it again later.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func webhookHeader(id string, keys []engine.SigningKey, now time.Time, body []byte) (http.Header, error) {
	var signatures []string
	for _, k := range keys {
		if len(k.Key) == 0 || (!k.Until.IsZero() && !now.Before(k.Until)) {
			continue
		}
		w, err := standardwebhooks.NewWebhookRaw(k.Key)
		if err != nil {
			return nil, errNoKey
		}
		signature, err := w.Sign(id, now, body)
		if err != nil {
			return nil, errNoKey
		}
		signatures = append(signatures, signature)
	}
	if signatures == nil {
		return nil, errNoKey
	}
	h := http.Header{}
	h.Set("Content-Type", "application/cloudevents+json")
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return h, nil
}
