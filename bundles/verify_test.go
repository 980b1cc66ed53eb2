package bundles_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tiergate/tiergate/bundles"
)

// keyPair makes a key pair as PEM.
func keyPair(t testing.TB, algorithm string) (private, public []byte) {
	t.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "RSA-1024":
		t.Setenv("GODEBUG", "rsa1024min=0")
		key, err = rsa.GenerateKey(rand.Reader, 1024)
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "HS256", "HS384", "HS512":
		secret := []byte("a secret of at least 32 bytes, as RFC 7518 wants it")
		return secret, secret
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pemKeys(t, key)
}

func pemKeys(t testing.TB, key crypto.Signer) (private, public []byte) {
	t.Helper()
	a, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: a}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: b})
}

func sign(t testing.TB, b *bundles.Bundle, private []byte, keyID, algorithm, scope string) []byte {
	t.Helper()
	s, err := bundles.NewSigner(private, keyID, algorithm, scope)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := b.WriteSigned(&buf, s); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func verifier(t testing.TB, public []byte, keyID, algorithm, scope string) *bundles.Verifier {
	t.Helper()
	v, err := bundles.NewVerifier(public, keyID, algorithm, scope)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Every algorithm signs and verifies, and the signature is no part of the hash.
func TestAlgorithms(t *testing.T) {
	want := embedded(t)
	for _, algorithm := range []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "HS256", "HS384", "HS512"} {
		private, public := keyPair(t, algorithm)
		signed := sign(t, want, private, "release", algorithm, "production")
		got, err := bundles.Read(bytes.NewReader(signed), verifier(t, public, "release", algorithm, "production"))
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		if got.Hash != want.Hash {
			t.Errorf("%s: the signature changed the hash", algorithm)
		}
		if again := sign(t, want, private, "release", algorithm, "production"); algorithm[:2] != "PS" && !bytes.Equal(again, signed) {
			t.Errorf("%s: signing twice gives other bytes", algorithm)
		}
	}
}

// Who verifies names key, algorithm and scope, and gets what was signed so.
func TestWhoMaySign(t *testing.T) {
	b := embedded(t)
	private, public := keyPair(t, "ES256")
	_, other := keyPair(t, "ES256")
	rsaPrivate, _ := keyPair(t, "RS256")
	_, p384 := keyPair(t, "ES384")
	signed := sign(t, b, private, "", "", "")
	named := sign(t, b, private, "release", "", "production")
	for name, c := range map[string]struct {
		archive []byte
		v       *bundles.Verifier
		want    string // empty: it is taken
	}{
		"the key":                {signed, verifier(t, public, "", "", ""), ""},
		"the key by its name":    {signed, verifier(t, public, "default", "", ""), ""},
		"named, with a scope":    {named, verifier(t, public, "release", "", "production"), ""},
		"another key":            {signed, verifier(t, other, "", "", ""), "not signed by key"},
		"a key on another curve": {signed, verifier(t, p384, "", "ES384", ""), `signed with "ES256"`},
		"RSA":                    {sign(t, b, rsaPrivate, "", "RS256", ""), verifier(t, public, "", "", ""), `signed with "RS256"`},
		"another name":           {named, verifier(t, public, "", "", "production"), `names the key "release"`},
		"another name, given":    {signed, verifier(t, public, "release", "", ""), `names the key "default"`},
		"another scope":          {named, verifier(t, public, "release", "", "staging"), `"production", not for "staging"`},
		"a scope, none wanted":   {named, verifier(t, public, "release", "", ""), "scope"},
		"no scope, one wanted":   {signed, verifier(t, public, "", "", "production"), "scope"},
		"unsigned":               {archive(t, b), verifier(t, public, "", "", ""), "not signed"},
	} {
		_, err := bundles.Read(bytes.NewReader(c.archive), c.v)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, bundles.ErrSignature) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// forge signs what a header and claims say with a function.
func forge(header, claims map[string]any, mac func(text []byte) []byte) string {
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(mac([]byte(text)))
}

// claimsOf reads what a good token says of the files.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	var claims map[string]any
	if err = errors.Join(err, json.Unmarshal(text, &claims)); err != nil {
		t.Fatal(err)
	}
	return claims
}

// Tokens that an attacker who knows everything but the private key can make, and
// archives that he changed.
func TestForgeries(t *testing.T) {
	private, public := keyPair(t, "ES256")
	strangerKey, _ := keyPair(t, "ES256")
	v := verifier(t, public, "", "", "")
	entries := unpack(t, sign(t, embedded(t), private, "", "", ""))
	tokenOf := func(entries []entry) string {
		var file struct{ Signatures []string }
		if err := json.Unmarshal([]byte(entries[0].content), &file); err != nil {
			t.Fatal(err)
		}
		return file.Signatures[0]
	}
	good := tokenOf(entries)
	claims := claimsOf(t, good)
	stranger := tokenOf(unpack(t, sign(t, embedded(t), strangerKey, "", "", "")))
	hs256 := func(text []byte) []byte {
		m := hmac.New(sha256.New, public)
		m.Write(text)
		return m.Sum(nil)
	}
	signature := func(text string) func([]entry) []entry {
		return func(e []entry) []entry { e[0].content = text; return e }
	}
	tokens := func(tokens ...string) func([]entry) []entry {
		text, _ := json.Marshal(map[string]any{"signatures": tokens})
		return signature(string(text))
	}
	parts := strings.Split(good, ".")
	none := func([]byte) []byte { return nil }
	for name, c := range map[string]struct {
		change func([]entry) []entry
		want   string
	}{
		"HS256 with the public PEM":     {tokens(forge(map[string]any{"alg": "HS256", "kid": "default"}, claims, hs256)), `signed with "HS256"`},
		"HS256 that says ES256":         {tokens(forge(map[string]any{"alg": "ES256", "kid": "default"}, claims, hs256)), "not signed by key"},
		"alg none":                      {tokens(forge(map[string]any{"alg": "none"}, claims, none)), `signed with "none"`},
		"alg None, no signature":        {tokens(forge(map[string]any{"alg": "None"}, claims, none)), "signed with"},
		"no alg":                        {tokens(forge(map[string]any{"kid": "default"}, claims, none)), "signed with"},
		"alg twice":                     {tokens(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","alg":"ES256"}`)) + "." + parts[1] + "." + parts[2]), "duplicate"},
		"ES256, empty signature":        {tokens(parts[0] + "." + parts[1] + "."), "not signed by key"},
		"ES256, a signature of zeros":   {tokens(parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64))), "not signed by key"},
		"its own key in the header":     {tokens(forge(map[string]any{"alg": "ES256", "kid": "default", "jwk": map[string]any{"kty": "EC"}}, claims, hs256)), "not signed by key"},
		"a critical header":             {tokens(forge(map[string]any{"alg": "ES256", "crit": []string{"b64"}, "b64": false}, claims, hs256)), "demands"},
		"two names":                     {tokens(forge(map[string]any{"alg": "ES256", "kid": "other"}, claims, hs256)), `names the key "other"`},
		"another one's signature":       {tokens(stranger), "not signed by key"},
		"two signatures, one is wrong":  {tokens(good, stranger), "2 signatures"},
		"two signatures, wrong first":   {tokens(stranger, good), "2 signatures"},
		"twice the same signature":      {tokens(good, good), "2 signatures"},
		"no signature in the list":      {tokens(), "0 signatures"},
		"no token":                      {tokens("hello"), "no compact JWS"},
		"a token of four parts":         {tokens(good + ".x"), "no compact JWS"},
		"no JSON":                       {signature("hello"), ".signatures.json"},
		"another plugin":                {signature(fmt.Sprintf(`{"signatures":[%q],"plugin":"mine"}`, good)), "plugin"},
		"the signature is taken away":   {func(e []entry) []entry { return e[1:] }, "not signed"},
		"a file more":                   {func(e []entry) []entry { return append(e, entry{name: "/gate/x.rego", content: module}) }, "gate/x.rego"},
		"a file more that is no policy": {func(e []entry) []entry { return append(e, entry{name: "/README.md", content: "x"}) }, "README.md"},
		"a file less":                   {func(e []entry) []entry { return e[:len(e)-1] }, "signed but not there"},
		"another module":                {func(e []entry) []entry { e[len(e)-1].content += "\n# x\n"; return e }, "digest mismatch"},
		"another table": {func(e []entry) []entry {
			e[2].content = strings.Replace(e[2].content, "HIGH", "LOW", 1)
			return e
		}, "data.json: digest mismatch"},
		"another manifest": {func(e []entry) []entry {
			e[1].content = strings.Replace(e[1].content, `"1.`, `"9.`, 1)
			return e
		}, ".manifest: digest mismatch"},
		"a table of two minds": {func(e []entry) []entry {
			e[2].content = `{"gate":{},` + e[2].content[1:]
			return e
		}, "duplicate"},
	} {
		forged := c.change(append([]entry(nil), entries...))
		_, err := bundles.Read(bytes.NewReader(pack(t, forged...)), v)
		if !errors.Is(err, bundles.ErrSignature) || errors.Is(err, bundles.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrSignature with %q", name, err, c.want)
		}
	}
	if _, err := bundles.Read(bytes.NewReader(pack(t, entries...)), v); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// The signature is judged before the policy is parsed: Rego that would not
// parse is refused for its signature.
func TestVerifiesFirst(t *testing.T) {
	_, public := keyPair(t, "ES256")
	broken := append(policyEntries(), entry{name: "/gate/x.rego", content: "not Rego"}, entry{name: "/gate/y/data.yaml", content: "a: [b"})
	_, err := bundles.Read(bytes.NewReader(pack(t, broken...)), verifier(t, public, "", "", ""))
	if !errors.Is(err, bundles.ErrSignature) {
		t.Errorf("%v, want ErrSignature", err)
	}
}

// A signed folder: all that lies in it is signed, or it is refused.
func TestSignedFolder(t *testing.T) {
	private, public := keyPair(t, "ES256")
	v := verifier(t, public, "", "", "")
	dir := t.TempDir()
	for _, e := range unpack(t, sign(t, embedded(t), private, "", "", "")) {
		path := filepath.Join(dir, e.name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(e.content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := bundles.LoadVerified(dir, v)
	if err != nil {
		t.Fatal(err)
	}
	if b.Hash != embedded(t).Hash {
		t.Error("another hash")
	}
	if err := os.WriteFile(filepath.Join(dir, "note.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bundles.LoadVerified(dir, v); !errors.Is(err, bundles.ErrSignature) || !strings.Contains(err.Error(), "note.txt") {
		t.Errorf("a file that is not signed: %v", err)
	}
	if _, err := bundles.LoadVerified(dir, nil); !errors.Is(err, bundles.ErrSignature) {
		t.Errorf("no key: %v", err)
	}
}
