package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// newerPolicy is a log for which the bundle of epoch is the active one.
func newerPolicy(epoch int64) *faultyLog {
	return &faultyLog{answer: func(try int, e *engine.Entry) engine.AppendResult {
		if e.PolicyEpoch != epoch {
			return engine.AppendResult{Err: engine.ErrStalePolicy, PolicyEpoch: epoch}
		}
		r := written(try, e)
		r.PolicyEpoch = epoch
		return r
	}}
}

// A gate that is behind makes its callers wait until it has taken the active
// bundle over, and decides by that.
func TestCallersWaitForTheActiveBundle(t *testing.T) {
	policy := shippedPolicy(t)
	synctest.Test(t, func(t *testing.T) {
		log := newerPolicy(2)
		g := newGate(t, &fixedFacts{}, log)
		var wg sync.WaitGroup
		wg.Go(func() {
			started := time.Now()
			out := g.DecideBatch(t.Context(), []*engine.Request{&question, &question})
			for _, o := range out {
				if o.Err != nil || o.Entry.PolicyEpoch != 2 {
					t.Errorf("%+v", o)
				}
			}
			if took := time.Since(started); took != 300*time.Millisecond {
				t.Errorf("it took %s", took)
			}
		})
		time.Sleep(300 * time.Millisecond)
		g.Activate(policy, 2)
		wg.Wait()
		if log.tries != 2 {
			t.Errorf("%d appends", log.tries)
		}
	})
}

// …and gives no decision where it cannot in time.
func TestWithoutTheActiveBundleThereIsNoDecision(t *testing.T) {
	shippedPolicy(t)
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, &fixedFacts{}, newerPolicy(2))
		started := time.Now()
		if e, err := g.Decide(t.Context(), &question); e != nil || !errors.Is(err, engine.ErrStalePolicy) || time.Since(started) != time.Second {
			t.Errorf("%v %v after %s", e, err, time.Since(started))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		started = time.Now()
		if e, err := g.Decide(ctx, &question); e != nil || !errors.Is(err, engine.ErrStalePolicy) || time.Since(started) != 50*time.Millisecond {
			t.Errorf("%v %v after %s", e, err, time.Since(started))
		}
	})
}

// An auto that an older bundle gave holds no longer.
func TestAnActivationSupersedesStoredAutos(t *testing.T) {
	stored := &engine.Entry{DecisionID: "d", Request: question, ConfigEpoch: 1, PolicyEpoch: 1, DecidedAt: clock}
	stored.Decision = engine.Auto
	for epoch, want := range map[int64]error{1: nil, 2: engine.ErrSuperseded} {
		log := &faultyLog{answer: func(int, *engine.Entry) engine.AppendResult {
			return engine.AppendResult{Entry: stored, Repeated: true, Epoch: 1, PolicyEpoch: epoch}
		}}
		if _, err := newGate(t, &fixedFacts{}, log).Decide(t.Context(), &question); !errors.Is(err, want) {
			t.Errorf("at epoch %d: %v, want %v", epoch, err, want)
		}
	}
}
