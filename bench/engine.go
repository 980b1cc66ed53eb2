package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/tiergate/tiergate/bench/peers"
)

// Every figure is measured in rounds, in which the peers take turns; the
// median round counts.
const engineRounds = 5

// cost is what one decision costs.
type cost struct {
	p50, p99, mean time.Duration
	allocs         float64
}

func engineTable(ctx context.Context, o *options) (*table, error) {
	all, err := peers.All(ctx)
	if err != nil {
		return nil, err
	}
	asks := make([][]peers.Ask, len(all))
	for i, p := range all {
		for _, doc := range corpus() {
			ask, err := p.Prepare(doc)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
			asks[i] = append(asks[i], ask)
		}
	}
	rounds := make([][]cost, len(all))
	took := make([]time.Duration, 0, 1<<20)
	for round := range engineRounds {
		for i, p := range all {
			o.say("engine: round %d of %d, %s", round+1, engineRounds, p.Name)
			c, err := measureEngine(ctx, asks[i], o.benchtime/engineRounds, took)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, err)
			}
			rounds[i] = append(rounds[i], c)
		}
	}
	costs := map[string]cost{}
	for i, p := range all {
		costs[p.Name] = medianCost(rounds[i])
	}
	naive, gate := costs["plain OPA, naive policy"], costs["tiergate engine"]
	t := &table{
		title:  "Engine: one decision over corpus.jsonl",
		header: []string{"", "p50", "p99", "mean", "allocs/op", "p50 / plain OPA naive"},
	}
	for _, p := range all {
		c, name := costs[p.Name], p.Name
		if p.Part != "" {
			name += " †"
			t.note("† %s: %s.", p.Name, p.Part)
		}
		t.add(name, micros(c.p50), micros(c.p99), micros(c.mean), fmt.Sprintf("%.1f", c.allocs), fmt.Sprintf("%.3f", ratio(c.p50, naive.p50)))
	}
	t.note("The corpus: %d documents, 40%% that only the tier decides, 20%% with one override, 30%% with three whitelist candidates, 10%% of an unknown action type.", len(corpus()))
	t.note("Each call is timed alone, less the %s that two readings of the clock cost; mean and allocations are of calls without a clock.", micros(clockCost()))
	t.goal(ratio(gate.p50, naive.p50) <= 1.0/3, "the gate's p50 is %.3f of plain OPA's on the naive policy (goal: at most 0.333)", ratio(gate.p50, naive.p50))
	t.goal(ratio(gate.p99, gate.p50) <= 10, "the gate's p99 is %.1f times its p50 (goal: at most 10)", ratio(gate.p99, gate.p50))
	return t, nil
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// measureEngine asks about the whole corpus, over and over: for a third of d
// without a clock, then timing each call. took is room for the timings.
func measureEngine(ctx context.Context, asks []peers.Ask, d time.Duration, took []time.Duration) (c cost, err error) {
	overhead := clockCost()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, start := 0, time.Now()
	for time.Since(start) < d/3 {
		for _, ask := range asks {
			if _, err := ask(); err != nil {
				return c, err
			}
		}
		n += len(asks)
	}
	c.mean = time.Since(start) / time.Duration(n)
	runtime.ReadMemStats(&after)
	c.allocs = float64(after.Mallocs-before.Mallocs) / float64(n)

	took = took[:0]
	for start = time.Now(); time.Since(start) < d && len(took)+len(asks) <= cap(took); {
		for _, ask := range asks {
			one := time.Now()
			_, err := ask()
			took = append(took, time.Since(one)-overhead)
			if err != nil {
				return c, err
			}
		}
		if err := ctx.Err(); err != nil {
			return c, err
		}
	}
	slices.Sort(took)
	c.p50, c.p99 = percentile(took, 50), percentile(took, 99)
	return c, nil
}

// clockCost is what reading the clock twice adds to a timing.
func clockCost() time.Duration {
	took := make([]time.Duration, 10_000)
	for i := range took {
		start := time.Now()
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	return percentile(took, 50)
}

// percentile reads from sorted timings.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func medianCost(rounds []cost) cost {
	middle := func(of func(cost) time.Duration) time.Duration {
		var list []time.Duration
		for _, c := range rounds {
			list = append(list, of(c))
		}
		return median(list)
	}
	return cost{
		p50:    middle(func(c cost) time.Duration { return c.p50 }),
		p99:    middle(func(c cost) time.Duration { return c.p99 }),
		mean:   middle(func(c cost) time.Duration { return c.mean }),
		allocs: rounds[0].allocs,
	}
}

func median[T time.Duration | float64](list []T) T {
	list = slices.Clone(list)
	slices.Sort(list)
	if len(list) == 0 {
		return 0
	}
	return list[len(list)/2]
}
