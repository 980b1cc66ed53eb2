package client

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxPrintable is how many runes of one text are shown: more than any reason
// or target has, and less than floods a terminal.
const maxPrintable = 4000

// Printable is text of a server as it may be shown in one line: what would move
// the cursor, end the line or turn the reading direction is written as \u{…},
// and what is longer than any text of a gate is cut.
func Printable(s string) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > maxPrintable {
			fmt.Fprintf(&b, "… (%d bytes more)", len(s)-i)
			break
		}
		if unprintable(r) {
			fmt.Fprintf(&b, `\u{%x}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// PrintableJSON is a JSON document that means the same and does nothing to a
// terminal: what Printable would replace is escaped. It changes strings only,
// because valid JSON has no such characters elsewhere.
func PrintableJSON(doc []byte) []byte {
	out := make([]byte, 0, len(doc))
	for _, r := range string(doc) {
		switch {
		case r == '\n' || r == '\t' || r == '\r' || !unprintable(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// unprintable also covers what is invisible or turns the reading direction; an
// invalid byte arrives here as U+FFFD.
func unprintable(r rune) bool {
	return r == utf8.RuneError || !unicode.IsGraphic(r)
}
