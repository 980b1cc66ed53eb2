package review

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the report for a pull request.
func (r *BacktestReport) WriteMarkdown(w io.Writer) error {
	out := &strings.Builder{}
	fmt.Fprintf(out, "## Backtest of revision %s\n\n`%s` on %s logged decisions.\n", verbatim(r.Revision), r.BundleHash, grouped(r.Rows))
	if r.Violated > 0 {
		fmt.Fprintf(out, "\n### %s rows are not what their own bundle says (P4)\n\n| Row | Field | Logged | Now |\n|---|---|---|---|\n", grouped(r.Violated))
		for _, v := range r.Violations {
			for _, d := range v.Differences {
				fmt.Fprintf(out, "| %s | %s | %s | %s |\n", cell(v.name()), cell(d.Field), cell(d.Logged), cell(d.Now))
			}
		}
	}
	fmt.Fprintf(out, "\n**%s of %s decisions change, %s of them widen.**\n", grouped(r.Changed), grouped(r.Compared), grouped(r.Widened))
	for i, c := range r.Totals {
		if i == 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "- %s → %s: %s, %s\n", c.From, c.To, grouped(c.Count), direction(c.Widens))
	}
	if len(r.Transitions) > 0 {
		fmt.Fprintf(out, "\n| Count | Tenant | Action type | Decision | | For example |\n|---:|---|---|---|---|---|\n")
		for _, c := range r.Transitions {
			way := "narrows"
			if c.Widens {
				way = "**WIDENS**"
			}
			fmt.Fprintf(out, "| %s | %s | %s | %s → %s | %s | %s |\n", grouped(c.Count), cell(c.TenantID), cell(c.ActionType), c.From, c.To, way, cell(names(c.Samples)))
		}
	}
	if len(r.RuleChanges) > 0 || r.OtherText > 0 {
		fmt.Fprintln(out)
		for _, c := range r.RuleChanges {
			fmt.Fprintf(out, "- %s stay %s by another rule: %s → %s\n", grouped(c.Count), cell(c.Decision), cell(c.From), cell(c.To))
		}
		if r.OtherText > 0 {
			fmt.Fprintf(out, "- %s keep decision and rule and get other words, radius or overrides\n", grouped(r.OtherText))
		}
	}
	if len(r.Skipped) > 0 {
		fmt.Fprintf(out, "\n### Not done\n\n| Count | Why | For example |\n|---:|---|---|\n")
		for _, s := range r.Skipped {
			example := ""
			if len(s.Samples) > 0 {
				example = s.Samples[0].name() + s.Samples[0].detail()
			}
			fmt.Fprintf(out, "| %s | %s | %s |\n", grouped(s.Count), cell(string(s.Reason)+s.bundle()), cell(example))
		}
	}
	fmt.Fprintf(out, "\n%s rows were decided again by their own bundle and %s by the new one, in %.1f s.\n", grouped(r.Replayed), grouped(r.Compared), r.Seconds)
	_, err := io.WriteString(w, out.String())
	return err
}

// cell is text from a log as a table's cell: nothing in it is markup.
func cell(s string) string {
	if s == "" {
		return ""
	}
	return verbatim(s)
}
