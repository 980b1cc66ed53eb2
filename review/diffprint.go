package review

import (
	"fmt"
	"io"
	"strings"
)

// JSON writes the difference.
func (d *Comparison) JSON(w io.Writer) error { return writeJSON(w, d) }

// Text writes the difference for a terminal.
func (d *Comparison) Text(w io.Writer, paint Painter) error {
	var b strings.Builder
	fmt.Fprintf(&b, "old  %s  %s %s\nnew  %s  %s %s\n%s situations, %s decided differently, %.1f s\n",
		d.Old.Name, d.Old.Revision, d.Old.BundleHash, d.New.Name, d.New.Revision, d.New.BundleHash, grouped(d.Situations), grouped(d.Changed), d.Seconds)
	list := func(title string, changes []Change, least int) {
		if len(changes) == 0 {
			return
		}
		if least < len(changes) {
			title += fmt.Sprintf(" (%d sentences; fewer than %d cannot say it)", len(changes), least)
		}
		fmt.Fprintf(&b, "\n%s\n", paint("heading", title))
		for _, c := range changes {
			fmt.Fprintf(&b, "  %s\n", paint(string(c.Direction), c.String()))
			fmt.Fprintf(&b, "      %s situations, such as %s: %s → %s\n", grouped(c.Situations), c.Example.Situation, c.Example.Before, c.Example.After)
		}
	}
	list("decisions that change", d.Changes, d.ChangesAtLeast)
	list("same decision, other rule", d.OtherRule, d.OtherRuleAtLeast)
	if len(d.Texts) > 0 {
		fmt.Fprintf(&b, "\n%s\n", paint("heading", "rationale texts"))
		for _, t := range d.Texts {
			fmt.Fprintf(&b, "  %s (%d texts)\n      - %s\n      + %s\n", clean(t.Rule), t.Texts, clean(t.Before), clean(t.After))
		}
	}
	if len(d.Tables) > 0 {
		fmt.Fprintf(&b, "\n%s\n", paint("heading", "tables"))
		for _, t := range d.Tables {
			fmt.Fprintf(&b, "  %s: %s → %s\n", clean(t.Path), clean(orNone(t.Before)), clean(orNone(t.After)))
		}
	}
	b.WriteByte('\n')
	for _, note := range d.NotCovered {
		fmt.Fprintf(&b, "%s  %s\n", paint("fails", "NOT COVERED"), note)
	}
	for _, note := range d.ByExample {
		fmt.Fprintf(&b, "by example  %s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// maxExamples bounds how many example inputs the Markdown holds, so that it fits
// into a comment; the JSON has all.
const maxExamples = 20

// Markdown writes the difference as a comment for a pull request. open are the
// widenings that nobody acknowledged.
func (d *Comparison) Markdown(w io.Writer, open []Change) error {
	var b strings.Builder
	widen := len(d.Widenings())
	title := "no decision changes"
	if n := len(d.NotCovered); n > 0 {
		title = fmt.Sprintf("no decision changes where it looked, and **%d things are not covered**", n)
	}
	switch {
	case len(open) > 0:
		title = fmt.Sprintf("**%d of %d changes widen autonomy and are not acknowledged**", len(open), len(d.Changes))
	case widen > 0:
		title = fmt.Sprintf("%d of %d changes widen autonomy, all acknowledged", widen, len(d.Changes))
	case len(d.Changes) > 0:
		title = fmt.Sprintf("%d changes, none widens autonomy", len(d.Changes))
	}
	fmt.Fprintf(&b, "### Policy difference: %s\n\n%s `%s` → %s `%s`: %s situations, %s decided differently.\n",
		title, d.Old.Revision, d.Old.BundleHash, d.New.Revision, d.New.BundleHash, grouped(d.Situations), grouped(d.Changed))
	if len(d.Changes) > 0 {
		b.WriteString("\n| | Situation | Decision | Situations |\n|---|---|---|---|\n")
		for _, c := range d.Changes {
			fmt.Fprintf(&b, "| **%s** | %s | %s → %s | %s |\n", c.Direction, escape(c.Situation), verbatim(c.Before), verbatim(c.After), grouped(c.Situations))
		}
		b.WriteString("\n<details><summary>An example input of each, for <code>tiergate eval</code></summary>\n")
		for i, c := range d.Changes {
			if i == maxExamples {
				fmt.Fprintf(&b, "\nThe other %d are in the JSON.\n", len(d.Changes)-i)
				break
			}
			fmt.Fprintf(&b, "\n%s: %s → %s\n%s\n", escape(c.Example.Situation), escape(c.Example.Before), escape(c.Example.After), block(c.Example.Input))
		}
		b.WriteString("\n</details>\n")
	}
	if len(d.OtherRule) > 0 {
		b.WriteString("\n<details><summary>Same decision, other rule</summary>\n\n| Situation | Rule | Situations |\n|---|---|---|\n")
		for _, c := range d.OtherRule {
			fmt.Fprintf(&b, "| %s | %s → %s | %s |\n", escape(c.Situation), verbatim(c.Before), verbatim(c.After), grouped(c.Situations))
		}
		b.WriteString("\n</details>\n")
	}
	if len(d.Texts) > 0 {
		b.WriteString("\n<details><summary>Rationale texts</summary>\n\n| Rule | Before | After |\n|---|---|---|\n")
		for _, t := range d.Texts {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", verbatim(t.Rule), escape(t.Before), escape(t.After))
		}
		b.WriteString("\n</details>\n")
	}
	if len(d.Tables) > 0 {
		b.WriteString("\n<details><summary>Tables</summary>\n\n| Value | Before | After |\n|---|---|---|\n")
		for _, t := range d.Tables {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", verbatim(t.Path), escape(orNone(t.Before)), escape(orNone(t.After)))
		}
		b.WriteString("\n</details>\n")
	}
	writeNotes(&b, d.NotCovered, d.ByExample)
	_, err := io.WriteString(w, b.String())
	return err
}
