package review

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// Painter colours a word by what it says; a plain one returns it as it is.
type Painter func(meaning, text string) string

// Plain is a Painter without colour.
func Plain(_, text string) string { return text }

// Text writes the matrix as an aligned table.
func (m *DecisionMatrix) Text(w io.Writer, paint Painter) error {
	head := []string{"radius", "action type"}
	for _, c := range m.Columns {
		head = append(head, c.String())
	}
	rows := [][]string{head}
	radius := ""
	for _, r := range m.Rows {
		row := []string{"", clean(r.ActionType)}
		if r.BlastRadius != radius {
			row[0], radius = r.BlastRadius, r.BlastRadius
		}
		for _, d := range r.Decisions {
			row = append(row, short(d))
		}
		rows = append(rows, row)
	}
	widths := make([]int, len(head))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], len(c))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, c := range row {
			padded := c
			if i < len(row)-1 {
				padded = fmt.Sprintf("%-*s  ", widths[i], c)
			}
			if n > 0 && i > 1 {
				padded = paint(m.Rows[n-1].Decisions[i-2], padded)
			} else if n == 0 {
				padded = paint("heading", padded)
			}
			b.WriteString(padded)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\nbundle %s %s\nqueued: a person approves. A column with + shows what changes when that is in force.\n", m.Revision, m.BundleHash)
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the matrix as a Markdown table.
func (m *DecisionMatrix) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Policy %s `%s`\n\n| Radius | Action type |", m.Revision, m.BundleHash)
	for _, c := range m.Columns {
		fmt.Fprintf(&b, " %s |", c)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(m.Columns)) + "\n")
	for _, r := range m.Rows {
		fmt.Fprintf(&b, "| %s | %s |", r.BlastRadius, verbatim(r.ActionType))
		for _, d := range r.Decisions {
			if d = short(d); d == "auto" {
				d = "**auto**"
			}
			fmt.Fprintf(&b, " %s |", d)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// CSV writes the matrix as RFC 4180 CSV, decisions spelled out.
func (m *DecisionMatrix) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	head := []string{"blast_radius", "action_type"}
	for _, c := range m.Columns {
		head = append(head, c.String())
	}
	_ = out.Write(head)
	for _, r := range m.Rows {
		_ = out.Write(append([]string{r.BlastRadius, r.ActionType}, r.Decisions...))
	}
	out.Flush()
	return out.Error()
}

// JSON writes the matrix with the rules that decide.
func (m *DecisionMatrix) JSON(w io.Writer) error { return writeJSON(w, m) }

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

var matrixPage = template.Must(template.New("matrix").Funcs(template.FuncMap{"short": short}).Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Decision table, policy {{.Revision}}</title>
<style>
body{font:15px/1.4 system-ui,sans-serif;margin:2rem;color:#1a1a1a;background:#fff}
table{border-collapse:collapse}th,td{border:1px solid #c8c8c8;padding:.3rem .6rem;text-align:left}
thead th{background:#f2f2f2;position:sticky;top:0}td code{font-size:.95em}
.auto{background:#d7f0d7;font-weight:600}.queued{background:#fff3d0}.blocked{background:#f6d4d4}.no{background:#e2d4f6}
caption{caption-side:bottom;text-align:left;padding-top:.6rem;color:#555}
</style></head><body>
<h1>What may run by itself</h1>
<table><caption>Policy {{.Revision}}, bundle {{.BundleHash}}. queued: a person approves. A column with + shows what changes when that is in force.</caption>
<thead><tr><th scope="col">Radius</th><th scope="col">Action type</th>{{range .Columns}}<th scope="col">{{.}}</th>{{end}}</tr></thead>
<tbody>{{range $row := .Rows}}
<tr><td>{{.BlastRadius}}</td><th scope="row"><code>{{.ActionType}}</code></th>{{range $i, $d := .Decisions}}<td class="{{short $d}}" title="{{index $row.Rules $i}}">{{short $d}}</td>{{end}}</tr>{{end}}
</tbody></table></body></html>
`))

// HTML writes the matrix as a page that needs nothing else.
func (m *DecisionMatrix) HTML(w io.Writer) error { return matrixPage.Execute(w, m) }
