package audit

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// ParseLeaf reads the bytes of a leaf that AppendLeaf has made, and nothing else:
// members, their order and their spelling are fixed, so that two texts that
// differ are never the same row. The values are in the order of k.Columns: nil,
// string, int64 or float64. Times and UUIDs are strings, and so is what a leaf
// has as a digest: "sha256:" and hexadecimal digits.
func (k *Kind) ParseLeaf(b []byte) ([]any, error) {
	values := make([]any, len(k.fields))
	rest := b
	for _, p := range k.parts {
		var ok bool
		if rest, ok = bytes.CutPrefix(rest, []byte(p.text)); !ok {
			return nil, fmt.Errorf("no leaf %s: want %s at byte %d", k.Name, p.text, len(b)-len(rest))
		}
		if p.field < 0 {
			break
		}
		if after, null := bytes.CutPrefix(rest, []byte("null")); null {
			rest = after
			continue
		}
		f := &k.fields[p.field]
		var err error
		if values[p.field], rest, err = f.read(rest); err != nil {
			return nil, fmt.Errorf("%s of a leaf %s, at byte %d: %w", f.name, k.Name, len(b)-len(rest), err)
		}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("no leaf %s: %d bytes behind its end", k.Name, len(rest))
	}
	return values, nil
}

// Index is the leaf_index that the bytes of a leaf name, or of a policy_change,
// which has none, its change_id; 0 of a genesis, -1 where there is none. It looks
// for no more than that, and is meant for finding rows before they are checked.
func (k *Kind) Index(leaf []byte) int64 {
	switch k {
	case Genesis:
		return 0
	case PolicyChange:
		return member(leaf, "change_id")
	}
	return member(leaf, "leaf_index")
}

// Seq is the number of the row among its kind's, as Index is its leaf's; -1 where
// there is none.
func (k *Kind) Seq(leaf []byte) int64 {
	if name := seqColumns[k]; name != "" {
		return member(leaf, name)
	}
	return member(leaf, "seq")
}

// member finds an integer that is not the first member; -1 where there is none.
func member(leaf []byte, name string) int64 {
	// Inside a string the quotes of such a name would be escaped.
	_, rest, ok := bytes.Cut(leaf, []byte(`,"`+name+`":`))
	if !ok {
		return -1
	}
	n, _, err := readInteger(rest)
	if err != nil {
		return -1
	}
	return n.(int64)
}

var (
	errString = errors.New("want a string as RFC 8785 writes it")
	errNumber = errors.New("want a number as RFC 8785 writes it")
)

// readText reads a string that appendString has written.
func readText(b []byte) (any, []byte, error) {
	if len(b) == 0 || b[0] != '"' {
		return nil, b, errString
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			s := b[1:i]
			if !utf8.Valid(s) {
				return nil, b, errUTF8
			}
			return string(s), b[i+1:], nil
		case c == '\\':
			return readEscaped(b)
		case c < ' ':
			return nil, b, errString
		}
	}
	return nil, b, errString
}

// readEscaped reads a string with escapes: only those that appendString uses.
func readEscaped(b []byte) (any, []byte, error) {
	var s []byte
	for i := 1; i < len(b); i++ {
		c := b[i]
		switch {
		case c == '"':
			if !utf8.Valid(s) {
				return nil, b, errUTF8
			}
			return string(s), b[i+1:], nil
		case c < ' ':
			return nil, b, errString
		case c != '\\':
			s = append(s, c)
			continue
		}
		if i++; i == len(b) {
			break
		}
		at := bytes.IndexByte([]byte(`"\btnfru`), b[i])
		switch {
		case at < 0:
			return nil, b, errString
		case b[i] != 'u':
			s = append(s, "\"\\\b\t\n\f\r"[at])
			continue
		}
		code, err := strconv.ParseUint(string(b[i+1:min(i+5, len(b))]), 16, 16)
		if err != nil || code >= ' ' {
			return nil, b, errString
		}
		again, _ := appendString(nil, string(rune(code)))
		if !bytes.HasPrefix(b[i-1:], again[1:len(again)-1]) {
			return nil, b, errString // it has a shorter escape, or is in upper case
		}
		s = append(s, byte(code))
		i += 4
	}
	return nil, b, errString
}

func readID(b []byte) (any, []byte, error) {
	v, rest, err := readText(b)
	if err != nil {
		return nil, b, err
	}
	if s := v.(string); !isUUID(s) || bytes.ContainsAny([]byte(s), "ABCDEF") {
		return nil, b, fmt.Errorf("%.64q is no UUID in lower case", s)
	}
	return v, rest, nil
}

func readDigest(b []byte) (any, []byte, error) {
	v, rest, err := readText(b)
	if err != nil {
		return nil, b, err
	}
	if s := v.(string); !IsDigest(s) {
		return nil, b, fmt.Errorf("%.80q is no digest", s)
	}
	return v, rest, nil
}

// IsDigest reports whether s is "sha256:" and 64 hexadecimal digits in lower case.
func IsDigest(s string) bool {
	if len(s) != len("sha256:")+64 || s[:7] != "sha256:" {
		return false
	}
	for _, c := range []byte(s[7:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// numberEnd is where the number at the beginning of b ends.
func numberEnd(b []byte) int {
	i := 0
	for i < len(b) && (b[i] >= '0' && b[i] <= '9' || b[i] == '-' || b[i] == '+' || b[i] == '.' || b[i] == 'e') {
		i++
	}
	return i
}

func readInteger(b []byte) (any, []byte, error) {
	end := numberEnd(b)
	n, err := strconv.ParseInt(string(b[:end]), 10, 64)
	if err != nil {
		return nil, b, errNumber
	}
	if again, err := appendInteger(nil, n); err != nil || !bytes.Equal(again, b[:end]) {
		return nil, b, errNumber
	}
	return n, b[end:], nil
}

func readNumber(b []byte) (any, []byte, error) {
	end := numberEnd(b)
	f, err := strconv.ParseFloat(string(b[:end]), 64)
	if err != nil {
		return nil, b, errNumber
	}
	if again, err := appendNumber(nil, f); err != nil || !bytes.Equal(again, b[:end]) {
		return nil, b, errNumber
	}
	return f, b[end:], nil
}

// KindOf is the kind that the bytes of a leaf name, nil where there is none. Like
// Index it is meant for before a leaf is checked.
func KindOf(leaf []byte) *Kind {
	_, rest, _ := bytes.Cut(leaf, []byte(`,"leaf":"`))
	name, _, _ := bytes.Cut(rest, []byte(`"`))
	return KindNamed(string(name))
}
