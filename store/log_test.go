package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

func TestEntriesAndSummary(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		start := time.Date(2026, 10, 30, 0, 0, 0, 0, time.UTC) // the months differ
		batch := make([]*engine.Entry, 90)
		for i := range batch {
			e := storetest.Entry("acme", 0)
			e.DecidedAt = start.Add(time.Duration(i) * time.Hour)
			e.Target = fmt.Sprintf("host_%d%%", i%10)
			if i%3 == 0 {
				e.Decision, e.Rule, e.BlastRadius = engine.Auto, engine.RuleTierAllows, engine.Low
			}
			batch[i] = e
		}
		for _, r := range s.Append(t.Context(), batch) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		for what, c := range map[string]struct {
			q    engine.LogQuery
			want int
		}{
			"all":        {engine.LogQuery{Limit: 500}, 90},
			"page":       {engine.LogQuery{Limit: 7, BeforeSeq: 5}, 4},
			"auto":       {engine.LogQuery{Limit: 500, Decision: engine.Auto}, 30},
			"low":        {engine.LogQuery{Limit: 500, BlastRadius: engine.Low, Rule: engine.RuleTierAllows}, 30},
			"time":       {engine.LogQuery{Limit: 500, From: start.Add(10 * time.Hour), To: start.Add(20 * time.Hour)}, 10},
			"nanosecond": {engine.LogQuery{Limit: 500, From: start.Add(10*time.Hour + 1), To: start.Add(20*time.Hour + 1)}, 10},
			"prefix":     {engine.LogQuery{Limit: 500, TargetPrefix: "host_3"}, 9},
			"not a like": {engine.LogQuery{Limit: 500, TargetPrefix: "host%"}, 0},
			"case":       {engine.LogQuery{Limit: 500, TargetPrefix: "HOST_3"}, 0},
			"incident":   {engine.LogQuery{Limit: 500, IncidentID: "INC-7", Actor: "system", ActionType: "isolate_host"}, 90},
			"nobody":     {engine.LogQuery{Limit: 500, Actor: "user:x"}, 0},
		} {
			list, err := s.Entries(t.Context(), "acme", c.q)
			if err != nil || len(list) != c.want {
				t.Errorf("%s: %d rows, want %d (%v)", what, len(list), c.want, err)
			}
			for i := 1; i < len(list); i++ {
				if list[i].LogSeq >= list[i-1].LogSeq {
					t.Errorf("%s: not newest first", what)
				}
			}
		}
		if list, err := s.Entries(t.Context(), "other", engine.LogQuery{Limit: 10}); err != nil || len(list) != 0 {
			t.Errorf("another tenant: %d rows %v", len(list), err)
		}
		sum, err := s.Summary(t.Context(), "acme", start, start.Add(30*time.Hour))
		want := fmt.Sprint([]engine.SummaryRow{
			{Decision: engine.QueuedApproval, BlastRadius: engine.High, Rule: engine.RuleTierRequiresApproval, Count: 20},
			{Decision: engine.Auto, BlastRadius: engine.Low, Rule: engine.RuleTierAllows, Count: 10},
		})
		if err != nil || fmt.Sprint(sum) != want {
			t.Errorf("got %v %v\nwant %s", sum, err, want)
		}
	})
}

// TestReadsOfWhatCannotBe: a bound or a text that a database cannot hold finds
// what it would find if it could, on either.
func TestReadsOfWhatCannotBe(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		if _, err := s.SetStopped(t.Context(), "acme", true, meta); err != nil {
			t.Fatal(err)
		}
		if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 1)})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		counts := func(tenant string, from, to time.Time, action string) [3]int {
			t.Helper()
			h, err1 := s.History(t.Context(), tenant, engine.HistoryQuery{From: from, To: to})
			e, err2 := s.Entries(t.Context(), tenant, engine.LogQuery{From: from, To: to, ActionType: action})
			r, err3 := s.Summary(t.Context(), tenant, from, to)
			if err := errors.Join(err1, err2, err3); err != nil {
				t.Errorf("%v to %v: %v", from, to, err)
			}
			return [3]int{len(h), len(e), len(r)}
		}
		early, late := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
		before, all := time.Date(-6000, 1, 1, 0, 0, 0, 0, time.UTC), [3]int{1, 1, 1}
		for _, c := range []struct {
			from, to time.Time
			want     [3]int
		}{
			{early, late, all}, {before, late, all}, {late, late, [3]int{}}, {early, early, [3]int{}},
			{time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), late, [3]int{}},
		} {
			if got := counts("acme", c.from, c.to, ""); got != c.want {
				t.Errorf("%v to %v: %v, want %v", c.from, c.to, got, c.want)
			}
		}
		for _, text := range []string{"a\x00b", "\xff"} {
			if got := counts(text, time.Time{}, time.Time{}, ""); got != [3]int{} {
				t.Errorf("tenant %q: %v", text, got)
			}
			if got := counts("acme", time.Time{}, time.Time{}, text); got != [3]int{1, 0, 1} {
				t.Errorf("action %q: %v", text, got)
			}
			if c, err := s.Config(t.Context(), text); err != nil || c.Epoch != 0 {
				t.Errorf("%+v %v", c, err)
			}
			if w, err := s.Whitelist(t.Context(), "acme", text, "", 1); err != nil || len(w) != 0 {
				t.Errorf("%+v %v", w, err)
			}
		}
	})
}
