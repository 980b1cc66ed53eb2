package audit

import (
	"context"
	"slices"
)

// finder finds the rows of a tenant that leaves are about.
type finder struct {
	source  Source
	tenant  string
	cursors map[*Kind]*cursor
}

// cursor walks through the rows of a kind that are numbered without gaps, a page
// of numbers at a time.
type cursor struct {
	rows []Row
	end  int64 // number behind the page
}

// seqColumns are where the rows of such kinds have their number.
var seqColumns = map[*Kind]string{Decision: "log_seq", ConfigChange: "epoch", PolicyChange: "change_id"}

func seqOf(kind *Kind, row Row) int64 {
	seq, _ := row.Values[slices.Index(kind.Columns, seqColumns[kind])].(int64)
	return seq
}

// find returns the row of that number, and how many there are.
func (f *finder) find(ctx context.Context, kind *Kind, id string, seq int64) (row Row, copies int, err error) {
	if !counted(kind) {
		list, err := f.source.Rows(ctx, f.tenant, kind, id, seq, seq+1)
		if len(list) > 0 {
			row = list[0]
		}
		return row, len(list), err
	}
	c := f.cursors[kind]
	if c == nil {
		c = &cursor{}
		f.cursors[kind] = c
	}
	if seq >= c.end {
		if c.rows, err = f.source.Rows(ctx, f.tenant, kind, "", seq, seq+page); err != nil {
			return row, 0, err
		}
		c.end = seq + page
	}
	for len(c.rows) > 0 && seqOf(kind, c.rows[0]) <= seq {
		if seqOf(kind, c.rows[0]) == seq {
			row = c.rows[0]
			copies++
		}
		c.rows = c.rows[1:]
	}
	return row, copies, nil
}

func asText(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}
