package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// KeyName is what the name of a key must match. It begins every origin, so it
// should name the deployment, as a host does: gate.example.
var KeyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)

// NewKey makes a key: the signer's text, a secret, and the verifier's.
func NewKey(name string) (signer, verifier string, err error) {
	if !KeyName.MatchString(name) {
		return "", "", fmt.Errorf("%q is no name for a key: it must match %s, for example gate.example", name, KeyName)
	}
	return note.GenerateKey(rand.Reader, name)
}

// Signer signs. Its text is a secret; it prints as its verifier.
type Signer struct {
	name     string
	private  ed25519.PrivateKey
	note     note.Signer
	verifier string
}

// ParseSigner reads a signer's text. What it says of text that is none does not
// quote it.
func ParseSigner(text string) (*Signer, error) {
	text = strings.TrimSpace(text)
	n, err := note.NewSigner(text)
	if err != nil {
		if _, other := note.NewVerifier(text); other == nil {
			return nil, errors.New("this is a verifier key, which cannot sign: give the file that keygen wrote with -o")
		}
		return nil, errors.New("this is no signer key: it begins with PRIVATE+KEY+ and is one line, as keygen writes it")
	}
	if !KeyName.MatchString(n.Name()) {
		return nil, fmt.Errorf("the name of the signer key must match %s", KeyName)
	}
	// note.NewSigner has checked that this is PRIVATE+KEY+name+hash+base64(1, seed).
	seed, err := base64.StdEncoding.DecodeString(text[nthIndex(text, '+', 4)+1:])
	if err != nil || len(seed) != 1+ed25519.SeedSize {
		return nil, errors.New("the signer key is no Ed25519 key")
	}
	s := &Signer{name: n.Name(), private: ed25519.NewKeyFromSeed(seed[1:]), note: n}
	if s.verifier, err = note.NewEd25519VerifierKey(s.name, s.Public()); err != nil {
		return nil, err
	}
	return s, nil
}

// nthIndex is where b stands in s for the nth time, from 1.
func nthIndex(s string, b byte, n int) int {
	at := -1
	for range n {
		at += 1 + strings.IndexByte(s[at+1:], b)
	}
	return at
}

// Name is the key's name.
func (s *Signer) Name() string { return s.name }

// Verifier is the verifier's text.
func (s *Signer) Verifier() string { return s.verifier }

// String is the verifier's text: a signer that gets into a log gives nothing away.
func (s *Signer) String() string { return s.verifier }

// GoString is String.
func (s *Signer) GoString() string { return s.verifier }

// Public is the public key.
func (s *Signer) Public() ed25519.PublicKey { return s.private.Public().(ed25519.PublicKey) }

// Private is the private key, for what else the gate signs.
func (s *Signer) Private() ed25519.PrivateKey { return s.private }

// Keys are the verifier keys that somebody trusts. The zero value trusts none.
type Keys struct {
	texts []string
	list  []note.Verifier
}

// ParseKeys reads verifier keys, one in each line; empty lines and those that
// begin with # do not count. The same key twice is one.
func ParseKeys(text []byte) (Keys, error) {
	var k Keys
	for i, line := range bytes.Split(text, []byte("\n")) {
		s := strings.TrimSpace(string(line))
		if s == "" || strings.HasPrefix(s, "#") || slices.Contains(k.texts, s) {
			continue
		}
		if strings.HasPrefix(s, "PRIVATE+KEY+") {
			return Keys{}, fmt.Errorf("line %d is a signer key, a secret: want verifier keys, as keygen prints them", i+1)
		}
		v, err := note.NewVerifier(s)
		if err != nil {
			return Keys{}, fmt.Errorf("line %d is no verifier key, such as keygen prints: %w", i+1, err)
		}
		for _, old := range k.list {
			if old.Name() == v.Name() && old.KeyHash() == v.KeyHash() {
				return Keys{}, fmt.Errorf("line %d: another key has the same name and hash, so no signature could be told to be of one of them", i+1)
			}
		}
		k.texts, k.list = append(k.texts, s), append(k.list, v)
	}
	return k, nil
}

// With is the keys and others.
func (k Keys) With(verifiers ...string) (Keys, error) {
	return ParseKeys([]byte(strings.Join(append(slices.Clone(k.texts), verifiers...), "\n")))
}

// Texts are the keys' texts, each once.
func (k Keys) Texts() []string { return slices.Clone(k.texts) }

// Public are the public keys, in the order of Texts.
func (k Keys) Public() (list []ed25519.PublicKey) {
	for _, s := range k.texts {
		// note.NewVerifier has checked that this is name+hash+base64(1, key).
		raw, err := base64.StdEncoding.DecodeString(s[nthIndex(s, '+', 2)+1:])
		if err == nil && len(raw) == 1+ed25519.PublicKeySize {
			list = append(list, ed25519.PublicKey(raw[1:]))
		}
	}
	return list
}
