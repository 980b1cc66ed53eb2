package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// raceChanges lets decisions on two gates race changes through both, and
// returns how many rows of an old epoch committed after a newer epoch had been
// answered. There must be none (P5).
func raceChanges(t *testing.T, url string, gates []*store.Store, changes int) (violations int) {
	db := storetest.DB(t, url)
	var done atomic.Bool
	var wg sync.WaitGroup
	var mu sync.Mutex
	var answered []*engine.Entry
	for c := range 32 {
		wg.Go(func() {
			s := gates[c%len(gates)]
			for !done.Load() {
				f, err := s.Facts("acme", "isolate_host", "host:a", time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				e := storetest.Entry("acme", f.Epoch)
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond) // the policy thinks
				r := s.Append(t.Context(), []*engine.Entry{e})[0]
				if r.Err == nil {
					mu.Lock()
					answered = append(answered, e)
					mu.Unlock()
				} else if !errors.Is(r.Err, engine.ErrStaleEpoch) {
					t.Error(r.Err)
					return
				}
			}
		})
	}
	type mark struct{ epoch, seq int64 } // when epoch was answered, the log ended at seq
	var marks []mark
	for i := range changes {
		s := gates[i%len(gates)]
		var cfg engine.Config
		var err error
		tier := i % 5
		switch i % 3 {
		case 0:
			cfg, err = s.ChangeConfig(t.Context(), "acme", engine.ConfigChange{MaturityTier: &tier}, meta)
		case 1:
			cfg, err = s.SetStopped(t.Context(), "acme", i%2 == 0, meta)
		case 2:
			cfg, err = s.PutOverride(t.Context(), &engine.Override{TenantID: "acme", ActionType: "isolate_host", Mode: engine.ModeBlock}, meta)
		}
		if err != nil {
			t.Fatal(err)
		}
		var seq int64
		if err := db.QueryRow(`SELECT log_seq FROM tenant_head WHERE tenant_id = 'acme'`).Scan(&seq); err != nil {
			t.Fatal(err)
		}
		marks = append(marks, mark{cfg.Epoch, seq})
		time.Sleep(2 * time.Millisecond)
	}
	done.Store(true)
	wg.Wait()
	for _, m := range marks {
		var n int
		if err := db.QueryRow(fmt.Sprintf(`SELECT count(*) FROM remediation_gate_log WHERE tenant_id = 'acme' AND log_seq > %d AND config_epoch < %d`, m.seq, m.epoch)).Scan(&n); err != nil {
			t.Fatal(err)
		}
		violations += n
	}
	if len(answered) < changes {
		t.Errorf("only %d decisions in %d changes: no race", len(answered), changes)
	}
	if store.Fence {
		storetest.CheckLog(t, url, answered)
	}
	t.Logf("%d decisions, %d changes, %d violations", len(answered), changes, violations)
	return violations
}

func TestNoOldEpochCommitsAfterAChangeWasAnswered(t *testing.T) {
	if !store.Fence {
		t.Skip("a build without the fence; see TestWithoutTheFence")
	}
	url := storetest.Postgres(t)
	if n := raceChanges(t, url, []*store.Store{storetest.Open(t, url), storetest.Open(t, url)}, 300); n > 0 {
		t.Errorf("%d rows of an old epoch", n)
	}
	url = storetest.SQLite(t)
	if n := raceChanges(t, url, []*store.Store{storetest.Open(t, url)}, 300); n > 0 {
		t.Errorf("sqlite: %d rows of an old epoch", n)
	}
}

// TestWithoutTheFence runs in builds with the tag nofence only: there the race
// must be lost, and so must the one of race_policy_test.go, or those tests prove
// nothing.
func TestWithoutTheFence(t *testing.T) {
	if store.Fence {
		out, err := exec.Command("go", "test", "-tags", "nofence", "-count=1", "-run", "^TestWithoutTheFence$", ".").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	url := storetest.Postgres(t)
	if raceChanges(t, url, []*store.Store{storetest.Open(t, url), storetest.Open(t, url)}, 300) == 0 {
		t.Error("without the fence no row of an old epoch committed: the race test cannot fail")
	}
	url = storetest.Postgres(t)
	if raceActivations(t, url, []*store.Store{storetest.Open(t, url), storetest.Open(t, url)}, 200) == 0 {
		t.Error("without the fence no row of an old bundle committed: the race test cannot fail")
	}
}

// TestBatchesOfManyTenantsNeverDeadlock: two gates write batches over the same
// tenants, each batch in another order.
func TestBatchesOfManyTenantsNeverDeadlock(t *testing.T) {
	url := storetest.Postgres(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var answered []*engine.Entry
	for range 2 {
		s := storetest.Open(t, url)
		for range 4 {
			wg.Go(func() {
				for range 25 {
					entries := make([]*engine.Entry, 150)
					for i := range entries {
						entries[i] = storetest.Entry(fmt.Sprintf("t%d", rand.IntN(40)), 0)
					}
					for _, r := range s.Append(t.Context(), entries) {
						if r.Err != nil {
							t.Error(r.Err)
							return
						}
						mu.Lock()
						answered = append(answered, r.Entry)
						mu.Unlock()
					}
				}
			})
		}
	}
	wg.Wait()
	var n int
	if err := storetest.DB(t, url).QueryRow(`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&n); err != nil || n > 0 {
		t.Errorf("%d deadlocks (%v)", n, err)
	}
	storetest.CheckLog(t, url, answered)
}

// TestOneActionManyAtOnce: however many ask with one action_id, through
// however many gates, there is one row and everybody gets it.
func TestOneActionManyAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, open storetest.OpenFunc) {
		gates := []*store.Store{open()}
		if t.Name() == "TestOneActionManyAtOnce/postgres" {
			gates = append(gates, open())
		}
		for range 5 {
			first := storetest.Entry("acme", 0)
			var wg sync.WaitGroup
			var fresh atomic.Int64
			var ids sync.Map
			for i := range 40 {
				wg.Go(func() {
					batch := []*engine.Entry{storetest.Entry("acme", 0), storetest.Entry("acme", 0), storetest.Entry("other", 0)}
					for _, e := range batch[:2] {
						e.ActionID = first.ActionID
					}
					for k, r := range gates[i%len(gates)].Append(t.Context(), batch) {
						if r.Err != nil {
							t.Error(r.Err)
							return
						}
						if k == 2 {
							continue
						}
						ids.Store(r.Entry.DecisionID, true)
						if !r.Repeated {
							fresh.Add(1)
						}
					}
				})
			}
			wg.Wait()
			n := 0
			ids.Range(func(any, any) bool { n++; return true })
			if fresh.Load() != 1 || n != 1 {
				t.Errorf("%d rows, %d different answers for one action_id", fresh.Load(), n)
			}
		}
	})
}
