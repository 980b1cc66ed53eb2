package bundles

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/open-policy-agent/opa/v1/bundle"
)

// ErrSignature: the bundle is not signed by the key that was asked for, or is
// not what was signed.
var ErrSignature = errors.New("bundle signature refused")

// DefaultKeyID is what stock OPA calls a key that nobody named.
const DefaultKeyID = "default"

// DefaultAlgorithm is ECDSA over P-256 with SHA-256.
const DefaultAlgorithm = "ES256"

// Verifier is one public key, what it may sign with and for which scope. It is
// immutable and may be shared.
type Verifier struct {
	keyID     string
	named     bool // the user gave the key id, so the signature must name it too
	algorithm string
	scope     string
	key       string
	print     string
}

// NewVerifier takes a public key as PEM, or the secret itself for HS256, HS384
// and HS512. The algorithm defaults to ES256 and must fit the key. A signature
// must name keyID; if that is empty, it must name [DefaultKeyID] as `opa build`
// does, or no key at all as `opa sign` does. A signature must be for exactly
// this scope, also if it is empty.
func NewVerifier(pem []byte, keyID, algorithm, scope string) (*Verifier, error) {
	v := &Verifier{keyID: keyID, named: keyID != "", algorithm: algorithm, scope: scope, key: string(pem)}
	if v.algorithm == "" {
		v.algorithm = DefaultAlgorithm
	}
	if !v.named {
		v.keyID = DefaultKeyID
	}
	key, err := parsePublicKey(pem, v.algorithm)
	if err == nil && key != nil {
		v.print, err = fingerprint(key)
	}
	if err != nil {
		return nil, fmt.Errorf("verification key: %w", err)
	}
	return v, nil
}

// KeyID is the id that signatures must name.
func (v *Verifier) KeyID() string { return v.keyID }

// Algorithm is the only one that signatures may use.
func (v *Verifier) Algorithm() string { return v.algorithm }

// Fingerprint names the key itself: "sha256:<64 hex>" over its
// SubjectPublicKeyInfo; empty for a secret.
func (v *Verifier) Fingerprint() string { return v.print }

// Scope is what signatures must be for; empty if for nothing in particular.
func (v *Verifier) Scope() string { return v.scope }

// verify checks the signature and that it is over exactly these files. Beside
// the signature it parses only data and manifest, because OPA signs their value
// and not their bytes.
func (v *Verifier) verify(files []file) error {
	if err := v.verifyFiles(files); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}

func (v *Verifier) verifyFiles(files []file) error {
	at := slices.IndexFunc(files, func(f file) bool { return f.path == "/"+signaturesFile })
	if at < 0 {
		return errors.New("the bundle is not signed; sign it with `tiergate bundle sign`")
	}
	signed, err := v.openToken(files[at].content)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.path == "/"+signaturesFile {
			continue
		}
		name := strings.TrimPrefix(f.path, "/")
		if err := checkJSON(f); err != nil {
			return err
		}
		if err := bundle.VerifyBundleFile(name, *bytes.NewBuffer(f.content), signed); err != nil {
			return err
		}
	}
	for name := range signed {
		return fmt.Errorf("%q is signed but not there", name)
	}
	return nil
}

// openToken returns what .signatures.json says of each file, once it is known
// that our key said it.
func (v *Verifier) openToken(content []byte) (map[string]bundle.FileInfo, error) {
	var config struct {
		Signatures []string `json:"signatures"`
		Plugin     string   `json:"plugin"`
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", signaturesFile, err)
	}
	if len(config.Signatures) != 1 {
		return nil, fmt.Errorf("%s holds %d signatures, not one", signaturesFile, len(config.Signatures))
	}
	if config.Plugin != "" && config.Plugin != "_default" {
		return nil, fmt.Errorf("%s asks for the plugin %q; only OPA's own signatures are read", signaturesFile, config.Plugin)
	}
	payload, err := v.checkHeader(config.Signatures[0])
	if err != nil {
		return nil, err
	}
	// OPA is given the scope that the token claims, so that it judges the
	// signature alone; ours is compared below, with a message that names both.
	files, err := bundle.VerifyBundleSignature(
		bundle.SignaturesConfig{Signatures: config.Signatures},
		bundle.NewVerificationConfig(map[string]*bundle.KeyConfig{
			v.keyID: {Key: v.key, Algorithm: v.algorithm},
		}, v.keyID, payload.Scope, nil))
	if err != nil {
		return nil, fmt.Errorf("it was not signed by key %q: %w", v.keyID, err)
	}
	if payload.Scope != v.scope {
		return nil, fmt.Errorf("it is signed for the scope %q, not for %q", payload.Scope, v.scope)
	}
	if len(files) != len(payload.Files) {
		return nil, errors.New("it names a file twice")
	}
	for name, info := range files {
		if !slices.Contains(digests, info.Algorithm) {
			return nil, fmt.Errorf("the digest of %q is %q; want one of %v", name, info.Algorithm, digests)
		}
	}
	return files, nil
}

// digests that may stand for a file. OPA knows MD5 and SHA-1 as well, for which
// two files of one digest can be made.
var digests = []string{string(bundle.SHA256), string(bundle.SHA384), string(bundle.SHA512), string(bundle.SHA512256)}

// checkHeader compares what the token says of its key before anything is
// computed with that key, and returns the claims, which are not verified yet.
func (v *Verifier) checkHeader(token string) (*bundle.DecodedSignature, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%s: no compact JWS", signaturesFile)
	}
	var header struct {
		Algorithm string   `json:"alg"`
		KeyID     string   `json:"kid"`
		Critical  []string `json:"crit"`
	}
	var payload bundle.DecodedSignature
	for i, into := range []any{&header, &payload} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: token part %d: %w", signaturesFile, i+1, err)
		}
	}
	if header.Algorithm != v.algorithm {
		return nil, fmt.Errorf("it is signed with %q, and the key is for %s", header.Algorithm, v.algorithm)
	}
	if len(header.Critical) > 0 {
		return nil, fmt.Errorf("it demands %q, which is not known here", header.Critical)
	}
	names := slices.DeleteFunc([]string{header.KeyID, payload.KeyID}, func(id string) bool { return id == "" })
	for _, id := range names {
		if id != v.keyID {
			return nil, fmt.Errorf("it names the key %q, and the key given is %q; see --verification-key-id", id, v.keyID)
		}
	}
	if v.named && len(names) == 0 {
		return nil, fmt.Errorf("it names no key, and the key given is %q; see --verification-key-id", v.keyID)
	}
	return &payload, nil
}
