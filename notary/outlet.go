package notary

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// outlet brings checkpoints to one place outside. What waits is the newest
// checkpoint of each tenant, so it needs no more memory than there are tenants,
// however long the place cannot be reached.
type outlet struct {
	name  string
	write func(ctx context.Context, tenant string, note []byte) error
	n     *Notary
	wake  chan struct{} // holds one

	mu      sync.Mutex
	pending map[string][]byte
	fault   string
}

const (
	retryFirst = time.Second
	retryMost  = 30 * time.Second
	// lastPatience is how long a gate that stops waits for the last checkpoints to
	// arrive.
	lastPatience = 3 * time.Second
)

func newOutlet(name string, write func(context.Context, string, []byte) error, n *Notary) *outlet {
	return &outlet{name: name, write: write, n: n, wake: make(chan struct{}, 1), pending: map[string][]byte{}}
}

func (o *outlet) put(tenant string, note []byte) {
	o.mu.Lock()
	o.pending[tenant] = note
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outlet) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending)
}

// failing says what is wrong, "" for nothing.
func (o *outlet) failing() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fault
}

// run writes what waits until ctx ends, and what waits then once more.
func (o *outlet) run(ctx context.Context) {
	retry := retryFirst
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.Background(), lastPatience)
			defer cancel()
			if err := o.drain(last); err != nil {
				o.n.logger.Error("the last checkpoints did not arrive outside; the next start writes them", "to", o.name, "error", err)
			}
			return
		case <-o.wake:
		}
		for ctx.Err() == nil {
			if err := o.drain(ctx); err == nil {
				retry = retryFirst
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(retry):
			}
			retry = min(2*retry, retryMost)
		}
	}
}

// drain writes all that waits; what fails waits on. One tenant's fault is not in
// the others' way.
func (o *outlet) drain(ctx context.Context) (first error) {
	o.mu.Lock()
	batch := maps.Clone(o.pending)
	o.mu.Unlock()
	for _, tenant := range slices.Sorted(maps.Keys(batch)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		note := batch[tenant]
		err := o.write(ctx, tenant, note)
		if err != nil {
			o.n.metrics.failed.WithLabelValues(o.name).Inc()
			if first == nil {
				first = err
			}
			continue
		}
		o.mu.Lock()
		if &o.pending[tenant][0] == &note[0] { // and none that came meanwhile
			delete(o.pending, tenant)
		}
		o.mu.Unlock()
	}
	o.tell(first)
	return first
}

// tell logs where it begins to fail, and where it ends.
func (o *outlet) tell(err error) {
	o.mu.Lock()
	was := o.fault
	if o.fault = ""; err != nil {
		o.fault = fmt.Sprintf("checkpoints do not reach the %s", o.name)
	}
	o.mu.Unlock()
	switch {
	case err != nil && was == "":
		o.n.logger.Error("checkpoints do not arrive outside; trying on", "to", o.name, "error", err)
	case err == nil && was != "":
		o.n.logger.Info("checkpoints arrive outside again", "to", o.name)
	}
}
