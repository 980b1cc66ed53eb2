package announce

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// maxExcerpt is how much of a receiver's own words is kept.
const maxExcerpt = 64

// explain says why a request got no answer, for a person, and what to do where
// that is known. It makes up its own words: errors of the standard library may
// repeat what a receiver sent, and some of them the URL.
func explain(err error, u *url.URL) string {
	var (
		refused  *refusedAddress
		dns      *net.DNSError
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		alert    tls.AlertError
		notTLS   tls.RecordHeaderError
		verified *tls.CertificateVerificationError
	)
	name := visible(u.Hostname(), 253)
	switch {
	// Whoever sets channels learns nothing here about the gate's own network: not
	// which addresses its names have, nor which names there are.
	case errors.As(err, &refused) && refused.plain:
		return "plain http goes only to addresses that the operator of the gate has allowed"
	case errors.As(err, &refused), errors.As(err, &dns):
		return fmt.Sprintf("%s has no address that the gate may connect to: check the name, or ask the operator of the gate to allow its address", name)
	case errors.As(err, &unknown):
		return "the receiver's certificate is not by an authority that this gate knows"
	case errors.As(err, &host):
		return fmt.Sprintf("the receiver's certificate is not for %s", name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the receiver's certificate has expired, or is not valid yet"
	case errors.As(err, &verified), errors.As(err, &invalid):
		return "the receiver's certificate is not valid"
	case errors.As(err, &notTLS):
		return "the receiver does not speak TLS there"
	case errors.As(err, &alert):
		return "the receiver refuses the TLS connection; it must speak TLS 1.2 or newer"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return fmt.Sprintf("no answer within %s", sendTimeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: the connection was refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the receiver's network"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the receiver closed the connection without an answer"
	case strings.Contains(err.Error(), "protocol version"):
		return "the receiver does not speak TLS 1.2 or newer"
	case strings.Contains(err.Error(), "tls:"):
		return "no TLS connection could be made"
	case strings.Contains(err.Error(), "HTTP"), strings.Contains(err.Error(), "header"):
		return "what the receiver answered is not HTTP, or too much of it"
	}
	return "the connection failed"
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// redact makes of a receiver's words what may be kept: one code word, without
// anything of the URL beyond its origin. Receivers like to say what they could
// not find, and a path may be a password.
func redact(s string, u *url.URL) string {
	for _, secret := range secrets(u) {
		s = strings.ReplaceAll(s, secret, "[secret]")
	}
	// What is left is kept only if it is a code word, such as Slack's
	// invalid_payload: a receiver can repeat a URL in more spellings than anybody
	// can look for.
	if s = strings.TrimSpace(s); len(s) > maxExcerpt || !codeWord.MatchString(s) {
		return ""
	}
	return s
}

var codeWord = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// secrets are the parts of u that tell more than its origin, the longest first:
// path and query whole and in pieces, escaped and not. Pieces of fewer than four
// bytes, as in "/v1/", give nothing away.
func secrets(u *url.URL) []string {
	var list []string
	add := func(parts ...string) {
		for _, p := range parts {
			if len(p) >= 4 {
				list = append(list, p)
			}
		}
	}
	add(u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery)
	add(strings.Split(u.EscapedPath(), "/")...)
	add(strings.Split(u.Path, "/")...)
	for name, values := range u.Query() {
		add(name)
		add(values...)
	}
	for _, pair := range strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' || r == '=' || r == ';' }) {
		add(pair)
	}
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) })
	return list
}
