package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
)

// StepApproval makes one step of an approval: the approval's new state, the
// events, and, where the action was decided again, that decision's row, in one
// transaction. It locks what an append locks, in the same order, so that
// the fence of the append holds for the decision that is made again, and so that
// of two steps on one approval the second finds another version than it judged.
// See engine.Approvals for what each error promises.
func (s *Store) StepApproval(ctx context.Context, step engine.ApprovalStep) (*engine.Approval, error) {
	var after *engine.Approval
	err := s.withPatience(ctx, "a step of an approval", func() (err error) {
		if step.Entry != nil {
			if err := s.db.ensureMonth(step.Entry.DecidedAt); err != nil {
				return err
			}
		}
		for try := 1; ; try++ {
			after, err = s.stepTx(step)
			if err == nil || try == 3 || s.classify(err) != failedRetry {
				return err
			}
		}
	})
	switch {
	case errors.Is(err, engine.ErrStaleEpoch):
		if err := s.catchUpTenant(ctx, step.TenantID); err != nil {
			return nil, fmt.Errorf("%w: the configuration changed and cannot be read: %v", engine.ErrUnavailable, err)
		}
		return nil, err
	case errors.Is(err, engine.ErrStalePolicy):
		s.policyNews()
		return nil, err
	case err != nil:
		return nil, err
	}
	s.hub.publish(after)
	return after, nil
}

func (s *Store) stepTx(step engine.ApprovalStep) (*engine.Approval, error) {
	turn := s.db.exclusive()
	turn.Lock()
	defer turn.Unlock()
	tx, err := s.db.begin()
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	c := &stepper{changer: changer{s: s, tx: tx, ctx: context.Background(), tenant: step.TenantID}}
	if err := c.lockHead(); err != nil {
		return nil, err
	}
	a, err := scanApproval(c.row(`SELECT `+approvalColumns+` FROM approval WHERE tenant_id = $1 AND approval_id = $2 FOR UPDATE`, step.TenantID, step.ID).Scan)
	if err != nil {
		return nil, err
	}
	c.now = time.Now().UTC().Truncate(time.Millisecond)
	if err := c.mayStep(a, step); err != nil {
		return nil, err
	}
	if step.Entry != nil {
		if err := c.insertRow(step.Entry); err != nil {
			return nil, err
		}
	}
	if err := c.addEvents(a, step.Events); err != nil {
		return nil, err
	}
	if err := c.moveApproval(a, step.After); err != nil {
		return nil, err
	}
	if err := c.tree.save(c); err != nil {
		return nil, err
	}
	if err := c.announce(a); err != nil {
		return nil, err
	}
	announces := false
	if step.Entry != nil {
		if announces, err = c.leaveInOutbox(step.Entry); err != nil {
			return nil, err
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("commit not confirmed, the step may have been made: %w", err)
	}
	if announces {
		s.outboxNews()
	}
	return a, nil
}

// stepper is one step inside its transaction.
type stepper struct {
	changer
	seq int64 // of the tenant's newest row
}

// lockHead takes what an append takes: the table lock that keeps activations
// out, then the tenant's head.
func (c *stepper) lockHead() error {
	if _, ok := c.s.db.(*postgres); ok {
		if err := c.exec(`LOCK TABLE policy_head IN ROW SHARE MODE`); err != nil {
			return err
		}
	}
	if err := c.takeHead(); err != nil {
		return err
	}
	c.seq = c.tree.head.seq
	return nil
}

// mayStep is the commit's own check of what the step was judged by.
func (c *stepper) mayStep(a *engine.Approval, step engine.ApprovalStep) error {
	late := !c.now.Before(a.ExpiresAt)
	switch {
	case a.Status != engine.ApprovalPending || a.Version != step.Version:
		return engine.ErrApprovalMoved
	case late && step.After.Status != engine.ApprovalExpired:
		return engine.ErrApprovalMoved // its time ran out between judgement and commit
	case fence && step.Judged && step.PolicyEpoch != c.policy.epoch:
		return engine.ErrStalePolicy
	case fence && step.Entry != nil && step.ConfigEpoch != c.epoch:
		return engine.ErrStaleEpoch
	}
	return nil
}

// insertRow writes the row of a decision that was made again, as an append would.
func (c *stepper) insertRow(e *engine.Entry) error {
	c.seq++
	r := row{Entry: e, action: e.ActionID, position: position{seq: c.seq}, approval: e.ApprovalID}
	if err := c.addLeaf(insertDecision, audit.Decision, "", c.seq, r.values()); err != nil {
		return fmt.Errorf("the row of the decision that was made again: %w", err)
	}
	if err := c.exec(`INSERT INTO remediation_action (tenant_id, action_id, log_seq, decided_at) VALUES ($1, $2, $3, $4)`,
		c.tenant, r.action, r.seq, engine.FormatTime(e.DecidedAt)); err != nil {
		return err
	}
	if e.Parameters != nil {
		if err := c.exec(`INSERT INTO decision_parameters (decision_id, tenant_id, parameters) VALUES ($1, $2, $3)`, e.DecisionID, c.tenant, e.Parameters); err != nil {
			return err
		}
	}
	c.tree.head.seq = c.seq
	return nil
}

// addEvents appends the step's events and counts them into the approval.
func (c *stepper) addEvents(a *engine.Approval, events []engine.ApprovalEvent) error {
	for i := range events {
		e := events[i]
		a.Version++
		e.Seq, e.ConfigEpoch, e.PolicyEpoch = a.Version, c.epoch, c.policy.epoch
		var roles, input any
		if e.Roles != nil {
			b, err := json.Marshal(e.Roles)
			if err != nil {
				return err
			}
			roles = string(b)
		}
		if e.Input != nil {
			input = e.Input
		}
		if err := c.addLeaf(insertEvent, audit.ApprovalEvent, a.ID, e.Seq, []any{
			a.TenantID, a.ID, e.Seq, e.Kind, string(e.Status), e.Person, e.Principal, roles, orNull(e.Comment), engine.FormatTime(e.At),
			orNull(e.Rule), orNull(e.Rationale), input, orNull(e.BundleHash), orNull(e.DecisionID), e.ConfigEpoch, e.PolicyEpoch, nil}); err != nil {
			return fmt.Errorf("event %d: %w", e.Seq, err)
		}
	}
	return nil
}

// moveApproval writes the approval's state after the step.
func (c *stepper) moveApproval(a *engine.Approval, after engine.Approval) error {
	a.Status, a.Needed, a.Approvers, a.ReleaseDecisionID, a.ValidUntil = after.Status, after.Needed, after.Approvers, after.ReleaseDecisionID, after.ValidUntil
	var closedAt, until any
	if a.Status != engine.ApprovalPending {
		a.ClosedAt, a.ClosedBy = c.now, after.ClosedBy
		closedAt = engine.FormatTime(a.ClosedAt)
	}
	if !a.ValidUntil.IsZero() {
		until = engine.FormatTime(a.ValidUntil)
	}
	if a.Approvers == nil {
		a.Approvers = []string{}
	}
	approvers, err := json.Marshal(a.Approvers)
	if err != nil {
		return err
	}
	return c.exec(`UPDATE approval SET status = $3, version = $4, needed = $5, approvers = $6, closed_at = $7, closed_by = $8, release_decision_id = $9, valid_until = $10
		WHERE tenant_id = $1 AND approval_id = $2`,
		a.TenantID, a.ID, string(a.Status), a.Version, a.Needed, string(approvers), closedAt, orNull(a.ClosedBy), orNull(a.ReleaseDecisionID), until)
}

// announce tells the other gates, when the transaction commits.
func (c *stepper) announce(a *engine.Approval) error {
	if _, ok := c.s.db.(*postgres); !ok {
		return nil
	}
	return c.exec(`SELECT pg_notify($1, $2)`, approvalChannel, a.TenantID+" "+a.ID)
}

// sweepPage is how many approvals one round of the sweeper ends at most.
const sweepPage = 500

// sweep writes down that time has run out, for whoever waits and for the
// evidence. Nothing depends on it: an approval is judged by its expires_at.
func (s *Store) sweep(ctx context.Context) error {
	now := time.Now().UTC()
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+approvalColumns+` FROM approval WHERE closed_at IS NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2`), engine.FormatTime(now), sweepPage)
	if err != nil {
		return err
	}
	defer rows.Close()
	var due []*engine.Approval
	for rows.Next() {
		a, err := scanApproval(rows.Scan)
		if err != nil {
			return err
		}
		due = append(due, a)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, a := range due {
		step := engine.ApprovalStep{TenantID: a.TenantID, ID: a.ID, Version: a.Version, After: *a}
		step.After.Status, step.After.ClosedBy = engine.ApprovalExpired, "system"
		step.Events = []engine.ApprovalEvent{{Kind: engine.EventExpired, Status: engine.ApprovalExpired, Person: "system", Principal: "system", At: now}}
		if _, err := s.StepApproval(ctx, step); err != nil && !errors.Is(err, engine.ErrApprovalMoved) {
			return err
		}
	}
	return nil
}
