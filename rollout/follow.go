package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// followPatience bounds one look at the head, less the proof that it may need.
const followPatience = 10 * time.Second

// maxPause is the longest pause between two tries to take over one bundle.
const maxPause = 30 * time.Second

// follow keeps this gate on the deployment's bundles until Close.
func (r *Rollout) follow() {
	tick := time.NewTicker(r.o.Poll)
	defer tick.Stop()
	var failed struct {
		change  int64
		pause   time.Duration
		notTill time.Time
	}
	unread := false
	for {
		select {
		case <-r.base.Done():
			return
		case <-r.store.PolicyNews():
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(r.base, followPatience)
		head, err := r.store.PolicyHead(ctx)
		cancel()
		if err != nil {
			if !unread && r.base.Err() == nil {
				r.log.Warn("cannot ask the database for the active bundle; trying on", "error", err)
			}
			unread = true
			continue
		}
		unread = false
		if head.ChangeID == failed.change && time.Now().Before(failed.notTill) {
			continue
		}
		if err := r.takeOver(r.base, head); err != nil {
			if failed.change != head.ChangeID {
				failed.pause = 0
			}
			failed.change, failed.pause = head.ChangeID, min(maxPause, max(r.o.Poll, 2*failed.pause))
			failed.notTill = time.Now().Add(failed.pause)
			if r.base.Err() == nil {
				r.log.Error("this gate cannot go over to the active bundle; it answers nothing until it can", "active_bundle", head.Active, "policy_epoch", head.Epoch, "error", err)
			}
			continue
		}
		failed.change = 0
	}
}

// takeOver makes this gate run what head says, if it does not yet. An error
// leaves the gate on the policy that it had, with which the log takes no row.
func (r *Rollout) takeOver(ctx context.Context, head engine.PolicyHead) error {
	r.taking.Lock()
	defer r.taking.Unlock()
	now, epoch := r.Policy()
	if head.Epoch < epoch {
		// Read before another took over, or the database was restored from an
		// older copy: only the database knows.
		var err error
		if head, err = r.store.PolicyHead(ctx); err != nil {
			return err
		}
		if head.Epoch < epoch {
			r.log.Error("the database is behind what this gate has seen: it was restored or replaced", "database_epoch", head.Epoch, "seen_epoch", epoch)
		}
	}
	if head.Epoch == 0 {
		err := errors.New("the database has no active bundle any more: start the gate anew")
		r.setFault(err)
		return err
	}
	if head.Epoch != epoch || head.Active != now.ID().BundleHash {
		p := now
		if head.Active != now.ID().BundleHash {
			var err error
			r.setFault(fmt.Errorf("the active bundle %s is being taken over", head.Active))
			if p, err = r.fit(ctx, head.Active); err != nil {
				r.setFault(fmt.Errorf("the active bundle %s cannot be used here: %w", head.Active, err))
				return err
			}
		}
		r.mu.Lock()
		r.running = running{p, head.Epoch}
		r.mu.Unlock()
		r.gate.Activate(p, head.Epoch)
		r.metrics.takeovers.Inc()
		r.log.Info("bundle is active", "revision", p.ID().Revision, "bundle_hash", p.ID().BundleHash, "policy_epoch", head.Epoch)
	}
	r.setFault(nil)
	active, _ := r.Policy()
	r.takeShadow(ctx, head, active)
	return nil
}

func (r *Rollout) setFault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = err
}
