package announce

import (
	"context"
	"fmt"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// turn is one channel's turn: claim, send, hand over what came of it. Nothing
// else sends to the channel meanwhile on this gate.
type turn struct {
	d     *Dispatcher
	ch    *channel
	probe bool // the channel failed last: one announcement, to see
	begun time.Time

	troubled bool        // it failed, or was slow: it counts to those that leave room for others
	slow     atomic.Bool // an answer took long in this turn
	more     atomic.Bool // there may be more to do at once

	work  Work
	lease time.Time
	url   *url.URL
	down  atomic.Bool // the channel failed: begin nothing more
	saw   sync.Once   // …and it counts once, however many requests were under way
}

// run is the turn. What panics in it is lost to this gate until the lease ends.
func (t *turn) run(ctx context.Context) {
	defer t.d.ended(t)
	defer t.survive()
	// A probe claims one after the other, until one is worth sending.
	for range webhookQuota {
		due, ok := t.claim(ctx)
		if !ok {
			return
		}
		if due = t.sift(due); len(due) > 0 {
			t.send(ctx, due)
			return
		}
	}
	t.more.Store(true)
}

// survive is deferred, and keeps a panic from ending the gate.
func (t *turn) survive() {
	if p := recover(); p != nil {
		t.d.log.Error("sending announcements panicked", "tenant", t.ch.key.TenantID, "channel", t.ch.key.Name,
			"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		t.fail(outcome{text: "the gate has a fault; its log has more"})
	}
}

// claim claims what this turn may send. ok is false where nothing was due.
func (t *turn) claim(ctx context.Context) (due []engine.DueAnnouncement, ok bool) {
	n := chatQuota // also where the format is not known yet
	if t.ch.format == engine.FormatWebhook {
		n = webhookQuota
	}
	if t.probe {
		n = 1
	}
	now := t.d.now()
	t.begun, t.lease = time.Now(), now.Add(lease)
	asking, cancel := context.WithTimeout(ctx, outboxTimeout)
	defer cancel()
	work, err := t.d.o.Outbox.Claim(asking, t.ch.key, n, now, t.lease)
	if err != nil {
		if ctx.Err() == nil {
			t.d.log.Warn("announcements could not be claimed", "tenant", t.ch.key.TenantID, "channel", t.ch.key.Name, "error", err)
			t.fail(outcome{text: "the outbox gives none of its announcements"}) // so that this is not said every second
		}
		return nil, false
	}
	t.work, t.ch.format = work, work.Channel.Format
	t.more.Store(len(work.Due) >= n)
	return work.Due, len(work.Due) > 0
}

// sift settles what is too old and what cannot be told, and returns the rest.
func (t *turn) sift(due []engine.DueAnnouncement) []engine.DueAnnouncement {
	now := t.d.now()
	rest := due[:0:0]
	old := 0
	for _, a := range due {
		switch {
		case a.Announcement == nil:
		case now.Sub(madeAt(a)) > maxAge:
			text := "given up after 72 hours; replay it when the channel works"
			if a.LastError != "" {
				text += ". The last failure: " + a.LastError
			}
			t.settle(a, engine.AnnouncementDead, now, text)
			old++
		case !complete(a):
			t.refuse(a, "this announcement is about a decision or an approval that cannot be read")
		default:
			rest = append(rest, a)
		}
	}
	if old > 0 { // one line for many: there can be thousands
		t.d.log.Warn("announcements were given up, 72 hours old", "tenant", t.ch.key.TenantID, "channel", t.ch.key.Name, "count", old)
	}
	return rest
}

// send sends due, each by itself or several in a message, as the format has it.
func (t *turn) send(ctx context.Context, due []engine.DueAnnouncement) {
	var err error
	if t.url, err = CheckURL(t.work.Secrets.URL, t.d.o.Allow); err != nil {
		// Allowed when it was set, and no longer: the operator's list is shorter.
		t.judged(due[:1], outcome{verdict: channelFailed, text: err.Error() + ": set the channel anew, or have the address allowed"})
		t.putBack(due[1:])
		return
	}
	if t.work.Channel.Format != engine.FormatWebhook {
		t.sendChat(ctx, due)
		return
	}
	var taken atomic.Int64
	var workers sync.WaitGroup
	for w := range min(perChannel, len(due)) {
		workers.Go(func() {
			defer t.survive()
			for w == 0 || !t.slow.Load() {
				i := int(taken.Add(1)) - 1
				if i >= len(due) {
					return
				}
				if a := due[i : i+1]; !t.slot(ctx, t.d.knobs.webhookEvery, perChannel) {
					t.putBack(a)
				} else {
					t.sendOne(ctx, a)
				}
			}
		})
		if t.troubled {
			break // one request at a time
		}
	}
	workers.Wait()
}

// sendOne sends an announcement to a webhook, and gives its place back.
func (t *turn) sendOne(ctx context.Context, a []engine.DueAnnouncement) {
	defer func() { <-t.d.requests }()
	t.judged(a, t.timed(func() outcome { return t.attempt(ctx, a) }))
}

// timed notes whether an answer takes long.
func (t *turn) timed(send func() outcome) outcome {
	begun := time.Now()
	o := send()
	if time.Since(begun) > slowAfter {
		t.slow.Store(true)
	}
	return o
}

// sendChat sends messages of several announcements, one after the other. What
// failed before goes alone.
func (t *turn) sendChat(ctx context.Context, due []engine.DueAnnouncement) {
	var alone, together []engine.DueAnnouncement
	for _, a := range due {
		if t.d.suspect(a.ID) {
			alone = append(alone, a)
		} else {
			together = append(together, a)
		}
	}
	for len(together)+len(alone) > 0 {
		if !t.slot(ctx, t.d.knobs.chatEvery, 1) {
			t.putBack(append(together, alone...))
			return
		}
		if len(together) > 0 {
			together = together[t.sendSome(ctx, together):]
		} else {
			alone = alone[t.sendSome(ctx, alone[:1]):]
		}
	}
}

// sendSome sends a message, says how many of due it told, and gives its place back.
func (t *turn) sendSome(ctx context.Context, due []engine.DueAnnouncement) (told int) {
	defer func() { <-t.d.requests }()
	o := t.timed(func() (o outcome) {
		told, o = t.attemptChat(ctx, due)
		return o
	})
	t.judged(due[:told], o)
	return told
}

// slot waits until the channel may be sent to and there is a place for a
// request, which it takes. It is false if that would be too late for the lease,
// the channel failed, or ctx ended: then nothing is to be sent.
func (t *turn) slot(ctx context.Context, every time.Duration, burst int) bool {
	if t.stopped() || ctx.Err() != nil {
		return false
	}
	t.d.mu.Lock()
	at := t.ch.next
	if earliest := time.Now().Add(-time.Duration(burst-1) * every); at.Before(earliest) {
		at = earliest
	}
	t.ch.next = at.Add(every)
	t.d.mu.Unlock()
	if !pause(ctx, time.Until(at)) || t.stopped() {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case t.d.requests <- struct{}{}:
	}
	if ctx.Err() != nil || t.stopped() {
		<-t.d.requests
		return false
	}
	return true
}

func (t *turn) stopped() bool { return t.down.Load() || time.Since(t.begun) > beginTime }

// attempt sends one announcement to a webhook.
func (t *turn) attempt(ctx context.Context, a []engine.DueAnnouncement) outcome {
	body, _, o := t.render(a, func() ([]byte, int, error) {
		body, err := t.d.knobs.webhook(t.d.o.PublicURL, a[0])
		return body, 1, err
	})
	if body == nil {
		return o
	}
	now := t.d.now()
	header, err := webhookHeader(a[0].ID, t.work.Secrets.Keys, now, body)
	if err != nil {
		return outcome{verdict: channelFailed, text: err.Error()}
	}
	return t.d.client.send(ctx, t.url, header, body, now)
}

// attemptChat sends a message, and says how many of due it told.
func (t *turn) attemptChat(ctx context.Context, due []engine.DueAnnouncement) (told int, o outcome) {
	body, told, o := t.render(due, func() ([]byte, int, error) {
		switch t.work.Channel.Format {
		case engine.FormatSlack:
			return SlackBody(t.d.o.PublicURL, due)
		case engine.FormatTeams:
			return TeamsBody(t.d.o.PublicURL, due)
		}
		return nil, 0, fmt.Errorf("unknown format %q", t.work.Channel.Format)
	})
	if body == nil {
		return len(due), o
	}
	header := map[string][]string{"Content-Type": {"application/json"}}
	return told, t.d.client.send(ctx, t.url, header, body, t.d.now())
}

// render makes a body. What cannot be rendered, even if that panics, is the
// announcement's fault and nobody else's.
func (t *turn) render(due []engine.DueAnnouncement, make func() ([]byte, int, error)) (body []byte, n int, o outcome) {
	const text = "the gate could not write this announcement as a message; its log has more"
	defer func() {
		if p := recover(); p != nil {
			t.d.log.Error("writing an announcement panicked", "announcement", due[0].ID, "kind", due[0].Kind, "of", len(due),
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			body, n, o = nil, len(due), outcome{verdict: messageRefused, text: text}
		}
	}()
	body, n, err := make()
	if err != nil {
		t.d.log.Error("an announcement cannot be written", "announcement", due[0].ID, "kind", due[0].Kind, "error", err)
		return nil, len(due), outcome{verdict: messageRefused, text: text}
	}
	return body, n, outcome{}
}
