package evidence

import (
	"archive/zip"
	"bytes"
	"io"
	"testing"
)

// Forge writes a file of these items and members, with a manifest to match: what
// somebody can do who has the program and no key.
func Forge(t testing.TB, m Manifest, items []*Item, members map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	f := newWriter(&out)
	err := f.member(leavesName, zip.Deflate, func(w io.Writer) error {
		for _, i := range items {
			if _, err := w.Write(append(i.append(nil), '\n')); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range sortedKeys(members) {
		if err == nil {
			err = f.bytes(name, members[name])
		}
	}
	if err == nil {
		err = f.finish(&m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Members are all members of a file but leaves.jsonl.
func (f *File) MembersForTest(t testing.TB) map[string][]byte {
	t.Helper()
	list := map[string][]byte{}
	for _, m := range f.Manifest.Members {
		if m.Name != leavesName {
			b, err := f.small(m.Name)
			if err != nil {
				t.Fatal(err)
			}
			list[m.Name] = b
		}
	}
	return list
}

// ParseItem reads a line.
func ParseItem(line []byte) (*Item, error) {
	i := &Item{}
	return i, i.parse(line)
}

// Line is an item's.
func (i *Item) Line() []byte { return i.append(nil) }
