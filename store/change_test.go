package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// churn makes n changes of every kind and returns the configurations answered.
func churn(t *testing.T, s *store.Store, tenant string, n int) (last engine.Config) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	actions := []string{"block_ip", "isolate_host", "run_script"}
	modes := []engine.Mode{engine.ModeBlock, engine.ModeRequireApproval, engine.ModeForceAuto}
	var ids []string
	soon := time.Now().Add(time.Hour)
	for range n {
		var err error
		o := &engine.Override{TenantID: tenant, ActionType: actions[r.IntN(3)], Mode: modes[r.IntN(3)], Constraints: []byte(`{"target_prefix":"host:"}`)}
		if r.IntN(2) == 0 {
			o.ExpiresAt = &soon
		}
		switch r.IntN(7) {
		case 0:
			tier := r.IntN(5)
			_, err = s.ChangeConfig(t.Context(), tenant, engine.ConfigChange{MaturityTier: &tier}, meta)
		case 1:
			_, err = s.ChangeConfig(t.Context(), tenant, engine.ConfigChange{Overrides: []*engine.Override{o}, ReplaceOverrides: true}, meta)
		case 2:
			_, err = s.PutOverride(t.Context(), o, meta)
		case 3:
			if err = s.DeleteOverride(t.Context(), tenant, o.ActionType, []engine.Mode{"", o.Mode}[r.IntN(2)], meta); errors.Is(err, engine.ErrNotFound) {
				err = nil
			}
		case 4:
			_, err = s.SetStopped(t.Context(), tenant, r.IntN(2) == 0, meta)
		case 5:
			var w *engine.WhitelistEntry
			if w, err = s.AddWhitelist(t.Context(), engine.WhitelistEntry{TenantID: tenant, ActionType: o.ActionType, Constraints: []byte(`{"target":"x"}`), ExpiresAt: soon, Notify: []string{"slack:#soc"}}, meta); err == nil {
				ids = append(ids, w.ID)
			}
		case 6:
			if len(ids) > 0 {
				err = s.DeleteWhitelist(t.Context(), tenant, ids[0], meta)
				ids = ids[1:]
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	last, err := s.Config(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// facts are what decisions about all action types would see.
func facts(t *testing.T, s *store.Store, tenant string) string {
	t.Helper()
	out := ""
	for _, action := range []string{"block_ip", "isolate_host", "run_script"} {
		f, err := s.Facts(tenant, action, "x", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprint(f.MaturityTier, f.Stopped, f.Epoch)
		for _, o := range f.Overrides {
			out += fmt.Sprint("\n", o.ActionType, o.Mode, string(o.Constraints), o.ExpiresAt, o.Reason, o.SetBy, o.SetAt)
		}
		for _, w := range f.Whitelist {
			out += fmt.Sprint("\n", w.ID, w.ActionType, string(w.Constraints), w.ExpiresAt, w.Notify)
		}
	}
	return out
}

// TestHistoryRebuildsConfiguration: the change rows alone say what stands, and
// a gate that followed them knows what one that loads the state knows.
func TestHistoryRebuildsConfiguration(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		want := churn(t, s, "acme", 150)
		rebuilt := engine.Config{TenantID: "acme"}
		standing := map[string]bool{}
		var after int64
		for {
			page, err := s.History(t.Context(), "acme", engine.HistoryQuery{AfterEpoch: after, Limit: 7})
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, c := range page {
				if after++; c.Epoch != after || c.Actor != "olivia" || c.Reason != "because" || time.Since(c.At) > time.Minute {
					t.Fatalf("%+v", c)
				}
				var doc struct {
					Tier    int                       `json:"maturity_tier"`
					All     map[string]map[string]any `json:"action_overrides"`
					Stopped bool                      `json:"stopped"`
					Action  string                    `json:"action_type"`
					Mode    string                    `json:"mode"`
				}
				if c.Kind != engine.KindOverrideRemove && c.Kind != engine.KindWhitelistRemove {
					if err := json.Unmarshal(c.After, &doc); err != nil {
						t.Fatal(err)
					}
				}
				switch c.Kind {
				case engine.KindConfig:
					rebuilt.MaturityTier = doc.Tier
					clear(standing)
					for a, modes := range doc.All {
						for m := range modes {
							standing[a+"/"+m] = true
						}
					}
				case engine.KindOverrideSet:
					standing[doc.Action+"/"+doc.Mode] = true
				case engine.KindOverrideRemove:
					var raw []map[string]any
					if err := json.Unmarshal(c.Before, &raw); err != nil {
						t.Fatal(err)
					}
					for _, d := range raw {
						delete(standing, fmt.Sprint(d["action_type"], "/", d["mode"]))
					}
				case engine.KindStop, engine.KindRelease:
					rebuilt.Stopped = doc.Stopped
				}
			}
		}
		got := map[string]bool{}
		for _, o := range want.Overrides {
			got[o.ActionType+"/"+string(o.Mode)] = true
		}
		if after != want.Epoch || rebuilt.MaturityTier != want.MaturityTier || rebuilt.Stopped != want.Stopped || !reflect.DeepEqual(got, standing) {
			t.Errorf("rebuilt %+v %v\nstands %+v %v", rebuilt, standing, want, got)
		}
		followed := facts(t, s, "acme")
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if loaded := facts(t, open(), "acme"); loaded != followed {
			t.Errorf("followed %s\nloaded %s", followed, loaded)
		}
	})
}

// TestReplicaFollows: another gate knows a change within a second, by its
// listener, or by its poll when the listener is lost.
func TestReplicaFollows(t *testing.T) {
	url := storetest.Postgres(t)
	a := storetest.Open(t, url)
	listens := storetest.Open(t, url, func(o *store.Options) { o.Poll = time.Hour })
	polls := storetest.Open(t, url, func(o *store.Options) { o.Poll = 50 * time.Millisecond })
	if _, err := storetest.DB(t, url).Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`); err != nil {
		t.Fatal(err)
	}
	churn(t, a, "acme", 60)
	churn(t, a, "other", 5)
	want := facts(t, a, "acme")
	for what, s := range map[string]*store.Store{"listener": listens, "poll": polls} {
		eventually(t, what, func() bool { return facts(t, s, "acme") == want })
	}
	started := time.Now()
	if _, err := a.SetStopped(t.Context(), "acme", true, meta); err != nil {
		t.Fatal(err)
	}
	want = facts(t, a, "acme")
	eventually(t, "listener", func() bool { return facts(t, listens, "acme") == want })
	if took := time.Since(started); took > time.Second {
		t.Errorf("followed after %v", took)
	}
	eventually(t, "no lag", func() bool { return listens.Health(t.Context()).EpochLag == 0 })
}

func TestChangeAnswers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		if c, err := s.Config(t.Context(), "nobody"); err != nil || c.Epoch != 0 || c.MaturityTier != 0 || !c.ChangedAt.IsZero() {
			t.Errorf("never configured: %+v %v", c, err)
		}
		three, one, bad := 3, int64(1), int64(9)
		c, err := s.ChangeConfig(t.Context(), "acme", engine.ConfigChange{MaturityTier: &three}, meta)
		if err != nil || c.Epoch != 1 {
			t.Fatalf("%+v %v", c, err)
		}
		if _, err := s.ChangeConfig(t.Context(), "acme", engine.ConfigChange{MaturityTier: &three, IfMatch: &bad}, meta); !errors.Is(err, engine.ErrStale) {
			t.Errorf("If-Match 9: %v", err)
		}
		if c, err = s.ChangeConfig(t.Context(), "acme", engine.ConfigChange{IfMatch: &one}, meta); err != nil || c.Epoch != 2 || c.MaturityTier != 3 {
			t.Errorf("a change of nothing: %+v %v", c, err)
		}
		if err := s.DeleteOverride(t.Context(), "acme", "block_ip", "", meta); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("no override: %v", err)
		}
		if err := s.DeleteWhitelist(t.Context(), "acme", "x", meta); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("no entry: %v", err)
		}
		c, err = s.PutOverride(t.Context(), &engine.Override{TenantID: "new", ActionType: "block_ip", Mode: engine.ModeForceAuto}, meta)
		stored, err2 := s.Config(t.Context(), "new")
		if err != nil || err2 != nil || asJSON(c) != asJSON(stored) || len(c.Overrides) != 1 || c.Overrides[0].SetBy != "olivia" || c.Overrides[0].Reason != "because" {
			t.Errorf("answered %+v\nstored %+v %v %v", c, stored, err, err2)
		}
		w, err := s.AddWhitelist(t.Context(), engine.WhitelistEntry{TenantID: "acme", ActionType: "isolate_host", Constraints: []byte(`{ "target" : "x" }`), ExpiresAt: far}, meta)
		if err != nil || string(w.Constraints) != `{"target":"x"}` {
			t.Fatalf("%+v %v", w, err)
		}
		list, err := s.Whitelist(t.Context(), "acme", "", "", 10)
		if err != nil || len(list) != 1 || asJSON(list[0]) != asJSON(w) {
			t.Errorf("listed %+v\nadded %+v %v", list, w, err)
		}
		if err := s.DeleteWhitelist(t.Context(), "new", w.ID, meta); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("another tenant's entry: %v", err)
		}
	})
}

// asJSON shows the exported fields, for comparison.
func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
