package store

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// ErrURL is wrapped by every error about a database URL that cannot be one,
// wherever it points: what it says must be changed by whoever wrote it.
var ErrURL = errors.New("the database URL is not usable")

// urlError is an ErrURL in words of its own.
type urlError struct{ error }

func (e urlError) Unwrap() []error { return []error{ErrURL, e.error} }

func badURL(format string, args ...any) error { return urlError{fmt.Errorf(format, args...)} }

func isPostgresURL(s string) bool {
	return strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://")
}

// parseURL reads a PostgreSQL URL and makes its sslmode explicit. Its errors
// never show the URL, which may hold a password.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// Even the reason may quote a part of the password.
		return nil, badURL("the database URL cannot be read: want postgres://user:password@host:port/database, with special characters percent-encoded")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, badURL("the database URL's options cannot be read: want ?name=value&name=value, percent-encoded")
	}
	if q.Get("sslmode") == "" {
		mode := "disable"
		for _, h := range hosts(u, q) {
			if !isLocal(h) {
				mode = "verify-full"
			}
		}
		q.Set("sslmode", mode)
	}
	if q.Get("connect_timeout") == "" {
		q.Set("connect_timeout", "5")
	}
	if q.Get("application_name") == "" {
		q.Set("application_name", "tiergate")
	}
	u.RawQuery = q.Encode()
	return u, nil
}

// withRuntime returns u with settings for every session opened through it.
func withRuntime(u *url.URL, settings map[string]string) *url.URL {
	c := *u
	q := c.Query()
	for name, value := range settings {
		q.Set(name, value)
	}
	c.RawQuery = q.Encode()
	return &c
}

// hosts lists every host that u may connect to.
func hosts(u *url.URL, q url.Values) []string {
	list := strings.Split(u.Host, ",")
	for i, h := range list {
		if host, _, err := net.SplitHostPort(h); err == nil {
			list[i] = host
		}
	}
	for _, key := range []string{"host", "hostaddr"} {
		if h := q.Get(key); h != "" {
			list = append(list, strings.Split(h, ",")...)
		}
	}
	if len(list) > 1 && list[0] == "" {
		list = list[1:] // named in the query instead
	}
	return list
}

func isLocal(host string) bool {
	host = strings.Trim(host, "[]")
	if host == "" || host == "localhost" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// place says where u points, without what is secret.
func place(u *url.URL) string {
	h := u.Host
	if h == "" {
		if h = u.Query().Get("host"); h == "" {
			h = "localhost"
		}
		if p := u.Query().Get("port"); p != "" {
			h += ":" + p
		}
	}
	return "PostgreSQL at " + h + u.Path
}
