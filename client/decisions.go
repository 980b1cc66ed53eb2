package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Auto is the decision that lets an action run by itself.
const Auto = "auto"

// decisions are all that there are; another word is no decision.
var decisions = []string{Auto, "queued_approval", "blocked"}

// Question is what may be asked.
type Question struct {
	ActionID   string         `json:"action_id,omitempty"` // "": the gate makes one
	ActionType string         `json:"action_type"`
	Target     string         `json:"target"`
	Actor      string         `json:"actor,omitempty"`
	Confidence *float64       `json:"confidence,omitempty"`
	Parameters jsontext.Value `json:"parameters,omitempty"`
	IncidentID string         `json:"incident_id,omitempty"`
}

// WhatIf is a question about another configuration: what is given replaces that
// part of the tenant's.
type WhatIf struct {
	Question     `json:",inline"`
	MaturityTier *int            `json:"maturity_tier,omitempty"`
	Overrides    []WhatOverride  `json:"overrides,omitzero"` // empty, not nil: none
	Whitelist    []WhatWhitelist `json:"whitelist,omitzero"` // likewise
}

// WhatOverride is an override of a WhatIf.
type WhatOverride struct {
	Mode        string         `json:"mode"`
	Constraints jsontext.Value `json:"constraints,omitempty"`
	ExpiresAt   *string        `json:"expires_at,omitempty"`
}

// WhatWhitelist is a whitelist entry of a WhatIf.
type WhatWhitelist struct {
	Constraints jsontext.Value `json:"constraints"`
	ExpiresAt   string         `json:"expires_at"`
}

// Decision is an answer of the gate.
type Decision struct {
	DecisionID       string   `json:"decision_id"`
	ActionID         string   `json:"action_id"`
	TenantID         string   `json:"tenant_id"`
	Decision         string   `json:"decision"`
	Rule             string   `json:"rule"`
	Rationale        string   `json:"rationale"`
	BlastRadius      string   `json:"blast_radius"`
	TierLabel        string   `json:"tier_label"`
	OverridesApplied []string `json:"overrides_applied"`
	Rollback         string   `json:"rollback"`
	LogSeq           int64    `json:"log_seq"` // 0 of a preview
	DecidedAt        string   `json:"decided_at"`
	ValidUntil       string   `json:"valid_until"` // of auto only
	Approval         struct {
		ID string `json:"id"`
	} `json:"approval"` // that a queued_approval waits for
}

func (d Decision) check() error {
	switch {
	case !slices.Contains(decisions, d.Decision):
		return fmt.Errorf("%q is no decision", d.Decision)
	case d.DecisionID == "" || d.ActionID == "" || d.Rule == "" || d.DecidedAt == "":
		return errors.New("a decision without decision_id, action_id, rule or decided_at")
	}
	return nil
}

// Decide asks whether an action may run by itself. An answer has its row in
// the gate log. If q has an action_id, it is safe to ask again with the same.
func (c *Client) Decide(ctx context.Context, q Question) (Answer[Decision], error) {
	a, err := fetch[Decision](ctx, c, request{method: http.MethodPost, path: "/decisions", body: q})
	switch {
	case err != nil:
		return a, err
	case a.Value.LogSeq < 1:
		return Answer[Decision]{}, fmt.Errorf("%w: a decision without its row in the log", ErrAnswer)
	case q.ActionID != "" && a.Value.ActionID != q.ActionID:
		return Answer[Decision]{}, fmt.Errorf("%w: a decision about another action", ErrAnswer)
	}
	return a, nil
}

// Preview asks what would be decided; it writes no row.
func (c *Client) Preview(ctx context.Context, w WhatIf) (Answer[Decision], error) {
	return fetch[Decision](ctx, c, request{method: http.MethodPost, path: "/decisions/preview", body: w, reads: true})
}

// Action is a row of the action table.
type Action struct {
	ActionType  string `json:"action_type"`
	BlastRadius string `json:"blast_radius"`
	Description string `json:"description"`
}

// Actions is the action table.
type Actions struct {
	Actions []Action `json:"actions"`
}

func (a Actions) check() error {
	if a.Actions == nil {
		return errors.New("no actions")
	}
	return nil
}

// Actions reads the action table of the active policy.
func (c *Client) Actions(ctx context.Context) (Answer[Actions], error) {
	return fetch[Actions](ctx, c, request{method: http.MethodGet, path: "/actions"})
}

// MatrixRow is what is decided now for one action type, on a target that no
// constraint names.
type MatrixRow struct {
	ActionType  string   `json:"action_type"`
	BlastRadius string   `json:"blast_radius"`
	Decision    string   `json:"decision"`
	Constrained []string `json:"constrained_overrides"` // modes that stand for some targets only
}

// Matrix is a row for each action type.
type Matrix struct {
	Rows []MatrixRow `json:"matrix"`
}

func (m Matrix) check() error {
	if m.Rows == nil {
		return errors.New("no matrix")
	}
	for _, r := range m.Rows {
		if r.ActionType == "" || !slices.Contains(decisions, r.Decision) {
			return fmt.Errorf("%q is no decision about %q", r.Decision, r.ActionType)
		}
	}
	return nil
}

// Matrix reads what the tenant's agent may do now.
func (c *Client) Matrix(ctx context.Context) (Answer[Matrix], error) {
	return fetch[Matrix](ctx, c, request{method: http.MethodGet, path: "/matrix"})
}
