package receipt

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var decided = time.Date(2026, 11, 23, 8, 0, 0, 500e6, time.UTC)

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func claims(t testing.TB) Claims {
	t.Helper()
	digest, err := Digest([]byte(`{"b":1,"a":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	return Claims{Tenant: "acme", DecisionID: "d-1", ActionID: "a-1", ActionType: "block_ip", Target: "203.0.113.9 <&> ü\u2028", ParametersDigest: digest,
		Grant: GrantAuto, BundleHash: "sha256:00", LogSeq: 7, LeafIndex: 9, LeafHash: "AA"}
}

var want = Want{Tenant: "acme", ActionType: "block_ip", Target: "203.0.113.9 <&> ü\u2028", Parameters: []byte(` { "a" : "\u0078", "b" : 1.0 } `), Issuer: "gate.example"}

func sign(t testing.TB, key ed25519.PrivateKey) string {
	t.Helper()
	token, err := NewSigner("gate.example", key, 30*time.Second).Sign(claims(t), decided, decided)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestVerify(t *testing.T) {
	key := newKey(t)
	token := sign(t, key)
	c, err := Verify(token, NewKeys(publicOf(newKey(t)), publicOf(key)), want, decided.Add(29*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	expect := claims(t)
	expect.Version, expect.Issuer, expect.IssuedAt, expect.ExpiresAt = 1, "gate.example", decided.Unix(), decided.Unix()+30
	if c != expect {
		t.Errorf("%+v\nwant %+v", c, expect)
	}
	// The keys as a gate serves them.
	keys, err := ParseKeys(FormatKeys(publicOf(key)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(token, keys, want, decided); err != nil {
		t.Error(err)
	}
	// Asked for again, it is the same, and none where it would have run out.
	s := NewSigner("gate.example", key, 30*time.Second)
	if again, err := s.Sign(claims(t), decided, decided.Add(29*time.Second)); err != nil || again != token {
		t.Errorf("again: %s %v", again, err)
	}
	if late, err := s.Sign(claims(t), decided, decided.Add(30*time.Second)); err != nil || late != "" {
		t.Errorf("late: %s %v", late, err)
	}
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "rivate") || !strings.Contains(text, KeyID(publicOf(key))) {
		t.Errorf("a signer prints as %s", text)
	}
}

// The example of RFC 8037, appendix A.
func TestKeyIDOfRFC8037(t *testing.T) {
	x, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil || KeyID(x) != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("%s %v", KeyID(x), err)
	}
}

// What an agent may do with a good receipt: show it for something else, or later.
func TestVerifyRefusesAnotherAction(t *testing.T) {
	key := newKey(t)
	token, keys := sign(t, key), NewKeys(publicOf(key))
	for name, c := range map[string]struct {
		change func(*Want)
		after  time.Duration
		want   error
	}{
		"another target":             {func(w *Want) { w.Target = "203.0.113.10" }, 0, ErrOther},
		"a target in other letters":  {func(w *Want) { w.Target = strings.ToUpper(w.Target) }, 0, ErrOther},
		"no target":                  {func(w *Want) { w.Target = "" }, 0, ErrOther},
		"another tenant":             {func(w *Want) { w.Tenant = "globex" }, 0, ErrOther},
		"another action type":        {func(w *Want) { w.ActionType = "allow_ip" }, 0, ErrOther},
		"other parameters":           {func(w *Want) { w.Parameters = []byte(`{"a":"x","b":2}`) }, 0, ErrOther},
		"no parameters":              {func(w *Want) { w.Parameters = nil }, 0, ErrOther},
		"empty parameters":           {func(w *Want) { w.Parameters = []byte(`{}`) }, 0, ErrOther},
		"a parameter given twice":    {func(w *Want) { w.Parameters = []byte(`{"a":"x","b":1,"b":1}`) }, 0, ErrOther},
		"parameters that are a list": {func(w *Want) { w.Parameters = []byte(`[]`) }, 0, ErrOther},
		"another gate":               {func(w *Want) { w.Issuer = "other.example" }, 0, ErrOther},
		"too late":                   {func(*Want) {}, 30 * time.Second, ErrExpired},
		"much too late":              {func(*Want) {}, 24 * time.Hour, ErrExpired},
		"a clock that is behind":     {func(*Want) {}, -7 * time.Second, ErrExpired},
	} {
		w := want
		c.change(&w)
		if got, err := Verify(token, keys, w, decided.Add(c.after)); !errors.Is(err, c.want) || got != (Claims{}) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

// What an attacker may make without the key.
func TestVerifyRefusesForgery(t *testing.T) {
	key, other := newKey(t), newKey(t)
	token, keys := sign(t, key), NewKeys(publicOf(key))
	part := strings.Split(token, ".")
	enc := base64.RawURLEncoding.EncodeToString
	payload, _ := base64.RawURLEncoding.DecodeString(part[1])
	mac := func(header string, secret []byte) string {
		text := enc([]byte(header)) + "." + part[1]
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(text))
		return text + "." + enc(h.Sum(nil))
	}
	by := func(key ed25519.PrivateKey, header, payload string) string {
		text := enc([]byte(header)) + "." + enc([]byte(payload))
		return text + "." + enc(ed25519.Sign(key, []byte(text)))
	}
	good := `{"alg":"EdDSA","kid":"` + KeyID(publicOf(key)) + `","typ":"tiergate-receipt+jwt"}`
	if by(key, good, string(payload)) != token {
		t.Fatal("the test does not sign as the package does")
	}
	signature, _ := base64.RawURLEncoding.DecodeString(part[2])
	signature[0] ^= 1
	kid := KeyID(publicOf(key))
	change := func(old, new string) string {
		if !strings.Contains(string(payload), old) {
			t.Fatalf("the payload has no %s: %s", old, payload)
		}
		return part[0] + "." + enc([]byte(strings.Replace(string(payload), old, new, 1))) + "." + part[2]
	}
	spelled := func(old, new string) string { return by(key, good, strings.Replace(string(payload), old, new, 1)) }
	for name, bad := range map[string]string{
		"nothing":                     "",
		"two parts":                   part[0] + "." + part[1],
		"four parts":                  token + ".x",
		"no signature":                part[0] + "." + part[1] + ".",
		"cut off":                     token[:len(token)-2],
		"bytes behind":                token + "A",
		"padding":                     token + "==",
		"a line behind":               token + "\n",
		"a line break inside":         token[:len(token)-9] + "\n" + token[len(token)-9:],
		"white space before":          " " + token,
		"the JSON form":               `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`,
		"another signature":           part[0] + "." + part[1] + "." + enc(signature),
		"another target":              change("203.0.113.9", "203.0.113.8"),
		"another tenant":              change("acme", "acmf"),
		"a later end":                 change(`"exp":1`, `"exp":2`),
		"alg none":                    enc([]byte(`{"alg":"none","kid":"`+kid+`","typ":"tiergate-receipt+jwt"}`)) + "." + part[1] + ".",
		"alg none, same header":       part[0] + "." + part[1] + "." + enc(nil),
		"HS256 with the public key":   mac(`{"alg":"HS256","kid":"`+kid+`","typ":"tiergate-receipt+jwt"}`, publicOf(key)),
		"HS256 with the key's text":   mac(`{"alg":"HS256","kid":"`+kid+`","typ":"tiergate-receipt+jwt"}`, FormatKeys(publicOf(key))),
		"HMAC under EdDSA's header":   mac(good, publicOf(key)),
		"an unknown key":              sign(t, other),
		"an unknown key, known kid":   by(other, good, string(payload)),
		"a key that the token brings": by(other, `{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+enc(publicOf(other))+`"},"kid":"`+kid+`","typ":"tiergate-receipt+jwt"}`, string(payload)),
		"a link to a key":             by(other, `{"alg":"EdDSA","jku":"https://evil.example/jwks.json","kid":"`+KeyID(publicOf(other))+`","typ":"tiergate-receipt+jwt"}`, string(payload)),
		// Signed with the right key, and still nothing that a gate writes.
		"crit":                  by(key, `{"alg":"EdDSA","crit":["exp"],"kid":"`+kid+`","typ":"tiergate-receipt+jwt"}`, string(payload)),
		"b64":                   by(key, `{"alg":"EdDSA","b64":false,"crit":["b64"],"kid":"`+kid+`","typ":"tiergate-receipt+jwt"}`, string(payload)),
		"a member twice":        by(key, `{"alg":"EdDSA","alg":"EdDSA","kid":"`+kid+`","typ":"tiergate-receipt+jwt"}`, string(payload)),
		"no typ":                by(key, `{"alg":"EdDSA","kid":"`+kid+`"}`, string(payload)),
		"another typ":           by(key, `{"alg":"EdDSA","kid":"`+kid+`","typ":"JWT"}`, string(payload)),
		"white space in header": by(key, `{"alg": "EdDSA","kid":"`+kid+`","typ":"tiergate-receipt+jwt"}`, string(payload)),
		"a claim twice":         spelled(`"tenant_id":"acme"`, `"tenant_id":"globex","tenant_id":"acme"`),
		"a claim in capitals":   spelled(`"target"`, `"Target"`),
		"another claim":         spelled(`"iat"`, `"admin":true,"iat"`),
		"another version":       spelled(`"v":1`, `"v":2`),
		"white space in claims": spelled(`,"iss"`, `, "iss"`),
		"bytes behind claims":   by(key, good, string(payload)+" "),
		"no claims":             by(key, good, `{}`),
		"too long":              by(key, good, string(payload)+strings.Repeat(" ", MaxBytes)),
	} {
		if c, err := Verify(bad, keys, want, decided); !errors.Is(err, ErrForged) || c != (Claims{}) {
			t.Errorf("%s: %+v %v", name, c, err)
		}
		if _, err := Verify(bad, Keys{}, want, decided); !errors.Is(err, ErrForged) {
			t.Errorf("%s, no keys: %v", name, err)
		}
	}
	// No single character can be another one.
	for i := range token {
		for _, c := range "A_-.=\n" {
			if bad := token[:i] + string(c) + token[i+1:]; bad != token {
				if _, err := Verify(bad, keys, want, decided); !errors.Is(err, ErrForged) {
					t.Fatalf("character %d as %q: %v", i, c, err)
				}
			}
		}
	}
}

func TestParseKeys(t *testing.T) {
	key := newKey(t)
	good := string(FormatKeys(publicOf(key), publicOf(newKey(t))))
	if k, err := ParseKeys([]byte(good)); err != nil || k.Len() != 2 {
		t.Errorf("%d %v", k.Len(), err)
	}
	var set map[string][]map[string]any
	if err := json.Unmarshal([]byte(good), &set); err != nil || len(set["keys"][0]) != 6 {
		t.Errorf("%s %v", good, err)
	}
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, bad := range []string{"", "x", "{}", `{"keys":[]}`, replace(`"EdDSA"`, `"HS256"`), replace(`"OKP"`, `"oct"`), replace(`"Ed25519"`, `"X25519"`), replace(`"sig"`, `"enc"`),
		replace(`"x":"`, `"x":"A`), replace(`"kid":"`, `"kid":"A`), replace(`"kty"`, `"d":"AAAA","kty"`), good + "x"} {
		if _, err := ParseKeys([]byte(bad)); err == nil {
			t.Errorf("%s passed", bad)
		}
	}
}

func FuzzVerify(f *testing.F) {
	key := newKey(f)
	token := sign(f, key)
	keys := NewKeys(publicOf(key))
	f.Add(token)
	f.Add(token[:len(token)-1])
	f.Fuzz(func(t *testing.T, bad string) {
		if _, err := Verify(bad, keys, want, decided); err == nil && bad != token {
			t.Errorf("%q passed", bad)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	s, c := NewSigner("gate.example", newKey(b), 30*time.Second), claims(b)
	for b.Loop() {
		if _, err := s.Sign(c, decided, decided); err != nil {
			b.Fatal(err)
		}
	}
}
