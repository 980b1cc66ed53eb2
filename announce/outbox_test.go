package announce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// memory is an Outbox in memory. The real one is tested with the databases.
type memory struct {
	mu       sync.Mutex
	channels map[engine.ChannelKey]Work
	list     []*engine.DueAnnouncement
	settle   func([]engine.AnnouncementResult) error // nil: it is written down
	claim    func()
	claims   int
	history  []engine.AnnouncementResult
	purges   []int
	news     chan struct{}
}

func newMemory() *memory {
	return &memory{channels: map[engine.ChannelKey]Work{}, news: make(chan struct{}, 1)}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// key is the signing key of every test's webhook.
var key = []byte("0123456789abcdef0123456789abcdef")

func (m *memory) channel(name string, format engine.ChannelFormat, url string) engine.ChannelKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := engine.ChannelKey{TenantID: "acme", Name: name}
	m.channels[k] = Work{
		Channel: engine.Channel{ChannelKey: k, Format: format},
		Secrets: engine.ChannelSecrets{URL: url, Keys: []engine.SigningKey{{Key: key}}},
	}
	return k
}

// add makes n announcements for a channel, of the kind that its name has.
func (m *memory) add(k engine.ChannelKey, n int, at time.Time) (ids []string) {
	m.mu.Lock()
	for range n {
		i := len(m.list)
		a := autoOf(i)
		a.Channel, a.CreatedAt, a.NextAttemptAt = k.Name, at, at.Add(time.Duration(i)*time.Microsecond)
		m.list, ids = append(m.list, &a), append(ids, a.ID)
	}
	m.mu.Unlock()
	select {
	case m.news <- struct{}{}:
	default:
	}
	return ids
}

func (m *memory) get(id string) engine.Announcement {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.list {
		if a.ID == id {
			return *a.Announcement
		}
	}
	return engine.Announcement{}
}

func (m *memory) count(s engine.AnnouncementStatus) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.list {
		if a.Status == s {
			n++
		}
	}
	return n
}

func (m *memory) Expand(context.Context) (bool, error) { return false, nil }

func (m *memory) DueChannels(_ context.Context, now time.Time) (keys []engine.ChannelKey, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.list {
		k := engine.ChannelKey{TenantID: a.TenantID, Name: a.Channel}
		if a.Status == engine.AnnouncementPending && !a.NextAttemptAt.After(now) && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func (m *memory) Claim(_ context.Context, k engine.ChannelKey, n int, now, lease time.Time) (Work, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claim != nil {
		m.claim()
	}
	m.claims++
	w := m.channels[k]
	var due []*engine.DueAnnouncement
	for _, a := range m.list {
		if a.TenantID == k.TenantID && a.Channel == k.Name && a.Status == engine.AnnouncementPending && !a.NextAttemptAt.After(now) {
			due = append(due, a)
		}
	}
	slices.SortStableFunc(due, func(a, b *engine.DueAnnouncement) int { return a.NextAttemptAt.Compare(b.NextAttemptAt) })
	for _, a := range due[:min(n, len(due))] {
		a.Attempts++
		a.NextAttemptAt = lease
		c := *a.Announcement
		w.Due = append(w.Due, engine.DueAnnouncement{Announcement: &c, Entry: a.Entry, Approval: a.Approval})
	}
	return w, nil
}

func (m *memory) Settle(_ context.Context, results []engine.AnnouncementResult) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.settle != nil {
		if err := m.settle(results); err != nil {
			return err
		}
	}
	for _, r := range results {
		m.history = append(m.history, r)
		for _, a := range m.list {
			if a.ID != r.ID || a.Status != engine.AnnouncementPending {
				continue
			}
			a.Status, a.LastError = r.Status, r.Error
			if r.Status == engine.AnnouncementPending {
				a.NextAttemptAt = r.Next
			} else {
				a.ClosedAt = r.At
			}
		}
	}
	return nil
}

func (m *memory) Purge(context.Context, time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.purges) == 0 {
		return 0, nil
	}
	n := m.purges[0]
	m.purges = m.purges[1:]
	return n, nil
}

func (m *memory) Backlog(context.Context) (pending, dead int, oldest time.Time, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.list {
		switch a.Status {
		case engine.AnnouncementPending:
			pending++
			if oldest.IsZero() || a.CreatedAt.Before(oldest) {
				oldest = a.CreatedAt
			}
		case engine.AnnouncementDead:
			dead++
		}
	}
	return pending, dead, oldest, nil
}

func (m *memory) OutboxNews() <-chan struct{} { return m.news }

var day = time.Date(2026, 11, 25, 13, 30, 22, 940e6, time.UTC)

// id is a UUID with a number in it.
func id(kind, i int) string { return fmt.Sprintf("01a212e6-%04x-7000-8000-%012x", kind, i) }

// autoOf is the i-th announcement of a whitelisted action.
func autoOf(i int) engine.DueAnnouncement {
	confidence := 0.97
	return engine.DueAnnouncement{
		Announcement: &engine.Announcement{
			TenantID: "acme", ID: id(1, i), Kind: engine.AnnounceAuto, Channel: "siem", DecisionID: id(2, i),
			Status: engine.AnnouncementPending, CreatedAt: day,
		},
		Entry: &engine.Entry{
			DecisionID: id(2, i),
			Request: engine.Request{
				TenantID: "acme", ActionID: id(3, i), ActionType: "isolate_host", Target: "host:lab-3", Actor: "user:anna",
				Confidence: &confidence, IncidentID: "INC-7", Principal: "soar", Parameters: []byte(`{"password":"hunter2"}`),
			},
			Verdict: engine.Verdict{
				Decision: engine.Auto, Rule: engine.RuleWhitelistMatch, Rationale: "A whitelist entry lets isolate_host run on host:lab-3.",
				BlastRadius: engine.High, MaturityTier: 4, TierLabel: "L4-Automate", OverridesApplied: []string{"whitelist:w-1"},
			},
			Policy: engine.PolicyID{Revision: "1.1.0", BundleHash: "sha256:ab"}, Rollback: "Connect it again with release_host.",
			ParametersDigest: "sha256:cd", ConfigEpoch: 4, LogSeq: 9, DecidedAt: day,
		},
	}
}

// approvalOf is the i-th announcement of an approval.
func approvalOf(i int) engine.DueAnnouncement {
	d := autoOf(i)
	d.Kind, d.ApprovalID = engine.AnnounceApproval, id(4, i)
	d.Entry.Decision, d.Entry.Rule, d.Entry.OverridesApplied = engine.QueuedApproval, engine.RuleNoWhitelistMatch, nil
	d.Entry.Rationale = "No whitelist entry names host:lab-3, so it waits for approval."
	d.Approval = &engine.Approval{
		TenantID: "acme", ID: id(4, i), Status: engine.ApprovalPending, ActionType: d.Entry.ActionType, Target: d.Entry.Target,
		BlastRadius: engine.High, DecisionID: d.DecisionID, Requester: "soar", Needed: 2, OpenedAt: day, ExpiresAt: day.Add(4 * time.Hour),
	}
	return d
}

// serve is a receiver on loopback.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL + "/hooks/T0SECRETPATH/b7f3?token=querysecret"
}

// start runs a dispatcher that is in a hurry, until the test ends or stop is called.
func start(t testing.TB, o Options, turn func(*Dispatcher)) (d *Dispatcher, stop func()) {
	t.Helper()
	if o.Allow == nil {
		o.Allow = loopback
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	d.knobs.poll, d.knobs.gather = 5*time.Millisecond, time.Millisecond
	d.knobs.webhookEvery, d.knobs.chatEvery = 0, time.Millisecond
	d.knobs.restMin, d.knobs.restMax = 5*time.Millisecond, 20*time.Millisecond
	d.knobs.againMin, d.knobs.againMax = 5*time.Millisecond, 20*time.Millisecond
	if turn != nil {
		turn(d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return d, stop
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never: " + what)
}

var errDatabase = errors.New("the database is away")

// quiet is a log that nobody reads.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
