package review

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// JSON writes the proof.
func (p *Proof) JSON(w io.Writer) error { return writeJSON(w, p) }

// Text writes the proof for people. files are, by promise, where the inputs of
// its counterexample were written.
func (p *Proof) Text(w io.Writer, paint Painter, bundle string, files map[string][]string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "policy %s %s\n%s situations, %s evaluations, %.1f s\n\n", p.Revision, p.BundleHash, grouped(p.Situations), grouped(p.Evaluations), p.Seconds)
	for _, c := range p.Promises {
		mark := paint("holds", "holds")
		if !c.Holds {
			mark = paint("fails", "FAILS")
		}
		fmt.Fprintf(&b, "%s  %-31s %s (%s)\n", mark, c.Name, c.Title, grouped(c.Situations))
		if c.Holds {
			continue
		}
		fmt.Fprintf(&b, "       broken %s times; the plainest:\n       %s\n", grouped(c.Broken), c.Counterexample.Sentence)
		for _, f := range files[c.Name] {
			fmt.Fprintf(&b, "       tiergate eval --bundle %s %s\n", bundle, f)
		}
	}
	for _, note := range p.NotCovered {
		fmt.Fprintf(&b, "%s  %s\n", paint("fails", "NOT COVERED"), note)
	}
	for _, note := range p.ByExample {
		fmt.Fprintf(&b, "by example  %s\n", note)
	}
	verdict := paint("holds", "every promise holds")
	if !p.Holds {
		verdict = paint("fails", "this bundle must not decide")
	}
	fmt.Fprintf(&b, "\n%s\n", verdict)
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the proof for a pull request.
func (p *Proof) Markdown(w io.Writer) error {
	var b strings.Builder
	verdict := "every promise holds"
	if !p.Holds {
		verdict = "**this bundle must not decide**"
	}
	fmt.Fprintf(&b, "### Proof: %s\n\nPolicy %s `%s`: %s situations, %s evaluations, %.1f s.\n\n| | Promise | Situations |\n|---|---|---|\n",
		verdict, p.Revision, p.BundleHash, grouped(p.Situations), grouped(p.Evaluations), p.Seconds)
	for _, c := range p.Promises {
		mark, title := "holds", c.Title
		if !c.Holds {
			mark = "**fails**"
			title += fmt.Sprintf("<br>Broken %s times; the plainest: %s", grouped(c.Broken), escape(c.Counterexample.Sentence))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", mark, title, grouped(c.Situations))
	}
	for _, c := range p.Promises {
		if c.Holds || len(c.Counterexample.Inputs) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n<details><summary>%s: input for <code>tiergate eval</code></summary>\n\n", c.Name)
		for _, in := range c.Counterexample.Inputs {
			fmt.Fprintf(&b, "%s\n", block(in))
		}
		b.WriteString("\n</details>\n")
	}
	writeNotes(&b, p.NotCovered, p.ByExample)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeNotes(b *strings.Builder, notCovered, byExample []string) {
	if len(notCovered)+len(byExample) > 0 {
		b.WriteByte('\n')
	}
	for _, note := range notCovered {
		fmt.Fprintf(b, "- **Not covered:** %s\n", escape(note))
	}
	for _, note := range byExample {
		fmt.Fprintf(b, "- By example: %s\n", escape(note))
	}
}

// clean keeps text from a bundle from moving the cursor, ending a line or turning
// the reading direction: what is no graphic character is written as \u{…}.
func clean(s string) string {
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			fmt.Fprintf(&b, `\u{%x}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool {
	return r == utf8.RuneError || !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
}

// escape keeps text from being read as Markdown or HTML, and from calling people.
func escape(s string) string { return markdown.Replace(clean(s)) }

var markdown = strings.NewReplacer(`\`, `\\`, "&", "&amp;", "<", "&lt;", ">", "&gt;", "|", `\|`, "`", "\\`", "*", `\*`, "_", `\_`,
	"[", `\[`, "]", `\]`, "@", "&#64;", "#", "&#35;", "~", `\~`, "://", "&#58;//")

// harmless is text that code style keeps as it is.
var harmless = regexp.MustCompile(`^[A-Za-z0-9 _.,:()→/+-]*$`)

// verbatim is text in code style, whatever it holds.
func verbatim(s string) string {
	if harmless.MatchString(s) {
		return "`" + s + "`"
	}
	return "<code>" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;", "`", "&#96;", "@", "&#64;", `\`, "&#92;", "*", "&#42;", "_", "&#95;", "[", "&#91;", "]", "&#93;").Replace(clean(s)) + "</code>"
}

// block is JSON as preformatted text, whatever it holds.
func block(json []byte) string {
	return "<pre>" + strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "&#64;").Replace(clean(string(json))) + "</pre>"
}

// grouped writes a number with commas.
func grouped[N int | int64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
