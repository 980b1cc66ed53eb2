package review

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// paint are the colours of a terminal; all empty for none.
type paint struct{ bad, good, dim, off string }

func paints(colour bool) paint {
	if !colour {
		return paint{}
	}
	return paint{bad: "\x1b[31m", good: "\x1b[32m", dim: "\x1b[2m", off: "\x1b[0m"}
}

// WriteText writes the report for a terminal: what breaks P4 first, then what
// New would change, then what could not be done.
func (r *BacktestReport) WriteText(w io.Writer, colour bool) error {
	p := paints(colour)
	out := &strings.Builder{}
	fmt.Fprintf(out, "backtest of %s, revision %s\n", r.BundleHash, r.Revision)
	r.textViolations(out, p)
	r.textTransitions(out, p)
	r.textSkipped(out, p)
	fmt.Fprintf(out, "\n%s in %s, %s rows/s on each of %d cores: %s decided again by their own bundle, %s by the new one\n",
		rows(r.Rows), (time.Duration(r.Seconds * float64(time.Second))).Round(10*time.Millisecond), grouped(int64(r.RowsPerSecond())), r.Workers,
		grouped(r.Replayed), grouped(r.Compared))
	_, err := io.WriteString(w, out.String())
	return err
}

func (r *BacktestReport) textViolations(out *strings.Builder, p paint) {
	if r.Violated == 0 {
		if r.Replayed > 0 {
			fmt.Fprintf(out, "%severy row that could be replayed is what its own bundle says%s\n", p.good, p.off)
		}
		return
	}
	fmt.Fprintf(out, "\n%s%s of %s are not what their own bundle says about their input (P4):%s\n", p.bad, grouped(r.Violated), rows(r.Replayed), p.off)
	for _, v := range r.Violations {
		fmt.Fprintf(out, "  %s\n", v.name())
		fmt.Fprintf(out, "    by %s, logged by %s\n", clean(v.BundleHash), clean(v.EngineVersion))
		for _, d := range v.Differences {
			fmt.Fprintf(out, "    %s: logged %q, now %q\n", d.Field, d.Logged, d.Now)
		}
	}
	more(out, r.Violated, len(r.Violations))
}

func (r *BacktestReport) textTransitions(out *strings.Builder, p paint) {
	if r.Compared > 0 {
		fmt.Fprintf(out, "\n%s of %s decisions change, %s of them WIDEN\n", grouped(r.Changed), grouped(r.Compared), grouped(r.Widened))
	}
	for _, c := range r.Totals {
		colour := p.dim
		if c.Widens {
			colour = p.bad
		}
		fmt.Fprintf(out, "  %s%s → %s: %s, %s%s\n", colour, c.From, c.To, grouped(c.Count), direction(c.Widens), p.off)
	}
	if len(r.Transitions) > 0 {
		fmt.Fprintln(out)
		t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "  COUNT\tTENANT\tACTION TYPE\tDECISION\t\tFOR EXAMPLE")
		for _, c := range r.Transitions {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s → %s\t%s\t%s\n", grouped(c.Count), clean(c.TenantID), clean(c.ActionType), c.From, c.To, direction(c.Widens), names(c.Samples))
		}
		t.Flush()
	}
	for _, c := range r.RuleChanges {
		fmt.Fprintf(out, "  %s stay %s by another rule, %s → %s: %s\n", grouped(c.Count), c.Decision, clean(c.From), clean(c.To), names(c.Samples))
	}
	if r.OtherText > 0 {
		fmt.Fprintf(out, "  %s%s keep decision and rule and get other words, radius or overrides%s\n", p.dim, grouped(r.OtherText), p.off)
	}
}

func (r *BacktestReport) textSkipped(out *strings.Builder, p paint) {
	if len(r.Skipped) > 0 {
		fmt.Fprintf(out, "\nnot done:\n")
	}
	for _, s := range r.Skipped {
		colour := ""
		if s.Unreadable || s.Reason == SkipNewFails {
			colour = p.bad
		}
		fmt.Fprintf(out, "  %s%s: %s%s%s\n", colour, rows(s.Count), s.Reason, s.bundle(), p.off)
		for _, x := range s.Samples {
			fmt.Fprintf(out, "    %s%s\n", x.name(), x.detail())
		}
		more(out, s.Count, len(s.Samples))
	}
}

func more(out *strings.Builder, count int64, shown int) {
	if n := count - int64(shown); n > 0 {
		fmt.Fprintf(out, "    and %s more\n", grouped(n))
	}
}

func direction(widens bool) string {
	if widens {
		return "WIDENS"
	}
	return "narrows"
}

func (s Skipped) bundle() string {
	if s.BundleHash == "" {
		return ""
	}
	return ", " + clean(s.BundleHash)
}

// name says which row it is.
func (s Sample) name() string {
	var parts []string
	if s.Place != "" {
		parts = append(parts, s.Place)
	}
	if s.TenantID != "" {
		parts = append(parts, fmt.Sprintf("tenant %s, row %d", s.TenantID, s.LogSeq))
	}
	if s.DecisionID != "" {
		parts = append(parts, s.DecisionID)
	}
	if len(parts) == 0 {
		return "a row without a name"
	}
	return clean(strings.Join(parts, ", "))
}

func (s Sample) detail() string {
	if s.Detail == "" {
		return ""
	}
	return ": " + clean(s.Detail)
}

// names lists the decisions that stand for a finding.
func names(samples []Sample) string {
	list := make([]string, len(samples))
	for i, s := range samples {
		if list[i] = clean(s.DecisionID); s.DecisionID == "" {
			list[i] = s.name()
		}
	}
	return strings.Join(list, " ")
}

// rows counts rows in words.
func rows(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return grouped(n) + " rows"
}
