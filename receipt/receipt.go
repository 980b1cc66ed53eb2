package receipt

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Why an action must not be carried out. Callers test with errors.Is.
var (
	// ErrForged: no gate whose key is known has signed this.
	ErrForged = errors.New("not a receipt of a known gate")
	// ErrExpired: it has run out, or is not yet good by the executor's clock. The
	// agent asks the gate again.
	ErrExpired = errors.New("the receipt is not good now")
	// ErrOther: it is for another tenant, action type, target or parameters.
	ErrOther = errors.New("the receipt is for something else")
)

// MaxBytes bounds a receipt. Nothing longer is looked at.
const MaxBytes = 8 << 10

// leeway is how far the executor's clock may be behind the gate's.
const leeway = 5 * time.Second

// Want is what is about to be done. All of it is compared, byte for byte.
type Want struct {
	Tenant     string
	ActionType string
	Target     string
	Parameters []byte // a JSON object however spelled; nil: none
	Issuer     string // the gate's name; "": any gate of the keys
}

// Verify returns what the receipt says, if a gate of these keys gave it for just
// what is wanted and it is good at now. Any error means: do not do it.
func Verify(token string, keys Keys, want Want, now time.Time) (Claims, error) {
	c, err := open(token, keys)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrForged, err)
	}
	digest, err := Digest(want.Parameters)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrOther, err)
	}
	for _, f := range []struct{ name, says, want string }{
		{"tenant_id", c.Tenant, want.Tenant},
		{"action_type", c.ActionType, want.ActionType},
		{"target", c.Target, want.Target},
		{"parameters_digest", c.ParametersDigest, digest},
	} {
		if f.says != f.want {
			return Claims{}, fmt.Errorf("%w: its %s is %q, not %q", ErrOther, f.name, f.says, f.want)
		}
	}
	if want.Issuer != "" && c.Issuer != want.Issuer {
		return Claims{}, fmt.Errorf("%w: it is of the gate %q, not %q", ErrOther, c.Issuer, want.Issuer)
	}
	if at := now.Unix(); at >= c.ExpiresAt {
		return Claims{}, fmt.Errorf("%w: it ran out %s ago", ErrExpired, now.Sub(time.Unix(c.ExpiresAt, 0)).Round(time.Second))
	}
	if time.Unix(c.IssuedAt, 0).After(now.Add(leeway)) {
		return Claims{}, fmt.Errorf("%w: by this clock it comes from the future, from %s", ErrExpired, time.Unix(c.IssuedAt, 0).UTC().Format(time.RFC3339))
	}
	return c, nil
}

// open checks form and signature.
func open(token string, keys Keys) (Claims, error) {
	if len(token) > MaxBytes {
		return Claims{}, fmt.Errorf("it has more than %d bytes", MaxBytes)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}, errors.New("it does not have the three parts of a compact JWS")
	}
	key, known := keys.byHeader[parts[0]]
	if !known {
		return Claims{}, errors.New("its header is not that of a key that is known")
	}
	signature, err := decode(parts[2])
	if err != nil {
		return Claims{}, errors.New("its signature is not base64url")
	}
	if !ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), signature) {
		return Claims{}, errors.New("it was not signed so")
	}
	payload, err := decode(parts[1])
	if err != nil {
		return Claims{}, errors.New("its claims are not base64url")
	}
	return parseClaims(payload)
}

// decode reads the one spelling that base64url without padding has for bytes.
// encoding/base64 itself passes over line breaks.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("a line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// Signer gives receipts. It prints as its key id.
type Signer struct {
	issuer  string
	private ed25519.PrivateKey
	header  string
	ttl     time.Duration
}

// NewSigner gives receipts in the issuer's name that are good for ttl, whole
// seconds.
func NewSigner(issuer string, private ed25519.PrivateKey, ttl time.Duration) *Signer {
	return &Signer{issuer: issuer, private: private, header: header(private.Public().(ed25519.PublicKey)), ttl: ttl}
}

// String names the key and gives nothing away.
func (s *Signer) String() string { return KeyID(s.private.Public().(ed25519.PublicKey)) }

// GoString is String.
func (s *Signer) GoString() string { return s.String() }

// Sign gives a receipt for what was decided at decided. It is "" where that is so
// long ago that the receipt would have run out by now. The same decision gives the
// same receipt: asking again does not make it last longer.
func (s *Signer) Sign(c Claims, decided, now time.Time) (string, error) {
	c.Version, c.Issuer = version, s.issuer
	c.IssuedAt = decided.Unix()
	c.ExpiresAt = decided.Add(s.ttl).Unix()
	if now.Unix() >= c.ExpiresAt {
		return "", nil
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	text := s.header + "." + base64.RawURLEncoding.EncodeToString(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.private, []byte(text))), nil
}
