package announce

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
)

// post sends a body to raw as a dispatcher would.
func post(t *testing.T, c *client, raw string) outcome {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	return c.send(t.Context(), u, http.Header{}, []byte("{}"), time.Now())
}

// hurried is a client for loopback that has little patience.
func hurried() *client {
	c := newClient(loopback, nil, nil)
	c.timeout = 300 * time.Millisecond
	return c
}

func TestReceivers(t *testing.T) {
	var inside atomic.Int64
	private := serve(t, func(http.ResponseWriter, *http.Request) { inside.Add(1) })
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); io.WriteString(w, body) }
	}
	for name, c := range map[string]struct {
		receiver http.HandlerFunc
		want     verdict
		text     string
	}{
		"has it":       {status(200, "ok"), delivered, ""},
		"has it later": {status(202, ""), delivered, ""},
		"hangs":        {func(http.ResponseWriter, *http.Request) { time.Sleep(2 * time.Second) }, channelFailed, "no answer within 10s"},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, private, http.StatusTemporaryRedirect)
		},
			channelFailed, "307 Temporary Redirect: redirects are not followed"},
		"redirects within": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
			channelFailed, "302 Found: redirects are not followed"},
		"does not like it": {status(400, "invalid_payload"), messageRefused, `400 Bad Request: the receiver refuses this message. It says: "invalid_payload"`},
		"too large":        {status(413, ""), messageRefused, "413"},
		"unprocessable":    {status(422, "no\nsuch\x1b[2J field \u202e"), messageRefused, "422 Unprocessable Entity: the receiver refuses this message"},
		"in early":         {status(408, ""), channelFailed, "408"},
		"unauthorized":     {status(401, ""), channelFailed, "set the channel anew"},
		"forbidden":        {status(403, ""), channelFailed, "set the channel anew"},
		"gone":             {status(410, ""), channelFailed, "set the channel anew"},
		"is busy":          {status(429, ""), channelFailed, "asks for fewer"},
		"is broken":        {status(500, "<html>oops"), channelFailed, "a fault of its own"},
		"is odd":           {status(799, ""), channelFailed, "799: "},
		"closes": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		}, channelFailed, "closed the connection"},
		"says nonsense": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "SSH-2.0-secret\r\n\r\n")
			conn.Close()
		}, channelFailed, "not HTTP"},
		"has huge headers": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
			}
		}, channelFailed, "not HTTP, or too much of it"},
		"drips headers": {func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			defer conn.Close()
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX-Slow: " + strings.Repeat("x", 1000)) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}, channelFailed, "no answer within"},
		"drips its body": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, delivered, ""},
		"drips a refusal": {func(w http.ResponseWriter, r *http.Request) {
			for w.WriteHeader(400); r.Context().Err() == nil; time.Sleep(10 * time.Millisecond) {
				io.WriteString(w, "y")
				w.(http.Flusher).Flush()
			}
		}, messageRefused, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			o := post(t, hurried(), serve(t, c.receiver))
			if o.verdict != c.want || !strings.Contains(o.text, c.text) || (o.text == "") != (c.text == "") {
				t.Errorf("%d %q", o.verdict, o.text)
			}
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
			for _, s := range []string{"T0SECRET", "b7f3", "querysecret"} {
				if strings.Contains(o.text, s) {
					t.Errorf("%q tells a secret", o.text)
				}
			}
		})
	}
	t.Cleanup(func() {
		if inside.Load() != 0 {
			t.Error("a redirect was followed")
		}
	})
}

// A receiver that answers with a gigabyte costs a few pages of it.
func TestEndlessBody(t *testing.T) {
	var sent atomic.Int64
	done := make(chan struct{})
	o := post(t, hurried(), serve(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		w.WriteHeader(500)
		page := bytes.Repeat([]byte("z"), 1<<20)
		for range 1 << 10 {
			n, err := w.Write(page)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	<-done
	if o.verdict != channelFailed || len(o.text) > 400 || sent.Load() > 64<<20 {
		t.Errorf("%d %q, %d bytes sent", o.verdict, o.text, sent.Load())
	}
}

// A body that becomes large when it is unpacked is not unpacked.
func TestNothingIsUnpacked(t *testing.T) {
	post(t, hurried(), serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error(r.Header)
		}
	}))
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "30": 30 * time.Second, " 30 ": 30 * time.Second, "-5": 0, "1e9": 0, "999999": time.Hour, "99999999999999999999": 0, "soon": 0,
		day.Add(time.Minute).Truncate(time.Second).Format(http.TimeFormat): time.Minute - 940*time.Millisecond, day.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(value, day); got != want {
			t.Errorf("%q: %s", value, got)
		}
	}
	for code, want := range map[int]time.Duration{429: 7 * time.Second, 503: 7 * time.Second, 400: 0, 200: 0} {
		o := post(t, hurried(), serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "7"); w.WriteHeader(code) }))
		if o.retryAfter != want {
			t.Errorf("%d: %s", code, o.retryAfter)
		}
	}
}

func TestTLS(t *testing.T) {
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.Config.ErrorLog = quiet()
	old.StartTLS()
	defer old.Close()
	good := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	good.Config.ErrorLog = quiet()
	good.StartTLS()
	defer good.Close()
	roots := x509.NewCertPool()
	roots.AddCert(good.Certificate())
	trusting := func() *client { c := newClient(loopback, roots, nil); c.timeout = 2 * time.Second; return c }

	if o := post(t, trusting(), good.URL); o.verdict != delivered {
		t.Error(o.text)
	}
	if o := post(t, hurried(), good.URL); !strings.Contains(o.text, "not by an authority") {
		t.Error(o.text)
	}
	if o := post(t, trusting(), strings.Replace(good.URL, "127.0.0.1", "127.0.0.2", 1)); o.verdict != channelFailed {
		t.Error(o)
	}
	if o := post(t, trusting(), old.URL); !strings.Contains(o.text, "TLS 1.2") {
		t.Error(o.text)
	}
	if o := post(t, trusting(), strings.Replace(serve(t, func(http.ResponseWriter, *http.Request) {}), "http:", "https:", 1)); !strings.Contains(o.text, "does not speak TLS") {
		t.Error(o.text)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if o := post(t, hurried(), "http://"+l.Addr().String()+"/s3cret"); !strings.Contains(o.text, "refused") || strings.Contains(o.text, "s3cret") {
		t.Error(o.text)
	}
}

// names is a name service on loopback that says the same address for each name,
// whatever it said to others before: what "DNS rebinding" comes to.
func names(t *testing.T, address netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			end := 12 // behind the header is the one question: labels, type, class
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			end += 5
			answer := append([]byte{buf[0], buf[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, buf[12:end]...)
			if kind := binary.BigEndian.Uint16(buf[end-4:]); (kind == 1) == address.Is4() && (kind == 1 || kind == 28) {
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(address.BitLen()/8))
				answer = append(answer, address.AsSlice()...)
			}
			conn.WriteTo(answer, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// The address counts, not the name: one that resolves to where the gate must not
// connect is not connected to, however harmless it looked before.
func TestRebinding(t *testing.T) {
	var asked atomic.Int64
	receiver := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	u, _ := url.Parse(receiver)
	for _, scheme := range []string{"http", "https"} {
		for _, address := range []string{"127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"} {
			c := newClient(nil, nil, names(t, netip.MustParseAddr(address)))
			c.timeout = 2 * time.Second
			o := post(t, c, scheme+"://receiver.example:"+u.Port()+"/")
			if o.verdict != channelFailed || !strings.Contains(o.text, "operator") {
				t.Errorf("%s %s: %d %s", scheme, address, o.verdict, o.text)
			}
		}
	}
	if asked.Load() != 0 {
		t.Error("it was connected to")
	}
	c := newClient(loopback, nil, names(t, netip.MustParseAddr("127.0.0.1")))
	if o := post(t, c, "http://receiver.example:"+u.Port()+"/"); o.verdict != delivered || asked.Load() != 1 {
		t.Errorf("allowed: %s", o.text)
	}
}

// No proxy stands between the check and the connection.
func TestNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	c := newClient(loopback, nil, nil)
	for _, tr := range []*http.Transport{c.secure, c.plain} {
		if tr.Proxy != nil {
			t.Error("a proxy is asked")
		}
	}
}

// What a receiver says is kept without what it repeats of the URL.
func TestRedact(t *testing.T) {
	u, _ := url.Parse("https://a.example/services/T0AAA/B%20B1/tok%2Fen99?sig=qu%2Bery&flag12")
	for _, said := range []string{
		"Cannot POST /services/T0AAA/B%20B1/tok%2Fen99", "no /services/T0AAA/B B1/tok/en99", "unknown token T0AAA", "B%20B1", "tok/en99", "tok%2Fen99",
		"bad sig qu+ery", "bad sig qu%2Bery", "flag12 is unknown", "/services/T0AAA/B%20B1/tok%2Fen99?sig=qu%2Bery&flag12",
	} {
		got := redact(said, u)
		for _, s := range []string{"T0AAA", "B%20B1", "B B1", "en99", "ery", "flag12"} {
			if strings.Contains(got, s) {
				t.Errorf("%q tells %q", got, s)
			}
		}
	}
	if got := redact(strings.Repeat("\n\x00é", 1000), u); len(got) > maxExcerpt+40 || strings.ContainsFunc(got, unicode.IsControl) {
		t.Errorf("%d %q", len(got), got)
	}
}
