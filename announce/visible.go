package announce

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible is s as a person can see it, in one line: control characters, what is
// invisible, what turns the reading direction and spaces that only look like one
// are written as \u{202E}. What is longer than max bytes is cut, and says so; 0
// keeps all.
func visible(s string, max int) string {
	var b strings.Builder
	for i, r := range s {
		var piece string
		if unseen(r) {
			piece = fmt.Sprintf(`\u{%X}`, r)
		} else {
			piece = s[i : i+utf8.RuneLen(r)]
		}
		if max > 0 && b.Len()+len(piece) > max {
			fmt.Fprintf(&b, "… (%d bytes more)", len(s)-i)
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

// unseen also holds for an invalid byte, which arrives as U+FFFD. Beyond what
// Unicode calls not graphic there are letters without ink (U+3164, U+2800),
// which pass for nothing, and tags and variations, which pass for the letter
// before them.
func unseen(r rune) bool {
	switch {
	case r == ' ':
		return false
	case r < utf8.RuneSelf:
		return r < ' ' || r == 0x7f
	case r == utf8.RuneError, r == 0x2800, !unicode.IsGraphic(r):
		return true
	}
	return unicode.Is(unicode.Zs, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Variation_Selector, r)
}
