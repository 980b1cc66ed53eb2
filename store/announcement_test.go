package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/announce"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

var _ announce.Outbox = (*store.Store)(nil)

const secretURL = "https://hooks.example/services/T0/B0/s3cr3t"

// set makes a channel and returns the epoch that it leaves.
func set(t testing.TB, s *store.Store, tenant, name string, format engine.ChannelFormat, approvals bool) int64 {
	t.Helper()
	_, err := s.SetChannel(t.Context(), engine.ChannelKey{TenantID: tenant, Name: name}, engine.ChangeMeta{Actor: "olga", Reason: "test"},
		func(*engine.Channel, *engine.ChannelSecrets, time.Time) (engine.Channel, engine.ChannelSecrets, error) {
			return engine.Channel{Format: format, Approvals: approvals, Origin: "https://hooks.example", URLDigest: "sha256:00", KeyID: "k"},
				engine.ChannelSecrets{URL: secretURL, Keys: []engine.SigningKey{{Key: []byte("a key of the webhook, 24 bytes")}}}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return epochOf(t, s, tenant)
}

func epochOf(t testing.TB, s *store.Store, tenant string) int64 {
	t.Helper()
	c, err := s.Config(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	return c.Epoch
}

func fired(tenant string, epoch int64, notify ...string) *engine.Entry {
	e := storetest.Entry(tenant, epoch)
	e.Decision, e.Rule, e.BlastRadius, e.Notify = engine.Auto, "whitelist_match", engine.High, notify
	return e
}

func write(t testing.TB, s *store.Store, entries ...*engine.Entry) {
	t.Helper()
	for _, r := range s.Append(t.Context(), entries) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

func expandAll(t testing.TB, s *store.Store) {
	t.Helper()
	for {
		more, err := s.Expand(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func announcements(t testing.TB, s *store.Store, tenant string, status engine.AnnouncementStatus) []*engine.Announcement {
	t.Helper()
	list, err := s.Announcements(t.Context(), tenant, engine.AnnouncementQuery{Status: status, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func claim(t testing.TB, s *store.Store, tenant, name string, n int) engine.ChannelWork {
	t.Helper()
	now := time.Now().Add(time.Second)
	w, err := s.Claim(t.Context(), engine.ChannelKey{TenantID: tenant, Name: name}, n, now, now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// What a whitelist entry let go is announced to each channel that it names, once;
// what names none is kept with the reason; opened approvals go where the tenant
// wants them; and a joined one is nothing new.
func TestAnnouncementsOfDecisions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		set(t, s, "acme", "soc", engine.FormatSlack, false)
		set(t, s, "acme", "siem", engine.FormatWebhook, false)
		epoch := set(t, s, "acme", "duty", engine.FormatTeams, true)
		set(t, s, "globex", "soc", engine.FormatSlack, true)
		auto := fired("acme", epoch, "slack:#soc", "channel:soc", "webhook:siem", "teams:siem", "channel:gone", "mailto:a@b")
		quiet := fired("acme", epoch)
		queued := storetest.Entry("acme", epoch)
		queued.Decision, queued.Rule = engine.QueuedApproval, "tier_requires_approval"
		again := *queued
		again.DecisionID, again.ActionID = uuid.NewString(), uuid.NewString()
		write(t, s, auto, quiet, queued)
		write(t, s, &again)
		select {
		case <-s.OutboxNews():
		default:
			t.Error("no news of the outbox")
		}
		expandAll(t, s)

		var got []string
		for _, a := range announcements(t, s, "acme", "") {
			got = append(got, fmt.Sprintf("%s %s %s %s", a.Status, a.Kind, a.Channel, a.Notify))
			switch want := map[engine.AnnouncementKind]string{engine.AnnounceAuto: auto.DecisionID, engine.AnnounceApproval: queued.DecisionID}[a.Kind]; {
			case a.DecisionID != want:
				t.Errorf("%s is about decision %s, want %s", a.Kind, a.DecisionID, want)
			case (a.LastError != "") != (a.Status == engine.AnnouncementDead), (a.ApprovalID != "") != (a.Kind == engine.AnnounceApproval):
				t.Errorf("%+v", a)
			}
		}
		slices.Sort(got)
		want := []string{
			"dead auto_by_whitelist gone channel:gone", "dead auto_by_whitelist mailto:a@b mailto:a@b", "dead auto_by_whitelist siem teams:siem",
			"pending approval_opened duty ", "pending auto_by_whitelist siem webhook:siem", "pending auto_by_whitelist soc slack:#soc",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
		if list := announcements(t, s, "globex", ""); len(list) != 0 {
			t.Errorf("another tenant is told: %+v", list)
		}

		w := claim(t, s, "acme", "duty", 10)
		if len(w.Due) != 1 || w.Due[0].Entry.DecisionID != queued.DecisionID || w.Due[0].Approval.ID != w.Due[0].ApprovalID || w.Secrets.URL != secretURL || w.Due[0].Attempts != 1 {
			t.Errorf("claimed %+v", w.Due)
		}
		if text := fmt.Sprintf("%v %+v %#v %s", w, w, w, w.Secrets); strings.Contains(text, "s3cr3t") || strings.Contains(text, "a key of") {
			t.Errorf("secrets are shown: %s", text)
		}
	})
}

// What is claimed is nobody else's until its lease ends; what failed comes again
// when it is due; what was delivered is settled for good; the dead can be
// replayed.
func TestClaimSettleReplay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		epoch := set(t, s, "acme", "siem", engine.FormatWebhook, false)
		for range 5 {
			write(t, s, fired("acme", epoch, "webhook:siem"))
		}
		expandAll(t, s)
		key := engine.ChannelKey{TenantID: "acme", Name: "siem"}
		now := time.Now().Add(time.Second)
		if due, err := s.DueChannels(t.Context(), now); err != nil || !slices.Equal(due, []engine.ChannelKey{key}) {
			t.Fatal(due, err)
		}
		first, rest := claim(t, s, "acme", "siem", 2), claim(t, s, "acme", "siem", 10)
		if len(first.Due) != 2 || len(rest.Due) != 3 {
			t.Fatalf("claimed %d and %d", len(first.Due), len(rest.Due))
		}
		if due, err := s.DueChannels(t.Context(), now); err != nil || len(due) != 0 {
			t.Error(due, err)
		}
		if due, err := s.DueChannels(t.Context(), now.Add(2*time.Minute)); err != nil || len(due) != 1 {
			t.Error("after the lease:", due, err)
		}
		result := func(d engine.DueAnnouncement, status engine.AnnouncementStatus) engine.AnnouncementResult {
			return engine.AnnouncementResult{TenantID: d.TenantID, ID: d.ID, Status: status, Next: now.Add(time.Hour), Error: "no answer", At: now}
		}
		if err := s.Settle(t.Context(), []engine.AnnouncementResult{
			result(first.Due[0], engine.AnnouncementDelivered), result(first.Due[1], engine.AnnouncementPending),
			result(rest.Due[0], engine.AnnouncementDead), result(rest.Due[1], engine.AnnouncementDead), result(rest.Due[2], engine.AnnouncementDelivered),
		}); err != nil {
			t.Fatal(err)
		}
		pending, dead, oldest, err := s.Backlog(t.Context())
		if err != nil || pending != 1 || dead != 2 || !oldest.Equal(first.Due[1].CreatedAt) {
			t.Error(pending, dead, oldest, err)
		}
		if a, err := s.Announcement(t.Context(), "acme", first.Due[1].ID); err != nil || a.LastError != "no answer" || !a.NextAttemptAt.Equal(now.Add(time.Hour).UTC().Truncate(time.Millisecond)) {
			t.Errorf("%+v %v", a, err)
		}
		if _, err := s.Announcement(t.Context(), "globex", first.Due[1].ID); !errors.Is(err, engine.ErrNotFound) {
			t.Error("another tenant's:", err)
		}

		if n, err := s.ReplayAnnouncements(t.Context(), "globex", "siem", "", "olga"); !errors.Is(err, engine.ErrNotFound) {
			t.Error("replayed for another tenant:", n, err)
		}
		if n, err := s.ReplayAnnouncements(t.Context(), "acme", "siem", first.Due[0].ID, "olga"); err != nil || n != 0 {
			t.Error("replayed what was delivered:", n, err)
		}
		if n, err := s.ReplayAnnouncements(t.Context(), "acme", "siem", rest.Due[0].ID, "olga"); err != nil || n != 1 {
			t.Error(n, err)
		}
		// The other dead one, and the one that failed and would wait for an hour.
		if n, err := s.ReplayAnnouncements(t.Context(), "acme", "siem", "", "olga"); err != nil || n != 2 {
			t.Error(n, err)
		}
		if again := claim(t, s, "acme", "siem", 10); len(again.Due) != 3 || again.Due[0].ReplayedBy != "olga" || again.Due[0].Attempts != 1 {
			t.Errorf("after the replay %+v", again.Due)
		}
		if n, err := s.Purge(t.Context(), now.Add(time.Minute)); err != nil || n != 2 {
			t.Error("purged", n, err)
		}
		if n := len(announcements(t, s, "acme", "")); n != 3 {
			t.Errorf("%d are left", n)
		}
		if err := s.Settle(t.Context(), []engine.AnnouncementResult{result(rest.Due[0], engine.AnnouncementDead)}); err != nil {
			t.Fatal(err)
		}
		for want, id := range map[bool]string{true: rest.Due[0].ID, false: rest.Due[1].ID} {
			if gone, err := s.DiscardAnnouncement(t.Context(), "acme", id); err != nil || gone != want {
				t.Errorf("discarded: %v, want %v: %v", gone, want, err)
			}
		}
	})
}

// Removing a channel loses nothing of what was on its way, and setting one shows
// what was before to nobody but the change.
func TestChannels(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		key := engine.ChannelKey{TenantID: "acme", Name: "siem"}
		epoch := set(t, s, "acme", "siem", engine.FormatWebhook, true)
		write(t, s, fired("acme", epoch, "webhook:siem"))
		expandAll(t, s)
		refuse := errors.New("not like this")
		if _, err := s.SetChannel(t.Context(), key, engine.ChangeMeta{Actor: "olga"}, func(_ *engine.Channel, old *engine.ChannelSecrets, _ time.Time) (c engine.Channel, _ engine.ChannelSecrets, _ error) {
			if old == nil || old.URL != secretURL || string(old.Keys[0].Key) != "a key of the webhook, 24 bytes" {
				t.Errorf("the old secrets are %v", old)
			}
			return c, engine.ChannelSecrets{}, refuse
		}); !errors.Is(err, refuse) {
			t.Error(err)
		}
		if got := epochOf(t, s, "acme"); got != epoch {
			t.Errorf("a refused change raised the epoch to %d", got)
		}
		if err := s.RemoveChannel(t.Context(), key, engine.ChangeMeta{Actor: "olga", Reason: "gone"}); err != nil {
			t.Fatal(err)
		}
		if err := s.RemoveChannel(t.Context(), key, engine.ChangeMeta{Actor: "olga", Reason: "gone"}); !errors.Is(err, engine.ErrNotFound) {
			t.Error("removed twice:", err)
		}
		if list := announcements(t, s, "acme", engine.AnnouncementDead); len(list) != 1 || !strings.Contains(list[0].LastError, "removed") {
			t.Errorf("%+v", list)
		}
		if w := claim(t, s, "acme", "siem", 5); len(w.Due) != 0 {
			t.Error("claimed of a removed channel")
		}
		history, err := s.History(t.Context(), "acme", engine.HistoryQuery{Limit: 10})
		if err != nil || len(history) != 2 || history[0].Kind != engine.KindChannelSet || history[1].Kind != engine.KindChannelRemove || string(history[1].After) != "null" {
			t.Fatalf("%+v %v", history, err)
		}
		for _, h := range history {
			if text := string(h.Before) + string(h.After); strings.Contains(text, "s3cr3t") || !strings.Contains(text, `"url_digest"`) {
				t.Errorf("the history has %s", text)
			}
		}
		set(t, s, "acme", "siem", engine.FormatWebhook, true)
		if n, err := s.ReplayAnnouncements(t.Context(), "acme", "siem", "", "olga"); err != nil || n != 1 {
			t.Error("replayed after the channel was set again:", n, err)
		}
		if _, err := s.TestChannel(t.Context(), engine.ChannelKey{TenantID: "acme", Name: "nowhere"}); !errors.Is(err, engine.ErrNotFound) {
			t.Error(err)
		}
		if a, err := s.TestChannel(t.Context(), key); err != nil || a.Kind != engine.AnnounceTest {
			t.Error(a, err)
		}
		if w := claim(t, s, "acme", "siem", 5); len(w.Due) != 2 {
			t.Errorf("claimed %+v", w.Due)
		}
		// The view follows past these changes without loading anew.
		if got := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", epochOf(t, s, "acme"))})[0]; got.Err != nil {
			t.Error(got.Err)
		}
	})
}

// Several gates on one database make each announcement once, and claim it once.
func TestGatesShareTheOutbox(t *testing.T) {
	url := storetest.Postgres(t)
	gates := []*store.Store{storetest.Open(t, url), storetest.Open(t, url), storetest.Open(t, url)}
	epoch := set(t, gates[0], "acme", "siem", engine.FormatWebhook, false)
	const n = 600
	for part := range slices.Chunk(make([]struct{}, n), 50) {
		var entries []*engine.Entry
		for range part {
			entries = append(entries, fired("acme", epoch, "webhook:siem"))
		}
		write(t, gates[0], entries...)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[string]int{}
	for _, g := range gates {
		wg.Go(func() {
			for more := true; more; {
				var err error
				if more, err = g.Expand(t.Context()); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	for _, g := range gates {
		expandAll(t, g) // what was locked by another when it was looked at
		wg.Go(func() {
			for {
				w := claim(t, g, "acme", "siem", 16)
				if len(w.Due) == 0 {
					return
				}
				mu.Lock()
				for _, d := range w.Due {
					seen[d.DecisionID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != n {
		t.Errorf("%d decisions were announced, want %d", len(seen), n)
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("decision %s was claimed %d times", id, times)
		}
	}
}

// A decision and what it leaves in the outbox are written together or not at all.
func TestNoDecisionWithoutItsAnnouncement(t *testing.T) {
	url := storetest.Postgres(t)
	s, db := storetest.Open(t, url), storetest.DB(t, url)
	exec := func(query string) {
		t.Helper()
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE FUNCTION no_outbox() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$`)
	exec(`CREATE TRIGGER no_outbox BEFORE INSERT ON announcement_outbox FOR EACH ROW EXECUTE FUNCTION no_outbox()`)
	if r := s.Append(t.Context(), []*engine.Entry{fired("acme", 0, "webhook:siem")})[0]; !errors.Is(r.Err, engine.ErrUnavailable) {
		t.Errorf("a decision without its outbox: %+v", r)
	}
	queued := storetest.Entry("acme", 0)
	queued.Decision, queued.Rule = engine.QueuedApproval, "tier_requires_approval"
	if r := s.Append(t.Context(), []*engine.Entry{queued})[0]; !errors.Is(r.Err, engine.ErrUnavailable) {
		t.Errorf("an approval without its outbox: %+v", r)
	}
	write(t, s, fired("acme", 0)) // which announces nothing
	exec(`DROP TRIGGER no_outbox ON announcement_outbox`)
	write(t, s, fired("acme", 0, "webhook:siem"))
	storetest.CheckLog(t, url, nil)
	var rows, left int
	if err := db.QueryRow(`SELECT (SELECT count(*) FROM remediation_gate_log), (SELECT count(*) FROM announcement_outbox)`).Scan(&rows, &left); err != nil || rows != 2 || left != 1 {
		t.Errorf("%d rows, %d in the outbox: %v", rows, left, err)
	}
}
