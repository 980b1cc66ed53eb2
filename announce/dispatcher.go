package announce

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/engine"
)

// How a gate shares its time between decisions, channels and the outbox.
const (
	pollEvery = time.Second            // where nothing is heard of: other gates' decisions, and what comes due
	gather    = 200 * time.Millisecond // after news, so that one look finds many; also between two looks
	maxPoll   = 30 * time.Second       // when the outbox cannot be asked

	maxTurns      = 32               // channels at a time, and requests at a time
	maxTroubled   = 16               // of these channels that failed or are slow, so that they leave room
	slowAfter     = 2 * time.Second  // an answer that takes longer makes a channel slow: one request at a time
	perChannel    = 8                // requests at a time of one channel
	webhookQuota  = 32               // claimed at once; with webhookEvery about a second's worth
	webhookEvery  = time.Second / 32 // a receiver's share, and the most that one costs this gate: a hundredth of two cores
	chatQuota     = 20               // told in one message
	chatEvery     = time.Second      // https://docs.slack.dev/apis/web-api/rate-limits: one message a second
	outboxTimeout = 30 * time.Second

	// lease is how long what was claimed is nobody else's. A turn begins nothing
	// that could end, with its timeout and its settling, after the lease.
	lease     = 60 * time.Second
	beginTime = lease - 2*sendTimeout
)

// Options is what a Dispatcher is made of. Outbox is required.
type Options struct {
	Outbox Outbox
	// PublicURL is where people reach the gate, for links: "" for none.
	PublicURL string
	// Allow are networks that announcements may go to though they are not of
	// the internet, or speak plain http.
	Allow      []netip.Prefix
	Logger     *slog.Logger // nil: slog.Default()
	Registerer prometheus.Registerer
	Now        func() time.Time // nil: time.Now
}

// Dispatcher sends what is due, as the package comment promises. Several, here
// or on other gates, may work on one outbox.
type Dispatcher struct {
	o       Options
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	client  *client
	settler *settler
	knobs   knobs

	again    chan struct{} // holds one: look at the outbox at once
	requests chan struct{} // a place for each request under way
	turns    sync.WaitGroup

	mu       sync.Mutex
	channels map[engine.ChannelKey]*channel
	busy     int            // turns under way
	troubled int            // …of them for channels that failed or are slow
	left     bool           // a channel was due and there was no place for its turn
	refused  map[string]int // how often a receiver refused an announcement; see refusal
}

// knobs are what tests turn, to see an hour in seconds.
type knobs struct {
	poll, gather, webhookEvery, chatEvery time.Duration
	restMin, restMax, againMin, againMax  time.Duration
	backlogEvery, purgeAfter, purgeEvery  time.Duration
	webhook                               func(string, engine.DueAnnouncement) ([]byte, error)
}

// channel is what this gate remembers of one.
type channel struct {
	key      engine.ChannelKey
	busy     bool // a turn is under way
	format   engine.ChannelFormat
	failures int       // in a row
	slow     bool      // its last turn had an answer that took long
	rest     time.Time // not before, by Options.Now
	next     time.Time // when it may be sent to again for its share, by time.Now
	turned   time.Time // when its last turn began, by time.Now
}

// New makes a Dispatcher. It does nothing before Run.
func New(o Options) (*Dispatcher, error) {
	if o.Outbox == nil {
		return nil, errors.New("announce: there is no outbox")
	}
	public, err := cleanPublicURL(o.PublicURL)
	if err != nil {
		return nil, err
	}
	o.PublicURL = public
	d := &Dispatcher{
		o: o, log: cmp.Or(o.Logger, slog.Default()), now: o.Now,
		client: newClient(o.Allow, nil, nil),
		knobs: knobs{
			poll: pollEvery, gather: gather, webhookEvery: webhookEvery, chatEvery: chatEvery,
			restMin: restMin, restMax: restMax, againMin: againMin, againMax: againMax,
			backlogEvery: backlogEvery, purgeAfter: purgeAfter, purgeEvery: purgeEvery, webhook: WebhookBody,
		},
		again: make(chan struct{}, 1), requests: make(chan struct{}, maxTurns),
		channels: map[engine.ChannelKey]*channel{}, refused: map[string]int{},
	}
	if d.now == nil {
		d.now = time.Now
	}
	d.settler = newSettler(o.Outbox, d.now, d.log)
	if d.metrics, err = newMetrics(o.Registerer, d.resting); err != nil {
		return nil, err
	}
	return d, nil
}

// Run sends until ctx ends, and returns when nothing is under way any more: what
// was being sent is cut off, what is known to have arrived is written down.
func (d *Dispatcher) Run(ctx context.Context) {
	settling := make(chan struct{})
	stopSettling := make(chan struct{})
	go func() {
		defer close(settling)
		d.settler.run(stopSettling)
	}()
	var keeping sync.WaitGroup
	keeping.Go(func() { d.keepHouse(ctx) })

	for failed := 0; ctx.Err() == nil; {
		more, err := d.cycle(ctx)
		wait := d.knobs.poll
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if failed++; failed == 1 {
				d.log.Warn("announcements wait: the outbox cannot be asked", "error", err)
			}
			wait = min(wait<<min(failed, 10), maxPoll)
		case failed > 0:
			failed = 0
			d.log.Info("the outbox can be asked again")
		}
		if more {
			wait = 0
		}
		d.wait(ctx, wait, failed > 0)
	}

	d.turns.Wait()
	keeping.Wait()
	close(stopSettling)
	<-settling
	d.client.close()
}

// wait ends after a time, or when there is news, or with ctx; but never at once,
// so that a gate under load looks at the outbox twenty times a second at most.
func (d *Dispatcher) wait(ctx context.Context, wait time.Duration, deaf bool) {
	news, again := d.o.Outbox.OutboxNews(), d.again
	if deaf {
		news, again = nil, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	case <-news:
	case <-again:
	}
	pause(ctx, d.knobs.gather)
}

// pause waits, and reports whether ctx still goes on.
func pause(ctx context.Context, wait time.Duration) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Wake ends the rest of a channel, for when somebody has just set it anew and
// wants to see whether it works now.
func (d *Dispatcher) Wake(key engine.ChannelKey) {
	d.mu.Lock()
	if ch := d.channels[key]; ch != nil {
		ch.rest = time.Time{}
	}
	d.mu.Unlock()
	d.lookAgain()
}

func (d *Dispatcher) lookAgain() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}

// cycle looks at the outbox once and begins the turns of channels. A panic of
// the outbox is an error like any other: the loop goes on.
func (d *Dispatcher) cycle(ctx context.Context) (more bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("a look at the outbox panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			more, err = false, fmt.Errorf("panic: %v", p)
		}
	}()
	asking, cancel := context.WithTimeout(ctx, outboxTimeout)
	defer cancel()
	more, err = d.o.Outbox.Expand(asking)
	if err != nil {
		return false, fmt.Errorf("expand: %w", err)
	}
	if d.settler.full() {
		return more, nil // what was sent must be written down first
	}
	keys, err := d.o.Outbox.DueChannels(asking, d.now())
	if err != nil {
		return false, fmt.Errorf("look for due channels: %w", err)
	}
	d.begin(ctx, keys)
	return more, nil
}
