package announce

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/tiergate/tiergate/engine"
)

// testClock is a time that a test moves, or that runs faster than others.
type testClock struct {
	mu    sync.Mutex
	at    time.Time
	since time.Time
	speed time.Duration
}

func newClock(speed int) *testClock {
	return &testClock{at: day.Add(time.Second), since: time.Now(), speed: time.Duration(speed)}
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.Add(time.Since(c.since) * c.speed)
}

func (c *testClock) forward(d time.Duration) {
	c.mu.Lock()
	c.at = c.at.Add(d)
	c.mu.Unlock()
}

// inbox is a receiver that remembers, and answers as told.
type inbox struct {
	mu     sync.Mutex
	bodies map[string][]string // by webhook-id
	total  int
	answer func(id string, n int) int // the status for the n-th request with id
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bodies == nil {
		b.bodies = map[string][]string{}
	}
	id := r.Header.Get("webhook-id")
	b.bodies[id] = append(b.bodies[id], string(body))
	b.total++
	if b.answer != nil {
		w.WriteHeader(b.answer(id, len(b.bodies[id])))
	}
}

func (b *inbox) got(id string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bodies[id]
}

func (b *inbox) requests() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// What is due arrives, signed, and is settled; a retry has the same id and bytes.
func TestDelivers(t *testing.T) {
	m, box := newMemory(), &inbox{answer: func(_ string, n int) int { return map[bool]int{true: 503, false: 204}[n == 1] }}
	var faults atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, k := range [][]byte{key, []byte("another key of the same channel.")} {
			if wh, _ := standardwebhooks.NewWebhookRaw(k); wh.Verify(body, r.Header) != nil {
				faults.Add(1)
			}
		}
		if r.Method != "POST" || r.Header.Get("Content-Type") != "application/cloudevents+json" || r.Header.Get("User-Agent") != "tiergate" ||
			r.URL.RequestURI() != "/hooks/T0SECRETPATH/b7f3?token=querysecret" {
			faults.Add(1)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		box.ServeHTTP(w, r)
	})
	k := m.channel("siem", engine.FormatWebhook, url)
	w := m.channels[k]
	w.Secrets.Keys = append(w.Secrets.Keys, engine.SigningKey{Key: []byte("another key of the same channel."), Until: time.Now().Add(time.Hour)})
	m.channels[k] = w
	ids := m.add(k, 30, time.Now())
	start(t, Options{Outbox: m}, nil)
	eventually(t, "all are delivered", func() bool { return m.count(engine.AnnouncementDelivered) == 30 })
	if faults.Load() != 0 {
		t.Errorf("%d requests are not as promised", faults.Load())
	}
	for _, id := range ids {
		got := box.got(id)
		if len(got) != 2 || got[0] != got[1] {
			t.Errorf("%s: %q", id, got)
		}
		if a := m.get(id); a.LastError != "" || a.ClosedAt.IsZero() {
			t.Errorf("%+v", a)
		}
	}
}

// The receiver is broken for an hour. Nothing is lost, it is asked seldom, and
// minutes after it is well all have arrived.
func TestHourOfOutage(t *testing.T) {
	const speed = 500
	c := newClock(speed)
	box := &inbox{}
	var asked int
	box.answer = func(string, int) int {
		if c.now().Before(day.Add(time.Hour)) {
			asked++
			return 500
		}
		return 200
	}
	m := newMemory()
	k := m.channel("siem", engine.FormatWebhook, serve(t, box.ServeHTTP))
	m.add(k, 200, day)
	start(t, Options{Outbox: m, Now: c.now}, func(d *Dispatcher) {
		d.knobs.poll = pollEvery / speed
		d.knobs.restMin, d.knobs.restMax, d.knobs.againMin, d.knobs.againMax = restMin, restMax, againMin, againMax
	})
	eventually(t, "half an hour", func() bool { return c.now().After(day.Add(30 * time.Minute)) })
	m.add(k, 100, c.now())
	eventually(t, "all are delivered", func() bool { return m.count(engine.AnnouncementDelivered) == 300 })
	if took := c.now().Sub(day.Add(time.Hour)); took > 15*time.Minute {
		t.Errorf("catching up took %s", took)
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	if asked < 20 || asked > 1000 {
		t.Errorf("asked %d times in an hour", asked)
	}
	for id, got := range box.bodies {
		for _, b := range got {
			if b != got[0] {
				t.Errorf("%s: other bytes on another attempt", id)
			}
		}
	}
}

// One that makes the receiver fail, and one that it refuses, hold up nobody; the
// refused one is given up after eight times.
func TestPoison(t *testing.T) {
	for _, format := range engine.ChannelFormats {
		t.Run(string(format), func(t *testing.T) {
			m := newMemory()
			box := &inbox{}
			k := m.channel("siem", format, serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				switch s := string(body); {
				case strings.Contains(s, "poison-500"):
					w.WriteHeader(500)
				case strings.Contains(s, "poison-400"):
					w.WriteHeader(400)
				}
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				box.ServeHTTP(w, r)
			}))
			ids := m.add(k, 100, time.Now())
			m.list[0].Entry.Target, m.list[30].Entry.Target = "poison-500", "poison-400"
			start(t, Options{Outbox: m}, nil)
			eventually(t, "all others are delivered", func() bool { return m.count(engine.AnnouncementDelivered) == 98 })
			eventually(t, "the refused one is given up", func() bool { return m.get(ids[30]).Status == engine.AnnouncementDead })
			if a := m.get(ids[0]); a.Status != engine.AnnouncementPending || !strings.Contains(a.LastError, "500") {
				t.Errorf("%+v", a)
			}
			if a := m.get(ids[30]); !strings.Contains(a.LastError, "Given up after refusal 8") {
				t.Error(a.LastError)
			}
			if n := len(box.got(ids[30])); format == engine.FormatWebhook && n != 8 {
				t.Errorf("tried %d times", n)
			}
		})
	}
}

// What was sent and not written down is sent again, as it was, once its lease is
// over; no sooner.
func TestCrashBetweenSendAndSettle(t *testing.T) {
	m, box, c := newMemory(), &inbox{}, newClock(0)
	k := m.channel("siem", engine.FormatWebhook, serve(t, box.ServeHTTP))
	ids := m.add(k, 5, day)
	m.settle = func([]engine.AnnouncementResult) error { return errDatabase }
	_, stop := start(t, Options{Outbox: m, Now: c.now}, nil)
	eventually(t, "all are sent", func() bool { return box.requests() == 5 })
	stop()
	m.mu.Lock()
	m.settle = nil
	m.mu.Unlock()

	start(t, Options{Outbox: m, Now: c.now}, nil)
	time.Sleep(100 * time.Millisecond)
	if box.requests() != 5 {
		t.Error("sent again within the lease")
	}
	c.forward(lease)
	eventually(t, "all are delivered", func() bool { return m.count(engine.AnnouncementDelivered) == 5 })
	for _, id := range ids {
		if got := box.got(id); len(got) != 2 || got[0] != got[1] {
			t.Errorf("%q", got)
		}
	}
}

// A database that is away for a while makes nothing be sent twice.
func TestSettleLater(t *testing.T) {
	m, box := newMemory(), &inbox{}
	k := m.channel("siem", engine.FormatWebhook, serve(t, box.ServeHTTP))
	m.add(k, 50, time.Now())
	var failures atomic.Int64
	m.settle = func([]engine.AnnouncementResult) error {
		switch failures.Add(1) {
		case 1:
			return errDatabase
		case 2:
			panic("the database panics")
		}
		return nil
	}
	start(t, Options{Outbox: m}, nil)
	eventually(t, "all are delivered", func() bool { return m.count(engine.AnnouncementDelivered) == 50 })
	if n := box.requests(); n != 50 {
		t.Errorf("%d requests", n)
	}
}

// Two gates on one outbox send everything once.
func TestTwoDispatchers(t *testing.T) {
	m, box := newMemory(), &inbox{}
	for i := range 5 {
		k := m.channel(fmt.Sprint("siem", i), engine.FormatWebhook, serve(t, box.ServeHTTP))
		m.add(k, 100, time.Now())
	}
	start(t, Options{Outbox: m}, nil)
	start(t, Options{Outbox: m}, nil)
	eventually(t, "all are delivered", func() bool { return m.count(engine.AnnouncementDelivered) == 500 })
	if n := box.requests(); n != 500 {
		t.Errorf("%d requests", n)
	}
}

// Several that are due at once for people are a few messages, not many; and a
// message comes no more often than the receiver takes them.
func TestChatIsPaced(t *testing.T) {
	m := newMemory()
	var mu sync.Mutex
	var times []time.Time
	k := m.channel("soc", engine.FormatSlack, serve(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, time.Now())
	}))
	m.add(k, 60, time.Now())
	start(t, Options{Outbox: m}, func(d *Dispatcher) { d.knobs.chatEvery = 100 * time.Millisecond })
	eventually(t, "all are delivered", func() bool { return m.count(engine.AnnouncementDelivered) == 60 })
	mu.Lock()
	defer mu.Unlock()
	if len(times) < 3 || len(times) > 9 {
		t.Errorf("%d messages", len(times))
	}
	if span := times[len(times)-1].Sub(times[0]); span < time.Duration(len(times)-1)*90*time.Millisecond {
		t.Errorf("%d messages in %s", len(times), span)
	}
}

// A receiver that asks for patience gets it, from this gate and through the
// outbox from others.
func TestRetryAfterIsHonoured(t *testing.T) {
	m, c := newMemory(), newClock(0)
	var n atomic.Int64
	k := m.channel("soc", engine.FormatSlack, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(429)
		}
	}))
	ids := m.add(k, 1, day)
	d, _ := start(t, Options{Outbox: m, Now: c.now}, nil)
	eventually(t, "it rests", func() bool { return d.resting() == 1 && m.get(ids[0]).LastError != "" })
	if next := m.get(ids[0]).NextAttemptAt; next.Before(day.Add(600 * time.Second)) {
		t.Error(next)
	}
	later := m.add(k, 1, day)
	c.forward(599 * time.Second)
	time.Sleep(50 * time.Millisecond)
	if n.Load() != 1 {
		t.Error("it was asked before its time")
	}
	d.Wake(k) // somebody has set the channel anew
	eventually(t, "the new one is delivered", func() bool { return m.get(later[0]).Status == engine.AnnouncementDelivered })
	c.forward(time.Minute)
	eventually(t, "both are delivered", func() bool { return m.count(engine.AnnouncementDelivered) == 2 && d.resting() == 0 })
}

// Channels that hang leave room for one that works.
func TestHangingChannelsLeaveRoom(t *testing.T) {
	m, box := newMemory(), &inbox{}
	hanging := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	})
	for i := range 50 {
		m.add(m.channel(fmt.Sprint("hangs", i), engine.FormatWebhook, hanging), 20, time.Now())
	}
	good := m.channel("works", engine.FormatWebhook, serve(t, box.ServeHTTP))
	d, _ := start(t, Options{Outbox: m}, func(d *Dispatcher) { d.client.timeout = 200 * time.Millisecond })
	eventually(t, "many are known to hang", func() bool { return d.resting() >= 40 })
	for range 5 {
		ids := m.add(good, 1, time.Now())
		begun := time.Now()
		eventually(t, "it is delivered", func() bool { return m.get(ids[0]).Status == engine.AnnouncementDelivered })
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
	}
}

// Old ones are given up without being sent, but not those replayed since.
func TestTooOld(t *testing.T) {
	m, box, reg := newMemory(), &inbox{}, prometheus.NewRegistry()
	k := m.channel("siem", engine.FormatWebhook, serve(t, box.ServeHTTP))
	ids := m.add(k, 30, time.Now().Add(-maxAge-time.Minute))
	m.list[0].LastError = "503: it was broken"
	m.list[1].ReplayedAt = time.Now().Add(-time.Hour)
	start(t, Options{Outbox: m, Registerer: reg}, nil)
	eventually(t, "all are done with", func() bool { return m.count(engine.AnnouncementPending) == 0 })
	if a := m.get(ids[0]); a.Status != engine.AnnouncementDead || !strings.Contains(a.LastError, "72 hours") || !strings.Contains(a.LastError, "503: it was") {
		t.Errorf("%+v", a)
	}
	if n := box.requests(); n != 1 || m.get(ids[1]).Status != engine.AnnouncementDelivered {
		t.Errorf("%d requests", n)
	}
	if n := gathered(t, reg)["tiergate_announcements_total/webhook/dead"]; n != 29 {
		t.Errorf("%v dead", n)
	}
}
