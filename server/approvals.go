package server

import (
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

// approvalRef is what a decision says about its approval.
type approvalRef struct {
	ID         string `json:"id"`
	Status     string `json:"status"`
	ExpiresAt  string `json:"expires_at"`
	ClosedAt   string `json:"closed_at,omitempty"`
	ReleasedBy string `json:"released_by,omitempty"`
	ValidUntil string `json:"valid_until,omitempty"`
	// Approvers are the people whose approval counts.
	Approvers []string `json:"approvers,omitempty"`
	// ReleaseDecisionID is the decision that was made again at the release.
	ReleaseDecisionID string `json:"release_decision_id,omitempty"`
}

func (s *server) approvalRefOf(a *engine.Approval) *approvalRef {
	if a == nil {
		return nil
	}
	r := &approvalRef{ID: a.ID, Status: string(a.StatusAt(s.now())), ExpiresAt: engine.FormatTime(a.ExpiresAt), Approvers: a.Approvers, ReleaseDecisionID: a.ReleaseDecisionID}
	if !a.ClosedAt.IsZero() {
		r.ClosedAt = engine.FormatTime(a.ClosedAt)
	}
	if a.Status == engine.ApprovalReleased {
		r.ReleasedBy, r.ValidUntil = a.ClosedBy, engine.FormatTime(a.ValidUntil)
	}
	return r
}

// approvalAnswer is an approval as its approvers see it.
type approvalAnswer struct {
	approvalRef  `json:",inline"`
	TenantID     string          `json:"tenant_id"`
	ActionType   string          `json:"action_type"`
	Target       string          `json:"target"`
	BlastRadius  string          `json:"blast_radius"`
	ActionDigest string          `json:"action_digest"`
	DecisionID   string          `json:"decision_id"`
	Requester    string          `json:"requester"`
	Needed       int             `json:"approvals_needed"`
	OpenedAt     string          `json:"opened_at"`
	ClosedBy     string          `json:"closed_by,omitempty"`
	Requesters   []string        `json:"requesters,omitempty"`
	Decision     *rowAnswer      `json:"decision,omitempty"`
	Parameters   jsontext.Value  `json:"parameters,omitempty"`
	Events       []approvalEvent `json:"events,omitempty"`
}

type approvalEvent struct {
	Seq        int64    `json:"seq"`
	Kind       string   `json:"kind"`
	Status     string   `json:"status"`
	Person     string   `json:"person"`
	Principal  string   `json:"principal"`
	Roles      []string `json:"roles,omitempty"`
	Comment    string   `json:"comment,omitempty"`
	At         string   `json:"at"`
	Rule       string   `json:"rule,omitempty"`
	Rationale  string   `json:"rationale,omitempty"`
	BundleHash string   `json:"bundle_hash,omitempty"`
	DecisionID string   `json:"decision_id,omitempty"`
	Config     int64    `json:"config_epoch"`
	Policy     int64    `json:"policy_epoch"`
}

func (s *server) approvalOf(a *engine.Approval) approvalAnswer {
	out := approvalAnswer{
		approvalRef: *s.approvalRefOf(a), TenantID: a.TenantID, ActionType: a.ActionType, Target: a.Target, BlastRadius: a.BlastRadius.String(),
		ActionDigest: "sha256:" + hex.EncodeToString(a.ActionDigest[:]), DecisionID: a.DecisionID, Requester: a.Requester, Needed: a.Needed,
		OpenedAt: engine.FormatTime(a.OpenedAt), ClosedBy: a.ClosedBy, Requesters: a.Requesters(),
	}
	for _, e := range a.Events {
		out.Events = append(out.Events, approvalEvent{
			e.Seq, e.Kind, string(e.Status), e.Person, e.Principal, e.Roles, e.Comment, engine.FormatTime(e.At),
			e.Rule, e.Rationale, e.BundleHash, e.DecisionID, e.ConfigEpoch, e.PolicyEpoch,
		})
	}
	return out
}

func (s *server) approvals(c *gin.Context) error {
	q, err := readQuery(c, "status", "action_type", "blast_radius", "limit", "cursor")
	if err != nil {
		return err
	}
	limit := q.limit()
	l := engine.ApprovalQuery{
		Status: engine.ApprovalStatus(q.text("status")), ActionType: q.text("action_type"), BeforeID: q.cursor(), Limit: limit + 1, Now: s.now().UTC(),
	}
	if l.Status != "" && !slices.Contains(engine.ApprovalStatuses, l.Status) {
		q.faults.add("status", "must be one of %v", engine.ApprovalStatuses)
	}
	if l.ActionType != "" && !isActionType(l.ActionType) {
		q.faults.add("action_type", "must match %s", actionTypeText)
	}
	if v := q.text("blast_radius"); v != "" {
		if l.BlastRadius, err = engine.ParseBlastRadius(v); err != nil {
			q.faults.add("blast_radius", "%s", err)
		}
	}
	if l.BeforeID != "" && !isUUID(l.BeforeID) {
		q.faults.add("cursor", "is none that this query gave")
	}
	if err := q.err(); err != nil {
		return err
	}
	found, err := s.store.Approvals(c.Request.Context(), who(c).tenant, l)
	if err != nil {
		return err
	}
	list := []approvalAnswer{}
	var next *string
	for i, a := range found {
		if i == limit {
			next = q.next(found[i-1].ID)
			break
		}
		list = append(list, s.approvalOf(a))
	}
	s.answer(c, http.StatusOK, map[string]any{"entries": list, "next_cursor": next})
	return nil
}

// approvalID reads the id of the path.
func approvalID(c *gin.Context) (string, error) {
	id := strings.ToLower(c.Param("approval_id"))
	if !isUUID(id) {
		return "", notFound("An approval id is a UUID.")
	}
	return id, noQuery(c)
}

// approval shows all that whoever decides about it should know: the decision
// that asked, its parameters where they are kept, and every step so far.
func (s *server) approval(c *gin.Context) error {
	id, err := approvalID(c)
	if err != nil {
		return err
	}
	ctx, tenant := c.Request.Context(), who(c).tenant
	a, err := s.store.Approval(ctx, tenant, id)
	if err != nil {
		return err
	}
	e, err := s.store.Entry(ctx, tenant, a.DecisionID)
	if err != nil {
		return err
	}
	out := s.approvalOf(a)
	row := s.rowOf(e, false)
	row.Approval = nil // it is what this is about
	out.Decision, out.Parameters = &row, e.Parameters
	s.answer(c, http.StatusOK, out)
	return nil
}

func (s *server) approve(c *gin.Context) error { return s.vote(c, engine.EventApprove) }
func (s *server) deny(c *gin.Context) error    { return s.vote(c, engine.EventDeny) }

func (s *server) vote(c *gin.Context, verdict string) error {
	id, err := approvalID(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	var b struct {
		Comment string `json:"comment"`
	}
	if err := decodeStrict(body, &b); err != nil {
		return err
	}
	var f faults
	if f.reason("comment", b.Comment, true); f.err() != nil {
		return f.err()
	}
	w := who(c)
	a, err := s.gate.Vote(c.Request.Context(), engine.Vote{
		TenantID: w.tenant, ApprovalID: id, Person: w.person, Principal: w.name, Roles: roleNames(w.roles), Verdict: verdict, Comment: b.Comment,
		RolesNow: func(principal string) []string { return s.tokens.rolesNow(principal, w.tenant) },
	})
	if err != nil {
		return err
	}
	s.metrics.approvals.WithLabelValues(string(a.Status)).Inc()
	s.answer(c, http.StatusOK, s.approvalOf(a))
	return nil
}

func (s *server) cancelApproval(c *gin.Context) error {
	id, err := approvalID(c)
	if err != nil {
		return err
	}
	reason, err := readReason(c)
	if err != nil {
		return err
	}
	w := who(c)
	a, err := s.gate.Cancel(c.Request.Context(), w.tenant, id, w.person, w.name, reason)
	if err != nil {
		return err
	}
	s.metrics.approvals.WithLabelValues(string(a.Status)).Inc()
	s.answer(c, http.StatusOK, s.approvalOf(a))
	return nil
}

// approvalProblem is the answer to a step that is not made.
func approvalProblem(err error) *Problem {
	if closed, ok := errors.AsType[*engine.ApprovalClosedError](err); ok {
		return problem(http.StatusConflict, "approval_closed", "The approval has ended",
			"It is "+string(closed.Status)+"; nothing was changed. Ask for the action again if it is still needed.")
	}
	refused, ok := errors.AsType[*engine.NotCountedError](err)
	switch {
	case !ok:
		return nil
	case refused.Rule == "counted_already":
		return problem(http.StatusConflict, "already_approved", "This person has approved before", refused.Rationale+" Nothing was changed.")
	}
	return problem(http.StatusForbidden, "vote_not_counted", "This vote does not count", refused.Rule+": "+refused.Rationale+" Nothing was changed.")
}
