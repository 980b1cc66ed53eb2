package announce

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What a receiver may cost.
const (
	sendTimeout    = 10 * time.Second // from the name to the end of the answer's headers
	bodyTimeout    = time.Second      // for as much of an answer's body as is read
	maxHeaderBytes = 64 << 10
	maxBodyBytes   = 4 << 10 // enough to say what is wrong; the rest is never read
	maxIdleConns   = 32
	idleTimeout    = 30 * time.Second
)

// client sends one request, to a receiver that may be anybody.
type client struct {
	allow         []netip.Prefix
	timeout       time.Duration
	secure, plain *http.Transport
}

// newClient makes a client. roots and resolver are nil but in tests.
func newClient(allow []netip.Prefix, roots *x509.CertPool, resolver *net.Resolver) *client {
	transport := func(secure bool) *http.Transport {
		dialer := &net.Dialer{Timeout: sendTimeout, Resolver: resolver, ControlContext: guard{allow, secure}.control}
		return &http.Transport{
			// No proxy, whatever the environment says: it would do the name's
			// resolution, and connect where this gate must not.
			Proxy:       nil,
			DialContext: dialer.DialContext,
			// HTTP/1.1 only, since it is set: one request after the other needs no more.
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    sendTimeout,
			DisableCompression:     true, // nothing small becomes large
			MaxResponseHeaderBytes: maxHeaderBytes,
			MaxIdleConns:           maxIdleConns,
			MaxIdleConnsPerHost:    perChannel,
			IdleConnTimeout:        idleTimeout,
		}
	}
	return &client{allow: allow, timeout: sendTimeout, secure: transport(true), plain: transport(false)}
}

func (c *client) close() {
	c.secure.CloseIdleConnections()
	c.plain.CloseIdleConnections()
}

// verdict is whose fault it is that something did not arrive.
type verdict int

const (
	delivered      verdict = iota
	channelFailed          // the next announcement would fare no better
	messageRefused         // this one does not suit the receiver
	aborted                // the gate stops; nobody knows what became of it
)

// outcome is what came of a request.
type outcome struct {
	verdict    verdict
	answered   bool          // with an HTTP status
	retryAfter time.Duration // as the receiver asks, at most maxRetryAfter
	text       string        // for a person, without secrets
}

// send posts body. It is delivered when the receiver answers 2xx, whatever
// follows. It uses a transport and no http.Client, which knows of redirects,
// cookies and passwords in URLs.
func (c *client) send(ctx context.Context, u *url.URL, header http.Header, body []byte, now time.Time) outcome {
	attempt, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(attempt, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return outcome{verdict: channelFailed, text: "the URL cannot be asked; set the channel anew"}
	}
	req.Header = header
	req.Header.Set("User-Agent", "tiergate")
	transport := c.secure
	if u.Scheme == "http" {
		transport = c.plain
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return outcome{verdict: aborted}
		}
		return outcome{verdict: channelFailed, text: explain(err, u)}
	}
	defer resp.Body.Close()
	excerpt := readSome(resp.Body, cancel)
	if ctx.Err() != nil && resp.StatusCode/100 != 2 {
		return outcome{verdict: aborted}
	}
	o := judge(resp.StatusCode, redact(string(excerpt), u))
	if o.verdict == channelFailed {
		o.retryAfter = retryAfter(resp.Header.Get("Retry-After"), now)
	}
	return o
}

// readSome reads what is worth reading, and no longer than bodyTimeout. A body
// that is shorter leaves the connection ready for the next request; any other
// is cut off by closing it.
func readSome(body io.Reader, cancel context.CancelFunc) []byte {
	late := time.AfterFunc(bodyTimeout, cancel)
	defer late.Stop()
	b, _ := io.ReadAll(io.LimitReader(body, maxBodyBytes)) // half a text is better than none
	return b
}

// judge says what a status means. excerpt is the answer's text, ready to show.
func judge(status int, excerpt string) outcome {
	o := outcome{verdict: channelFailed, answered: true}
	what := strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	switch {
	case status/100 == 2:
		return outcome{verdict: delivered, answered: true}
	case status/100 == 3:
		o.text = "redirects are not followed: set the channel to the address where the receiver really is"
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		o.text = "the receiver lets nobody in with this URL: set the channel anew if it was changed or withdrawn"
	case status == http.StatusNotFound, status == http.StatusGone:
		o.text = "the receiver does not know this URL: set the channel anew"
	case status == http.StatusTooManyRequests:
		o.text = "the receiver asks for fewer messages; they come later"
	case status == http.StatusRequestTimeout, status >= 500, status < 200:
		o.text = "the receiver has a fault of its own"
	default:
		o.verdict = messageRefused
		o.text = "the receiver refuses this message"
	}
	o.text = what + ": " + o.text
	if excerpt != "" {
		o.text += `. It says: "` + excerpt + `"`
	}
	return o
}

// retryAfter reads the header of that name, seconds or a date, and caps it: a
// receiver may ask for patience, not for being forgotten.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	var d time.Duration
	if n, err := strconv.ParseUint(value, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(value); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
