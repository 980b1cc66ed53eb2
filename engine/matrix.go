package engine

import (
	"context"
	"fmt"
	"time"
)

// MatrixRow is what a tenant's agent may do now with one action type, on a
// target that no constraint names.
type MatrixRow struct {
	ActionType  string
	BlastRadius BlastRadius
	Decision    Decision
	Rule        string
	Rationale   string
	AutoWhen    string // what would make it auto; says "already" where it is
	// Constrained lists the modes of overrides that stand for some targets only:
	// there, the decision may be another.
	Constrained []Mode
}

// matrixTarget stands for "some target": no address and equal to no name that
// a person would write into a constraint.
const matrixTarget = "any-target"

// Matrix decides every action type of the table for a tenant as it is now, and
// says what would make each automatic.
func (g *Gate) Matrix(ctx context.Context, tenant string) ([]MatrixRow, error) {
	p := g.active.Load().policy
	now := g.now().UTC().Truncate(time.Millisecond)
	rows := make([]MatrixRow, 0, len(p.actions))
	for _, a := range p.actions {
		facts, err := g.facts.Facts(tenant, a.ActionType, matrixTarget, now)
		if err != nil {
			return nil, err
		}
		v, err := p.decideFacts(ctx, a.ActionType, &facts, now)
		if err != nil {
			return nil, err
		}
		when, err := p.autoWhen(ctx, a, &facts, v, now)
		if err != nil {
			return nil, err
		}
		rows = append(rows, MatrixRow{a.ActionType, a.BlastRadius, v.Decision, v.Rule, v.Rationale, when, constrained(&facts, now)})
	}
	return rows, nil
}

func constrained(facts *Facts, now time.Time) []Mode {
	modes := []Mode{}
	for _, o := range facts.Overrides {
		if string(o.Constraints) != "{}" && (o.ExpiresAt == nil || now.Before(*o.ExpiresAt)) {
			modes = append(modes, o.Mode)
		}
	}
	return modes
}

// autoWhen tries changes from the smallest on and names the first that helps.
func (p *Policy) autoWhen(ctx context.Context, a Action, facts *Facts, v Verdict, now time.Time) (string, error) {
	if v.Decision == Auto {
		return "It is auto already.", nil
	}
	if a.BlastRadius == Critical {
		return "Nothing: CRITICAL always waits for approval.", nil
	}
	prefix := ""
	f := *facts
	if f.Stopped {
		f.Stopped = false
		prefix = "Releasing the tenant, and then "
	}
	if v.Rule == RuleBlockOverride || v.Rule == RuleApprovalOverride || prefix != "" {
		if len(without(f.Overrides, ModeBlock, ModeRequireApproval)) < len(f.Overrides) {
			f.Overrides = without(f.Overrides, ModeBlock, ModeRequireApproval)
			prefix += "removing the block or require_approval override, and then "
		}
	}
	for tier := f.MaturityTier; tier <= MaxTier; tier++ {
		f.MaturityTier = tier
		v, err := p.decideFacts(ctx, a.ActionType, &f, now)
		if err != nil {
			return "", err
		}
		if v.Decision == Auto {
			if tier == facts.MaturityTier {
				return sentence(prefix + "nothing more."), nil
			}
			return sentence(fmt.Sprintf("%sraising the tier to %s.", prefix, TierLabel(tier))), nil
		}
	}
	return sentence(prefix + "a force_auto override for the target, or a whitelist entry for it at L4-Automate."), nil
}

func sentence(s string) string {
	if s[0] >= 'a' && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}

func without(overrides []*Override, modes ...Mode) []*Override {
	var rest []*Override
next:
	for _, o := range overrides {
		for _, m := range modes {
			if o.Mode == m {
				continue next
			}
		}
		rest = append(rest, o)
	}
	return rest
}

func (p *Policy) decideFacts(ctx context.Context, actionType string, f *Facts, now time.Time) (Verdict, error) {
	r := Request{TenantID: f.TenantID, ActionType: actionType, Target: matrixTarget, Actor: "system"}
	_, doc := newInput(&r, f, now, false)
	return p.Decide(ctx, doc)
}

// StillAuto names the action types that a force_auto override keeps auto, for
// some target, above what the tenant's tier allows: so that nobody who lowers
// the tier believes that it stopped them.
func (g *Gate) StillAuto(ctx context.Context, tenant string) ([]string, error) {
	p := g.active.Load().policy
	now := g.now().UTC().Truncate(time.Millisecond)
	still := []string{}
	for _, a := range p.actions {
		facts, err := g.facts.Facts(tenant, a.ActionType, matrixTarget, now)
		if err != nil {
			return nil, err
		}
		forced := false
		for i, o := range facts.Overrides {
			// Its constraints are met for some target, unless they are unsound.
			if o.Mode == ModeForceAuto {
				if _, faults := ParseConstraints(o.Constraints, true); len(faults) > 0 {
					continue
				}
				forced = true
				overrides := append([]*Override(nil), facts.Overrides...)
				overrides[i] = NewOverride(Override{Mode: ModeForceAuto, Constraints: []byte(`{}`), ExpiresAt: o.ExpiresAt})
				facts.Overrides = overrides
			}
		}
		if !forced {
			continue
		}
		// A narrowing override with constraints leaves other targets forced.
		var unconditional []*Override
		for _, o := range facts.Overrides {
			if o.Mode == ModeForceAuto || string(o.Constraints) == "{}" {
				unconditional = append(unconditional, o)
			}
		}
		facts.Overrides = unconditional
		v, err := p.decideFacts(ctx, a.ActionType, &facts, now)
		if err != nil {
			return nil, err
		}
		if v.Rule != RuleForceAutoOverride {
			continue
		}
		facts.Overrides = nil
		if v, err = p.decideFacts(ctx, a.ActionType, &facts, now); err != nil {
			return nil, err
		}
		if v.Decision != Auto {
			still = append(still, a.ActionType)
		}
	}
	return still, nil
}
