package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/engine"
)

func param(n int) string { return "$" + strconv.Itoa(n) }

// Entry returns the tenant's row of that decision, with its parameters where
// they are still kept. Returns engine.ErrNotFound where there is none.
func (s *Store) Entry(ctx context.Context, tenant, decisionID string) (*engine.Entry, error) {
	id, err := uuid.Parse(decisionID)
	if err != nil {
		return nil, fmt.Errorf("decision %q: %w", decisionID, engine.ErrNotFound)
	}
	return s.oneEntry(ctx, `decision_id = $2`, tenant, id.String())
}

func (s *Store) entryBySeq(ctx context.Context, tenant string, seq int64) (*engine.Entry, error) {
	return s.oneEntry(ctx, `log_seq = $2`, tenant, seq)
}

func (s *Store) oneEntry(ctx context.Context, where, tenant string, value any) (*engine.Entry, error) {
	var parameters []byte
	row := s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT `+logColumnList+`,
		(SELECT p.parameters FROM decision_parameters p WHERE p.decision_id = remediation_gate_log.decision_id)
		FROM remediation_gate_log WHERE tenant_id = $1 AND `+where), tenant, value)
	e, err := scanEntry(row.Scan, &parameters)
	if errors.Is(err, sql.ErrNoRows) || s.matchesNothing(err) {
		return nil, fmt.Errorf("decision: %w", engine.ErrNotFound)
	}
	if err != nil {
		return nil, s.cannotRead("a decision", err)
	}
	e.Parameters = parameters
	return e, s.withApproval(ctx, e)
}

// window is over how many log_seqs one query of a filtered read looks: enough
// to be worth a round trip, too few to keep a snapshot open for long.
const window = 20_000

// Entries returns the rows that q selects, newest (highest log_seq) first,
// without their parameters. A read that finds little in a long log is made of
// many short queries; ctx ends it.
func (s *Store) Entries(ctx context.Context, tenant string, q engine.LogQuery) ([]*engine.Entry, error) {
	list := []*engine.Entry{}
	if q.Limit <= 0 {
		q.Limit = 50
	}
	high, err := s.lastSeq(ctx, tenant)
	if err != nil {
		return nil, err
	}
	if q.BeforeSeq > 0 {
		high = min(high, q.BeforeSeq-1)
	}
	for width := int64(window); high > 0 && len(list) < q.Limit; width *= 2 {
		low := max(0, high-min(width, 8*window))
		found, err := s.entriesWithin(ctx, tenant, q, low, high, q.Limit-len(list))
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
		high = low
	}
	return list, nil
}

func (s *Store) lastSeq(ctx context.Context, tenant string) (seq int64, err error) {
	err = s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT coalesce(max(log_seq), 0) FROM tenant_head WHERE tenant_id = $1`), tenant).Scan(&seq)
	if s.matchesNothing(err) {
		return 0, nil
	}
	if err != nil {
		return 0, s.cannotRead("the gate log", err)
	}
	return seq, nil
}

// entriesWithin selects among low < log_seq <= high.
func (s *Store) entriesWithin(ctx context.Context, tenant string, q engine.LogQuery, low, high int64, limit int) ([]*engine.Entry, error) {
	f := logFilter(tenant, q.From, q.To, low, high)
	var radius, decision string
	if q.BlastRadius != 0 {
		radius = q.BlastRadius.String()
	}
	if q.Decision != 0 {
		decision = q.Decision.String()
	}
	for _, c := range []struct{ column, value string }{
		{"decision", decision}, {"action_type", q.ActionType}, {"blast_radius", radius},
		{"actor", q.Actor}, {"incident_id", q.IncidentID}, {"rule", q.Rule},
	} {
		if c.value != "" {
			f.add(c.column+` = ?`, c.value)
		}
	}
	outcomeFilter(f, q.Outcome)
	if q.TargetPrefix != "" {
		f.add(`substr(target, 1, length(?)) = ?`, q.TargetPrefix)
	}
	query := f.sql(`SELECT `+logColumnList+` FROM remediation_gate_log`, `ORDER BY log_seq DESC LIMIT ?`, limit)
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(query), f.args...)
	if s.matchesNothing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, s.cannotRead("the gate log", err)
	}
	defer rows.Close()
	var list []*engine.Entry
	for rows.Next() {
		e, err := scanEntry(rows.Scan)
		if err != nil {
			return nil, s.cannotRead("the gate log", err)
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("the gate log", err)
	}
	return list, nil
}

func logFilter(tenant string, from, to time.Time, low, high int64) *filter {
	f := &filter{text: []string{`tenant_id = $1`, `log_seq > $2`, `log_seq <= $3`}, args: []any{tenant, low, high}}
	if !from.IsZero() {
		f.add(`decided_at >= ?`, ceilTime(from))
	}
	if !to.IsZero() {
		f.add(`decided_at < ?`, ceilTime(to))
	}
	return f
}

// Summary counts the tenant's decisions with from <= decided_at < to (zero:
// unbounded) by decision, radius and rule, in that order. Rows that commit
// meanwhile may be counted or not.
func (s *Store) Summary(ctx context.Context, tenant string, from, to time.Time) ([]engine.SummaryRow, error) {
	last, err := s.lastSeq(ctx, tenant)
	if err != nil {
		return nil, err
	}
	type group struct{ decision, radius, rule string }
	counts := map[group]int64{}
	for low := int64(0); low < last; low += 8 * window {
		f := logFilter(tenant, from, to, low, min(last, low+8*window))
		query := f.sql(`SELECT decision, blast_radius, rule, count(*) FROM remediation_gate_log`, `GROUP BY decision, blast_radius, rule`)
		rows, err := s.db.reads().QueryContext(ctx, s.db.text(query), f.args...)
		if err != nil {
			return nil, s.cannotRead("the gate log", err)
		}
		for rows.Next() {
			var g group
			var n int64
			if err := rows.Scan(&g.decision, &g.radius, &g.rule, &n); err != nil {
				rows.Close()
				return nil, s.cannotRead("the gate log", err)
			}
			counts[g] += n
		}
		if err := rows.Err(); err != nil {
			return nil, s.cannotRead("the gate log", err)
		}
	}
	list := make([]engine.SummaryRow, 0, len(counts))
	for g, n := range counts {
		r := engine.SummaryRow{Rule: g.rule, Count: n}
		if r.Decision, err = engine.ParseDecision(g.decision); err != nil {
			return nil, s.cannotRead("the gate log", err)
		}
		if r.BlastRadius, err = engine.ParseBlastRadius(g.radius); err != nil {
			return nil, s.cannotRead("the gate log", err)
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b engine.SummaryRow) int {
		if a.Decision != b.Decision {
			return int(a.Decision) - int(b.Decision)
		}
		if a.BlastRadius != b.BlastRadius {
			return int(a.BlastRadius) - int(b.BlastRadius)
		}
		return strings.Compare(a.Rule, b.Rule)
	})
	return list, nil
}
