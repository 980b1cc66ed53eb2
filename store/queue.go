package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// maxBatch is how many rows one transaction writes at most.
const maxBatch = 512

// queue holds the entries that wait for a commit. It is bounded, and what does
// not fit is refused at once: a queue that is full pushes back, it never drops.
type queue struct {
	mu     sync.Mutex
	filled sync.Cond
	items  []*item
	size   int
	closed bool
	calls  map[*call]struct{} // open ones, for abandon
}

// item is one entry on its way, and where its fate is to be told.
type item struct {
	entry *engine.Entry
	ask   *ask // of an entry that waits for approval
	call  *call
	index int
}

// call is one use of Append.
type call struct {
	mu      sync.Mutex
	results []engine.AppendResult
	places  []position // of what was written
	set     []bool
	pending int
	over    bool // nobody waits any more
	done    chan struct{}
}

func newQueue(size int) *queue {
	q := &queue{size: size, calls: map[*call]struct{}{}}
	q.filled.L = &q.mu
	return q
}

// put queues what fits and answers the rest.
func (q *queue) put(entries []*engine.Entry) *call {
	c := &call{
		results: make([]engine.AppendResult, len(entries)),
		places:  make([]position, len(entries)),
		set:     make([]bool, len(entries)),
		pending: len(entries),
		done:    make(chan struct{}),
	}
	if len(entries) == 0 {
		close(c.done)
		return c
	}
	items := make([]item, len(entries))
	q.mu.Lock()
	fits := min(len(entries), q.size-len(q.items))
	if q.closed {
		fits = 0
	}
	for i, e := range entries {
		items[i] = item{entry: e, call: c, index: i}
		if i < fits {
			q.items = append(q.items, &items[i])
		}
	}
	q.calls[c] = struct{}{}
	closed := q.closed
	q.mu.Unlock()
	if fits > 0 {
		q.filled.Signal()
		if fits > maxBatch {
			q.filled.Broadcast()
		}
	}
	for i := fits; i < len(items); i++ {
		err := engine.ErrQueueFull
		if closed {
			err = fmt.Errorf("%w: the store is closed", engine.ErrUnavailable)
		}
		items[i].finish(engine.AppendResult{Err: err})
	}
	return c
}

// take waits for entries and returns all that wait, at most maxBatch, without
// those that nobody waits for any more. Nil: closed and empty.
func (q *queue) take() []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.items) == 0 && !q.closed {
			q.filled.Wait()
		}
		if len(q.items) == 0 {
			return nil
		}
		n := min(len(q.items), maxBatch)
		batch := make([]*item, 0, n)
		for _, it := range q.items[:n] {
			if !it.call.isOver() {
				batch = append(batch, it)
			}
		}
		rest := copy(q.items, q.items[n:])
		clear(q.items[rest:])
		q.items = q.items[:rest]
		if rest > 0 {
			q.filled.Signal()
		}
		if len(batch) > 0 {
			return batch
		}
	}
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// close takes no more entries; those that wait are still given out.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.filled.Broadcast()
}

// abandon answers every open call: unknown.
func (q *queue) abandon() {
	q.mu.Lock()
	open := make([]*call, 0, len(q.calls))
	for c := range q.calls {
		open = append(open, c)
	}
	q.mu.Unlock()
	for _, c := range open {
		c.giveUp(fmt.Errorf("%w: the store is closing", engine.ErrUnavailable))
	}
}

func (q *queue) forget(c *call) {
	q.mu.Lock()
	delete(q.calls, c)
	q.mu.Unlock()
}

// finish tells the fate of one entry. Only the first telling counts.
func (it *item) finish(r engine.AppendResult) { it.tell(r, position{}) }

// tell is finish for an entry that may have been written at a place. The entry
// itself is left alone here: its owner may have gone on.
func (it *item) tell(r engine.AppendResult, at position) {
	c := it.call
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.set[it.index] {
		return
	}
	c.set[it.index] = true
	c.results[it.index], c.places[it.index] = r, at
	if c.pending--; c.pending == 0 {
		c.over = true
		close(c.done)
	}
}

func (c *call) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// giveUp answers what has no fate yet with err; later news is dropped.
func (c *call) giveUp(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	for i := range c.results {
		if !c.set[i] {
			c.results[i] = engine.AppendResult{Err: err}
		}
	}
	close(c.done)
}

// Append writes entries to the gate log in as few commits as possible and
// returns one result per entry, in order. It sets LogSeq on each entry that it
// wrote. It returns when every fate is known, or after one second
// (Options.Patience) or when ctx ends, whichever is first; the commit goes on
// without its caller. An entry must not be changed or given again after it was
// given to Append, whatever the result: a late commit may still read it.
func (s *Store) Append(ctx context.Context, entries []*engine.Entry) []engine.AppendResult {
	wait := s.opts.Patience
	if wait <= 0 {
		wait = time.Second
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	c := s.queue.put(entries)
	defer s.queue.forget(c)
	select {
	case <-c.done:
	case <-ctx.Done():
		c.giveUp(fmt.Errorf("%w: the caller stopped waiting (%v)", engine.ErrUnavailable, ctx.Err()))
	case <-timer.C:
		c.giveUp(fmt.Errorf("%w: no commit within %v", engine.ErrUnavailable, wait))
	}
	for i := range c.results {
		r := &c.results[i]
		if r.Err == nil && !r.Repeated {
			entries[i].LogSeq, entries[i].Leaf = c.places[i].seq, c.places[i].leaf
			if entries[i].Approval = r.Approval; r.Approval != nil {
				entries[i].ApprovalID = r.Approval.ID
			}
			r.Entry = entries[i]
		}
	}
	return c.results
}
