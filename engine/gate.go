package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/open-policy-agent/opa/v1/ast"
)

// maxTries is how often a request is decided when its tenant's configuration
// keeps changing under it.
const maxTries = 3

// policyPatience is how long a caller waits for a gate to take over a bundle
// that was activated elsewhere.
const policyPatience = time.Second

// Gate answers requests: it decides, makes the decision durable, then answers.
type Gate struct {
	facts  FactSource
	log    Log
	votes  Approvals
	active atomic.Pointer[active]
	shadow atomic.Pointer[Shadow]
	engine string
	now    func() time.Time
	logger *slog.Logger
}

// active is a policy at work. Immutable but for replaced, which is closed when
// another takes its place.
type active struct {
	policy   *Policy
	epoch    int64
	replaced chan struct{}
}

// GateOptions is what a Gate is made of.
type GateOptions struct {
	Facts         FactSource
	Log           Log
	Approvals     Approvals // nil: nobody can vote
	Policy        *Policy
	PolicyEpoch   int64            // of the activation of Policy
	EngineVersion string           // goes into every row
	Now           func() time.Time // default time.Now
	Logger        *slog.Logger     // default slog.Default
}

// NewGate makes a gate with an active policy.
func NewGate(o GateOptions) *Gate {
	g := &Gate{facts: o.Facts, log: o.Log, votes: o.Approvals, engine: o.EngineVersion, now: o.Now, logger: o.Logger}
	if g.now == nil {
		g.now = time.Now
	}
	if g.logger == nil {
		g.logger = slog.Default()
	}
	g.Activate(o.Policy, o.PolicyEpoch)
	return g
}

// Activate makes p, activated in the deployment as epoch, the policy of every
// request that begins from now on. Requests under way keep the one that they
// started with; where the log refuses it, they are decided again by p.
func (g *Gate) Activate(p *Policy, epoch int64) {
	old := g.active.Swap(&active{p, epoch, make(chan struct{})})
	if old != nil {
		close(old.replaced)
	}
}

// PolicyID names the active policy.
func (g *Gate) PolicyID() PolicyID { return g.active.Load().policy.ID() }

// Actions returns the active policy's action table.
func (g *Gate) Actions() []Action { return g.active.Load().policy.Actions() }

// Outcome is the answer to one request of several: Entry or Err.
type Outcome struct {
	Entry *Entry
	Err   error
}

// Decide answers one request. The entry it returns is durable (P1); any error
// means that no decision was given. See the Err values of this package.
func (g *Gate) Decide(ctx context.Context, r *Request) (*Entry, error) {
	o := g.DecideBatch(ctx, []*Request{r})[0]
	return o.Entry, o.Err
}

// DecideBatch answers several requests, in order, in as few commits as
// possible. They need not be of one tenant.
//
// Where an action_id comes again in one batch, the first is decided first.
func (g *Gate) DecideBatch(ctx context.Context, requests []*Request) []Outcome {
	out := make([]Outcome, len(requests))
	for _, wave := range waves(requests) {
		g.decideWave(ctx, requests, wave, out)
	}
	return out
}

// waves cuts the indexes of requests so that no action_id is twice in a wave.
func waves(requests []*Request) [][]int {
	var all [][]int
	type key struct{ tenant, action string }
	times := map[key]int{}
	for i, r := range requests {
		n := 0
		if r.ActionID != "" {
			k := key{r.TenantID, r.ActionID}
			n = times[k]
			times[k]++
		}
		if n == len(all) {
			all = append(all, nil)
		}
		all[n] = append(all[n], i)
	}
	return all
}

// decideWave decides the requests whose indexes are pending, into out.
func (g *Gate) decideWave(ctx context.Context, requests []*Request, pending []int, out []Outcome) {
	for try := 1; len(pending) > 0; try++ {
		policy, shadow := g.active.Load(), g.shadow.Load()
		entries := make([]*Entry, 0, len(pending))
		var seen []shadowed // parallel to entries, where there is a shadow
		var keep *[]shadowed
		if shadow != nil {
			keep = &seen
		}
		asked := pending[:0]
		for _, i := range pending {
			e, err := g.decideOnce(ctx, policy, requests[i], keep)
			if err != nil {
				out[i].Err = err
				continue
			}
			entries = append(entries, e)
			asked = append(asked, i)
		}
		pending = asked[:0]
		if len(entries) == 0 {
			break
		}
		overtaken := false
		for k, res := range g.log.Append(ctx, entries) {
			i := asked[k]
			stale := errors.Is(res.Err, ErrStalePolicy)
			if (stale || errors.Is(res.Err, ErrStaleEpoch)) && try < maxTries {
				pending = append(pending, i)
				overtaken = overtaken || stale
				continue
			}
			out[i] = g.answer(requests[i], res)
			if shadow != nil && res.Err == nil && !res.Repeated {
				shadow.offer(seen[k])
			}
		}
		if overtaken && !policy.wait(ctx) {
			for _, i := range pending {
				out[i].Err = ErrStalePolicy
			}
			return
		}
	}
}

// wait waits until another policy has taken this one's place, for as long as a
// caller is kept waiting, and reports whether one has.
func (a *active) wait(ctx context.Context) bool {
	timer := time.NewTimer(policyPatience)
	defer timer.Stop()
	select {
	case <-a.replaced:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

// decideOnce gathers facts and asks the policy. It changes nothing. What
// the policy saw is added to seen, if that is not nil.
func (g *Gate) decideOnce(ctx context.Context, a *active, r *Request, seen *[]shadowed) (*Entry, error) {
	now := g.now().UTC().Truncate(time.Millisecond)
	facts, err := g.facts.Facts(r.TenantID, r.ActionType, r.Target, now)
	if err != nil {
		return nil, err
	}
	e, doc, err := g.decideOn(ctx, a, r, &facts, now)
	if err == nil && seen != nil {
		*seen = append(*seen, shadowed{e, doc, facts})
	}
	return e, err
}

func (g *Gate) decideOn(ctx context.Context, a *active, r *Request, facts *Facts, now time.Time) (*Entry, ast.Value, error) {
	p := a.policy
	text, doc := newInput(r, facts, now, p.readsParameters)
	verdict, err := p.Decide(ctx, doc)
	if err != nil {
		g.logger.Error("the policy gave no usable verdict; nothing was answered",
			"error", err, "bundle_hash", p.id.BundleHash, "tenant_id", r.TenantID, "action_type", r.ActionType)
		return nil, nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, nil, fmt.Errorf("make a decision id: %w", err)
	}
	e := &Entry{
		DecisionID:    id.String(),
		Request:       *r,
		Verdict:       verdict,
		Policy:        p.id,
		Rollback:      p.Rollback(r.ActionType),
		Input:         text,
		EngineVersion: g.engine,
		ConfigEpoch:   facts.Epoch,
		PolicyEpoch:   a.epoch,
		DecidedAt:     now,
	}
	if e.ActionID == "" {
		action, err := uuid.NewV7()
		if err != nil {
			return nil, nil, fmt.Errorf("make an action id: %w", err)
		}
		e.ActionID, e.FreshActionID = action.String(), true
	}
	switch verdict.Decision {
	case QueuedApproval:
		e.Needed, e.Wait = p.askTerms(verdict.BlastRadius)
	case Auto:
		e.Notify = notifyOf(facts, verdict.OverridesApplied)
	}
	if r.Parameters != nil {
		sum := sha256.Sum256(r.Parameters)
		e.ParametersDigest = "sha256:" + hex.EncodeToString(sum[:])
	}
	return e, doc, nil
}

// answer turns what became of an entry into what the caller is told.
func (g *Gate) answer(r *Request, res AppendResult) Outcome {
	if res.Err != nil {
		return Outcome{Err: res.Err}
	}
	e := res.Entry
	if !res.Repeated {
		return Outcome{Entry: e}
	}
	if e.Digest != r.Digest {
		return Outcome{Err: ErrActionConflict}
	}
	if until, auto := e.ValidUntil(); auto && (e.ConfigEpoch != res.Epoch || e.PolicyEpoch != res.PolicyEpoch || !g.now().Before(until)) {
		return Outcome{Err: ErrSuperseded}
	}
	return Outcome{Entry: e}
}
