package announce

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
)

// keyPrefix marks a secret of Standard Webhooks as one.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme
const keyPrefix = "whsec_"

// The lengths that Standard Webhooks asks for: 192 to 512 bits.
const (
	minKeyBytes = 24
	maxKeyBytes = 64
	newKeyBytes = 32 // as long as the hash that it keys
)

// ErrKey is what ParseKey says of a text that is no key. It never repeats it.
var ErrKey = errors.New(`a signing key is "whsec_" and 24 to 64 bytes in base64, as Standard Webhooks has it; leave it out and one is made`)

// ParseKey reads the text of a signing key, "whsec_…".
func ParseKey(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	// Go's decoder skips line ends, so that one key would have many texts.
	if !ok || strings.ContainsAny(encoded, "\r\n") {
		return nil, ErrKey
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(key) < minKeyBytes || len(key) > maxKeyBytes {
		return nil, ErrKey
	}
	return key, nil
}

// NewKey makes a signing key at random, and the text by which a receiver takes it.
func NewKey() (text string, key []byte) {
	key = make([]byte, newKeyBytes)
	rand.Read(key) // never fails: it ends the process instead
	return keyPrefix + base64.StdEncoding.EncodeToString(key), key
}

// KeyID tells keys apart without telling them: 8 hex digits of a SHA-256 that is
// used for nothing else.
func KeyID(key []byte) string {
	h := sha256.New()
	h.Write([]byte("tiergate announcement signing key\x00"))
	h.Write(key)
	return hex.EncodeToString(h.Sum(nil)[:4])
}
