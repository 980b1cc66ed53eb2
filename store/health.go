package store

import (
	"context"
	"sync"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// unhealthyFor is how long after a failed commit the store counts as not
// writable, unless another commit succeeded.
const unhealthyFor = 5 * time.Second

// lastError remembers the newest failure of an append that was not the fault
// of a row.
type lastError struct {
	mu sync.Mutex
	at time.Time
}

func (l *lastError) set(error) {
	l.mu.Lock()
	l.at = time.Now()
	l.mu.Unlock()
}

func (l *lastError) clear() {
	l.mu.Lock()
	l.at = time.Time{}
	l.mu.Unlock()
}

func (l *lastError) recent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.at.IsZero() && time.Since(l.at) < unhealthyFor
}

// healthWithin bounds Health. A driver that waits for a server that does not
// even take a cancellation comes back later than its context says.
const healthWithin = 800 * time.Millisecond

// Health asks the database, for less than a second, whether it takes writes,
// what its clock shows and how far the view is behind. Where it does not
// answer, nothing is writable.
func (s *Store) Health(ctx context.Context) engine.Health {
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	answer := make(chan engine.Health, 1)
	go func() {
		defer cancel()
		answer <- s.health(ctx)
	}()
	select {
	case h := <-answer:
		return h
	case <-ctx.Done():
	}
	select {
	case h := <-answer: // the answer and the end of ctx came together
		return h
	default:
		return engine.Health{}
	}
}

func (s *Store) health(ctx context.Context) engine.Health {
	var h engine.Health
	before := time.Now()
	writable, now, err := s.db.health(ctx)
	if err != nil {
		return h
	}
	h.Writable = writable && !s.lastErr.recent()
	half := time.Since(before) / 2
	h.ClockSkew = now.Sub(before.Add(half))
	var sum int64
	seen := s.view.epochs.Load()
	if err := s.db.reads().QueryRowContext(ctx, `SELECT coalesce(sum(epoch), 0) FROM tenant_head WHERE epoch > 0`).Scan(&sum); err != nil {
		h.Writable = false
		return h
	}
	h.EpochLag = max(0, sum-seen)
	return h
}
