package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Kind is a kind of leaves: the rows of one table.
type Kind struct {
	// Name is the value of "leaf" in its leaves.
	Name string
	// Columns are the row's columns, in the order in which AppendLeaf takes
	// their values. The last one is leaf_index, less in Genesis, which is always
	// leaf 0, and in PolicyChange, whose rows are leaves of many trees.
	Columns []string

	fields []field
	parts  []part // in the order of the leaf's bytes
}

// part is a piece of a leaf: fixed text, and behind it the value of a column.
type part struct {
	text  string
	field int // -1: none, the text is all
}

// field is how a column's value is written.
type field struct {
	column, name string
	write        func(b []byte, value any) ([]byte, error)
	read         func(b []byte) (value any, rest []byte, err error)
}

// The types of columns. NULL is null, whatever the type.
func text(column string) field    { return field{column, column, writeText, readText} }
func id(column string) field      { return field{column, column, writeID, readID} }
func integer(column string) field { return field{column, column, writeInteger, readInteger} }
func number(column string) field  { return field{column, column, writeNumber, readNumber} }
func moment(column string) field  { return field{column, column, writeTime, readText} }
func digest(column string) field  { return field{column, column, writeDigest, readDigest} }
func content(column string) field { return field{column, column + "_digest", writeContent, readDigest} }

// newKind puts the fields, and "leaf" and "v" with them, in RFC 8785's order.
func newKind(name string, fields ...field) *Kind {
	k := &Kind{Name: name, fields: fields}
	fixed := map[string]string{"leaf": `"` + name + `"`, "v": "1"}
	var names []string
	at := map[string]int{}
	for i, f := range fields {
		k.Columns = append(k.Columns, f.column)
		names, at[f.name] = append(names, f.name), i
	}
	names = append(names, "leaf", "v")
	slices.Sort(names) // all ASCII, so that bytes sort as UTF-16 does
	pending := "{"
	for i, n := range names {
		if i > 0 {
			pending += ","
		}
		pending += `"` + n + `":`
		if value, ok := fixed[n]; ok {
			pending += value
			continue
		}
		k.parts = append(k.parts, part{pending, at[n]})
		pending = ""
	}
	k.parts = append(k.parts, part{pending + "}", -1})
	return k
}

// Fields are the names of a leaf's members, in the order of its bytes.
func (k *Kind) Fields() []string {
	names := []string{"leaf", "v"}
	for _, f := range k.fields {
		names = append(names, f.name)
	}
	slices.Sort(names)
	return names
}

// AppendLeaf appends the bytes of the leaf of a row: a JSON object in RFC 8785
// form. values are the row's in the order of k.Columns, as database/sql gives
// them: nil, string, []byte, int64, float64 or time.Time.
//
// The value is written as it stands, and what cannot stand in a row of ours is
// an error and never made to fit: so no two rows that differ have the same leaf.
func (k *Kind) AppendLeaf(b []byte, values []any) ([]byte, error) {
	if len(values) != len(k.fields) {
		return nil, fmt.Errorf("a leaf %s has %d columns, not %d", k.Name, len(k.fields), len(values))
	}
	for _, p := range k.parts {
		b = append(b, p.text...)
		if p.field < 0 {
			break
		}
		v := values[p.field]
		if v == nil {
			b = append(b, "null"...)
			continue
		}
		f := &k.fields[p.field]
		var err error
		if b, err = f.write(b, v); err != nil {
			return nil, fmt.Errorf("column %s of a leaf %s: %w", f.column, k.Name, err)
		}
	}
	return b, nil
}

// Hash is the hash of the row's leaf, tlog.RecordHash of its bytes. It works in
// scratch, which it returns for the next one.
func (k *Kind) Hash(scratch []byte, values []any) (tlog.Hash, []byte, error) {
	b, err := k.AppendLeaf(append(scratch[:0], 0), values)
	if err != nil {
		return tlog.Hash{}, scratch, err
	}
	return sha256.Sum256(b), b, nil
}

func writeText(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return appendString(b, v)
	case []byte:
		return appendString(b, string(v))
	}
	return nil, fmt.Errorf("want text, not a %T", value)
}

// writeID writes a UUID in lower case, as PostgreSQL shows it.
func writeID(b []byte, value any) ([]byte, error) {
	var s string
	switch v := value.(type) {
	case string:
		s = v
	case []byte:
		s = string(v)
	default:
		return nil, fmt.Errorf("want a UUID, not a %T", value)
	}
	if !isUUID(s) {
		return nil, fmt.Errorf("%.64q is no UUID", s)
	}
	b = append(b, '"')
	b = append(b, strings.ToLower(s)...)
	return append(b, '"'), nil
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}

func writeInteger(b []byte, value any) ([]byte, error) {
	if v, ok := value.(int64); ok {
		return appendInteger(b, v)
	}
	return nil, fmt.Errorf("want an integer, not a %T", value)
}

func writeNumber(b []byte, value any) ([]byte, error) {
	if v, ok := value.(float64); ok {
		return appendNumber(b, v)
	}
	return nil, fmt.Errorf("want a number, not a %T", value)
}

// timeLayout is RFC 3339 in UTC with three decimals. More decimals than three
// are written where they are there, so that they show.
const (
	timeLayout  = "2006-01-02T15:04:05.000Z07:00"
	exactLayout = "2006-01-02T15:04:05.000000000Z07:00"
)

func writeTime(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return appendString(b, v)
	case time.Time:
		layout := timeLayout
		if v.Nanosecond()%int(time.Millisecond) != 0 {
			layout = exactLayout
		}
		b = append(b, '"')
		b = v.UTC().AppendFormat(b, layout)
		return append(b, '"'), nil
	}
	return nil, fmt.Errorf("want a time, not a %T", value)
}

// writeDigest writes a column that holds the 32 bytes of a SHA-256.
func writeDigest(b []byte, value any) ([]byte, error) {
	v, ok := value.([]byte)
	if !ok || len(v) != sha256.Size {
		return nil, fmt.Errorf("want the 32 bytes of a SHA-256, not a %T of %d bytes", value, len(v))
	}
	return appendDigest(b, v), nil
}

// writeContent writes the SHA-256 of the column's bytes.
func writeContent(b []byte, value any) ([]byte, error) {
	v, ok := value.([]byte)
	if !ok {
		return nil, fmt.Errorf("want bytes, not a %T", value)
	}
	sum := sha256.Sum256(v)
	return appendDigest(b, sum[:]), nil
}

func appendDigest(b, sum []byte) []byte {
	b = append(b, `"sha256:`...)
	b = hex.AppendEncode(b, sum)
	return append(b, '"')
}
