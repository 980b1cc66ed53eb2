package notary

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Push posts checkpoints to an HTTP receiver, as text/plain: the body is the
// checkpoint, whose first line says which log it is of. Any 2xx means that the
// receiver has kept it; anything else is tried again, with the newest of the
// tenant by then.
type Push struct {
	url    *url.URL
	client *http.Client
}

// pushPatience bounds one request.
const pushPatience = 10 * time.Second

// NewPush makes a Push to an http or https URL. A user name and password in it
// are sent as Basic authentication and never shown.
func NewPush(raw string) (*Push, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.Fragment != "" {
		return nil, errors.New("want the URL of whoever keeps checkpoints, such as https://witness.example/checkpoints") // err would repeat a password
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.MaxResponseHeaderBytes = 64 << 10
	return &Push{url: u, client: &http.Client{
		Transport: transport, Timeout: pushPatience,
		// A redirect would send it where nobody has said that it may go.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// String is the URL without password and query.
func (p *Push) String() string {
	u := *p.url
	u.User, u.RawQuery = nil, ""
	return u.String()
}

func (p *Push) send(ctx context.Context, _ string, note []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url.String(), bytes.NewReader(note))
	if err != nil {
		return fmt.Errorf("post to %s: the URL cannot be asked", p)
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("User-Agent", "tiergate")
	resp, err := p.client.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the URL
		}
		return fmt.Errorf("post to %s: %w", p, err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection can be used again
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("post to %s: it answers %d %s", p, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return nil
}
