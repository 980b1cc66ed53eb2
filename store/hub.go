package store

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// hub tells whoever waits for an approval that it has ended. Waiting costs no
// query: steps made here and news from other gates come in once for all
// waiters of an approval, and one poll looks after those whose news was lost.
type hub struct {
	mu      sync.Mutex
	waiting map[approvalKey]map[chan *engine.Approval]struct{}
	closed  bool
	trimmed int              // how many waited at the last trim; followHub's own
	ask     chan approvalKey // approvals that something happened to elsewhere
}

type approvalKey struct{ tenant, id string }

func newHub() *hub {
	return &hub{waiting: map[approvalKey]map[chan *engine.Approval]struct{}{}, ask: make(chan approvalKey, 1024)}
}

// Watch returns a channel that gets the approval once it has ended. A caller
// reads the approval after it began to watch, and calls stop in the end. The
// channel is closed without a value when the gate stops.
func (s *Store) Watch(tenant, approvalID string) (ended <-chan *engine.Approval, stop func()) {
	h, key := s.hub, approvalKey{tenant, approvalID}
	c := make(chan *engine.Approval, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(c)
		return c, func() {}
	}
	if h.waiting[key] == nil {
		h.waiting[key] = map[chan *engine.Approval]struct{}{}
	}
	h.waiting[key][c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if delete(h.waiting[key], c); len(h.waiting[key]) == 0 {
			delete(h.waiting, key)
		}
	}
}

// StopWaiting sends everybody away who watches, and whoever comes later: the
// gate is about to stop.
func (s *Store) StopWaiting() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.closed = true
	for key, list := range s.hub.waiting {
		for c := range list {
			close(c)
		}
		delete(s.hub.waiting, key)
	}
}

// publish tells the waiters of an approval that has ended.
func (h *hub) publish(a *engine.Approval) {
	if a.Status == engine.ApprovalPending {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := approvalKey{a.TenantID, a.ID}
	for c := range h.waiting[key] {
		c <- a // holds one, and gets one only
	}
	delete(h.waiting, key)
}

// news says that something happened to an approval, or, without a name, that
// news may have been missed; whoever reads it is followHub, and only where
// somebody waits.
func (h *hub) news(tenant, id string) {
	key := approvalKey{tenant, id}
	h.mu.Lock()
	_, wanted := h.waiting[key]
	if key == (approvalKey{}) {
		wanted = len(h.waiting) > 0
	}
	h.mu.Unlock()
	if !wanted {
		return
	}
	select {
	case h.ask <- key:
	default: // the poll finds it
	}
}

// trimAfter is by how many the number of waiters has grown when memory is given
// back. A gate lets garbage grow to a multiple of what lives (serve's GOGC),
// which is right for decisions; many who wait make what lives large and let it
// lie, and their stacks only shrink in a collection. followHub calls trim at its
// ticks, so that nobody can make it happen more often.
const trimAfter = 32

func (h *hub) trim() {
	n := h.waiters()
	if n >= h.trimmed+trimAfter {
		debug.FreeOSMemory() // collects, too
		h.trimmed = n
	}
	h.trimmed = min(h.trimmed, n)
}

// keys are the approvals that somebody waits for.
func (h *hub) keys() []approvalKey {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]approvalKey, 0, len(h.waiting))
	for key := range h.waiting {
		list = append(list, key)
	}
	return list
}

// waiters counts who waits.
func (h *hub) waiters() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, list := range h.waiting {
		n += len(list)
	}
	return n
}

// followHub reads approvals that there is news of, and every poll those that
// somebody waits for, until ctx ends. Its ticks end overdue approvals as well.
func (s *Store) followHub(ctx context.Context) {
	tick := time.NewTicker(s.opts.Poll)
	defer tick.Stop()
	failing := false
	for {
		var err error
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		select {
		case <-ctx.Done():
			cancel()
			return
		case key := <-s.hub.ask:
			keys := []approvalKey{key}
			if key == (approvalKey{}) {
				keys = s.hub.keys()
			}
			err = s.readWaited(within, keys)
		case <-tick.C:
			s.hub.trim()
			if err = s.sweep(within); err == nil {
				err = s.readWaited(within, s.hub.keys())
			}
		}
		cancel()
		if err != nil && !failing && ctx.Err() == nil {
			s.log.Warn("cannot look after approvals; trying on", "database", s.db.where(), "error", err)
		}
		failing = err != nil
	}
}

// readWaited reads which of the approvals have ended and tells their waiters.
func (s *Store) readWaited(ctx context.Context, keys []approvalKey) error {
	for len(keys) > 0 {
		n := min(len(keys), 500)
		list, args := "", make([]any, 0, 2*n)
		for i, key := range keys[:n] {
			if i > 0 {
				list += " OR "
			}
			list += "(tenant_id = " + param(2*i+1) + " AND approval_id = " + param(2*i+2) + ")"
			args = append(args, key.tenant, key.id)
		}
		keys = keys[n:]
		rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+approvalColumns+` FROM approval WHERE (`+list+`) AND status <> 'pending'`), args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			a, err := scanApproval(rows.Scan)
			if err != nil {
				rows.Close()
				return err
			}
			s.hub.publish(a)
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}
