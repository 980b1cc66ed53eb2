package store_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store/storetest"
)

var meta = engine.ChangeMeta{Actor: "olivia", Reason: "because"}

func TestAppendThenRead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		confidence := 0.97
		e := storetest.Entry("acme", 0)
		e.Confidence, e.Parameters, e.ParametersDigest = &confidence, []byte(`{"a":"\\\"b"}`), "sha256:00"
		e.ReadSet = []byte(`{"digest":"sha256:…","snapshot":"g-812"}`)
		e.OverridesApplied = []string{`whitelist:"x"\`, "b,{}"}
		e.Rationale = "quotes \" and \\ and\ttabs\nand {braces}, NULL and ünïcode \u00a0"
		want := *e
		r := s.Append(t.Context(), []*engine.Entry{e})[0]
		if r.Err != nil || r.Repeated || r.Entry != e || e.LogSeq != 1 {
			t.Fatalf("got %+v", r)
		}
		got, err := s.Entry(t.Context(), "acme", e.DecisionID)
		if e.ApprovalID == "" || e.Approval.Status != engine.ApprovalPending || err != nil {
			t.Fatalf("got %+v, %v", e.Approval, err)
		}
		want.LogSeq, want.ApprovalID, want.Approval = 1, e.ApprovalID, got.Approval
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Fatalf("got  %+v\nwant %+v (%v)", got, want, err)
		}
		if _, err := s.Entry(t.Context(), "other", e.DecisionID); !errors.Is(err, engine.ErrNotFound) {
			t.Fatalf("another tenant's row: %v", err)
		}
		again := *e
		if r := s.Append(t.Context(), []*engine.Entry{&again})[0]; r.Err != nil || !r.Repeated || r.Entry.DecisionID != e.DecisionID {
			t.Fatalf("again: %+v", r)
		}
	})
}

func TestChangesReachFactsAndFence(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		s := open()
		tier := 4
		cfg, err := s.ChangeConfig(t.Context(), "acme", engine.ConfigChange{MaturityTier: &tier}, meta)
		if err != nil || cfg.Epoch != 1 || cfg.MaturityTier != 4 || cfg.ChangedBy != "olivia" {
			t.Fatalf("%+v %v", cfg, err)
		}
		f, err := s.Facts("acme", "isolate_host", "x", time.Now())
		if err != nil || f.Epoch != 1 || f.MaturityTier != 4 {
			t.Fatalf("%+v %v", f, err)
		}
		r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("acme", 0), storetest.Entry("acme", 1), storetest.Entry("b", 0)})
		if !errors.Is(r[0].Err, engine.ErrStaleEpoch) || r[1].Err != nil || r[2].Err != nil || r[1].Entry.LogSeq != 1 || r[1].Epoch != 1 {
			t.Fatalf("%+v", r)
		}
		w, err := s.AddWhitelist(t.Context(), engine.WhitelistEntry{TenantID: "acme", ActionType: "isolate_host",
			Constraints: []byte(`{"target_prefix":"host:"}`), ExpiresAt: time.Now().Add(time.Hour)}, meta)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.PutOverride(t.Context(), &engine.Override{TenantID: "acme", ActionType: "isolate_host", Mode: engine.ModeBlock}, meta); err != nil {
			t.Fatal(err)
		}
		if _, err := s.SetStopped(t.Context(), "acme", true, meta); err != nil {
			t.Fatal(err)
		}
		f, err = s.Facts("acme", "isolate_host", "host:a", time.Now())
		if err != nil || f.Epoch != 4 || !f.Stopped || len(f.Overrides) != 1 || len(f.Whitelist) != 1 || f.Whitelist[0].ID != w.ID {
			t.Fatalf("%+v %v", f, err)
		}
		if h := s.Health(t.Context()); !h.Writable || h.EpochLag != 0 || h.ClockSkew.Abs() > time.Second {
			t.Fatalf("%+v", h)
		}
	})
}
