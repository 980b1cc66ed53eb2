package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Vote is one person's yes or no to an approval.
type Vote struct {
	TenantID, ApprovalID string
	Person               string // whose credential it is
	Principal            string // name of the credential
	Roles                []string
	Verdict              string // EventApprove or EventDeny
	Comment              string
	// RolesNow returns the roles that the credential of that name has today
	// for the tenant: none where there is no such credential any more.
	RolesNow func(principal string) []string
}

// maxSteps is how often a step is judged anew when its approval, configuration
// or policy keeps changing under it.
const maxSteps = 5

// Vote counts a vote. With the last approval that is needed the action is
// decided again, under the bundle and the configuration of that moment, and the
// vote, that decision's row, and the release or refusal commit together or not
// at all. Any error but ErrUnavailable means that the vote was not counted; see
// ApprovalClosedError, NotCountedError and the Err values of this package.
func (g *Gate) Vote(ctx context.Context, v Vote) (*Approval, error) {
	return g.step(ctx, func(policy *active) (*Approval, error) { return g.voteOnce(ctx, policy, v) })
}

// Cancel takes an approval back, which only somebody who asked may do.
func (g *Gate) Cancel(ctx context.Context, tenant, id, person, principal, reason string) (*Approval, error) {
	return g.step(ctx, func(*active) (*Approval, error) {
		a, err := g.open(ctx, tenant, id)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(a.Requesters(), person) {
			return nil, ErrNotRequester
		}
		now := g.now().UTC().Truncate(time.Millisecond)
		if a.StatusAt(now) == ApprovalExpired {
			return nil, &ApprovalClosedError{ApprovalExpired}
		}
		s := ApprovalStep{TenantID: tenant, ID: id, Version: a.Version, After: *a}
		s.After.Status, s.After.ClosedBy = ApprovalCancelled, person
		s.Events = []ApprovalEvent{{Kind: EventCancelled, Status: ApprovalCancelled, Person: person, Principal: principal, Comment: reason, At: now}}
		return g.votes.StepApproval(ctx, s)
	})
}

func (g *Gate) step(ctx context.Context, once func(*active) (*Approval, error)) (*Approval, error) {
	if g.votes == nil {
		return nil, fmt.Errorf("approval: %w", ErrNotFound)
	}
	for try := 1; ; try++ {
		policy := g.active.Load()
		a, err := once(policy)
		switch {
		case try == maxSteps:
			return a, err
		case errors.Is(err, ErrStalePolicy):
			if !policy.wait(ctx) {
				return a, err
			}
		case errors.Is(err, ErrStaleEpoch), errors.Is(err, ErrApprovalMoved):
		default:
			return a, err
		}
	}
}

// open reads an approval that has not ended.
func (g *Gate) open(ctx context.Context, tenant, id string) (*Approval, error) {
	a, err := g.votes.Approval(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	if a.Status != ApprovalPending {
		return nil, &ApprovalClosedError{a.Status}
	}
	return a, nil
}

func (g *Gate) voteOnce(ctx context.Context, policy *active, v Vote) (*Approval, error) {
	a, err := g.open(ctx, v.TenantID, v.ApprovalID)
	if err != nil {
		return nil, err
	}
	j := judgement{g: g, policy: policy, a: a, v: v, now: g.now().UTC().Truncate(time.Millisecond)}
	if err := j.ask(ctx, nil); err != nil {
		return nil, err
	}
	var e *Entry
	if j.said.Outcome == OutcomeApproved {
		if e, err = j.decideAgain(ctx); err != nil {
			return nil, err
		}
	}
	if j.said.Outcome == OutcomeNotCounted {
		return nil, &NotCountedError{j.said.Rule, j.said.Rationale}
	}
	after, err := g.votes.StepApproval(ctx, j.step(e))
	if err != nil {
		return nil, err
	}
	if j.said.Outcome == OutcomeExpired {
		return nil, &ApprovalClosedError{ApprovalExpired}
	}
	return after, nil
}

// judgement is one vote before the policy.
type judgement struct {
	g      *Gate
	policy *active
	a      *Approval
	v      Vote
	now    time.Time

	said  Release
	input []byte // what the policy saw when it said so
	epoch int64  // of the configuration that the decision of now was made under
}

// ask asks the policy, with the decision of now once there is one.
func (j *judgement) ask(ctx context.Context, d *releaseDecision) (err error) {
	in := &releaseInput{
		Now: FormatTime(j.now),
		Approval: releaseApproval{
			ActionType: j.a.ActionType, BlastRadius: j.a.BlastRadius.String(), Requesters: j.a.Requesters(),
			OpenedAt: FormatTime(j.a.OpenedAt), ExpiresAt: FormatTime(j.a.ExpiresAt),
		},
		Decision: d,
	}
	for _, e := range j.a.Events {
		if e.Kind == EventApprove || e.Kind == EventDeny {
			in.Votes = append(in.Votes, releaseVote{e.Person, e.Roles, notNil(j.v.RolesNow(e.Principal)), e.Kind, FormatTime(e.At)})
		}
	}
	in.Votes = append(in.Votes, releaseVote{j.v.Person, notNil(j.v.Roles), notNil(j.v.RolesNow(j.v.Principal)), j.v.Verdict, FormatTime(j.now)})
	j.said, j.input, err = j.policy.policy.Release(ctx, in)
	if err != nil {
		j.g.logger.Error("the policy gave no usable answer about an approval; nothing was changed",
			"error", err, "bundle_hash", j.policy.policy.id.BundleHash, "tenant_id", j.a.TenantID, "approval_id", j.a.ID)
	}
	return err
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// decideAgain decides the action as it was first asked about, by the policy and
// the configuration of now, and asks the policy whether that releases it.
func (j *judgement) decideAgain(ctx context.Context) (*Entry, error) {
	first, err := j.g.votes.Entry(ctx, j.a.TenantID, j.a.DecisionID)
	if err != nil {
		return nil, fmt.Errorf("read the decision %s again: %w", j.a.DecisionID, err)
	}
	if first.ParametersDigest != "" && first.Parameters == nil {
		return nil, ErrParametersGone
	}
	r := first.Request
	r.ActionID = ""
	if ActionDigest(&r) != j.a.ActionDigest {
		return nil, fmt.Errorf("approval %s is for another action than its decision %s", j.a.ID, j.a.DecisionID)
	}
	facts, err := j.g.facts.Facts(r.TenantID, r.ActionType, r.Target, j.now)
	if err != nil {
		return nil, err
	}
	e, _, err := j.g.decideOn(ctx, j.policy, &r, &facts, j.now)
	if err != nil {
		return nil, err
	}
	e.ApprovalID, e.Supersedes = j.a.ID, j.a.DecisionID
	j.epoch = facts.Epoch
	if err := j.ask(ctx, &releaseDecision{e.Decision.String(), e.Rule, facts.Stopped}); err != nil {
		return nil, err
	}
	switch j.said.Outcome {
	case OutcomeReleased, OutcomeRefused:
		return e, nil
	case OutcomePending, OutcomeExpired: // then the decision is not one that anybody waits for
		return nil, nil
	}
	return nil, fmt.Errorf("%w: data.gate.release said approved, and %s once it knew the decision", ErrPolicy, j.said.Outcome)
}

// step is what the answer makes of the approval.
func (j *judgement) step(e *Entry) ApprovalStep {
	s := ApprovalStep{
		TenantID: j.a.TenantID, ID: j.a.ID, Version: j.a.Version, After: *j.a, Entry: e,
		Judged: true, ConfigEpoch: j.epoch, PolicyEpoch: j.policy.epoch,
	}
	s.After.Needed, s.After.Approvers = j.said.Needed, j.said.Approvers
	vote := ApprovalEvent{
		Kind: j.v.Verdict, Status: ApprovalPending, Person: j.v.Person, Principal: j.v.Principal, Roles: notNil(j.v.Roles), Comment: j.v.Comment, At: j.now,
		Rule: j.said.Rule, Rationale: j.said.Rationale, Input: j.input, BundleHash: j.policy.policy.id.BundleHash,
	}
	end := vote
	end.Comment, end.Roles = "", nil
	switch j.said.Outcome {
	case OutcomePending:
		s.Events = []ApprovalEvent{vote}
	case OutcomeDenied:
		vote.Status, s.After.Status, s.After.ClosedBy = ApprovalDenied, ApprovalDenied, j.v.Person
		s.Events = []ApprovalEvent{vote}
	case OutcomeExpired: // the vote came too late to be one
		end.Kind, end.Status, end.Person, end.Principal = EventExpired, ApprovalExpired, "system", "system"
		s.After.Status, s.After.ClosedBy = ApprovalExpired, "system"
		s.Events = []ApprovalEvent{end}
	case OutcomeReleased, OutcomeRefused:
		vote.Status, vote.Rule, vote.Rationale, vote.Input = ApprovalApproved, "", "", nil
		end.Kind, end.Status, end.DecisionID = string(j.said.Outcome), ApprovalStatus(j.said.Outcome), e.DecisionID
		s.After.Status, s.After.ClosedBy, s.After.ReleaseDecisionID = end.Status, j.v.Person, e.DecisionID
		if end.Status == ApprovalReleased {
			s.After.ValidUntil = j.now.Add(j.said.StartWithin)
		}
		s.Events = []ApprovalEvent{vote, end}
	}
	return s
}
