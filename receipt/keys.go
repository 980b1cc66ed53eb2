package receipt

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// Keys are public keys whose receipts are good. The zero value has none.
type Keys struct {
	byHeader map[string]ed25519.PublicKey // by the first part of the tokens that they sign
}

// NewKeys are these keys.
func NewKeys(list ...ed25519.PublicKey) Keys {
	k := Keys{byHeader: map[string]ed25519.PublicKey{}}
	for _, key := range list {
		k.byHeader[header(key)] = key
	}
	return k
}

// Len is how many keys there are.
func (k Keys) Len() int { return len(k.byHeader) }

// KeyID is a key's RFC 7638 thumbprint.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(key) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// header is the first part of each token that the key signs.
func header(key ed25519.PublicKey) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"` + KeyID(key) + `","typ":"tiergate-receipt+jwt"}`))
}

// jwk is an Ed25519 public key as RFC 8037 has it.
type jwk struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
	Private   string `json:"d,omitempty"`
}

type jwks struct {
	Keys []jwk `json:"keys"`
}

// FormatKeys writes a JWK Set (RFC 7517), in the order given.
func FormatKeys(list ...ed25519.PublicKey) []byte {
	set := jwks{Keys: []jwk{}}
	for _, key := range list {
		set.Keys = append(set.Keys, jwk{Type: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(key), ID: KeyID(key), Algorithm: "EdDSA", Use: "sig"})
	}
	b, err := json.Marshal(set)
	if err != nil { // there is nothing in it that could fail
		panic(err)
	}
	return b
}

// ParseKeys reads the JWK Set that a gate serves at /.well-known/jwks.json. Every
// key in it must be one of a gate's.
func ParseKeys(set []byte) (Keys, error) {
	var s jwks
	if err := json.Unmarshal(set, &s); err != nil {
		return Keys{}, fmt.Errorf("this is no JWK Set: %w", err)
	}
	if len(s.Keys) == 0 {
		return Keys{}, errors.New("the JWK Set has no keys")
	}
	var list []ed25519.PublicKey
	for i, k := range s.Keys {
		x, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
		switch {
		case k.Private != "":
			return Keys{}, fmt.Errorf("key %d is a private key, a secret", i)
		case k.Type != "OKP" || k.Curve != "Ed25519" || k.Algorithm != "EdDSA" || k.Use != "sig":
			return Keys{}, fmt.Errorf("key %d is not for signatures with Ed25519", i)
		case err != nil || len(x) != ed25519.PublicKeySize:
			return Keys{}, fmt.Errorf("key %d is not 32 bytes in base64url", i)
		case k.ID != KeyID(x):
			return Keys{}, fmt.Errorf("key %d has another kid than its thumbprint", i)
		}
		list = append(list, x)
	}
	return NewKeys(list...), nil
}
