package announce

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiergate/tiergate/engine"
)

// buffer is a log that many write to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A panic while one is written down is that one's fault; nothing else stops.
func TestPanics(t *testing.T) {
	m, box, out := newMemory(), &inbox{}, &buffer{}
	k := m.channel("siem", engine.FormatWebhook, serve(t, box.ServeHTTP))
	ids := m.add(k, 20, time.Now())
	chat := m.channel("soc", engine.FormatSlack, serve(t, (&inbox{}).ServeHTTP))
	broken := m.add(chat, 5, time.Now())
	m.list[22].Approval, m.list[22].Kind = &engine.Approval{}, engine.AnnounceApproval
	m.list[22].Entry.BlastRadius = 200 // of no table; it must not matter
	var claims atomic.Int64
	m.claim = func() {
		if n := claims.Add(1); n == 2 || n == 5 {
			panic("the outbox panics")
		}
	}
	start(t, Options{Outbox: m, Logger: slog.New(slog.NewTextHandler(out, nil))}, func(d *Dispatcher) {
		d.knobs.webhook = func(public string, a engine.DueAnnouncement) ([]byte, error) {
			switch a.ID {
			case ids[3]:
				var entry *engine.Entry
				return []byte(entry.Target), nil
			case ids[4]:
				return nil, errIncomplete
			}
			return WebhookBody(public, a)
		}
	})
	eventually(t, "all others are delivered", func() bool { return m.count(engine.AnnouncementDelivered) == 23 })
	eventually(t, "what cannot be written is given up", func() bool { return m.count(engine.AnnouncementDead) == 2 })
	if a := m.get(ids[3]); !strings.Contains(a.LastError, "could not write") || strings.Contains(a.LastError, "nil pointer") {
		t.Error(a.LastError)
	}
	if m.get(broken[2]).Status != engine.AnnouncementDelivered {
		t.Errorf("%+v", m.get(broken[2]))
	}
	if !strings.Contains(out.String(), "panicked") || !strings.Contains(out.String(), "trouble_test.go") {
		t.Error("the log does not tell where it panicked")
	}
}

// What is about a decision that cannot be read is not sent half.
func TestUnreadable(t *testing.T) {
	m, box := newMemory(), &inbox{}
	k := m.channel("siem", engine.FormatWebhook, serve(t, box.ServeHTTP))
	ids := m.add(k, 2, time.Now())
	m.list[0].Entry = nil
	start(t, Options{Outbox: m}, nil)
	eventually(t, "it is given up", func() bool { return m.get(ids[0]).Status == engine.AnnouncementDead })
	if box.requests() != 1 || !strings.Contains(m.get(ids[0]).LastError, "cannot be read") {
		t.Errorf("%d requests, %+v", box.requests(), m.get(ids[0]))
	}
}

// A gate that stops cuts off what hangs, leaves it to its lease, and gives back
// at once what it had not begun.
func TestStop(t *testing.T) {
	m, c := newMemory(), newClock(0)
	var n atomic.Int64
	k := m.channel("siem", engine.FormatWebhook, serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		n.Add(1)
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	}))
	ids := m.add(k, 20, day)
	_, stop := start(t, Options{Outbox: m, Now: c.now}, nil)
	eventually(t, "eight are under way", func() bool { return n.Load() == perChannel })
	begun := time.Now()
	stop()
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	leased, given := 0, 0
	for _, id := range ids {
		switch a := m.get(id); {
		case a.Status != engine.AnnouncementPending || a.LastError != "":
			t.Errorf("%+v", a)
		case a.NextAttemptAt.Equal(c.now().Add(lease)):
			leased++
		case a.NextAttemptAt.Equal(c.now()):
			given++
		}
	}
	if leased != perChannel || given != 12 || n.Load() != perChannel {
		t.Errorf("%d wait for their lease, %d were given back, %d sent", leased, given, n.Load())
	}
}

// Nothing begins that could end after its lease.
func TestLease(t *testing.T) {
	if sendTimeout+bodyTimeout >= lease-beginTime {
		t.Error("the lease can end before an attempt does")
	}
	d, err := New(Options{Outbox: newMemory()})
	if err != nil {
		t.Fatal(err)
	}
	late := &turn{d: d, ch: &channel{}, begun: time.Now().Add(-beginTime - time.Second)}
	if late.slot(t.Context(), 0, 1) {
		t.Error("it begins late")
	}
	if fresh := (&turn{d: d, ch: &channel{}, begun: time.Now()}); !fresh.slot(t.Context(), 0, 1) {
		t.Error("it does not begin")
	}
}

// No URL or key of a channel, and nothing of an announcement, is in the log or
// in what is kept of a failure, whatever goes wrong.
func TestNoSecrets(t *testing.T) {
	m, out := newMemory(), &buffer{}
	var channels []engine.ChannelKey
	add := func(name string, h http.HandlerFunc) {
		channels = append(channels, m.channel(name, engine.FormatWebhook, serve(t, h)))
	}
	add("echoes", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(404)
		fmt.Fprintf(w, "Cannot POST %s %s %s", r.RequestURI, r.URL.Path, r.URL.RawQuery)
	})
	add("refuses", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		fmt.Fprint(w, "unknown token "+r.URL.Query().Get("token"))
	})
	add("redirects", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1"+r.RequestURI, http.StatusPermanentRedirect)
	})
	add("closes", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
	})
	for name, url := range map[string]string{
		"nowhere": "http://127.0.0.1:1/hooks/T0SECRETPATH/b7f3?token=querysecret", "refused": "https://10.0.0.1/hooks/T0SECRETPATH/b7f3",
		"tls": strings.Replace(serve(t, (&inbox{}).ServeHTTP), "http:", "https:", 1), "broken": "https://[T0SECRETPATH", "empty": "",
		"unknown name": "http://b7f3.invalid/T0SECRETPATH",
	} {
		channels = append(channels, m.channel(name, engine.FormatWebhook, url))
	}
	channels = append(channels, m.channel("odd", "carrier-pigeon", "http://127.0.0.1:1/T0SECRETPATH"))
	noKey := m.channel("no key", engine.FormatWebhook, serve(t, (&inbox{}).ServeHTTP))
	w := m.channels[noKey]
	w.Secrets.Keys = nil
	m.channels[noKey] = w
	channels = append(channels, noKey)
	for _, k := range channels {
		m.add(k, 3, time.Now())
	}
	d, stop := start(t, Options{Outbox: m, Logger: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))}, nil)
	eventually(t, "the refused are given up", func() bool { return m.count(engine.AnnouncementDead) >= 3 })
	eventually(t, "the others rest", func() bool { return d.resting() >= 9 })
	stop()
	d.log.Info("as it is", "work", w, "secrets", w.Secrets, "key", engine.SigningKey{Key: key})

	said := out.String()
	for _, a := range m.list {
		said += "\n" + a.Channel + ": " + a.LastError
	}
	for _, secret := range []string{"T0SECRETPATH", "querysecret", "/hooks", "b7f3?", string(key), "host:lab-3", "hunter2"} {
		if strings.Contains(said, secret) {
			t.Errorf("%q is told:\n%s", secret, said)
		}
	}
	for _, hint := range []string{"set the channel anew", "redirects are not followed", "the connection was refused", "signing key", "operator"} {
		if !strings.Contains(said, hint) {
			t.Errorf("nobody is told %q:\n%s", hint, said)
		}
	}
}

// gathered is the value of each metric, by its name and labels.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			name := f.GetName()
			for _, l := range s.GetLabel() {
				if !slices.Contains([]string{"format", "result"}, l.GetName()) {
					t.Errorf("label %s", l.GetName())
				}
				name += "/" + l.GetValue()
			}
			got[name] = s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return got
}

// What is counted has no label that a tenant can fill.
func TestMetrics(t *testing.T) {
	m, reg := newMemory(), prometheus.NewRegistry()
	good := m.channel("good", engine.FormatWebhook, serve(t, (&inbox{}).ServeHTTP))
	bad := m.channel("bad", engine.FormatTeams, serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	m.add(good, 3, time.Now().Add(-2*time.Second))
	m.add(bad, 2, time.Now().Add(-time.Minute))
	m.purges = []int{100, 100, 7}
	start(t, Options{Outbox: m, Registerer: reg}, func(d *Dispatcher) {
		d.knobs.backlogEvery, d.knobs.purgeAfter = 10*time.Millisecond, time.Millisecond
	})
	eventually(t, "all is counted", func() bool {
		v := gathered(t, reg)
		return v["tiergate_announcements_total/webhook/delivered"] == 3 && v["tiergate_announcements_total/teams/failed"] >= 2 &&
			v["tiergate_announcement_seconds"] == 3 && v["tiergate_announcements_pending"] == 2 && v["tiergate_announcements_dead"] == 0 &&
			v["tiergate_announcements_oldest_seconds"] >= 60 && v["tiergate_announcement_channels_resting"] == 1
	})
	eventually(t, "all is purged", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return len(m.purges) == 0 })
	if _, err := New(Options{Outbox: m, Registerer: reg}); err == nil {
		t.Error("a second one counts into the same")
	}
}

func TestNew(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("without an outbox")
	}
	for url, want := range map[string]bool{
		"": true, "https://gate.example": true, "http://127.0.0.1:8080/": true, "https://[::1]:8080/soc": true,
		"gate.example": false, "https://": false, "https://u@gate.example": false, "https://gate.example/#x": false, "https://gate.example/?x": false,
		"javascript:alert(1)": false, "https://gate.example/|x>": false, "https://gate.example/\n": false,
	} {
		if _, err := New(Options{Outbox: newMemory(), PublicURL: url}); (err == nil) != want {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	d, _ := New(Options{Outbox: newMemory()})
	for attempt, want := range map[int]time.Duration{0: 5 * time.Second, 1: 5 * time.Second, 2: 10 * time.Second, 6: 160 * time.Second, 7: 5 * time.Minute, 1000: 5 * time.Minute} {
		for range 100 {
			if got := d.backoff(attempt); got < want/2 || got > want {
				t.Errorf("%d: %s", attempt, got)
			}
		}
	}
}
