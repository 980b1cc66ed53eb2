package store

import (
	"context"
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
