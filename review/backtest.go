package review

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tiergate/tiergate/engine"
)

// LogPages returns the next rows of a gate log, none at its end. It is called
// by one goroutine at a time and may reuse nothing of what it returned.
type LogPages func(ctx context.Context) ([]engine.LoggedDecision, error)

// BundleSource returns the policy with that bundle hash, or engine.ErrNotFound.
// It is called once for each hash.
type BundleSource func(ctx context.Context, hash string) (*engine.Policy, error)

// BacktestOptions says what is decided again. New, Log and Bundles are required.
type BacktestOptions struct {
	New     *engine.Policy // the policy under review
	Log     LogPages
	Bundles BundleSource // the policies that rows name
	Samples int          // how many decisions stand for each finding; 0: 5
	Workers int          // 0: one for each core
}

// Backtest decides every row of a log twice: by the policy that the row names,
// which must say what the row says (promise P4), and by New, whose decision is
// compared with the logged one. It reads a page at a time and keeps counts and
// samples only. Nothing that it could not do is left out of the report.
//
// If ctx ends or the log cannot be read, it returns what it found so far and
// the error.
func Backtest(ctx context.Context, o BacktestOptions) (*BacktestReport, error) {
	if o.Samples <= 0 {
		o.Samples = 5
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages := make(chan []engine.LoggedDecision, o.Workers)
	policies := &policyCache{source: o.Bundles, known: map[string]*cachedPolicy{}}
	tallies := make([]*tally, o.Workers)
	var wg sync.WaitGroup
	for i := range tallies {
		tallies[i] = newTally(o.Samples)
		wg.Go(func() {
			r := replayer{new: o.New, policies: policies, tally: tallies[i]}
			for page := range pages {
				for j := range page {
					if ctx.Err() != nil {
						return
					}
					r.replay(ctx, &page[j])
				}
			}
		})
	}
	err := feed(ctx, o.Log, pages)
	if err != nil {
		cancel() // the report says how far it came; nobody waits for the rest
	}
	close(pages)
	wg.Wait()
	for _, t := range tallies[1:] {
		tallies[0].merge(t)
	}
	return tallies[0].report(o.New.ID(), time.Since(start), o.Workers), err
}

// feed reads pages into the channel until the log or ctx ends.
func feed(ctx context.Context, log LogPages, pages chan<- []engine.LoggedDecision) error {
	for {
		page, err := log(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || len(page) == 0 {
			return err
		}
		select {
		case pages <- page:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// replayer decides rows again, for one worker.
type replayer struct {
	new      *engine.Policy
	policies *policyCache
	tally    *tally
	hash     string // of last
	last     *cachedPolicy
}

func (r *replayer) replay(ctx context.Context, row *engine.LoggedDecision) {
	t := r.tally
	if row.Fault != nil {
		t.read(row, SkipRow, "", row.Fault.Error())
		return
	}
	if len(row.Input) == 0 {
		t.read(row, SkipNoInput, "", "")
		return
	}
	input, err := engine.ParseDocument(row.Input)
	if err != nil {
		t.read(row, SkipInput, "", err.Error())
		return
	}
	if r.last == nil || r.hash != row.BundleHash {
		r.hash, r.last = row.BundleHash, r.policies.get(ctx, row.BundleHash)
	}
	old := r.last
	var own, verdict engine.Verdict
	if old.err == nil {
		own, err = decide(ctx, old.policy, input)
	}
	if ctx.Err() != nil {
		return // an evaluation that was interrupted says nothing
	}
	t.rows++
	// What New is held against: what the row's own bundle says, or what the row
	// says where that bundle cannot be asked.
	before, known := own, old.err == nil && err == nil
	switch {
	case errors.Is(old.err, engine.ErrNotFound):
		t.skip(row, SkipNoBundle, row.BundleHash, "")
	case old.err != nil:
		t.skip(row, SkipBundle, row.BundleHash, old.err.Error())
	default:
		t.replayed++
		if d := Differences(row, input, &own, err); len(d) > 0 {
			t.violate(row, d)
		}
	}
	if !known {
		if before, err = loggedVerdict(row); err != nil {
			t.skip(row, SkipDecision, "", err.Error())
			return
		}
	}
	if known && old.policy == r.new {
		verdict = own
	} else {
		if input = r.newInput(row, input); input == nil {
			t.skip(row, SkipParameters, "", "")
			return
		}
		verdict, err = decide(ctx, r.new, input)
	}
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		t.skip(row, SkipNewFails, "", err.Error())
	default:
		t.compare(row, &before, &verdict)
	}
}

// decide tries again where the policy gave no decision: on a busy machine an
// evaluation can miss its deadline, and that is no finding.
func decide(ctx context.Context, p *engine.Policy, input ast.Value) (v engine.Verdict, err error) {
	for range 3 {
		if v, err = p.Decide(ctx, input); err == nil || ctx.Err() != nil {
			break
		}
	}
	return v, err
}

// policyCache asks its source once for each hash.
type policyCache struct {
	source BundleSource
	mu     sync.Mutex
	known  map[string]*cachedPolicy
}

type cachedPolicy struct {
	once   sync.Once
	policy *engine.Policy
	err    error
}

func (c *policyCache) get(ctx context.Context, hash string) *cachedPolicy {
	c.mu.Lock()
	p := c.known[hash]
	if p == nil {
		p = &cachedPolicy{}
		c.known[hash] = p
	}
	c.mu.Unlock()
	p.once.Do(func() { p.policy, p.err = c.source(ctx, hash) })
	return p
}
