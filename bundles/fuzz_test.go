package bundles_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tiergate/tiergate/bundles"
)

// FuzzRead: nothing panics, every refusal is named, and what is taken is the
// same bundle after it was packed again. The module's text is fuzzed beside the
// archive's bytes, which a fuzzer hardly gets past gzip's sum.
func FuzzRead(f *testing.F) {
	good := pack(f, policyEntries()...)
	f.Add(good, module)
	f.Add(good[:len(good)/2], "package gate\n\ndecision if (input.a == input.b) == (input.c in input.d)\n")
	f.Add([]byte("hello"), "package gate\n\ndefault x := 1\n\nx := 2 if {\n\tsome i in input.y\n\ti > 3\n} else := 4\n")
	f.Add([]byte(nil), "# METADATA\n# title: x\npackage gate\n\nimport data.gate.y as z\n\nf(a) := {k: v | some k, v in a} with input.x as `raw`\n")
	_, public := keyPair(f, "ES256")
	v := verifier(f, public, "", "", "")
	f.Fuzz(func(t *testing.T, archive []byte, text string) {
		if _, err := bundles.Read(bytes.NewReader(archive), v); err == nil {
			t.Fatal("an archive that nobody signed was taken")
		}
		for _, content := range [][]byte{archive, pack(t, entry{name: ".manifest", content: manifest}, entry{name: "gate/gate.rego", content: text})} {
			b, err := bundles.Read(bytes.NewReader(content), nil)
			if err != nil {
				if !errors.Is(err, bundles.ErrInvalid) {
					t.Fatalf("an error without a name: %v", err)
				}
				continue
			}
			var packed bytes.Buffer
			if err := b.WriteArchive(&packed); err != nil {
				t.Fatal(err)
			}
			again, err := bundles.Read(&packed, nil)
			if err != nil {
				t.Fatalf("taken, packed and then refused: %v", err)
			}
			if again.Hash != b.Hash {
				t.Fatal("another hash after packing")
			}
		}
	})
}
