package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/engine"
)

const approvalColumns = `tenant_id, approval_id, status, version, action_digest, action_type, target, blast_radius, decision_id,
	requester, needed, approvers, opened_at, expires_at, closed_at, closed_by, release_decision_id, valid_until`

func scanApproval(scan func(...any) error) (*engine.Approval, error) {
	var a engine.Approval
	var digest []byte
	var radius, approvers string
	var closedBy, release sql.NullString
	var opened, expires, closed, until stamp
	if err := scan(&a.TenantID, &a.ID, &a.Status, &a.Version, &digest, &a.ActionType, &a.Target, &radius, &a.DecisionID,
		&a.Requester, &a.Needed, &approvers, &opened, &expires, &closed, &closedBy, &release, &until); err != nil {
		return nil, err
	}
	copy(a.ActionDigest[:], digest)
	var err error
	if a.BlastRadius, err = engine.ParseBlastRadius(radius); err != nil {
		return nil, fmt.Errorf("approval %s: %w", a.ID, err)
	}
	if err := json.Unmarshal([]byte(approvers), &a.Approvers); err != nil {
		return nil, fmt.Errorf("approval %s: approvers: %w", a.ID, err)
	}
	a.OpenedAt, a.ExpiresAt, a.ClosedAt, a.ValidUntil = time.Time(opened), time.Time(expires), time.Time(closed), time.Time(until)
	a.ClosedBy, a.ReleaseDecisionID = closedBy.String, release.String
	return &a, nil
}

// Approval returns the tenant's approval with its events. Returns
// engine.ErrNotFound where there is none.
func (s *Store) Approval(ctx context.Context, tenant, id string) (*engine.Approval, error) {
	a, err := s.ApprovalState(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT seq, kind, status, person, principal, roles, comment, at, rule, rationale, input, bundle_hash, decision_id, config_epoch, policy_epoch
		FROM approval_event WHERE tenant_id = $1 AND approval_id = $2 AND seq <= $3 ORDER BY seq`), tenant, a.ID, a.Version)
	if err != nil {
		return nil, s.cannotRead("an approval", err)
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scanEvent(rows.Scan)
		if err != nil {
			return nil, s.cannotRead("an approval", err)
		}
		a.Events = append(a.Events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("an approval", err)
	}
	return a, nil
}

func scanEvent(scan func(...any) error) (e engine.ApprovalEvent, err error) {
	var roles, comment, rule, rationale, bundle, decision sql.NullString
	var config, policy sql.NullInt64
	var at stamp
	if err := scan(&e.Seq, &e.Kind, &e.Status, &e.Person, &e.Principal, &roles, &comment, &at, &rule, &rationale, &e.Input, &bundle, &decision, &config, &policy); err != nil {
		return e, err
	}
	if roles.Valid {
		if err := json.Unmarshal([]byte(roles.String), &e.Roles); err != nil {
			return e, fmt.Errorf("roles of event %d: %w", e.Seq, err)
		}
	}
	e.Comment, e.At, e.Rule, e.Rationale = comment.String, time.Time(at), rule.String, rationale.String
	e.BundleHash, e.DecisionID, e.ConfigEpoch, e.PolicyEpoch = bundle.String, decision.String, config.Int64, policy.Int64
	return e, nil
}

// ApprovalState is Approval without the events.
func (s *Store) ApprovalState(ctx context.Context, tenant, approvalID string) (*engine.Approval, error) {
	id, err := uuid.Parse(approvalID)
	if err != nil {
		return nil, fmt.Errorf("approval %.80q: %w", approvalID, engine.ErrNotFound)
	}
	a, err := scanApproval(s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT `+approvalColumns+` FROM approval WHERE tenant_id = $1 AND approval_id = $2`), tenant, id.String()).Scan)
	if errors.Is(err, sql.ErrNoRows) || s.matchesNothing(err) {
		return nil, fmt.Errorf("approval: %w", engine.ErrNotFound)
	}
	if err != nil {
		return nil, s.cannotRead("an approval", err)
	}
	return a, nil
}

// Approvals returns the tenant's approvals that q selects, newest first,
// without their events. One whose time has run out counts as expired.
func (s *Store) Approvals(ctx context.Context, tenant string, q engine.ApprovalQuery) ([]*engine.Approval, error) {
	list := []*engine.Approval{}
	where, args := []string{`tenant_id = $1`}, []any{tenant}
	add := func(text string, value any) {
		args = append(args, value)
		where = append(where, strings.ReplaceAll(text, "?", param(len(args))))
	}
	now := engine.FormatTime(q.Now)
	switch q.Status {
	case "":
	case engine.ApprovalPending:
		where = append(where, `status = 'pending'`)
		add(`expires_at > ?`, now)
	case engine.ApprovalExpired:
		add(`(status = 'expired' OR (status = 'pending' AND expires_at <= ?))`, now)
	default:
		add(`status = ?`, string(q.Status))
	}
	if q.ActionType != "" {
		add(`action_type = ?`, q.ActionType)
	}
	if q.BlastRadius != 0 {
		add(`blast_radius = ?`, q.BlastRadius.String())
	}
	if q.BeforeID != "" {
		add(`approval_id < ?`, q.BeforeID)
	}
	args = append(args, q.Limit)
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+approvalColumns+` FROM approval WHERE `+strings.Join(where, ` AND `)+
		` ORDER BY approval_id DESC LIMIT `+param(len(args))), args...)
	if s.matchesNothing(err) {
		return list, nil
	}
	if err != nil {
		return nil, s.cannotRead("approvals", err)
	}
	defer rows.Close()
	for rows.Next() {
		a, err := scanApproval(rows.Scan)
		if err != nil {
			return nil, s.cannotRead("approvals", err)
		}
		list = append(list, a)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("approvals", err)
	}
	return list, nil
}

// withApproval adds to an entry where its approval stands.
func (s *Store) withApproval(ctx context.Context, e *engine.Entry) error {
	if e.ApprovalID == "" {
		return nil
	}
	var err error
	e.Approval, err = s.ApprovalState(ctx, e.TenantID, e.ApprovalID)
	return err
}
