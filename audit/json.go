package audit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// What is written here by hand is RFC 8785: section 3.2.2.2 for strings, 3.2.2.3
// for numbers. Appends wait for it under their tenant's lock.

const hexDigits = "0123456789abcdef"

var errUTF8 = errors.New("the text is not valid UTF-8")

// appendString writes s as a JSON string.
func appendString(b []byte, s string) ([]byte, error) {
	b = append(b, '"')
	clean, ascii := 0, true
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf {
			ascii = false
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[clean:i]...)
		clean = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	if !ascii && !utf8.ValidString(s) {
		return nil, errUTF8
	}
	b = append(b, s[clean:]...)
	return append(b, '"'), nil
}

// appendNumber writes f as ECMAScript does: the shortest digits that read back
// as f. Minus zero is 0.
func appendNumber(b []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v is no number of JSON", f)
	}
	size := math.Abs(f)
	if size == 0 {
		return append(b, '0'), nil
	}
	if size >= 1e-6 && size < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64), nil
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	if n := len(b); b[n-4] == 'e' && b[n-2] == '0' { // e-07 is e-7
		b = append(b[:n-2], b[n-1])
	}
	return b, nil
}

// maxInteger is the largest that every reader of JSON reads exactly.
const maxInteger = 1<<53 - 1

func appendInteger(b []byte, i int64) ([]byte, error) {
	if i > maxInteger || i < -maxInteger {
		return nil, fmt.Errorf("%d is beyond what JSON numbers hold exactly (2^53 - 1)", i)
	}
	return strconv.AppendInt(b, i, 10), nil
}
