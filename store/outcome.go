package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
)

// AddOutcome appends what came of an action that was let go, under the decision
// that did so: decisionID itself when it is an auto, or else the one that was
// made again when its approval was released. A report that says what the newest
// one says is that one, and added is false. Returns engine.ErrNotFound,
// engine.ErrNotLetGo and engine.ErrTooManyOutcomes.
func (s *Store) AddOutcome(ctx context.Context, o engine.DecisionOutcome) (_ *engine.DecisionOutcome, added bool, err error) {
	e, err := s.Entry(ctx, o.TenantID, o.DecisionID)
	if err != nil {
		return nil, false, err
	}
	id, ok := e.LetGoBy()
	if !ok {
		return nil, false, engine.ErrNotLetGo
	}
	o.DecisionID = id
	err = s.withPatience(ctx, "an outcome", func() error {
		added, err = s.outcomeTx(&o)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return &o, added, nil
}

func (s *Store) outcomeTx(o *engine.DecisionOutcome) (added bool, err error) {
	turn := s.db.exclusive()
	turn.Lock()
	defer turn.Unlock()
	tx, err := s.db.begin()
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	c := &stepper{changer: changer{s: s, tx: tx, ctx: context.Background(), tenant: o.TenantID}}
	if err := c.lockHead(); err != nil {
		return false, err
	}
	newest, err := scanOutcome(c.row(`SELECT `+outcomeColumns+` FROM decision_outcome WHERE tenant_id = $1 AND decision_id = $2 ORDER BY seq DESC LIMIT 1`, o.TenantID, o.DecisionID).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return false, err
	case newest.Status == o.Status && newest.Detail == o.Detail && newest.Principal == o.Principal:
		*o = *newest
		return false, nil
	case newest.Seq >= engine.MaxOutcomes:
		return false, engine.ErrTooManyOutcomes
	default:
		o.Seq = newest.Seq
	}
	o.Seq++
	o.At = time.Now().UTC().Truncate(time.Millisecond)
	if err := c.addLeaf(insertOutcome, audit.Outcome, o.DecisionID, o.Seq, []any{
		o.TenantID, o.DecisionID, o.Seq, string(o.Status), orNull(o.Detail), o.Person, o.Principal, engine.FormatTime(o.At), nil}); err != nil {
		return false, err
	}
	if err := c.tree.save(c); err != nil {
		return false, err
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("commit not confirmed, the outcome may have been written: %w", err)
	}
	return true, nil
}

const outcomeColumns = `tenant_id, decision_id, seq, status, detail, person, principal, at`

func scanOutcome(scan func(...any) error) (*engine.DecisionOutcome, error) {
	var o engine.DecisionOutcome
	var detail sql.NullString
	var at stamp
	if err := scan(&o.TenantID, &o.DecisionID, &o.Seq, &o.Status, &detail, &o.Person, &o.Principal, &at); err != nil {
		return nil, err
	}
	o.Detail, o.At = detail.String, time.Time(at)
	return &o, nil
}

// Outcomes returns what was reported about a decision's action, oldest first.
func (s *Store) Outcomes(ctx context.Context, tenant, decisionID string) ([]*engine.DecisionOutcome, error) {
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+outcomeColumns+` FROM decision_outcome WHERE tenant_id = $1 AND decision_id = $2 ORDER BY seq`), tenant, decisionID)
	if err != nil {
		return nil, s.cannotRead("outcomes", err)
	}
	defer rows.Close()
	var list []*engine.DecisionOutcome
	for rows.Next() {
		o, err := scanOutcome(rows.Scan)
		if err != nil {
			return nil, s.cannotRead("outcomes", err)
		}
		list = append(list, o)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("outcomes", err)
	}
	return list, nil
}

// outcomeFilter selects rows by what was reported last about what they let go.
// Rows that let nothing go have no outcome, not even none.
func outcomeFilter(f *filter, status engine.OutcomeStatus) {
	if status == "" {
		return
	}
	if status != engine.OutcomeNone {
		f.add(`(SELECT o.status FROM decision_outcome o WHERE o.tenant_id = remediation_gate_log.tenant_id AND o.decision_id = remediation_gate_log.decision_id
			ORDER BY o.seq DESC LIMIT 1) = ?`, string(status))
		return
	}
	f.text = append(f.text, `NOT EXISTS (SELECT 1 FROM decision_outcome o WHERE o.tenant_id = remediation_gate_log.tenant_id AND o.decision_id = remediation_gate_log.decision_id)`,
		`((decision = 'auto' AND supersedes IS NULL) OR (supersedes IS NOT NULL AND EXISTS (SELECT 1 FROM approval a
			WHERE a.tenant_id = remediation_gate_log.tenant_id AND a.approval_id = remediation_gate_log.approval_id AND a.status = 'released')))`)
}
