package replay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/review"
)

// job is a row that a worker checks.
type job struct {
	item *evidence.Item
	at   place
	seen seen // of a decision
}

// worker checks rows whose order does not matter any more.
type worker struct {
	*checker
	hash string // of last
	last *policy
}

func (w *worker) check(ctx context.Context, j *job) {
	values, ok := w.leafOf(&j.at, j.item)
	if !ok {
		return
	}
	if err := w.input(j, values); err != nil {
		w.report.Add(j.at.fault(classOf(err), err.Error()))
		return
	}
	if j.item.Kind != audit.Decision {
		return
	}
	row := decisionOf(values, j.item)
	if err := row.underWhat(&j.seen); err != nil {
		w.report.Add(j.at.fault(Tampered, err.Error()))
	}
	if w.last == nil || w.hash != row.bundleHash {
		w.hash, w.last = row.bundleHash, w.policies.get(ctx, row.bundleHash)
	}
	if ctx.Err() != nil {
		return
	}
	err := safely(func() error { return row.facts(&j.seen, w.last.policy) })
	if err == nil {
		w.report.facts.Add(1)
		if w.NoRedecide {
			return
		}
		if err = safely(func() error { return row.redecide(ctx, w.last) }); err == nil && ctx.Err() == nil {
			w.report.redecided.Add(1)
		}
	}
	if err != nil && ctx.Err() == nil {
		w.report.Add(j.at.fault(classOf(err), err.Error()))
	}
}

// missing is an error of what is not there, and so cannot be checked.
type missing struct{ error }

func classOf(err error) Class {
	if _, ok := errors.AsType[missing](err); ok {
		return Incomplete
	}
	return Tampered
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// input holds what is kept beside the leaf against the leaf's digests.
func (w *worker) input(j *job, values []any) error {
	i := j.item
	if i.Kind != audit.Decision && i.Kind != audit.ApprovalEvent {
		return nil
	}
	want := textOf(values, i.Kind, "input")
	switch {
	case i.Input == nil && want != "":
		return missing{errors.New("its input is not here, so that what it saw cannot be checked")}
	case i.Input != nil && digestOf(i.Input) != want:
		return errors.New("the input is not the one that the policy saw: it has another digest")
	case i.Parameters != nil && digestOf(i.Parameters) != textOf(values, i.Kind, "parameters_digest"):
		return errors.New("the parameters are not those that were asked with: they have another digest")
	}
	return nil
}

// decision is a row of the gate log.
type decision struct {
	logSeq, tier, configEpoch, policyEpoch              int64
	decidedAt, bundleHash, revision, engineVersion      string
	rollback, parametersDigest                          string
	request                                             engine.Request
	decision, rule, rationale, radius, overridesApplied string
	input                                               []byte
}

func decisionOf(values []any, i *evidence.Item) *decision {
	text := func(c string) string { return textOf(values, audit.Decision, c) }
	number := func(c string) int64 { return integerOf(values, audit.Decision, c) }
	d := &decision{
		logSeq: number("log_seq"), tier: number("maturity_tier"), configEpoch: number("config_epoch"), policyEpoch: number("policy_epoch"),
		decidedAt: text("decided_at"), bundleHash: text("bundle_hash"), revision: text("policy_revision"), engineVersion: text("engine_version"),
		rollback: text("rollback"), parametersDigest: text("parameters_digest"),
		decision: text("decision"), rule: text("rule"), rationale: text("rationale"), radius: text("blast_radius"), overridesApplied: text("overrides_applied"),
		input:   i.Input,
		request: engine.Request{TenantID: text("tenant_id"), ActionType: text("action_type"), Target: text("target"), Actor: text("actor"), Parameters: i.Parameters},
	}
	if f, ok := values[column2index(audit.Decision, "confidence")].(float64); ok {
		d.request.Confidence = &f
	}
	return d
}

// underWhat checks the numbers of the row: its place in the log, and the
// configuration and policy that it names.
func (d *decision) underWhat(s *seen) error {
	switch {
	case s.logSeq >= 0 && d.logSeq != s.logSeq:
		return fmt.Errorf("decision %d was to be next", s.logSeq)
	case s.broken == "" && d.configEpoch != s.epoch:
		return fmt.Errorf("it names epoch %d of the configuration, and was committed under %d", d.configEpoch, s.epoch)
	case s.policy.epoch >= 0 && d.policyEpoch != s.policy.epoch:
		return fmt.Errorf("it names epoch %d of the policy, and was committed under %d", d.policyEpoch, s.policy.epoch)
	case s.policy.epoch > 0 && d.bundleHash != s.policy.active:
		return fmt.Errorf("it names bundle %.80s, and %.80s was active", d.bundleHash, s.policy.active)
	}
	return nil
}

// redecide asks the row's own bundle about the row's input.
func (d *decision) redecide(ctx context.Context, p *policy) error {
	if p.err != nil {
		return missing{fmt.Errorf("it cannot be decided again: bundle %.80s: %w", d.bundleHash, p.err)}
	}
	input, err := engine.ParseDocument(d.input)
	if err != nil {
		return fmt.Errorf("the input is none that could be decided: %w", err)
	}
	var v engine.Verdict
	for range 3 { // on a busy machine an evaluation can miss its deadline, and that is no finding
		if v, err = p.policy.Decide(ctx, input); err == nil || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	row := &engine.LoggedDecision{TenantID: d.request.TenantID, ActionType: d.request.ActionType, Decision: d.decision, Rule: d.rule, Rationale: d.rationale,
		BlastRadius: d.radius, MaturityTier: int(d.tier), OverridesApplied: d.overridesApplied}
	if list := review.Differences(row, input, &v, err); len(list) > 0 {
		f := list[0]
		return fmt.Errorf("decided again, %s is %.200q and not %.200q", f.Field, f.Now, f.Logged)
	}
	switch applied, _ := json.Marshal(v.OverridesApplied); {
	case string(applied) != d.overridesApplied:
		return fmt.Errorf("overrides_applied is spelled %.200q, as no gate does", d.overridesApplied)
	case p.policy.ID().Revision != d.revision:
		return fmt.Errorf("it names revision %.80q, and the bundle is %s", d.revision, p.policy.ID().Revision)
	case p.policy.Rollback(d.request.ActionType) != d.rollback:
		return errors.New("how the action is undone is not what the bundle says")
	}
	return nil
}

// policies asks for each bundle once.
type policies struct {
	load  Bundles
	mu    sync.Mutex
	known map[string]*policy
}

type policy struct {
	once   sync.Once
	policy *engine.Policy
	err    error
}

func (c *policies) get(ctx context.Context, hash string) *policy {
	c.mu.Lock()
	p := c.known[hash]
	if p == nil {
		if len(c.known) >= maxBundles {
			c.mu.Unlock()
			return &policy{err: fmt.Errorf("more than %d bundles are named", maxBundles)}
		}
		p = &policy{}
		c.known[hash] = p
	}
	c.mu.Unlock()
	p.once.Do(func() {
		p.err = safely(func() (err error) {
			p.policy, err = c.load(ctx, hash)
			return err
		})
	})
	return p
}

// maxBundles bounds how many policies are held; a deployment has some dozens.
const maxBundles = 10_000
