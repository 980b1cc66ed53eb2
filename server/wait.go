package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tiergate/tiergate/engine"
)

// maxWait is how long GET /decisions/{id} may be asked to wait.
const maxWait = 60 * time.Second

// waitSlack is what a long poll has beyond its wait to write its answer.
const waitSlack = 15 * time.Second

// decision answers a row with where its approval stands; with wait, once the
// approval has ended or the time is over, whichever is first. It changes
// nothing, and while it waits it asks the database nothing.
func (s *server) decision(c *gin.Context) error {
	id := strings.ToLower(c.Param("decision_id"))
	if !isUUID(id) {
		return notFound("A decision id is a UUID.")
	}
	q, err := readQuery(c, "wait")
	if err != nil {
		return err
	}
	wait := q.wait()
	if err := q.err(); err != nil {
		return err
	}
	tenant, asks := who(c).tenant, mayAsk(who(c))
	e, err := s.readEntry(c.Request.Context(), tenant, id)
	if err != nil {
		return err
	}
	if wait > 0 && e.Approval != nil && e.Approval.StatusAt(s.now()) == engine.ApprovalPending {
		approval := e.Approval.ID
		e, c.Keys = nil, nil // thousands may wait: what can be read again, or is known by now, is not held meanwhile
		ended, err := s.await(c, tenant, approval, wait)
		if err != nil {
			return err
		}
		if e, err = s.readAgain(c.Request.Context(), tenant, id, ended); err != nil {
			return err
		}
	}
	row := s.rowOf(e, false)
	if asks {
		if row.Receipt, err = s.releaseReceipt(c.Request.Context(), e); err != nil {
			return err
		}
	}
	if by, ok := e.LetGoBy(); ok {
		ctx, cancel := context.WithTimeout(c.Request.Context(), readPatience)
		defer cancel()
		outcomes, err := s.store.Outcomes(ctx, tenant, by)
		if err != nil {
			return err
		}
		for _, o := range outcomes {
			row.Outcomes = append(row.Outcomes, outcomeOf(o))
		}
	}
	s.answer(c, http.StatusOK, row)
	return nil
}

func (q *query) wait() time.Duration {
	s := q.text("wait")
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxWait {
		q.faults.add("wait", "must be a time from 0s to %s, such as 30s", maxWait)
	}
	return d
}

func (s *server) readEntry(ctx context.Context, tenant, id string) (*engine.Entry, error) {
	return elsewhere(ctx, func(ctx context.Context) (*engine.Entry, error) { return s.store.Entry(ctx, tenant, id) })
}

// readAgain reads the row after a wait. When its approval has ended, all who
// waited for it come at once and are answered by one read: none of them can have
// begun one before it ended.
func (s *server) readAgain(ctx context.Context, tenant, id string, ended bool) (*engine.Entry, error) {
	if !ended {
		return s.readEntry(ctx, tenant, id)
	}
	v, err, _ := s.endedReads.Do(tenant+" "+id, func() (any, error) {
		return s.readEntry(context.WithoutCancel(ctx), tenant, id)
	})
	if err != nil {
		return nil, err
	}
	return v.(*engine.Entry), nil
}

// elsewhere reads on a goroutine of its own. A database driver needs a deep
// stack, and a stack that has grown is not given back while its goroutine waits:
// with thousands who wait that is most of what they cost.
func elsewhere[T any](ctx context.Context, read func(context.Context) (T, error)) (v T, err error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		v, err = read(ctx)
	}()
	<-done
	return v, err
}

// await waits until the approval has ended, for as long as wait and as the
// client listens, and reports whether it has.
func (s *server) await(c *gin.Context, tenant, approval string, wait time.Duration) (ended bool, err error) {
	until := time.Now().Add(wait)
	// The server's own deadlines are for requests that are answered at once.
	control := http.NewResponseController(c.Writer)
	_ = control.SetReadDeadline(until.Add(waitSlack))
	_ = control.SetWriteDeadline(until.Add(waitSlack))
	news, stop := s.store.Watch(tenant, approval)
	defer stop()
	// It may have ended between the first look and the watch.
	if pending, err := s.isPending(c.Request.Context(), tenant, approval); err != nil || !pending {
		return !pending, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case a := <-news:
		return a != nil, nil // nil: the gate is about to stop
	case <-timer.C:
		return false, nil
	case <-c.Request.Context().Done():
		return false, c.Request.Context().Err()
	}
}

func (s *server) isPending(ctx context.Context, tenant, approval string) (bool, error) {
	a, err := elsewhere(ctx, func(ctx context.Context) (*engine.Approval, error) {
		return s.store.ApprovalState(ctx, tenant, approval)
	})
	return err == nil && a.StatusAt(s.now()) == engine.ApprovalPending, err
}
