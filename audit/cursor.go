package audit

import "slices"

// cursor walks through the rows of a kind that are numbered without gaps, a page
// at a time.
type cursor struct {
	page []Row
	over bool // no page follows
}

// seqColumns are where the rows of each kind have their number.
var seqColumns = map[*Kind]string{Decision: "log_seq", ConfigChange: "epoch", PolicyChange: "change_id", ApprovalEvent: "seq", Outcome: "seq"}

func seqOf(kind *Kind, row Row) int64 {
	seq, _ := row.Values[slices.Index(kind.Columns, seqColumns[kind])].(int64)
	return seq
}

// find returns the row of that number, and how many there are.
func (v *verifier) find(kind *Kind, id string, seq int64) (row Row, copies int, err error) {
	if !counted(kind) {
		list, err := v.source.Rows(v.ctx, v.tenant, kind, id, seq, 2)
		for _, r := range list {
			if kind == Genesis || seqOf(kind, r) == seq {
				row = r
				copies++
			}
		}
		return row, copies, err
	}
	c := v.rows[kind]
	if c == nil {
		c = &cursor{}
		v.rows[kind] = c
	}
	for len(c.page) > 0 && seqOf(kind, c.page[0]) < seq {
		c.page = c.page[1:]
	}
	if len(c.page) == 0 && !c.over {
		if c.page, err = v.source.Rows(v.ctx, v.tenant, kind, "", seq, page); err != nil {
			return row, 0, err
		}
		if c.over = len(c.page) < page; !c.over {
			c.page = withoutLast(kind, c.page)
		}
	}
	for len(c.page) > 0 && seqOf(kind, c.page[0]) == seq {
		row = c.page[0]
		c.page = c.page[1:]
		copies++
	}
	return row, copies, nil
}

// withoutLast leaves out the rows of the last number, of which the next page may
// have more.
func withoutLast(kind *Kind, rows []Row) []Row {
	n := len(rows)
	for n > 0 && seqOf(kind, rows[n-1]) == seqOf(kind, rows[len(rows)-1]) {
		n--
	}
	if n == 0 {
		return rows
	}
	return rows[:n]
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
