package audit

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// randomRow has a value of each column's type, at times a hostile one.
func randomRow(rnd *rand.Rand, k *Kind) []any {
	texts := []string{"", "a", "Ünïcödé \U0001F512", "\"\\/\b\t\n\f\r\x00\x1f\x7f", `","leaf_index":7,"x":"`, "\u2028<script>&"}
	values := make([]any, len(k.fields))
	for i, f := range k.fields {
		if rnd.IntN(6) == 0 {
			continue
		}
		// The type of a field is told by a value that it takes.
		for _, v := range []any{
			"0193f3d2-7b1c-7abc-8def-0123456789ab", int64(rnd.Uint64()>>11) - 1<<52, rnd.NormFloat64() * 1e-7, []byte("0123456789abcdef0123456789abcdef"),
		} {
			if _, err := f.write(nil, v); err == nil {
				values[i] = v
			}
		}
		if _, err := f.write(nil, texts[1]); err == nil {
			values[i] = texts[rnd.IntN(len(texts))]
		}
	}
	return values
}

// A leaf that was made can be read, and is made again from what was read;
// what was read of one with a byte changed makes just these bytes, or is none.
func TestParseLeaf(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	refused, read := 0, 0
	for _, k := range Kinds {
		for range 300 {
			leaf, err := k.AppendLeaf(nil, randomRow(rnd, k))
			if err != nil {
				t.Fatal(err)
			}
			check := func(b []byte) {
				values, err := k.ParseLeaf(b)
				if err != nil {
					refused++
					return
				}
				read++
				if again, err := k.appendParsed(values); err != nil || !bytes.Equal(again, b) {
					t.Fatalf("%s was read, and makes %s (%v)", b, again, err)
				}
			}
			if _, err := k.ParseLeaf(leaf); err != nil {
				t.Fatalf("%s: %v", leaf, err)
			}
			check(leaf)
			for range 40 {
				b := bytes.Clone(leaf)
				switch at := rnd.IntN(len(b)); rnd.IntN(3) {
				case 0:
					b[at] = byte(rnd.IntN(256))
				case 1:
					b = append(b[:at], b[at+1:]...)
				default:
					b = append(b[:at], append([]byte{"\\\"u0e+ 9"[rnd.IntN(8)]}, b[at:]...)...)
				}
				check(b)
			}
		}
	}
	if refused < 1000 || read < 1000 {
		t.Errorf("%d refused and %d read: the test says little", refused, read)
	}
}

// appendParsed writes what ParseLeaf has read.
func (k *Kind) appendParsed(values []any) (b []byte, err error) {
	fields := k.fields
	defer func() { k.fields = fields }()
	k.fields = append([]field(nil), fields...)
	for i := range k.fields { // digests were read as text
		if _, ok := values[i].(string); ok {
			k.fields[i].write = writeText
		}
	}
	return k.AppendLeaf(nil, values)
}

func TestLeafIndex(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, k := range Kinds {
		for range 100 {
			values := randomRow(rnd, k)
			want := int64(0)
			at := map[*Kind]int{PolicyChange: 0, Genesis: -1}
			i, other := at[k]
			if !other {
				i = len(values) - 1
			}
			if i >= 0 {
				want = 77
				values[i] = want
			}
			leaf, err := k.AppendLeaf(nil, values)
			if got := k.Index(leaf); err != nil || got != want {
				t.Fatalf("%s: %d (%v)", leaf, got, err)
			}
		}
	}
}
