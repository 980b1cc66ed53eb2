package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/tiergate/tiergate/audit/evidence"
)

// The Reader is also where package evidence takes a file's contents from.
var _ evidence.Source = (*Reader)(nil)

// DecisionsBetween is evidence.Source's.
func (r *Reader) DecisionsBetween(ctx context.Context, tenant string, from, to time.Time) (first, last int64, err error) {
	for _, q := range []struct {
		at          time.Time
		what, limit string
		into        *int64
	}{{from, "min", ">=", &first}, {to, "max", "<", &last}} {
		f := &filter{text: []string{`tenant_id = $1`}, args: []any{tenant}}
		if !q.at.IsZero() {
			f.add(`decided_at `+q.limit+` ?`, ceilTime(q.at))
		}
		query := f.sql(`SELECT coalesce(`+q.what+`(log_seq), 0) FROM remediation_gate_log`, ``)
		if err := r.db.QueryRowContext(ctx, r.text(query), f.args...).Scan(q.into); err != nil {
			return 0, 0, r.cannotRead("the window's bounds", err)
		}
	}
	return first, last, nil
}

// Checkpoint is evidence.Source's.
func (r *Reader) Checkpoint(ctx context.Context, tenant string, size int64) ([]byte, error) {
	if !r.has(ctx, "tree_checkpoint") {
		return nil, nil
	}
	var note string
	err := r.db.QueryRowContext(ctx, r.text(`SELECT note FROM tree_checkpoint WHERE tenant_id = $1 AND tree_size <= $2 ORDER BY tree_size DESC LIMIT 1`), tenant, size).Scan(&note)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, r.cannotRead("a checkpoint", err)
	}
	return []byte(note), nil
}
