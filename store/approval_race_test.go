package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// Two gates, a yes and a no at the same instant: one of them counts, the other
// is told how it ended, and never both.
func TestApproveAndDenyAtTheSameInstant(t *testing.T) {
	url := storetest.Postgres(t)
	a, b := storetest.Open(t, url), storetest.Open(t, url)
	gates := []*engine.Gate{gateOn(t, a), gateOn(t, b)}
	ends := map[engine.ApprovalStatus]int{}
	for i := range 40 {
		e := mustQueue(t, gates[i%2], request("acme", "isolate_host", fmt.Sprintf("host:%d", i)))
		var wg sync.WaitGroup
		var counted atomic.Int32
		for k, verdict := range []string{engine.EventApprove, engine.EventDeny, engine.EventApprove, engine.EventDeny} {
			wg.Go(func() {
				_, err := gates[k%2].Vote(t.Context(), vote(e, fmt.Sprintf("p%d", k), verdict))
				switch {
				case err == nil:
					counted.Add(1)
				case closedAs(err) == "" && !errors.Is(err, engine.ErrApprovalMoved):
					t.Errorf("%s: %v", verdict, err)
				}
			})
		}
		wg.Wait()
		if counted.Load() != 1 {
			t.Errorf("%d votes ended one approval", counted.Load())
		}
		s, err := a.Approval(t.Context(), "acme", e.ApprovalID)
		if err != nil {
			t.Fatal(err)
		}
		ends[s.Status]++
	}
	t.Logf("ended as %v", ends)
	if ends[engine.ApprovalReleased]+ends[engine.ApprovalDenied] != 40 {
		t.Errorf("ended as %v", ends)
	}
	storetest.CheckLog(t, url, nil)
}

// Votes race a dial that blocks and unblocks, stops and releases, on two gates.
// A released action was neither blocked nor stopped by the configuration that
// was current when the release committed.
func TestVotesRaceTheDial(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		stores := []*store.Store{storetest.Open(t, url)}
		if url[:6] != "sqlite" {
			stores = append(stores, storetest.Open(t, url))
		}
		var gates []*engine.Gate
		for _, s := range stores {
			gates = append(gates, gateOn(t, s))
		}
		stop := make(chan struct{})
		var dial, voters sync.WaitGroup
		dial.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(3 * time.Millisecond):
				}
				if _, err := stores[i%len(stores)].SetStopped(t.Context(), "acme", i%2 == 0, meta); err != nil {
					t.Error(err)
				}
			}
		})
		ends := sync.Map{}
		for k := range 4 {
			voters.Go(func() {
				for i := range 25 {
					g := gates[(k+i)%len(gates)]
					e, err := g.Decide(t.Context(), request("acme", "isolate_host", fmt.Sprintf("host:%d-%d", k, i)))
					if err != nil {
						continue // the dial turned three times under it
					}
					a, err := gates[k%len(gates)].Vote(t.Context(), yes(e, "olga"))
					if err == nil {
						n, _ := ends.LoadOrStore(a.Status, new(atomic.Int32))
						n.(*atomic.Int32).Add(1)
					} else if !errors.Is(err, engine.ErrStaleEpoch) && !errors.Is(err, engine.ErrUnavailable) {
						t.Error(err)
					}
				}
			})
		}
		voters.Wait()
		close(stop)
		dial.Wait()
		ends.Range(func(status, n any) bool {
			t.Logf("%s: %d", status, n.(*atomic.Int32).Load())
			return true
		})
		var wrong int
		// Stops have odd epochs here, releases even ones: the first write stops.
		err := storetest.DB(t, url).QueryRow(`SELECT count(*) FROM approval_event e WHERE (e.kind = 'released' AND e.config_epoch % 2 = 1) OR (e.kind = 'refused' AND e.config_epoch % 2 = 0)`).Scan(&wrong)
		if err != nil || wrong != 0 {
			t.Errorf("%d approvals ended against the configuration of their commit, %v", wrong, err)
		}
		storetest.CheckLog(t, url, nil)
	})
}

// The connection is lost at each write of the last vote: before the database got
// it, and after. Either the vote, the decision and the release are all there, or
// none is, and a second try brings it to its end.
func TestFaultAtEveryStepOfARelease(t *testing.T) {
	for _, delivered := range []bool{false, true} {
		t.Run(fmt.Sprintf("written=%v", delivered), func(t *testing.T) {
			url := storetest.Postgres(t)
			d := &faultDialer{left: -1}
			s := storetest.Open(t, url, store.WithDialer(d), func(o *store.Options) { o.Poll = time.Hour })
			g := gateOn(t, s)
			lost, kept := 0, 0
			for at := 0; ; at++ {
				r := request("acme", "isolate_host", fmt.Sprintf("host:%d", at))
				r.Parameters = []byte(`{"n":1}`)
				e := mustQueue(t, g, r)
				d.arm(at, delivered, false)
				_, err := g.Vote(t.Context(), yes(e, "olga"))
				if !d.disarm() {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				var a *engine.Approval
				eventually(t, "the database", func() bool {
					a, err = s.Approval(t.Context(), "acme", e.ApprovalID)
					return err == nil
				})
				switch a.Status {
				case engine.ApprovalReleased:
					kept++
				case engine.ApprovalPending:
					lost++
					if len(a.Events) != 1 || a.Approvers == nil {
						t.Errorf("fault at write %d left half a step: %+v", at, a)
					}
					if a, err = g.Vote(t.Context(), yes(e, "olga")); err != nil || a.Status != engine.ApprovalReleased {
						t.Errorf("again after a fault at write %d: %+v, %v", at, a, err)
					}
				default:
					t.Errorf("fault at write %d: %+v", at, a)
				}
				storetest.CheckLog(t, url, nil)
			}
			t.Logf("%d steps lost, %d kept", lost, kept)
			if lost+kept < 8 {
				t.Errorf("only %d writes were broken", lost+kept)
			}
		})
	}
}

// 10,000 open approvals: a page of 50 under 50 ms.
func TestPageOfManyApprovals(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		s := storetest.Open(t, url, func(o *store.Options) { o.Patience = time.Minute })
		for i := 0; i < 10_000; i += 500 {
			entries := make([]*engine.Entry, 500)
			for k := range entries {
				entries[k] = storetest.Entry("acme", 0)
				entries[k].Target = fmt.Sprintf("host:%d", i+k)
			}
			for _, r := range s.Append(t.Context(), entries) {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
		}
		for name, q := range map[string]engine.ApprovalQuery{
			"all": {}, "pending": {Status: engine.ApprovalPending}, "one radius": {Status: engine.ApprovalPending, BlastRadius: engine.High}, "nothing": {ActionType: "block_ip"},
		} {
			q.Limit, q.Now = 51, time.Now()
			best := time.Hour
			var before string
			for range 5 {
				q.BeforeID = before
				start := time.Now()
				list, err := s.Approvals(t.Context(), "acme", q)
				if best = min(best, time.Since(start)); err != nil || (len(list) != 51 && name != "nothing") {
					t.Fatalf("%s: %d approvals, %v", name, len(list), err)
				}
				if len(list) > 0 {
					before = list[50].ID
				}
			}
			t.Logf("%s: a page takes %v", name, best)
			if best > 50*time.Millisecond && !raceDetector {
				t.Errorf("%s: a page takes %v, want under 50ms", name, best)
			}
		}
	})
}

// What ends on one gate is heard by who waits at another.
func TestWatchAcrossGates(t *testing.T) {
	url := storetest.Postgres(t)
	here, there := storetest.Open(t, url), storetest.Open(t, url, func(o *store.Options) { o.Poll = time.Hour })
	g := gateOn(t, here)
	eventually(t, "the other gate listens", func() bool {
		e := mustQueue(t, g, request("acme", "isolate_host", "host:first"))
		ended, stop := there.Watch("acme", e.ApprovalID)
		defer stop()
		if _, err := g.Vote(t.Context(), yes(e, "olga")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
			return true
		case <-time.After(200 * time.Millisecond):
			return false
		}
	})
	var took []time.Duration
	for i := range 20 {
		e := mustQueue(t, g, request("acme", "isolate_host", fmt.Sprintf("host:%d", i)))
		ended, stop := there.Watch("acme", e.ApprovalID)
		if _, err := g.Vote(t.Context(), yes(e, "olga")); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		select {
		case a := <-ended:
			if a.Status != engine.ApprovalReleased {
				t.Errorf("heard %+v", a)
			}
			took = append(took, time.Since(start))
		case <-time.After(20 * time.Second):
			t.Fatal("not heard")
		}
		stop()
	}
	if middle := median(took); middle > 500*time.Millisecond {
		t.Errorf("heard after %v, want under 500ms", middle)
	} else {
		t.Logf("heard after %v", middle)
	}
	// A lost notification is made up for by the poll.
	polling := storetest.Open(t, url, func(o *store.Options) { o.Poll = 50 * time.Millisecond })
	e := mustQueue(t, g, request("acme", "isolate_host", "host:poll"))
	ended, stop := polling.Watch("acme", e.ApprovalID)
	defer stop()
	if _, err := storetest.DB(t, url).Exec(`UPDATE approval SET status = 'denied', version = version + 1, closed_at = now(), closed_by = 'nobody' WHERE approval_id = $1`, e.ApprovalID); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-ended:
		if a.Status != engine.ApprovalDenied {
			t.Errorf("heard %+v", a)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("not heard without a notification")
	}
	here.StopWaiting()
	if gone, _ := here.Watch("acme", e.ApprovalID); <-gone != nil {
		t.Error("a gate that stops lets people wait")
	}
}

func median(list []time.Duration) time.Duration {
	for i := range list {
		for k := i; k > 0 && list[k] < list[k-1]; k-- {
			list[k], list[k-1] = list[k-1], list[k]
		}
	}
	return list[len(list)/2]
}

// A plan that was made while the table was empty looks each action up; one that
// walks through all open approvals makes every append slower than the last.
func TestOpenApprovalsAreLookedUp(t *testing.T) {
	url := storetest.Postgres(t)
	storetest.Open(t, url)
	db := storetest.DB(t, url)
	db.SetMaxOpenConns(1)
	for name, value := range store.Planning {
		if _, err := db.Exec(`SELECT set_config($1, $2, false)`, name, value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`PREPARE find (text[], bytea[], text[]) AS ` + store.FindOpen); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(`EXPLAIN EXECUTE find('{a}', '{"\\x00"}', '{x}')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, strings.TrimSpace(line))
	}
	text := strings.Join(plan, "\n")
	if !strings.Contains(text, "using approval_open") || !strings.Contains(text, "Index Cond: ((tenant_id = want.tenant_id) AND (action_digest = want.action_digest))") {
		t.Error(text)
	}
}
