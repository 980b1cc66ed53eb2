package bundles_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tiergate/tiergate/bundles"
)

// Keys that do not fit are refused when they are given, not when they are used.
func TestKeysThatDoNotFit(t *testing.T) {
	private, public := keyPair(t, "ES256")
	_, p384 := keyPair(t, "ES384")
	_, rsaPublic := keyPair(t, "RS256")
	_, rsaShort := keyPair(t, "RSA-1024")
	for name, c := range map[string]struct {
		key       []byte
		algorithm string
		want      string
	}{
		"a private key":           {private, "", "private key"},
		"no key":                  {nil, "", "no PEM block"},
		"text":                    {[]byte("hello"), "", "no PEM block"},
		"PEM of something":        {[]byte("-----BEGIN X-----\nAAAA\n-----END X-----\n"), "", `"X"`},
		"PEM of nothing":          {[]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), "", "PUBLIC KEY"},
		"P-384 for ES256":         {p384, "ES256", "P-384"},
		"RSA for ES256":           {rsaPublic, "", "RSA"},
		"ECDSA for RS256":         {public, "RS256", "ECDSA"},
		"RSA of 1024 bits":        {rsaShort, "RS256", "too short"},
		"a public PEM as secret":  {public, "HS256", "no HMAC secret"},
		"a short secret":          {[]byte("hunter2"), "HS256", "32 bytes"},
		"alg none":                {public, "none", `"none"`},
		"an algorithm lower case": {public, "es256", `"es256"`},
	} {
		if _, err := bundles.NewVerifier(c.key, "", c.algorithm, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := bundles.NewSigner(public, "", "", ""); err == nil || !strings.Contains(err.Error(), "public key") {
		t.Errorf("signing with a public key: %v", err)
	}
}

// Neither an error nor printing shows a private key.
func TestPrivateKeysAreNotShown(t *testing.T) {
	private, _, fingerprint, err := bundles.GenerateKey()
	if err != nil || !strings.HasPrefix(fingerprint, "sha256:") {
		t.Fatal(fingerprint, err)
	}
	body := strings.Split(string(private), "\n")[1]
	s, err := bundles.NewSigner(private, "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	secret := "a secret of at least 32 bytes, as RFC 7518 wants it"
	h, err := bundles.NewSigner([]byte(secret), "", "HS256", "")
	if err != nil {
		t.Fatal(err)
	}
	_, wrongCurve := bundles.NewSigner(private, "", "ES384", "")
	_, broken := bundles.NewSigner([]byte(strings.Replace(string(private), body, body[:40], 1)), "", "", "")
	for _, v := range []any{s, h, wrongCurve, broken} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			text := fmt.Sprintf(verb, v)
			_, isError := v.(error) // whose causes may be printed as addresses
			if strings.Contains(text, body[:20]) || strings.Contains(text, secret) || strings.Contains(text, "0xc0") && !isError || text == "" {
				t.Errorf("%s shows %s", verb, text)
			}
		}
	}
	if wrongCurve == nil || broken == nil {
		t.Error("a key that does not fit, or is cut off, was taken")
	}
}
