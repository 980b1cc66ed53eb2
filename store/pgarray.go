package store

import (
	"encoding/hex"
	"fmt"
	"strconv"
)

// arrays are the parameters of pgBeside, or of pgAll.
func arrays(rows []row, trees []*growth, all bool) []any {
	columns := make([]array, len(rowColumns))
	var withParameters, owners, parameters array
	var heads, runs [6]array
	for _, r := range rows {
		for i, v := range r.columns {
			if _, shared := besideParam[rowColumns[i]]; all || shared {
				columns[i].add(v)
			}
		}
		if r.Parameters != nil {
			withParameters.add(r.DecisionID)
			owners.add(r.TenantID)
			parameters.add(r.Parameters)
		}
	}
	for _, g := range trees {
		for i, v := range g.headValues() {
			heads[i].add(v)
		}
		for _, r := range g.runs {
			for i, v := range g.runValues(r) {
				runs[i].add(v)
			}
		}
	}
	args := make([]any, besideParams, besideParams+len(rowColumns))
	for i, c := range rowColumns {
		if n, shared := besideParam[c]; shared {
			args[n-1] = columns[i].done()
		} else if all {
			args = append(args, columns[i].done())
		}
	}
	args[4], args[5] = heads[0].done(), heads[1].done() // an append leaves the epoch, heads[2]
	args[6], args[7], args[8] = withParameters.done(), owners.done(), parameters.done()
	args[9], args[10], args[11] = heads[3].done(), heads[4].done(), heads[5].done()
	for i := range runs {
		args[12+i] = runs[i].done()
	}
	return args
}

// openArrays are the parameters of pgOpen.
func openArrays(o openings) []any {
	columns := make([]array, len(openColumns)+len(openEventColumns)+3)
	add := func(first int, values []any) {
		for i, v := range values {
			columns[first+i].add(v)
		}
	}
	for _, n := range o.opened {
		add(0, n.values())
	}
	for _, list := range [][]*opening{o.opened, o.joined} {
		for _, n := range list {
			for _, ev := range n.events {
				add(len(openColumns), n.eventValues(ev))
			}
		}
	}
	for _, n := range o.joined {
		add(len(openColumns)+len(openEventColumns), []any{n.tenant, n.id, n.version})
	}
	args := make([]any, len(columns))
	for i := range columns {
		args[i] = columns[i].done()
	}
	return args
}

// array builds an array in PostgreSQL's text form.
type array struct{ b []byte }

func (a *array) add(v any) {
	if len(a.b) == 0 {
		a.b = append(a.b, '{')
	} else {
		a.b = append(a.b, ',')
	}
	switch v := v.(type) {
	case nil:
		a.b = append(a.b, "NULL"...)
	case int64:
		a.b = strconv.AppendInt(a.b, v, 10)
	case float64:
		a.b = strconv.AppendFloat(a.b, v, 'g', -1, 64)
	case []byte:
		a.b = append(a.b, `"\\x`...)
		a.b = hex.AppendEncode(a.b, v)
		a.b = append(a.b, '"')
	case string:
		a.b = append(a.b, '"')
		for i := range len(v) {
			if v[i] == '"' || v[i] == '\\' {
				a.b = append(a.b, '\\')
			}
			a.b = append(a.b, v[i])
		}
		a.b = append(a.b, '"')
	default:
		panic(fmt.Sprintf("store: array of %T", v))
	}
}

func (a *array) done() string {
	if len(a.b) == 0 {
		return "{}"
	}
	return string(append(a.b, '}'))
}

func textArray(list []string) string {
	var a array
	for _, s := range list {
		a.add(s)
	}
	return a.done()
}

func outboxArrays(o openings) []any {
	var tenants, seqs, items array
	for _, r := range o.outbox {
		tenants.add(r.tenant)
		seqs.add(r.seq)
		items.add(r.items)
	}
	return []any{tenants.done(), seqs.done(), items.done()}
}
