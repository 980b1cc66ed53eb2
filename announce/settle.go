package announce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// judged turns the outcome of a message into results for what it told.
func (t *turn) judged(due []engine.DueAnnouncement, o outcome) {
	now := t.d.now()
	switch o.verdict {
	case aborted: // it may have arrived: the lease decides
		return
	case delivered:
		if !t.down.Load() {
			t.d.worked(t.ch)
		}
		if t.probe {
			t.more.Store(true)
		}
		for _, a := range due {
			t.d.acquit(a.ID)
			t.d.metrics.arrived(t.ch.format, now.Sub(madeAt(a)))
			t.settle(a, engine.AnnouncementDelivered, time.Time{}, "")
		}
	case channelFailed:
		t.fail(o)
		for _, a := range due {
			if o.answered && t.ch.format != engine.FormatWebhook {
				t.d.refusal(a.ID, 0) // it goes alone from now on
			}
			t.d.metrics.count(t.ch.format, "failed")
			t.settle(a, engine.AnnouncementPending, now.Add(max(t.d.backoff(a.Attempts), o.retryAfter)), o.text)
		}
	case messageRefused:
		if len(due) > 1 { // one of them is the reason; each goes alone, at once
			t.more.Store(true)
			for _, a := range due {
				t.d.refusal(a.ID, 0)
				t.d.metrics.count(t.ch.format, "failed")
				t.settle(a, engine.AnnouncementPending, now, o.text)
			}
			return
		}
		t.refuse(due[0], o.text)
	}
}

// fail lets the channel rest and this turn begin nothing more.
func (t *turn) fail(o outcome) {
	t.down.Store(true)
	t.saw.Do(func() { t.d.failed(t.ch, o) })
}

// refuse lets an announcement wait that the receiver refused, or gives it up.
func (t *turn) refuse(a engine.DueAnnouncement, text string) {
	n := t.d.refusal(a.ID, 1)
	if n >= maxRefusals {
		t.d.acquit(a.ID)
		text = fmt.Sprintf("%s. Given up after refusal %d", text, n)
		t.d.log.Warn("an announcement was given up", "tenant", a.TenantID, "channel", a.Channel, "announcement", a.ID, "why", text)
		t.settle(a, engine.AnnouncementDead, time.Time{}, text)
		return
	}
	t.d.metrics.count(t.ch.format, "failed")
	t.settle(a, engine.AnnouncementPending, t.d.now().Add(t.d.backoff(n)), fmt.Sprintf("%s. Refusal %d of %d", text, n, maxRefusals))
}

// putBack gives up what was claimed and not begun, so that its turn comes soon,
// here or elsewhere, and before that of what failed.
func (t *turn) putBack(due []engine.DueAnnouncement) {
	for _, a := range due {
		t.settle(a, engine.AnnouncementPending, t.d.now(), a.LastError)
	}
}

// backoff is how long an announcement waits after so many attempts.
func (d *Dispatcher) backoff(attempts int) time.Duration {
	high := doubled(d.knobs.againMin, d.knobs.againMax, attempts)
	return jitter(high/2, high)
}

// madeAt is since when an announcement is to be sent.
func madeAt(a engine.DueAnnouncement) time.Time {
	if a.ReplayedAt.After(a.CreatedAt) {
		return a.ReplayedAt
	}
	return a.CreatedAt
}

// settle hands a result over.
func (t *turn) settle(a engine.DueAnnouncement, status engine.AnnouncementStatus, next time.Time, text string) {
	if len(text) > maxLastError {
		text = visible(text, maxLastError)
	}
	r := engine.AnnouncementResult{TenantID: a.TenantID, ID: a.ID, Status: status, Error: text, At: t.d.now()}
	switch status {
	case engine.AnnouncementPending:
		r.Next = next
	case engine.AnnouncementDead:
		t.d.metrics.count(t.ch.format, "dead")
	}
	t.d.settler.add(r, t.lease)
}

// How results are written down.
const (
	settleGather = 25 * time.Millisecond // several channels in one transaction
	settleBatch  = 256
	settleFull   = 2048 // claim no more before these are written down
	settlePause  = 5 * time.Second
	settleLast   = 3 * time.Second // when the gate stops
)

// settler writes results down, in batches. What fails is tried again: a result
// that is lost is an announcement that is sent twice.
type settler struct {
	outbox Outbox
	now    func() time.Time
	log    *slog.Logger
	wake   chan struct{}

	mu   sync.Mutex
	list []result
}

type result struct {
	engine.AnnouncementResult
	lease time.Time
}

func newSettler(o Outbox, now func() time.Time, log *slog.Logger) *settler {
	return &settler{outbox: o, now: now, log: log, wake: make(chan struct{}, 1)}
}

func (s *settler) add(r engine.AnnouncementResult, lease time.Time) {
	s.mu.Lock()
	s.list = append(s.list, result{r, lease})
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *settler) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list) >= settleFull
}

// run writes down until stop is closed, and then what is left, if that is quick.
func (s *settler) run(stop <-chan struct{}) {
	failed := 0
	for {
		wait := settleGather
		if failed > 0 {
			wait = doubled(100*time.Millisecond, settlePause, failed)
		} else {
			select {
			case <-stop:
			case <-s.wake:
			}
		}
		select {
		case <-stop:
			ctx, cancel := context.WithTimeout(context.Background(), settleLast)
			defer cancel()
			for more, err := true, error(nil); more && err == nil; more, err = s.flush(ctx) {
			}
			return
		case <-time.After(wait):
		}
		for more := true; more; {
			ctx, cancel := context.WithTimeout(context.Background(), outboxTimeout)
			var err error
			more, err = s.flush(ctx)
			cancel()
			if err != nil {
				if failed++; failed == 1 {
					s.log.Warn("what became of announcements cannot be written down yet", "error", err)
				}
				break
			}
			failed = 0
		}
	}
}

// flush writes one batch, and reports whether there is more. What it cannot
// write stays, unless it is only that something is to be tried again and its
// lease says the same.
func (s *settler) flush(ctx context.Context) (more bool, err error) {
	s.mu.Lock()
	n := min(len(s.list), settleBatch)
	batch := s.list[:n:n]
	s.list = s.list[n:]
	s.mu.Unlock()
	if n == 0 {
		return false, nil
	}
	if err = s.write(ctx, batch); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.list) > 0, nil
	}
	keep := make([]result, 0, n)
	for _, r := range batch {
		if r.Status == engine.AnnouncementDelivered || s.now().Before(r.lease) {
			keep = append(keep, r)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(keep, s.list...)
	return true, err
}

func (s *settler) write(ctx context.Context, batch []result) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	results := make([]engine.AnnouncementResult, len(batch))
	for i, r := range batch {
		results[i] = r.AnnouncementResult
	}
	if err = s.outbox.Settle(ctx, results); err != nil && errors.Is(err, context.Canceled) {
		err = fmt.Errorf("cut off: %w", err)
	}
	return err
}
