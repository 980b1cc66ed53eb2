package announce

import (
	"context"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// Outbox keeps what is to be announced. store.Store is one. Several gates may
// work on one outbox: what one has claimed, no other gets before its lease ends.
type Outbox interface {
	// Expand makes announcements of what decisions have left in the outbox, a
	// bounded number at a time, and reports whether there is more.
	Expand(ctx context.Context) (more bool, err error)
	// DueChannels lists channels for which something is due at now.
	DueChannels(ctx context.Context, now time.Time) ([]engine.ChannelKey, error)
	// Claim counts an attempt of at most n due announcements of the channel,
	// the longest due first, keeps them from everybody else until lease, and
	// returns them with what is needed to send them.
	Claim(ctx context.Context, key engine.ChannelKey, n int, now, lease time.Time) (Work, error)
	// Settle writes down what came of attempts. What somebody replayed or gave
	// up meanwhile stays as it is.
	Settle(ctx context.Context, results []engine.AnnouncementResult) error
	// Purge removes at most a page of those delivered before a time.
	Purge(ctx context.Context, before time.Time) (n int, err error)
	// Backlog counts what is not delivered. Oldest is when the oldest pending
	// one was made, zero where none is.
	Backlog(ctx context.Context) (pending, dead int, oldest time.Time, err error)
	// OutboxNews gets a value when a decision made here left something in the
	// outbox. It holds one.
	OutboxNews() <-chan struct{}
}

// Work is what one gate has claimed of a channel.
type Work = engine.ChannelWork
