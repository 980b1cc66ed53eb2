package server

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

type policyAnswer struct {
	Revision   string `json:"revision"`
	BundleHash string `json:"bundle_hash"`
}

func policyOf(id engine.PolicyID) policyAnswer { return policyAnswer{id.Revision, id.BundleHash} }

// decisionAnswer is what an asker gets.
type decisionAnswer struct {
	DecisionID       string       `json:"decision_id"`
	ActionID         string       `json:"action_id"`
	TenantID         string       `json:"tenant_id"`
	Decision         string       `json:"decision"`
	Rule             string       `json:"rule"`
	Rationale        string       `json:"rationale"`
	BlastRadius      string       `json:"blast_radius"`
	MaturityTier     int          `json:"maturity_tier"`
	TierLabel        string       `json:"tier_label"`
	OverridesApplied []string     `json:"overrides_applied"`
	Rollback         string       `json:"rollback"`
	Policy           policyAnswer `json:"policy"`
	ConfigEpoch      int64        `json:"config_epoch"`
	LogSeq           int64        `json:"log_seq,omitzero"` // left out of a preview
	DecidedAt        string       `json:"decided_at"`
	ValidUntil       string       `json:"valid_until,omitempty"` // on auto, and on what was decided again and released
	Receipt          string       `json:"receipt,omitempty"`     // for who asked, of what is let go; see receiptOf
	Approval         *approvalRef `json:"approval,omitempty"`    // on queued_approval, and on what was decided again
}

func (s *server) answerOf(e *engine.Entry) *decisionAnswer {
	a := &decisionAnswer{
		DecisionID: e.DecisionID, ActionID: e.ActionID, TenantID: e.TenantID,
		Decision: e.Decision.String(), Rule: e.Rule, Rationale: e.Rationale,
		BlastRadius: e.BlastRadius.String(), MaturityTier: e.MaturityTier, TierLabel: e.TierLabel,
		OverridesApplied: e.OverridesApplied, Rollback: e.Rollback, Policy: policyOf(e.Policy),
		ConfigEpoch: e.ConfigEpoch, LogSeq: e.LogSeq, DecidedAt: engine.FormatTime(e.DecidedAt), Approval: s.approvalRefOf(e.Approval),
	}
	if a.OverridesApplied == nil {
		a.OverridesApplied = []string{}
	}
	if until, ok := e.ValidUntil(); ok {
		a.ValidUntil = engine.FormatTime(until)
	}
	return a
}

// rowAnswer is a row of the gate log: the answer and what was asked.
type rowAnswer struct {
	decisionAnswer   `json:",inline"`
	ActionType       string         `json:"action_type"`
	Target           string         `json:"target"`
	Actor            string         `json:"actor"`
	Confidence       *float64       `json:"confidence,omitempty"`
	IncidentID       string         `json:"incident_id,omitempty"`
	ReadSet          jsontext.Value `json:"read_set,omitempty"`
	ParametersDigest string         `json:"parameters_digest,omitempty"`
	Principal        string         `json:"principal"`
	EngineVersion    string         `json:"engine_version"`
	PolicyEpoch      int64          `json:"policy_epoch"`
	Input            jsontext.Value `json:"input,omitempty"`
	ApprovalID       string         `json:"approval_id,omitempty"`
	Supersedes       string         `json:"supersedes,omitempty"`    // the decision that was made again by this one
	SupersededBy     string         `json:"superseded_by,omitempty"` // the one that was made again; of one row only

	Outcomes []outcomeAnswer `json:"outcomes,omitempty"` // of one row only
}

func (s *server) rowOf(e *engine.Entry, withInput bool) rowAnswer {
	r := rowAnswer{
		decisionAnswer: *s.answerOf(e), ActionType: e.ActionType, Target: e.Target, Actor: e.Actor,
		Confidence: e.Confidence, IncidentID: e.IncidentID, ReadSet: e.ReadSet,
		ParametersDigest: e.ParametersDigest, Principal: e.Principal, EngineVersion: e.EngineVersion, PolicyEpoch: e.PolicyEpoch,
		ApprovalID: e.ApprovalID, Supersedes: e.Supersedes,
	}
	if e.Approval != nil && e.Supersedes == "" {
		r.SupersededBy = e.Approval.ReleaseDecisionID
	}
	if withInput {
		r.Input = e.Input
	}
	return r
}

// timeOrNull writes a time, or null where there is none.
func timeOrNull(t *time.Time) *string {
	if t == nil || t.IsZero() {
		return nil
	}
	s := engine.FormatTime(*t)
	return &s
}
