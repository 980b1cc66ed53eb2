package bundles

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // of the algorithms in hashes
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// Signer is one private key, what it signs with and for which scope. It never
// shows the key, neither in an error nor when it is printed.
type Signer struct {
	keyID     string
	algorithm string
	scope     string
	key       crypto.Signer // nil for HS*
	secret    []byte        // HS* only
}

// String names the key and not what it is.
func (s *Signer) String() string { return fmt.Sprintf("key %q (%s)", s.keyID, s.algorithm) }

// GoString is String: %#v must not print the key either.
func (s *Signer) GoString() string { return s.String() }

// NewSigner takes a private key as PEM (PKCS #8, SEC 1 or PKCS #1), or the
// secret itself for HS256, HS384 and HS512. The algorithm defaults to ES256 and
// must fit the key; the key id defaults to [DefaultKeyID]. An empty scope means
// no scope.
func NewSigner(key []byte, keyID, algorithm, scope string) (*Signer, error) {
	s := &Signer{keyID: keyID, algorithm: algorithm, scope: scope}
	if s.keyID == "" {
		s.keyID = DefaultKeyID
	}
	if s.algorithm == "" {
		s.algorithm = DefaultAlgorithm
	}
	if err := s.setKey(key); err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	return s, nil
}

func (s *Signer) setKey(key []byte) error {
	family, err := algorithmFamily(s.algorithm)
	if err != nil {
		return err
	}
	if family == "HS" {
		s.secret = key
		return checkSecret(key)
	}
	parsed, err := parsePrivateKey(key)
	if err != nil {
		return err
	}
	s.key = parsed
	return checkFit(parsed.Public(), s.algorithm)
}

// parsePrivateKey reads the first private key; openssl puts the curve's
// parameters before it. Errors of x509 are left out: they must not quote a key.
func parsePrivateKey(key []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(key); block != nil; block, rest = pem.Decode(rest) {
		var parsed any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("it is encrypted; decrypt it with openssl pkey first")
		case "PUBLIC KEY", "CERTIFICATE":
			return nil, errors.New("this is a public key; signing needs the private one")
		default:
			continue
		}
		signer, ok := parsed.(crypto.Signer)
		if err != nil || !ok {
			return nil, fmt.Errorf("PEM block %q holds no key that can be read", block.Type)
		}
		return signer, nil
	}
	return nil, errors.New("no PEM block with a private key; want -----BEGIN PRIVATE KEY-----")
}

// WriteSigned packs the bundle as [Bundle.WriteArchive] does and adds a
// .signatures.json that `opa` verifies as well. The hash of the bundle is the
// same, and except for PS256, PS384 and PS512 so are the bytes each time.
func (b *Bundle) WriteSigned(w io.Writer, s *Signer) error {
	files, err := b.files()
	if err != nil {
		return err
	}
	token, err := s.token(files)
	if err != nil {
		return fmt.Errorf("sign bundle: %w", err)
	}
	content, err := json.MarshalIndent(map[string]any{"signatures": []string{token}}, "", " ")
	if err != nil {
		return fmt.Errorf("sign bundle: %w", err)
	}
	return writeArchive(w, append([]file{{"/" + signaturesFile, content}}, files...))
}

// claims of the token, as OPA reads them. The key id is in the header too,
// where OPA looks first.
type claims struct {
	Files []bundle.FileInfo `json:"files"`
	KeyID string            `json:"keyid"`
	Scope string            `json:"scope,omitempty"`
}

// token is a compact JWS over the digests of the files.
func (s *Signer) token(files []file) (string, error) {
	c := claims{Files: make([]bundle.FileInfo, 0, len(files)), KeyID: s.keyID, Scope: s.scope}
	for _, f := range files {
		digest, err := fileDigest(f)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.path, err)
		}
		c.Files = append(c.Files, bundle.NewFile(strings.TrimPrefix(f.path, "/"), digest, string(bundle.SHA256)))
	}
	header, err := json.Marshal(map[string]string{"alg": s.algorithm, "kid": s.keyID, "typ": "JWT"})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	text := b64.EncodeToString(header) + "." + b64.EncodeToString(payload)
	signature, err := s.sign([]byte(text))
	if err != nil {
		return "", err
	}
	return text + "." + b64.EncodeToString(signature), nil
}

// sign is RFC 7518, section 3.
func (s *Signer) sign(text []byte) ([]byte, error) {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[s.algorithm[2:]]
	if s.secret != nil {
		mac := hmac.New(hash.New, s.secret)
		mac.Write(text)
		return mac.Sum(nil), nil
	}
	h := hash.New()
	h.Write(text)
	digest := h.Sum(nil)
	switch k := s.key.(type) {
	case *ecdsa.PrivateKey:
		// Without a source of randomness the signature is RFC 6979's, the same each time.
		der, err := k.Sign(nil, digest, hash)
		if err != nil {
			return nil, err
		}
		var point struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &point); err != nil {
			return nil, err
		}
		size := (k.Params().BitSize + 7) / 8
		out := make([]byte, 2*size)
		point.R.FillBytes(out[:size])
		point.S.FillBytes(out[size:])
		return out, nil
	case *rsa.PrivateKey:
		if s.algorithm[:2] == "PS" {
			return rsa.SignPSS(rand.Reader, k, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(nil, k, hash, digest)
	default:
		return nil, fmt.Errorf("a key of type %T cannot sign", s.key)
	}
}
