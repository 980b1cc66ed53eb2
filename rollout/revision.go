package rollout

import (
	"cmp"
	"strings"
)

// compareRevisions orders two semantic versions by precedence (semver.org,
// 2.0.0, item 11): -1, 0 or 1. Build metadata does not count.
func compareRevisions(a, b string) int {
	a, _, _ = strings.Cut(a, "+")
	b, _, _ = strings.Cut(b, "+")
	aCore, aPre, aHas := strings.Cut(a, "-")
	bCore, bPre, bHas := strings.Cut(b, "-")
	if c := compareParts(aCore, bCore); c != 0 {
		return c
	}
	switch {
	case aHas && bHas:
		return compareParts(aPre, bPre)
	case aHas:
		return -1 // a pre-release is before its release
	case bHas:
		return 1
	}
	return 0
}

// compareParts compares dot-separated identifiers. Numbers have no leading
// zeros, so a longer one is larger; they are before words.
func compareParts(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, y := as[i], bs[i]
		xNum, yNum := isNumber(x), isNumber(y)
		c := 0
		switch {
		case xNum && yNum:
			c = cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
		case xNum:
			c = -1
		case yNum:
			c = 1
		default:
			c = cmp.Compare(x, y)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
