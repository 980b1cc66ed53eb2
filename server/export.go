package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Exporter writes a tenant's evidence of a window, from <= decided_at < to, as a
// zip file; a zero time is no bound. It needs little memory however much that is,
// and reads in short queries. An error before the first byte was written is
// ErrNothing where there is nothing to be shown.
type Exporter func(ctx context.Context, w io.Writer, tenant string, from, to time.Time) error

// ErrNothing: the tenant has neither decided nor changed anything.
var ErrNothing = errors.New("there is no evidence of this tenant")

// exports is the route that may answer for as long as somebody reads.
const exports = base + "/export"

const (
	// maxExports is how many exports a gate makes at a time: each keeps the
	// database and a core busy.
	maxExports = 2
	// exportStep is how long a client may take for one step of what it is sent.
	exportStep = 30 * time.Second
)

// export streams. What goes wrong after the first bytes cuts the connection, so
// that nobody takes a part for the whole.
func (s *server) export(c *gin.Context) error {
	q, err := readQuery(c, "from", "to")
	if err != nil {
		return err
	}
	from, to := q.time("from"), q.time("to")
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		q.faults.add("to", "must be later than from")
	}
	if err := q.err(); err != nil {
		return err
	}
	if s.exporter == nil {
		return notFound("This gate exports nothing.")
	}
	select {
	case s.exporting <- struct{}{}:
		defer func() { <-s.exporting }()
	default:
		c.Header("Retry-After", "10")
		return problem(http.StatusServiceUnavailable, "too_many_exports", "Too many exports at a time",
			fmt.Sprintf("This gate makes %d exports at a time. Try again later, or run tiergate export beside the database.", maxExports))
	}
	tenant := who(c).tenant
	out := &stepWriter{c: c, control: http.NewResponseController(c.Writer), name: tenant + "-evidence.zip"}
	b := bufio.NewWriterSize(out, 64<<10)
	err = s.exporter(c.Request.Context(), b, tenant, from, to)
	if err == nil {
		err = b.Flush()
	}
	switch {
	case err == nil:
		return nil
	case !out.begun && errors.Is(err, ErrNothing):
		return notFound("This tenant has neither decided nor changed anything.")
	case !out.begun:
		return err
	}
	s.logger.Warn("an export was cut off", "tenant", tenant, "error", err)
	panic(http.ErrAbortHandler)
}

// stepWriter sends the header with the first bytes, and gives the client time for
// each step and not for all.
type stepWriter struct {
	c       *gin.Context
	control *http.ResponseController
	name    string
	begun   bool
}

func (w *stepWriter) Write(b []byte) (int, error) {
	if !w.begun {
		w.begun = true
		w.c.Header("Content-Type", "application/zip")
		w.c.Header("Content-Disposition", `attachment; filename="`+w.name+`"`) // tenant ids need no quoting
		w.c.Header("X-Content-Type-Options", "nosniff")
		neverKeep(w.c)
		w.c.Status(http.StatusOK)
	}
	// Not every writer has deadlines: a test's recorder has none.
	_ = w.control.SetWriteDeadline(time.Now().Add(exportStep))
	return w.c.Writer.Write(b)
}
