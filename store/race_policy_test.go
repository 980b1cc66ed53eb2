package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// raceActivations lets decisions of several tenants on several gates, each of
// which hears of an activation when the news comes, race activations through
// all of them. It returns how many rows of an old bundle committed after the
// activation of another had been answered. There must be none (P5).
func raceActivations(t *testing.T, url string, gates []*store.Store, activations int) (violations int) {
	db := storetest.DB(t, url)
	policyWith(t, gates[0], "b")
	var done atomic.Bool
	var wg sync.WaitGroup
	var mu sync.Mutex
	var answered []*engine.Entry
	var stale atomic.Int64
	for _, s := range gates {
		var active atomic.Pointer[engine.PolicyHead]
		read := func() {
			h, err := s.PolicyHead(t.Context())
			if err != nil {
				t.Error(err)
			}
			active.Store(&h)
		}
		read()
		wg.Go(func() {
			for !done.Load() {
				select {
				case <-s.PolicyNews():
				case <-time.After(20 * time.Millisecond):
				}
				read()
			}
		})
		for c := range 32 / len(gates) {
			wg.Go(func() {
				for !done.Load() {
					h := active.Load()
					e := storetest.Entry(fmt.Sprintf("t%d", c%5), 0)
					e.PolicyEpoch, e.Policy.BundleHash = h.Epoch, h.Active
					time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond) // the policy thinks
					r := s.Append(t.Context(), []*engine.Entry{e})[0]
					switch {
					case r.Err == nil:
						mu.Lock()
						answered = append(answered, e)
						mu.Unlock()
					case errors.Is(r.Err, engine.ErrStalePolicy):
						stale.Add(1)
					default:
						t.Error(r.Err)
						return
					}
				}
			})
		}
	}
	marks := map[int64]map[string]int64{} // when the epoch was answered, each tenant's log ended there
	for i := range activations {
		s := gates[i%len(gates)]
		h, err := s.PolicyHead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h, err = s.MovePolicy(t.Context(), engine.PolicyMove{Kind: engine.PolicyRollback, Hash: hashOf([]string{"b", "a"}[i%2]), IfChange: h.ChangeID}, upload)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := db.Query(`SELECT tenant_id, log_seq FROM tenant_head`)
		if err != nil {
			t.Fatal(err)
		}
		ends := map[string]int64{}
		for rows.Next() {
			var tenant string
			var seq int64
			if err := rows.Scan(&tenant, &seq); err != nil {
				t.Fatal(err)
			}
			ends[tenant] = seq
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		marks[h.Epoch] = ends
		time.Sleep(4 * time.Millisecond)
	}
	done.Store(true)
	wg.Wait()
	for epoch, ends := range marks {
		for tenant, seq := range ends {
			var n int
			if err := db.QueryRow(fmt.Sprintf(`SELECT count(*) FROM remediation_gate_log WHERE tenant_id = '%s' AND log_seq > %d AND policy_epoch < %d`, tenant, seq, epoch)).Scan(&n); err != nil {
				t.Fatal(err)
			}
			violations += n
		}
	}
	if len(answered) < activations || store.Fence && stale.Load() == 0 {
		t.Errorf("only %d decisions and %d refused in %d activations: no race", len(answered), stale.Load(), activations)
	}
	if store.Fence {
		storetest.CheckLog(t, url, answered)
	}
	t.Logf("%d decisions, %d refused, %d activations, %d violations", len(answered), stale.Load(), activations, violations)
	return violations
}

func TestNoOldBundleCommitsAfterAnActivationWasAnswered(t *testing.T) {
	if !store.Fence {
		t.Skip("a build without the fence; see TestWithoutTheFence")
	}
	url := storetest.Postgres(t)
	if n := raceActivations(t, url, []*store.Store{storetest.Open(t, url), storetest.Open(t, url)}, 200); n > 0 {
		t.Errorf("%d rows of an old bundle", n)
	}
	url = storetest.SQLite(t)
	if n := raceActivations(t, url, []*store.Store{storetest.Open(t, url)}, 200); n > 0 {
		t.Errorf("sqlite: %d rows of an old bundle", n)
	}
}

// The fence needs READ COMMITTED, whatever the database's default is: a
// snapshot from before the lock would show the policy that was.
func TestActivationUnderAnotherIsolationLevel(t *testing.T) {
	if !store.Fence {
		t.Skip("a build without the fence")
	}
	url := storetest.Postgres(t)
	if _, err := storetest.DB(t, url).Exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	if n := raceActivations(t, url, []*store.Store{storetest.Open(t, url)}, 50); n > 0 {
		t.Errorf("%d rows of an old bundle", n)
	}
}

// An append that hangs in the middle of its transaction stops neither the
// activation for ever nor the appends of others for longer than they wait.
func TestActivationBehindAHangingAppend(t *testing.T) {
	url := storetest.Postgres(t)
	s := storetest.Open(t, url)
	policyWith(t, s, "b")
	tx, err := storetest.DB(t, url).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`LOCK TABLE policy_head IN ROW SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	moved := make(chan error, 1)
	go func() {
		_, err := s.MovePolicy(t.Context(), engine.PolicyMove{Kind: engine.PolicyActivate, Hash: hashOf("b"), IfChange: 2}, upload)
		moved <- err
	}()
	time.Sleep(100 * time.Millisecond) // it waits for the lock
	for range 4 {
		e := storetest.Entry("acme", 0)
		e.PolicyEpoch, e.Policy.BundleHash = 1, hashOf("a")
		if r := s.Append(t.Context(), []*engine.Entry{e})[0]; r.Err != nil {
			t.Errorf("an append meanwhile: %v", r.Err)
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-moved; err != nil {
		t.Errorf("the activation: %v", err)
	}
	storetest.CheckLog(t, url, nil)
}
