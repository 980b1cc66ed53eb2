package client

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// DefaultURL is where `tiergate serve` listens unless it is told otherwise.
const DefaultURL = "http://127.0.0.1:8080"

const (
	defaultTimeout  = 30 * time.Second
	defaultMaxBytes = 32 << 20 // 500 rows of the gate log with their inputs
	maxTokenBytes   = 4 << 10
	basePath        = "/api/v1/remediation"
)

// ErrOptions is wrapped by every refusal of New.
var ErrOptions = errors.New("the connection is not usable")

// ErrPlaintext is wrapped, beside ErrOptions, where a token would go over plain
// http to another machine.
var ErrPlaintext = errors.New("plain http")

// Options say which gate to speak to, and as whom. The zero value is refused,
// for want of a token; every other field may be left out.
type Options struct {
	// URL is scheme, host and perhaps a path that a proxy puts before the API's.
	// "" is DefaultURL.
	URL string
	// Token is the credential's. It is required.
	Token string
	// Tenant is sent as X-Tenant-ID, for a credential that is good for all of
	// them. "" leaves it to the credential.
	Tenant string
	// AllowPlaintext lets the token go over plain http to a host that is not
	// loopback, where everybody on the way can read it.
	AllowPlaintext bool
	// Timeout bounds one request, from dialling to the last byte of the answer;
	// 0 is 30 seconds.
	Timeout time.Duration
	// MaxBytes bounds the body of one answer; 0 is 32 MiB.
	MaxBytes int64
	// UserAgent names the program.
	UserAgent string
}

// Client speaks to one gate. Its methods may be called by many goroutines.
type Client struct {
	base     string // URL of the gate, without a slash at the end
	http     *http.Client
	timeout  time.Duration
	maxBytes int64
	// The token is kept in functions: printing a Client must not print it.
	authorize func(*http.Request)
	redact    func(string) string
}

var tenantID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// New checks the options; it sends nothing.
func New(o Options) (*Client, error) {
	base, plain, err := parseURL(cmp.Or(o.URL, DefaultURL))
	if err != nil {
		return nil, err
	}
	if err := checkToken(o.Token); err != nil {
		return nil, err
	}
	if o.Tenant != "" && !tenantID.MatchString(o.Tenant) {
		return nil, fmt.Errorf("%w: the tenant %q must match %s", ErrOptions, o.Tenant, tenantID)
	}
	if plain && !o.AllowPlaintext && !isLoopback(base.Hostname()) {
		return nil, fmt.Errorf("%w: the token would go over %w to %s, where everybody on the way can read it", ErrOptions, ErrPlaintext, Printable(base.Host))
	}
	c := &Client{base: strings.TrimRight(base.String(), "/"), timeout: cmp.Or(o.Timeout, defaultTimeout), maxBytes: cmp.Or(o.MaxBytes, defaultMaxBytes)}
	c.http = &http.Client{
		Transport: transport(plain && !o.AllowPlaintext),
		// The API never redirects. Whoever does would get the token sent on.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	token, tenant, agent := o.Token, o.Tenant, cmp.Or(o.UserAgent, "tiergate")
	c.authorize = func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("User-Agent", agent)
		if tenant != "" {
			r.Header.Set("X-Tenant-ID", tenant)
		}
	}
	c.redact = func(s string) string {
		if len(token) < minSecret {
			return s
		}
		return strings.ReplaceAll(s, token, "[the token]")
	}
	return c, nil
}

// minSecret is how long a token is at least that could not be guessed. The
// "dev" of a try on loopback is no secret, and is part of too many words.
const minSecret = 8

// URL is the gate's, as New took it.
func (c *Client) URL() string { return c.base }

// parseURL never repeats a URL that it could not read: there may be a password
// in it.
func parseURL(s string) (u *url.URL, plain bool, err error) {
	u, err = url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, false, fmt.Errorf("%w: its URL must be like https://gate.example:8443", ErrOptions)
	case u.User != nil:
		return nil, false, fmt.Errorf("%w: its URL must hold no name or password; the token is the credential", ErrOptions)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, false, fmt.Errorf("%w: its URL must have no query and no fragment", ErrOptions)
	}
	return u, u.Scheme == "http", nil
}

// checkToken never repeats the token.
func checkToken(token string) error {
	switch {
	case token == "":
		return fmt.Errorf("%w: there is no token", ErrOptions)
	case len(token) > maxTokenBytes:
		return fmt.Errorf("%w: the token is longer than %d bytes", ErrOptions, maxTokenBytes)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%w: the token has a blank, a line break or another character that no token has", ErrOptions)
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// transport has bounds for everything that a server could drag out. loopback
// holds plain http to this machine, whatever "localhost" is made to mean.
func transport(loopback bool) http.RoundTripper {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	if loopback {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if a, err := netip.ParseAddrPort(address); err != nil || !a.Addr().Unmap().IsLoopback() {
				return fmt.Errorf("%w: %s is not loopback", ErrPlaintext, address)
			}
			return nil
		}
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    idleConns,
		// A compressed answer could be small on the wire and huge here.
		DisableCompression: true,
	}
}

// idleConns is how many connections are kept for requests that are made at once.
const idleConns = 8
