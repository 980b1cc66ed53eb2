package store

import (
	"context"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// History returns the tenant's changes that q selects, oldest first. A Limit
// of 0 is 1000.
func (s *Store) History(ctx context.Context, tenant string, q engine.HistoryQuery) ([]engine.Change, error) {
	if q.Limit <= 0 {
		q.Limit = page
	}
	f := filter{text: []string{`tenant_id = $1`, `epoch > $2`}, args: []any{tenant, q.AfterEpoch}}
	if !q.From.IsZero() {
		f.add(`at >= ?`, ceilTime(q.From))
	}
	if !q.To.IsZero() {
		f.add(`at < ?`, ceilTime(q.To))
	}
	query := f.sql(`SELECT tenant_id, epoch, kind, before, after, actor, reason, at FROM config_change`, `ORDER BY epoch LIMIT ?`, q.Limit)
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(query), f.args...)
	if s.matchesNothing(err) {
		return []engine.Change{}, nil
	}
	if err != nil {
		return nil, s.cannotRead("the history", err)
	}
	defer rows.Close()
	list := []engine.Change{}
	for rows.Next() {
		var c engine.Change
		var before, after string
		var at looseStamp
		if err := rows.Scan(&c.TenantID, &c.Epoch, &c.Kind, &before, &after, &c.Actor, &c.Reason, &at); err != nil {
			return nil, s.cannotRead("the history", err)
		}
		c.Before, c.After, c.At = []byte(before), []byte(after), time.Time(at)
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("the history", err)
	}
	return list, nil
}

// ceilTime writes t for a comparison with stored times, which are whole
// milliseconds: the first that is not before t. All stored times are in the
// years 1 to 9999, which both databases can read and sort; t is moved there.
func ceilTime(t time.Time) string {
	t = t.UTC()
	if cut := t.Truncate(time.Millisecond); cut.Before(t) {
		t = cut.Add(time.Millisecond)
	}
	switch {
	case t.Year() < 1:
		t = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	case t.Year() > 9999:
		t = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
	}
	return engine.FormatTime(t)
}

// matchesNothing reports whether a query failed because the database cannot
// even hold a value in it, such as text with a NUL: then no row has it.
func (s *Store) matchesNothing(err error) bool {
	return err != nil && s.db.classify(err) == failedRow
}

// filter gathers the conditions of a query with their values.
type filter struct {
	text []string
	args []any
}

// add adds a condition on one value, written as ?.
func (f *filter) add(condition string, value any) {
	f.args = append(f.args, value)
	f.text = append(f.text, strings.ReplaceAll(condition, "?", param(len(f.args))))
}

// sql joins the query; the values of the end's ? follow the filter's.
func (f *filter) sql(start, end string, values ...any) string {
	for _, v := range values {
		f.args = append(f.args, v)
		end = strings.Replace(end, "?", param(len(f.args)), 1)
	}
	return start + ` WHERE ` + strings.Join(f.text, ` AND `) + ` ` + end
}
