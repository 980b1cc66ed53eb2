package evidence_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/tiergate/tiergate/audit/evidence"
)

// Whatever is given as a file, nothing falls over and nothing but the file that
// was written is clean.
func FuzzVerify(f *testing.F) {
	s := sampleLog(f)
	f.Add(s.file)
	f.Add(s.other)
	f.Add([]byte("PK\x05\x06" + string(make([]byte, 18))))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := verify(file, s.kept)
		if err == nil && len(r.Faults) == 0 && !bytes.Equal(file, s.file) {
			t.Fatalf("%d bytes that nobody has written are clean", len(file))
		}
	})
}

// Whatever stands in one line of a file that fits otherwise: clean is only the
// line that was written.
func FuzzLine(f *testing.F) {
	s := sampleLog(f)
	file := open(f, s.file)
	items, members := itemsOf(f, file), file.MembersForTest(f)
	for n, i := range items {
		f.Add(uint16(n), i.Line())
	}
	f.Fuzz(func(t *testing.T, n uint16, line []byte) {
		i, err := evidence.ParseItem(bytes.Clone(line))
		if err != nil {
			return
		}
		at := int(n) % len(items)
		list := slices.Clone(items)
		list[at] = i
		r, err := verify(evidence.Forge(t, *file.Manifest, list, members), s.kept)
		if err == nil && len(r.Faults) == 0 && !bytes.Equal(line, items[at].Line()) {
			t.Fatalf("line %d can be %q", at, line)
		}
	})
}
