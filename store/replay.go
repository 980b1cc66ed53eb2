package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// ReplayQuery selects rows of the gate log for deciding them again.
type ReplayQuery struct {
	From, To       time.Time // From <= decided_at < To; zero: unbounded
	WithParameters bool      // where they are still kept
}

// TenantLog is how far a tenant's log reaches.
type TenantLog struct {
	TenantID string
	LastSeq  int64 // rows are 1..LastSeq, without gaps
}

// TenantLogs lists the tenants that have rows, in the order of their ids.
func (r *Reader) TenantLogs(ctx context.Context) ([]TenantLog, error) {
	rows, err := r.db.QueryContext(ctx, `SELECT tenant_id, log_seq FROM tenant_head WHERE log_seq > 0 ORDER BY tenant_id`)
	if err != nil {
		return nil, r.cannotRead("the tenants", err)
	}
	defer rows.Close()
	var list []TenantLog
	for rows.Next() {
		var t TenantLog
		if err := rows.Scan(&t.TenantID, &t.LastSeq); err != nil {
			return nil, r.cannotRead("the tenants", err)
		}
		list = append(list, t)
	}
	if err := rows.Err(); err != nil {
		return nil, r.cannotRead("the tenants", err)
	}
	return list, nil
}

const replayColumns = `l.log_seq, CAST(l.decision_id AS text), l.action_type, l.decision, l.rule, l.rationale, l.blast_radius, l.maturity_tier,
	CAST(l.overrides_applied AS text), l.bundle_hash, l.engine_version, l.input, coalesce(l.parameters_digest, '')`

// Page returns the rows of tenant with after < log_seq <= through that q
// selects, oldest first. One page is one short query: keep through - after to
// a thousand or so.
func (r *Reader) Page(ctx context.Context, tenant string, q ReplayQuery, after, through int64) ([]engine.LoggedDecision, error) {
	columns, join := replayColumns, ""
	if q.WithParameters {
		columns += `, p.parameters`
		join = ` LEFT JOIN decision_parameters p ON p.decision_id = l.decision_id`
	}
	f := &filter{text: []string{`l.tenant_id = $1`, `l.log_seq > $2`, `l.log_seq <= $3`}, args: []any{tenant, after, through}}
	if !q.From.IsZero() {
		f.add(`l.decided_at >= ?`, ceilTime(q.From))
	}
	if !q.To.IsZero() {
		f.add(`l.decided_at < ?`, ceilTime(q.To))
	}
	rows, err := r.db.QueryContext(ctx, r.text(f.sql(`SELECT `+columns+` FROM remediation_gate_log l`+join, `ORDER BY l.log_seq`)), f.args...)
	if err != nil {
		return nil, r.cannotRead("the gate log", err)
	}
	defer rows.Close()
	list := make([]engine.LoggedDecision, 0, through-after)
	for rows.Next() {
		d := engine.LoggedDecision{TenantID: tenant}
		dest := []any{&d.LogSeq, &d.DecisionID, &d.ActionType, &d.Decision, &d.Rule, &d.Rationale, &d.BlastRadius, &d.MaturityTier,
			&d.OverridesApplied, &d.BundleHash, &d.EngineVersion, &d.Input, &d.ParametersDigest}
		if q.WithParameters {
			dest = append(dest, &d.Parameters)
		}
		// What was scanned before the column at fault names the row.
		if err := rows.Scan(dest...); err != nil {
			d.Fault = fmt.Errorf("a column cannot be read: %w", err)
		}
		list = append(list, d)
	}
	if err := rows.Err(); err != nil {
		return nil, r.cannotRead("the gate log", err)
	}
	return list, nil
}

// BundleArchives returns the archives that are kept of a bundle, newest first.
// Returns engine.ErrNotFound where none is.
func (r *Reader) BundleArchives(ctx context.Context, hash string) ([][]byte, error) {
	notFound := fmt.Errorf("bundle %.80q: %w", hash, engine.ErrNotFound)
	if !r.hasBundles {
		return nil, notFound
	}
	rows, err := r.db.QueryContext(ctx, r.text(`SELECT archive FROM (
		SELECT change_id, archive FROM policy_bundle WHERE bundle_hash = $1
		UNION ALL SELECT change_id, archive FROM policy_bundle_copy WHERE bundle_hash = $1) a ORDER BY change_id DESC`), hash)
	if err != nil {
		return nil, r.cannotRead("a bundle", err)
	}
	defer rows.Close()
	var list [][]byte
	for rows.Next() {
		var archive []byte
		if err := rows.Scan(&archive); err != nil {
			return nil, r.cannotRead("a bundle", err)
		}
		list = append(list, archive)
	}
	if err := rows.Err(); err != nil {
		return nil, r.cannotRead("a bundle", err)
	}
	if len(list) == 0 {
		return nil, notFound
	}
	return list, nil
}

// has reports whether a table is there and may be read.
func (r *Reader) has(ctx context.Context, table string) bool {
	var n int
	err := r.db.QueryRowContext(ctx, `SELECT 1 FROM `+table+` LIMIT 1`).Scan(&n)
	return err == nil || errors.Is(err, sql.ErrNoRows)
}
