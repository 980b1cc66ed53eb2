package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
)

const (
	maxLimit     = 500
	defaultLimit = 50
)

// query is a request's query: known keys only, each at most once.
type query struct {
	values url.Values
	faults faults
	scope  string // what a cursor is good for
}

func readQuery(c *gin.Context, known ...string) (*query, error) {
	values, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, badField("", "the query is not well formed")
	}
	q := &query{values: values, scope: c.FullPath() + "\n" + who(c).tenant}
	for key, list := range values {
		switch {
		case !slices.Contains(known, key):
			q.faults.add(fieldKey(key), "unknown query parameter")
		case len(list) != 1:
			q.faults.add(key, "is given more than once")
		case list[0] == "":
			q.faults.add(key, "is empty; leave it out")
		case len(list[0]) > 1024 || !utf8.ValidString(list[0]) || strings.ContainsFunc(list[0], unicode.IsControl):
			q.faults.add(key, "is too long or holds control characters")
		}
	}
	for _, key := range known {
		if key != "cursor" && key != "limit" {
			q.scope += "\n" + key + "=" + values.Get(key)
		}
	}
	return q, q.faults.err()
}

func fieldKey(key string) string {
	if len(key) > 64 || !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl) {
		return "query"
	}
	return key
}

func noQuery(c *gin.Context) error {
	if c.Request.URL.RawQuery == "" {
		return nil
	}
	_, err := readQuery(c)
	return err
}

// noBody refuses a body where none means anything.
func noBody(c *gin.Context) error {
	var b [1]byte
	if n, _ := io.ReadFull(c.Request.Body, b[:]); n > 0 {
		return badField("", "this takes no body")
	}
	return nil
}

func (q *query) text(key string) string { return q.values.Get(key) }

func (q *query) time(key string) (t time.Time) {
	if s := q.text(key); s != "" {
		if at := q.faults.time(key, &s); at != nil {
			t = *at
		}
	}
	return t
}

// number is a whole number that must be given, from least to 2^53 − 1, which is
// as far as every reader of JSON can count.
func (q *query) number(key string, least int64) int64 {
	s := q.text(key)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n >= 1<<53 || strconv.FormatInt(n, 10) != s {
		q.faults.add(key, "is needed, a number from %d on", least)
		return least
	}
	return n
}

func (q *query) limit() int {
	s := q.text("limit")
	if s == "" {
		return defaultLimit
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxLimit || strconv.Itoa(n) != s {
		q.faults.add("limit", "must be 1 to %d", maxLimit)
	}
	return n
}

// A cursor is the position to go on from and a digest of the query that it was
// made for. It is no secret; the digest catches a cursor used with other filters.
func (q *query) cursor() string {
	s := q.text("cursor")
	if s == "" {
		return ""
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) < 9 || q.check(string(raw[8:])) != binary.BigEndian.Uint64(raw) {
		q.faults.add("cursor", "is none that this query gave")
		return ""
	}
	return string(raw[8:])
}

func (q *query) cursorInt() int64 {
	s := q.cursor()
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		q.faults.add("cursor", "is none that this query gave")
	}
	return n
}

func (q *query) next(position string) *string {
	raw := binary.BigEndian.AppendUint64(nil, q.check(position))
	s := base64.RawURLEncoding.EncodeToString(append(raw, position...))
	return &s
}

func (q *query) check(position string) uint64 {
	sum := sha256.Sum256([]byte(q.scope + "\x00" + position))
	return binary.BigEndian.Uint64(sum[:])
}

func (q *query) err() error { return q.faults.err() }
