package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
)

// Item is a line of leaves.jsonl: a leaf with its row, a leaf whose row is gone,
// a run of leaves whose rows are not in the file, or a change of configuration
// that is older than the tree.
type Item struct {
	First  int64  // leaf_index of its first leaf; -1 of a change that is older than the tree
	Hashes []byte // of its leaves, 32 bytes each, as the gate stored them
	// Kind is that of the row, nil where there is none.
	Kind *audit.Kind
	Leaf []byte // the row as the bytes of its leaf
	// Input is what the policy saw, the exact bytes; of decisions and steps of
	// approvals. Parameters are those of a decision, where they are still kept.
	Input, Parameters []byte
	// Gone names a row that the database does not have any more; "" for none.
	Gone string
}

// Leaves is how many leaves the item is of.
func (i *Item) Leaves() int64 { return int64(len(i.Hashes) / tlog.HashSize) }

// Clone is a copy that stays as it is.
func (i *Item) Clone() *Item {
	c := *i
	for _, b := range []*[]byte{&c.Hashes, &c.Leaf, &c.Input, &c.Parameters} {
		*b = bytes.Clone(*b)
	}
	return &c
}

// MaxLineBytes bounds a line of leaves.jsonl.
const MaxLineBytes = 16 << 20

// append appends the line, without a line break. Members stand in the order of
// their names, and nothing is between them.
func (i *Item) append(b []byte) []byte {
	b = append(b, '{')
	member := func(name string) {
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":`...)
	}
	if i.Gone != "" {
		member("gone")
		b = append(b, quote(i.Gone)...)
	}
	if len(i.Hashes) > 0 {
		member("hashes")
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, i.Hashes)
		b = append(b, '"')
	}
	if i.Input != nil {
		member("input")
		b = appendRaw(b, i.Input)
	}
	if i.Leaf != nil {
		member("leaf")
		b = append(b, i.Leaf...)
	}
	if i.Parameters != nil {
		member("parameters")
		b = appendRaw(b, i.Parameters)
	}
	return append(b, '}')
}

// appendRaw appends JSON as it is. What is none, or not on one line, is nothing
// that a gate has written; it becomes a string, whose digest shows that.
func appendRaw(b, raw []byte) []byte {
	if !json.Valid(raw) || bytes.ContainsAny(raw, "\r\n") || isSpace(raw[0]) || isSpace(raw[len(raw)-1]) {
		return append(b, quote(string(raw))...)
	}
	return append(b, raw...)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // strings always marshal
		panic(err)
	}
	return b
}

var errLine = errors.New("not a line of leaves.jsonl")

// parse reads what append wrote. The leaf is not looked into, less for its kind.
// Slices are parts of line.
func (i *Item) parse(line []byte) error {
	*i = Item{}
	rest, ok := bytes.CutPrefix(line, []byte("{"))
	if !ok {
		return errLine
	}
	last := ""
	for {
		name, after, ok := bytes.Cut(rest, []byte(`":`))
		if !ok || len(name) < 2 || name[0] != '"' || string(name) <= last {
			return errLine
		}
		last = string(name)
		n := valueEnd(after)
		if n <= 0 {
			return errLine
		}
		if err := i.set(last[1:], after[:n:n]); err != nil {
			return err
		}
		switch rest = after[n:]; {
		case len(rest) > 1 && rest[0] == ',':
			rest = rest[1:]
			continue
		case string(rest) != "}":
			return errLine
		}
		break
	}
	return i.check()
}

func (i *Item) set(name string, value []byte) error {
	switch name {
	case "gone":
		if err := json.Unmarshal(value, &i.Gone); err != nil || i.Gone == "" || !bytes.Equal(quote(i.Gone), value) {
			return fmt.Errorf("%w: gone", errLine)
		}
	case "hashes":
		if value[0] != '"' {
			return fmt.Errorf("%w: hashes", errLine)
		}
		var err error
		i.Hashes, err = base64.StdEncoding.Strict().AppendDecode(nil, value[1:len(value)-1])
		if err != nil || len(i.Hashes) == 0 || len(i.Hashes)%tlog.HashSize != 0 {
			return fmt.Errorf("%w: hashes", errLine)
		}
	case "input":
		i.Input = value
	case "leaf":
		i.Leaf = value
	case "parameters":
		i.Parameters = value
	default:
		return fmt.Errorf("%w: unknown member %s", errLine, strconv.Quote(name))
	}
	return nil
}

// check tells whether the members go together.
func (i *Item) check() error {
	if i.Leaf != nil {
		if i.Kind = audit.KindOf(i.Leaf); i.Kind == nil {
			return fmt.Errorf("%w: a leaf of no kind", errLine)
		}
	}
	old := i.Leaf != nil && i.Hashes == nil && i.Kind == audit.ConfigChange
	switch {
	case i.Leaf == nil && (i.Input != nil || i.Parameters != nil):
		return fmt.Errorf("%w: input or parameters without a row", errLine)
	case !old && i.Hashes == nil, (i.Leaf != nil || i.Gone != "") && i.Leaves() > 1, i.Leaves() > maxRun, i.Gone != "" && i.Leaf != nil:
		return fmt.Errorf("%w: its members do not go together", errLine)
	case i.Input != nil && i.Kind != audit.Decision && i.Kind != audit.ApprovalEvent, i.Parameters != nil && i.Kind != audit.Decision:
		return fmt.Errorf("%w: a %s has no input or no parameters", errLine, i.Kind.Name)
	}
	return nil
}

// maxRun is how many leaves one line without rows has at most.
const maxRun = 256

// valueEnd is where the JSON value at the beginning of b ends, 0 where it does
// not. What is inside is not judged: its bytes are hashed, and read by others.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if i >= len(b) {
				return 0
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
		case ',':
			if depth == 0 {
				return i
			}
			continue
		default:
			if depth == 0 { // a number or a word: up to what follows it
				continue
			}
		}
		if depth == 0 {
			return i + 1
		}
	}
	return 0
}
