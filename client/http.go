package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// Answer is what a gate answered: the value that was read of it, and the body
// as it came, which is one valid JSON document, or nothing for a removal.
type Answer[T any] struct {
	Value T
	Body  []byte
	ETag  string // of a configuration
}

// checked is a value of an answer that knows what it must hold.
type checked interface{ check() error }

type request struct {
	method, path string // the path is below the API's base
	query        url.Values
	body         any    // sent as JSON, unless it is nil
	ifMatch      string // sent as If-Match, unless it is empty
	reads        bool   // it changes nothing, although it is no GET
	later        bool   // it is answered before it is done
}

func (r request) changes() bool { return r.method != http.MethodGet && !r.reads }

// fetch makes a request and reads its answer. It gives the whole answer or an
// error.
func fetch[T checked](ctx context.Context, c *Client, r request) (a Answer[T], err error) {
	resp, body, err := c.do(ctx, r)
	if err != nil {
		return a, err
	}
	if !isJSON(resp, "application/json") {
		return a, c.unexpected(resp)
	}
	if err := json.Unmarshal(body, &a.Value); err != nil {
		return Answer[T]{}, c.nonsense(resp, err)
	}
	if err := a.Value.check(); err != nil {
		return Answer[T]{}, c.nonsense(resp, err)
	}
	a.Body, a.ETag = body, resp.Header.Get("ETag")
	return a, nil
}

// send makes a request whose answer is only that it was done.
func (c *Client) send(ctx context.Context, r request) error {
	resp, _, err := c.do(ctx, r)
	if err == nil && resp.StatusCode != http.StatusNoContent {
		err = c.unexpected(resp)
	}
	return err
}

// do makes a request. Without an error, the status is 200, 201 or 204, or 202 where that is expected, and the
// body was read to its end.
func (c *Client) do(ctx context.Context, r request) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var content io.Reader
	if r.body != nil {
		encoded, err := json.Marshal(r.body)
		if err != nil {
			return nil, nil, fmt.Errorf("write the request as JSON: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	where := c.base + basePath + r.path
	if len(r.query) > 0 {
		where += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, where, content)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: its URL cannot be used", ErrOptions)
	}
	c.authorize(req)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.ifMatch != "" {
		req.Header.Set("If-Match", r.ifMatch)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, c.unreachable(r, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBytes+1))
	switch {
	case err != nil:
		return nil, nil, c.unreachable(r, err)
	case int64(len(body)) > c.maxBytes:
		return nil, nil, fmt.Errorf("%w: the answer of %s is larger than %d MiB", ErrAnswer, Printable(c.base), c.maxBytes>>20)
	case slices.Contains([]int{http.StatusOK, http.StatusCreated, http.StatusNoContent}, resp.StatusCode),
		r.later && resp.StatusCode == http.StatusAccepted:
		return resp, body, nil
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, nil, c.redirected(resp)
	case isJSON(resp, "application/problem+json"):
		return nil, nil, c.problem(resp, body)
	}
	return nil, nil, c.unexpected(resp)
}

func isJSON(resp *http.Response, want string) bool {
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && kind == want
}

// unreachable is an error of the way to the gate and back.
func (c *Client) unreachable(r request, err error) error {
	if errors.Is(err, context.Canceled) && !r.changes() {
		return err
	}
	// The error of net/http repeats the whole URL, with the reason in its query.
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	cause := Printable(c.redact(err.Error()))
	switch {
	case errors.Is(err, context.Canceled):
		cause = "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		cause = fmt.Sprintf("no answer within %s", c.timeout)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		cause = "the connection ended before the answer"
	}
	var op *net.OpError
	dialled := !errors.As(err, &op) || op.Op != "dial"
	return &Unreachable{URL: Printable(c.base), Cause: cause, Unknown: dialled && r.changes(), err: err}
}

func (c *Client) redirected(resp *http.Response) error {
	to := "somewhere"
	if u, err := resp.Location(); err == nil {
		to = u.Scheme + "://" + u.Host
	}
	return fmt.Errorf("%w: %s sends on to %s (%d), and the token goes to no other place than the one that was named",
		ErrAnswer, Printable(c.base), Printable(c.redact(to)), resp.StatusCode)
}

func (c *Client) unexpected(resp *http.Response) error {
	kind := strings.TrimSpace(resp.Header.Get("Content-Type"))
	if kind == "" {
		kind = "no content type"
	}
	return fmt.Errorf("%w: %s gave %d with %s", ErrAnswer, Printable(c.base), resp.StatusCode, Printable(c.redact(kind)))
}

func (c *Client) nonsense(resp *http.Response, err error) error {
	return fmt.Errorf("%w: %s gave %d with what cannot be read: %s", ErrAnswer, Printable(c.base), resp.StatusCode, Printable(c.redact(err.Error())))
}
