package store_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// A reader sees what was appended, in windows, beside the open store; what it
// reads is what was written.
func TestReader(t *testing.T) {
	for name, url := range map[string]string{"postgres": storetest.Postgres(t), "sqlite": storetest.SQLite(t)} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Open(t, url)
			var written []*engine.Entry
			for i := range 25 {
				e := storetest.Entry(fmt.Sprintf("t%d", i%2), 0)
				if i%5 == 0 {
					e.Parameters, e.ParametersDigest = []byte(`{"a":1}`), "sha256:00"
				}
				for _, r := range s.Append(t.Context(), []*engine.Entry{e}) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
					written = append(written, r.Entry)
				}
			}
			r, err := store.OpenReader(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			tenants, err := r.TenantLogs(t.Context())
			if err != nil || fmt.Sprint(tenants) != "[{t0 13} {t1 12}]" {
				t.Fatal(tenants, err)
			}
			var got []engine.LoggedDecision
			for after := int64(0); after < 13; after += 4 {
				page, err := r.Page(t.Context(), "t0", store.ReplayQuery{WithParameters: true}, after, after+4)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, page...)
			}
			for i, row := range got {
				e := written[2*i]
				want := engine.LoggedDecision{TenantID: "t0", LogSeq: int64(i + 1), DecisionID: e.DecisionID, ActionType: e.ActionType, Decision: "queued_approval",
					Rule: e.Rule, Rationale: e.Rationale, BlastRadius: "HIGH", MaturityTier: 2, OverridesApplied: "[]", BundleHash: e.Policy.BundleHash,
					EngineVersion: e.EngineVersion, Input: e.Input, ParametersDigest: e.ParametersDigest, Parameters: e.Parameters}
				if !reflect.DeepEqual(row, want) {
					t.Errorf("row %d:\n%+v\nwant\n%+v", i, row, want)
				}
			}
			if len(got) != 13 {
				t.Errorf("%d rows", len(got))
			}
			soon := time.Now().Add(time.Hour)
			if page, err := r.Page(t.Context(), "t0", store.ReplayQuery{From: soon}, 0, 100); err != nil || len(page) != 0 {
				t.Errorf("from later: %d rows, %v", len(page), err)
			}
			if page, err := r.Page(t.Context(), "t0", store.ReplayQuery{To: soon}, 0, 100); err != nil || len(page) != 13 {
				t.Errorf("until later: %d rows, %v", len(page), err)
			}
			if _, err := r.BundleArchives(t.Context(), "sha256:none"); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("no such bundle: %v", err)
			}
			hash := "sha256:" + strings.Repeat("a", 64)
			for i, archive := range []string{"first", "signed anew"} {
				if _, err := s.KeepBundle(t.Context(), hash, "1.0.0", []byte(archive), i > 0, engine.ChangeMeta{Actor: "a", Reason: "b"}); err != nil {
					t.Fatal(err)
				}
			}
			if list, err := r.BundleArchives(t.Context(), hash); err != nil || fmt.Sprintf("%s", list) != "[signed anew first]" {
				t.Errorf("%s %v", list, err)
			}
		})
	}
}

// A reader of a log that a gate left behind needs that gate neither to run nor
// to have run since.
func TestReaderWithoutAGate(t *testing.T) {
	url := storetest.SQLite(t)
	s := storetest.Open(t, url)
	if r := s.Append(t.Context(), []*engine.Entry{storetest.Entry("t", 0)})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := store.OpenReader(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if page, err := r.Page(t.Context(), "t", store.ReplayQuery{}, 0, 10); err != nil || len(page) != 1 {
		t.Errorf("%d rows, %v", len(page), err)
	}
	// And it does not keep a gate from starting.
	storetest.Open(t, url)
}

func TestOpenReaderRefuses(t *testing.T) {
	for _, url := range []string{"", "gate.db", "mysql://x", "sqlite:", "sqlite:/nowhere/gate.db", storetest.Postgres(t)} {
		if r, err := store.OpenReader(t.Context(), url); !errors.Is(err, store.ErrURL) {
			t.Errorf("%q: %v, %v", url, r, err)
		}
	}
}
