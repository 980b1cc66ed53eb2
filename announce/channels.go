package announce

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// How a channel that fails rests, and how an announcement that failed waits.
const (
	restMin       = time.Second // the first rest is at most that
	restMax       = 30 * time.Second
	maxRetryAfter = time.Hour

	againMin    = 5 * time.Second // doubles with each attempt
	againMax    = 5 * time.Minute
	maxRefusals = 8              // 5 s, 10 s … 5 min between: about ten minutes to mend a receiver
	maxAge      = 72 * time.Hour // a weekend

	maxRefused   = 4096      // announcements whose refusals are remembered
	forgetAfter  = time.Hour // what is known of a channel that nothing is due for
	maxLastError = 600       // bytes
)

// begin starts turns for those of keys that may have one now: not under way,
// not resting, not before their share; whoever has waited longest first.
func (d *Dispatcher) begin(ctx context.Context, keys []engine.ChannelKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, at := d.now(), time.Now()
	var ready []*channel
	for _, key := range keys {
		ch := d.channels[key]
		if ch == nil {
			ch = &channel{key: key}
			d.channels[key] = ch
		}
		if !ch.busy && !now.Before(ch.rest) && !at.Before(ch.next) {
			ready = append(ready, ch)
		}
	}
	slices.SortStableFunc(ready, func(a, b *channel) int { return a.turned.Compare(b.turned) })
	for _, ch := range ready {
		t := &turn{d: d, ch: ch, probe: ch.failures > 0, troubled: ch.failures > 0 || ch.slow, begun: at}
		if d.busy >= maxTurns || (t.troubled && d.troubled >= maxTroubled) {
			d.left = true
			continue
		}
		ch.busy, ch.turned = true, at
		d.busy++
		if t.troubled {
			d.troubled++
		}
		d.turns.Go(func() { t.run(ctx) })
	}
}

// ended gives a turn's place back, and looks at the outbox again if there is
// more to do than a poll would find in time.
func (d *Dispatcher) ended(t *turn) {
	d.mu.Lock()
	t.ch.busy, t.ch.slow = false, t.slow.Load()
	d.busy--
	if t.troubled {
		d.troubled--
	}
	again := d.left || t.more.Load()
	d.left = false
	d.mu.Unlock()
	if again {
		d.lookAgain()
	}
}

// worked notes that something arrived.
func (d *Dispatcher) worked(ch *channel) {
	d.mu.Lock()
	failures := ch.failures
	ch.failures, ch.rest = 0, time.Time{}
	d.mu.Unlock()
	if failures > 0 {
		d.log.Info("a channel works again", "tenant", ch.key.TenantID, "channel", ch.key.Name)
	}
}

// failed makes a channel rest, longer each time, and at least as long as the
// receiver asks. The jitter is full, so that channels of one receiver do not
// come back together.
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
func (d *Dispatcher) failed(ch *channel, o outcome) {
	d.mu.Lock()
	ch.failures++
	first := ch.failures == 1
	ch.rest = d.now().Add(max(jitter(0, doubled(d.knobs.restMin, d.knobs.restMax, ch.failures)), o.retryAfter))
	d.mu.Unlock()
	if first {
		d.log.Warn("a channel rests: announcements for it wait", "tenant", ch.key.TenantID, "channel", ch.key.Name, "why", o.text)
	}
}

// resting counts channels that failed last.
func (d *Dispatcher) resting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, ch := range d.channels {
		if ch.failures > 0 {
			n++
		}
	}
	return n
}

// forget drops what is known of channels that nothing was due for in a while, as
// of those that are no more.
func (d *Dispatcher) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, at := d.now(), time.Now()
	for key, ch := range d.channels {
		if !ch.busy && at.Sub(ch.turned) > forgetAfter && now.After(ch.rest) {
			delete(d.channels, key)
		}
	}
}

// refusal counts that a receiver refused an announcement by itself, and returns
// how often it did. It is kept here and not in the outbox: attempts that failed
// with the channel must not count, or the first refusal after an outage would be
// the last. A gate that starts anew counts anew; the age bounds it all.
func (d *Dispatcher) refusal(id string, count int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.refused[id]; !known && len(d.refused) >= maxRefused {
		clear(d.refused)
	}
	d.refused[id] += count
	return d.refused[id]
}

// suspect reports whether id once failed with others in one message, so that it
// goes alone now: it may have been the reason.
func (d *Dispatcher) suspect(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.refused[id]
	return known
}

// acquit forgets what is known of an announcement that is done with.
func (d *Dispatcher) acquit(id string) {
	d.mu.Lock()
	delete(d.refused, id)
	d.mu.Unlock()
}

// doubled is first, doubled with each attempt after the first, at most most.
func doubled(first, most time.Duration, attempt int) time.Duration {
	return min(first<<min(max(attempt-1, 0), 20), most)
}

// jitter is a time from low to high at random.
func jitter(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + rand.N(high-low+1)
}
