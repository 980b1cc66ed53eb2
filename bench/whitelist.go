package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/tiergate/tiergate/store"
	"github.com/tiergate/tiergate/store/storetest"
)

const (
	whitelistRounds  = 5
	whitelistMatches = 2   // entries that each looked-up target matches, at every size
	whitelistTargets = 500 // different targets looked up, at every size
	listed           = "isolate_host"
)

// makeEntries fills the whitelist of one tenant in the database, in pairs that
// match one target and no other: a name and a prefix of it, or an address and
// its /24. $1 is the number of pairs. One statement, since a million calls of
// the API would take an hour.
const makeEntries = `INSERT INTO whitelist_entry (tenant_id, id, action_type, constraints, expires_at, reason, notify, set_by, set_at)
	SELECT 'acme', '0197f1c2-0000-7000-8000-' || lpad((2*i + k)::text, 12, '0'), '` + listed + `',
		(CASE WHEN i % 2 = 0 AND k = 0 THEN '{"target":"host:srv-' || i || '.dc"}'
			WHEN i % 2 = 0 THEN '{"target_prefix":"host:srv-' || i || '."}'
			WHEN k = 0 THEN '{"target":"' || net || '.7"}'
			ELSE '{"target_cidr":"' || net || '.0/24"}' END)::json,
		'2099-01-01', 'bench', '[]', 'bench', now()
	FROM (SELECT i, (11 + i/65536) || '.' || (i/256) % 256 || '.' || i % 256 AS net FROM generate_series(0, $1 - 1) AS i) AS pair,
		generate_series(0, 1) AS k`

// target is what the two entries of pair i match.
func target(i int) string {
	if i%2 == 0 {
		return "host:srv-" + strconv.Itoa(i) + ".dc"
	}
	return fmt.Sprintf("%d.%d.%d.7", 11+i/65536, i/256%256, i%256)
}

// lookup is what a lookup costs.
type lookup struct{ p50, p99, first time.Duration }

func whitelistTable(ctx context.Context, o *options) (*table, error) {
	t := &table{title: "Whitelist: the facts of one decision", header: []string{"entries", "p50", "p99", "first p50", "p50 / 1,000 entries"}}
	sizes := []int{1_000, 100_000, 1_000_000}
	found := make([]lookup, len(sizes))
	err := withScratch(ctx, func(s *scratch) error {
		lists := make([]*whitelist, len(sizes))
		for i, n := range sizes {
			o.say("whitelist: making and loading %d entries", n)
			var err error
			if lists[i], err = newWhitelist(s, n); err != nil {
				return fmt.Errorf("%d entries: %w", n, err)
			}
		}
		// In turns, as everywhere.
		rounds := make([][]lookup, len(sizes))
		for round := range whitelistRounds {
			for i, w := range lists {
				o.say("whitelist: round %d of %d, %d entries", round+1, whitelistRounds, sizes[i])
				l, err := w.measure(ctx, o.benchtime/whitelistRounds)
				if err != nil {
					return err
				}
				rounds[i] = append(rounds[i], l)
			}
		}
		for i := range sizes {
			var p50, p99 []time.Duration
			for _, l := range rounds[i] {
				p50, p99 = append(p50, l.p50), append(p99, l.p99)
			}
			found[i] = lookup{median(p50), median(p99), lists[i].first}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, n := range sizes {
		t.add(strconv.Itoa(n), micros(found[i].p50), micros(found[i].p99), micros(found[i].first), times(ratio(found[i].p50, found[0].p50)))
	}
	small, large := found[0], found[len(found)-1]
	t.goal(ratio(large.p50, small.p50) <= 4, "1,000,000 entries take %s of 1,000 (goal: at most 4×)", times(ratio(large.p50, small.p50)))
	t.goal(large.p50 <= 10*time.Microsecond, "%s at 1,000,000 entries (goal: at most 10 µs)", micros(large.p50))
	t.note("Store.Facts for one tenant and action type, half of the lookups for names and half for addresses: tier, overrides and the %d whitelist entries that match, of any number. The same %d targets over and over; \"first\" is each target's first lookup, which also makes the form of its entries that the policy reads.", whitelistMatches, whitelistTargets)
	return t, nil
}

// whitelist is a store with n entries, and targets to look up.
type whitelist struct {
	store   *store.Store
	targets []string
	first   time.Duration
}

func newWhitelist(s *scratch, n int) (*whitelist, error) {
	url := storetest.Postgres(s)
	if err := store.Migrate(s.ctx, url); err != nil {
		return nil, err
	}
	db := storetest.DB(s, url)
	for _, query := range []string{
		`INSERT INTO tenant_head (tenant_id) VALUES ('acme')`,
		`INSERT INTO tenant (tenant_id, maturity_tier, changed_by, changed_at) VALUES ('acme', 4, 'bench', now())`,
	} {
		if _, err := db.ExecContext(s.ctx, query); err != nil {
			return nil, err
		}
	}
	if _, err := db.ExecContext(s.ctx, makeEntries, n/2); err != nil {
		return nil, err
	}
	w := &whitelist{store: storetest.Open(s, url)}
	r := rand.New(rand.NewPCG(42, 42))
	for _, i := range r.Perm(n / 2)[:whitelistTargets] {
		w.targets = append(w.targets, target(i))
	}
	var err error
	took := make([]time.Duration, 0, whitelistTargets)
	if took, err = w.lookUpAll(took); err != nil {
		return nil, err
	}
	slices.Sort(took)
	w.first = percentile(took, 50)
	return w, nil
}

// lookUpAll times a lookup of every target and checks what it found.
func (w *whitelist) lookUpAll(took []time.Duration) ([]time.Duration, error) {
	now := time.Now()
	for _, target := range w.targets {
		start := time.Now()
		f, err := w.store.Facts("acme", listed, target, now)
		took = append(took, time.Since(start))
		if err != nil {
			return nil, err
		}
		if len(f.Whitelist) != whitelistMatches {
			return nil, fmt.Errorf("%d entries match %s, want %d", len(f.Whitelist), target, whitelistMatches)
		}
	}
	return took, nil
}

func (w *whitelist) measure(ctx context.Context, d time.Duration) (lookup, error) {
	overhead := clockCost()
	runtime.GC()
	took := make([]time.Duration, 0, 1<<20)
	var err error
	for start := time.Now(); time.Since(start) < d && len(took)+len(w.targets) <= cap(took); {
		if took, err = w.lookUpAll(took); err != nil {
			return lookup{}, err
		}
		if err := ctx.Err(); err != nil {
			return lookup{}, err
		}
	}
	slices.Sort(took)
	return lookup{p50: percentile(took, 50) - overhead, p99: percentile(took, 99) - overhead}, nil
}
