package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

// voterEnv holds the database URL in the process that votes until it is killed.
const voterEnv = "TIERGATE_TEST_VOTER"

// voter asks for CRITICAL actions and has two people approve each, and prints
// what it was told.
func voter(url string) {
	s, err := store.Open(context.Background(), store.Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p, err := shippedPolicy()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	g := engine.NewGate(engine.GateOptions{Facts: s, Log: s, Approvals: s, Policy: p, EngineVersion: "test", Logger: slog.New(slog.DiscardHandler)})
	var mu sync.Mutex
	for c := range 4 {
		go func() {
			for i := 0; ; i++ {
				e, err := g.Decide(context.Background(), request(fmt.Sprintf("t%d", c%2), "wipe_disk", fmt.Sprintf("host:%d-%d-%d", os.Getpid(), c, i)))
				if err != nil {
					continue
				}
				for _, person := range []string{"anna", "ben"} {
					if a, err := g.Vote(context.Background(), yes(e, person)); err == nil {
						mu.Lock()
						fmt.Printf("told %s %s %s %s\n", a.TenantID, a.ID, a.Status, a.ReleaseDecisionID)
						mu.Unlock()
					}
				}
			}
		}()
	}
	select {}
}

// TestKillWhileVoting kills a gate's process with SIGKILL between approvals and
// releases, round after round. Every release that was answered stands as it was
// answered, nothing is half done, and what waits can be brought to its end once.
func TestKillWhileVoting(t *testing.T) {
	onBoth(t, func(t *testing.T, url string) {
		told := map[string][]string{} // approval → what was said about it last
		for range 3 {
			killVoter(t, url, told)
			storetest.CheckLog(t, url, nil)
		}
		s := storetest.Open(t, url)
		g := gateOn(t, s)
		ends := map[engine.ApprovalStatus]int{}
		for _, tenant := range []string{"t0", "t1"} {
			list, err := s.Approvals(t.Context(), tenant, engine.ApprovalQuery{Limit: 100_000, Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range list {
				ends[a.Status]++
				if said := told[a.ID]; said != nil && said[0] == string(engine.ApprovalReleased) && (a.Status != engine.ApprovalReleased || a.ReleaseDecisionID != said[1]) {
					t.Errorf("said %v, stands %+v", said, a)
				}
				if a.Status == engine.ApprovalReleased {
					continue
				}
				e := &engine.Entry{ApprovalID: a.ID}
				e.TenantID = tenant
				for _, person := range []string{"anna", "ben"} {
					if _, err := g.Vote(t.Context(), yes(e, person)); err != nil && notCounted(err) != "counted_already" {
						t.Error(err)
					}
				}
				mustStand(t, s, e, engine.ApprovalReleased)
			}
		}
		t.Logf("after the kills: %v", ends)
		if ends[engine.ApprovalReleased] == 0 {
			t.Error("nothing was released before the kills")
		}
		storetest.CheckLog(t, url, nil)
	})
}

func killVoter(t *testing.T, url string, told map[string][]string) {
	runAndKill(t, voterEnv, url, func(f []string) bool {
		if len(f) < 4 || f[0] != "told" {
			return false
		}
		told[f[2]] = append(f[3:], "")
		return true
	})
}
