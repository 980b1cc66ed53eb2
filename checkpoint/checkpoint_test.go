package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func newSigner(t testing.TB, name string) *Signer {
	t.Helper()
	text, verifier, err := NewKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSigner(text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.Verifier() != verifier {
		t.Fatalf("the verifier is %s, keygen said %s", s.Verifier(), verifier)
	}
	return s
}

func keysOf(t testing.TB, signers ...*Signer) Keys {
	t.Helper()
	var k Keys
	for _, s := range signers {
		var err error
		if k, err = k.With(s.Verifier()); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func root(n byte) tlog.Hash { return tlog.RecordHash([]byte{n}) }

func TestSignAndOpen(t *testing.T) {
	s := newSigner(t, "gate.example/prod")
	text, err := Sign(s, "acme", 3, root(3))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Sign(s, "acme", 3, root(3))
	if !bytes.Equal(text, again) {
		t.Error("the same tree gives two checkpoints")
	}
	if want := "gate.example/prod/acme\n3\n" + root(3).String() + "\n\n— gate.example/prod "; !strings.HasPrefix(string(text), want) {
		t.Errorf("the checkpoint is %q", text)
	}
	c, err := Open(text, keysOf(t, newSigner(t, "gate.example/prod"), s))
	if want := (Checkpoint{"gate.example/prod", "acme", 3, root(3)}); err != nil || c != want {
		t.Errorf("%+v %v", c, err)
	}
}

// What an attacker may hand in, who has no key of this gate.
func TestOpenRefuses(t *testing.T) {
	s, other := newSigner(t, "gate.example"), newSigner(t, "other.example")
	good, err := Sign(s, "acme", 300, root(3))
	if err != nil {
		t.Fatal(err)
	}
	signed := func(by *Signer, text string) []byte {
		b, err := note.Sign(&note.Note{Text: text}, by.note)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := root(3).String()
	both := keysOf(t, s, other)
	for name, c := range map[string]struct {
		text []byte
		keys Keys
		want error
	}{
		"no key":               {good, Keys{}, ErrSignature},
		"another key":          {good, keysOf(t, newSigner(t, "gate.example")), ErrSignature},
		"another size":         {bytes.Replace(good, []byte("\n300\n"), []byte("\n301\n"), 1), both, ErrSignature},
		"another tenant":       {bytes.Replace(good, []byte("/acme"), []byte("/acmf"), 1), both, ErrSignature},
		"another gate's key":   {signed(other, "gate.example/acme\n300\n"+r+"\n"), both, ErrSignature},
		"a key's name as part": {signed(s, "gate.example/x/acme\n300\n"+r+"\n"), both, ErrSignature},
		"an extension line":    {signed(s, "gate.example/acme\n300\n"+r+"\nmore\n"), both, ErrFormat},
		"no origin":            {signed(s, "acme\n300\n"+r+"\n"), both, ErrFormat},
		"a folder up":          {signed(s, "gate.example/..\n300\n"+r+"\n"), both, ErrFormat},
		"the empty tree":       {signed(s, "gate.example/acme\n0\n"+r+"\n"), both, ErrFormat},
		"a leading zero":       {signed(s, "gate.example/acme\n0300\n"+r+"\n"), both, ErrFormat},
		"a sign":               {signed(s, "gate.example/acme\n+300\n"+r+"\n"), both, ErrFormat},
		"a huge size":          {signed(s, "gate.example/acme\n9223372036854775808\n"+r+"\n"), both, ErrFormat},
		"a short root":         {signed(s, "gate.example/acme\n300\nAAAA\n"), both, ErrFormat},
		"a root spelled oddly": {signed(s, "gate.example/acme\n300\n"+r[:42]+"9=\n"), both, ErrFormat},
		"cut off":              {good[:len(good)-10], both, ErrFormat},
		"bytes behind":         {append(bytes.Clone(good), "x"...), both, ErrFormat},
		"a line behind":        {append(bytes.Clone(good), "\n"...), both, ErrFormat},
		"CRLF":                 {bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), both, ErrFormat},
		"nothing":              {nil, both, ErrFormat},
		"too much":             {bytes.Repeat([]byte("a\n"), MaxBytes), both, ErrFormat},
	} {
		if got, err := Open(c.text, c.keys); !errors.Is(err, c.want) || got != (Checkpoint{}) {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, c.want)
		}
	}
	for _, tenant := range []string{"", "..", "a/b", "a\nb", "A", strings.Repeat("a", 64)} {
		if text, err := Sign(s, tenant, 1, root(1)); !errors.Is(err, ErrFormat) {
			t.Errorf("signed for tenant %q: %q, %v", tenant, text, err)
		}
	}
}

// A key that was retired still verifies what it signed, and a witness's
// signature beside it does no harm.
func TestOpenAfterRotation(t *testing.T) {
	old, now, witness := newSigner(t, "gate.example"), newSigner(t, "gate.example"), newSigner(t, "witness.example")
	text, err := Sign(old, "acme", 7, root(7))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(text, keysOf(t, now)); !errors.Is(err, ErrSignature) {
		t.Errorf("the new key verified the old one's: %v", err)
	}
	n, err := note.Open(text, note.VerifierList(keysOf(t, old).list...))
	if err != nil {
		t.Fatal(err)
	}
	if text, err = note.Sign(n, witness.note); err != nil {
		t.Fatal(err)
	}
	if c, err := Open(text, keysOf(t, now, old)); err != nil || c.Size != 7 {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := Open(text, keysOf(t, witness)); !errors.Is(err, ErrSignature) {
		t.Errorf("a witness alone passed for the gate: %v", err)
	}
}

func TestKeys(t *testing.T) {
	secret, verifier, err := NewKey("gate.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(f, s); text != verifier {
			t.Errorf("%s prints %s", f, text)
		}
	}
	k, err := ParseKeys([]byte("# retired in 2026\n\n" + verifier + "\r\n  " + verifier + "\n"))
	if err != nil || len(k.Texts()) != 1 || len(k.Public()) != 1 || !k.Public()[0].Equal(s.Public()) {
		t.Errorf("%v %v %v", k.Texts(), k.Public(), err)
	}
	if !ed25519.Verify(k.Public()[0], []byte("m"), ed25519.Sign(s.Private(), []byte("m"))) {
		t.Error("the private and the public key are not of one pair")
	}
	for _, bad := range []string{secret, "x", verifier + "A", strings.Replace(verifier, "example", "exampla", 1)} {
		if _, err := ParseKeys([]byte(bad)); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, bad := range []string{"", verifier, secret + "x", secret + "\n" + secret, secret[:60]} {
		if _, err := ParseSigner(bad); err == nil || (bad != "" && strings.Contains(err.Error(), bad)) {
			t.Errorf("a signer from %q: %v", bad, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "ä", "/a", "a\n", strings.Repeat("a", 129)} {
		if _, _, err := NewKey(name); err == nil {
			t.Errorf("a key of the name %q", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := newSigner(f, "gate.example")
	good, err := Sign(s, "acme", 300, root(3))
	if err != nil {
		f.Fatal(err)
	}
	keys := keysOf(f, s)
	f.Add(good)
	f.Add([]byte("gate.example/acme\n1\nAAAA\n\n— gate.example AAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := Open(text, keys); err == nil && c != (Checkpoint{"gate.example", "acme", 300, root(3)}) {
			t.Errorf("%q passed as %+v", text, c)
		}
	})
}
