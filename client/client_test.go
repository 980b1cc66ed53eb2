package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const secret = "s3cr3t-token-0123456789"

// newClient is a client of a fake gate: faults are what these tests put in.
func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Token == "" {
		o.Token = secret
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What New refuses, and that no refusal holds a secret.
func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want string // in the error; empty: it is taken
	}{
		"the default":            {Options{Token: secret}, ""},
		"a path of a proxy":      {Options{Token: secret, URL: "https://soc.example/gate/"}, ""},
		"localhost":              {Options{Token: secret, URL: "http://LOCALHOST:8080"}, ""},
		"loopback":               {Options{Token: secret, URL: "http://127.3.2.1"}, ""},
		"IPv6 loopback":          {Options{Token: secret, URL: "http://[::1]:8080"}, ""},
		"mapped loopback":        {Options{Token: secret, URL: "http://[::ffff:127.0.0.1]:8080"}, ""},
		"plain, allowed":         {Options{Token: secret, URL: "http://gate.example", AllowPlaintext: true}, ""},
		"no token":               {Options{}, "there is no token"},
		"plain":                  {Options{Token: secret, URL: "http://gate.example"}, "plain http to gate.example"},
		"plain, all addresses":   {Options{Token: secret, URL: "http://0.0.0.0:8080"}, "plain http"},
		"plain, short loopback":  {Options{Token: secret, URL: "http://127.1:8080"}, "plain http"},
		"plain, a name like it":  {Options{Token: secret, URL: "http://localhost.evil.example"}, "plain http"},
		"plain, number in front": {Options{Token: secret, URL: "http://127.0.0.1.evil.example"}, "plain http"},
		"no scheme":              {Options{Token: secret, URL: "gate.example:8080"}, "must be like"},
		"no host":                {Options{Token: secret, URL: "http://:8080"}, "must be like"},
		"another scheme":         {Options{Token: secret, URL: "ftp://gate.example"}, "must be like"},
		"unreadable":             {Options{Token: secret, URL: "https://me:" + secret + "@gate.example:port"}, "must be like"},
		"a password":             {Options{Token: secret, URL: "https://me:" + secret + "@gate.example"}, "no name or password"},
		"a query":                {Options{Token: secret, URL: "https://gate.example?token=" + secret}, "no query"},
		"a line break":           {Options{Token: secret + "\nX-Role: admin"}, "line break"},
		"a long token":           {Options{Token: strings.Repeat(secret, 1000)}, "longer than"},
		"a tenant":               {Options{Token: secret, Tenant: "Acme\r\nX: y"}, "must match"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(c.o)
			switch {
			case c.want == "" && err != nil:
				t.Fatal(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrOptions)):
				t.Fatalf("%v, want %q", err, c.want)
			case err != nil && (strings.Contains(err.Error(), secret) || strings.ContainsAny(err.Error(), "\r\n")):
				t.Fatalf("a secret or a line break in %q", err)
			}
		})
	}
}

// Whatever a name of this machine is made to mean, plain http stays on it.
func TestPlainHTTPDialsLoopbackOnly(t *testing.T) {
	dial := transport(true).(*http.Transport).DialContext
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if conn, err := dial(ctx, "tcp", "192.0.2.1:80"); !errors.Is(err, ErrPlaintext) {
		t.Errorf("%v %v, want ErrPlaintext", conn, err)
	}
}

func TestPrintingAClientHidesTheToken(t *testing.T) {
	c := newClient(t, Options{})
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, c) + fmt.Sprintf(format, *c); strings.Contains(s, secret) {
			t.Errorf("%s prints the token", format)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "",
		"host:wks-042 Größe → 日本":    "host:wks-042 Größe → 日本",
		"a\x1b[2Jb":                  `a\u{1b}[2Jb`,
		"a\nb\rc\td":                 `a\u{a}b\u{d}c\u{9}d`,
		"\u009b31m":                  `\u{9b}31m`,
		"user\u202egnp.exe":          `user\u{202e}gnp.exe`,
		"zero\u200bwidth\ufeff":      `zero\u{200b}width\u{feff}`,
		"line\u2028sep":              `line\u{2028}sep`,
		"bad\xff":                    `bad\u{fffd}`,
		"\U000e0041tag":              `\u{e0041}tag`,
		strings.Repeat("x", 4000):    strings.Repeat("x", 4000),
		strings.Repeat("x", 1000000): strings.Repeat("x", 4000) + "… (996000 bytes more)",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%.40q gives %.80q, want %.80q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"{\n\t\"a\": \"ä→\"\r}":            "{\n\t\"a\": \"ä→\"\r}",
		"\"\u009b\u202e\U000e0041\u007f\"": `"\u009b\u202e\udb40\udc41\u007f"`,
	} {
		if got := string(PrintableJSON([]byte(in))); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}
