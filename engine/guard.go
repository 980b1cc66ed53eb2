package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// MaxRationaleBytes bounds what a policy may say in one verdict.
const MaxRationaleBytes = 4096

var (
	keyDecision         = ast.InternedTerm("decision")
	keyRule             = ast.InternedTerm("rule")
	keyRationale        = ast.InternedTerm("rationale")
	keyBlastRadius      = ast.InternedTerm("blast_radius")
	keyTierLabel        = ast.InternedTerm("tier_label")
	keyOverridesApplied = ast.InternedTerm("overrides_applied")
)

// parseVerdict reads the value of data.gate.decision: an object with exactly
// the seven keys of CONTRACT, each of its type.
func parseVerdict(t *ast.Term) (v Verdict, err error) {
	o, ok := t.Value.(ast.Object)
	if !ok {
		return v, fmt.Errorf("the decision is %s, not an object", ast.ValueName(t.Value))
	}
	if o.Len() != 7 {
		return v, fmt.Errorf("the decision has %d keys, want 7", o.Len())
	}
	text := func(key *ast.Term) string {
		s, isString := valueOf(o, key).(ast.String)
		if !isString && err == nil {
			err = fmt.Errorf("the decision's %s is missing or no string", key.Value)
		}
		return string(s)
	}
	decision, radius := text(keyDecision), text(keyBlastRadius)
	v.Rule, v.Rationale, v.TierLabel = text(keyRule), text(keyRationale), text(keyTierLabel)
	if err != nil {
		return Verdict{}, err
	}
	tier, isNumber := valueOf(o, keyTier).(ast.Number)
	if v.MaturityTier, ok = tier.Int(); !isNumber || !ok {
		return Verdict{}, errors.New("the decision's maturity_tier is missing or no integer")
	}
	applied, ok := valueOf(o, keyOverridesApplied).(*ast.Array)
	if !ok {
		return Verdict{}, errors.New("the decision's overrides_applied is missing or no array")
	}
	v.OverridesApplied = make([]string, applied.Len())
	for i := range v.OverridesApplied {
		s, ok := applied.Elem(i).Value.(ast.String)
		if !ok {
			return Verdict{}, errors.New("the decision's overrides_applied holds what is no string")
		}
		v.OverridesApplied[i] = string(s)
	}
	if v.Decision, err = ParseDecision(decision); err != nil {
		return Verdict{}, err
	}
	if v.BlastRadius, err = ParseBlastRadius(radius); err != nil {
		return Verdict{}, err
	}
	return v, nil
}

// guard checks what must hold for any policy whatever (P2, P3). It never
// changes a verdict: one that does not pass is none.
func (p *Policy) guard(v *Verdict, input ast.Value) error {
	if v.BlastRadius == Critical && v.Decision == Auto {
		return errors.New("CRITICAL is never auto")
	}
	want, known := ruleDecision[v.Rule]
	if !known {
		return fmt.Errorf("unknown rule %q", v.Rule)
	}
	if v.Decision != want {
		return fmt.Errorf("rule %s decides %s, not %s", v.Rule, want, v.Decision)
	}
	if (v.Rule == RuleCriticalNeverAuto) != (v.BlastRadius == Critical) && v.Rule != RuleBlockOverride && v.Rule != RuleStopped {
		return fmt.Errorf("rule %s does not go with radius %s", v.Rule, v.BlastRadius)
	}
	if strings.TrimSpace(v.Rationale) == "" || len(v.Rationale) > MaxRationaleBytes {
		return fmt.Errorf("the rationale is empty or longer than %d bytes", MaxRationaleBytes)
	}
	radius := Critical
	request, tenant := valueOf(input, keyRequest), valueOf(input, keyTenant)
	if actionType, ok := valueOf(request, keyActionType).(ast.String); ok {
		if a, ok := p.actionByType[string(actionType)]; ok {
			radius = a.BlastRadius
		}
	}
	if v.BlastRadius != radius {
		return fmt.Errorf("the radius is %s, the action table says %s", v.BlastRadius, radius)
	}
	tier, _ := valueOf(tenant, keyTier).(ast.Number)
	if n, ok := tier.Int(); !ok || n != v.MaturityTier || v.TierLabel != TierLabel(n) || v.TierLabel == "" {
		return fmt.Errorf("the tier is %d %s, the tenant's is %s", v.MaturityTier, v.TierLabel, tier)
	}
	if stopped, _ := valueOf(tenant, keyStopped).(ast.Boolean); bool(stopped) && v.Decision == Auto {
		return errors.New("nothing is auto while the tenant is stopped")
	}
	return nil
}

func valueOf(v ast.Value, key *ast.Term) ast.Value {
	if o, ok := v.(ast.Object); ok {
		if t := o.Get(key); t != nil {
			return t.Value
		}
	}
	return nil
}

// tryOut decides every action type and an unknown one at every tier, bare, with
// each mode of override, stopped, and with a whitelist entry that matches. It
// finds bundles whose decision is undefined, in conflict, endless or refused by
// a guard, before they are active; and a plan that does not say what topdown says.
func (p *Policy) tryOut(ctx context.Context) error {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	overrides := [][]*Override{nil}
	for _, m := range []Mode{ModeBlock, ModeRequireApproval, ModeForceAuto} {
		overrides = append(overrides, []*Override{NewOverride(Override{Mode: m, Constraints: []byte(`{}`)})})
	}
	types := []string{"no_such_action_type"}
	for _, a := range p.actions {
		types = append(types, a.ActionType)
	}
	for _, actionType := range types {
		entry := NewWhitelistEntry(WhitelistEntry{ID: "w", ActionType: actionType,
			Constraints: []byte(`{"target":"host:a"}`), ExpiresAt: now.Add(time.Hour)})
		for tier := 0; tier <= MaxTier; tier++ {
			for variant := range len(overrides) + 2 {
				f := Facts{TenantID: "t", MaturityTier: tier}
				switch variant {
				case len(overrides):
					f.Stopped = true
				case len(overrides) + 1:
					f.Whitelist = []*WhitelistEntry{entry}
				default:
					f.Overrides = overrides[variant]
				}
				r := Request{TenantID: "t", ActionType: actionType, Target: "host:a", Actor: "system"}
				text, doc := newInput(&r, &f, now, false)
				err := patiently(ctx, func() error {
					if _, err := p.Decide(ctx, doc); err != nil {
						return err
					}
					return p.evaluatorsAgree(ctx, doc)
				})
				if err != nil {
					return fmt.Errorf("input %s: %w", text, err)
				}
			}
		}
	}
	return nil
}

// patiently tries again what runs out of time, maxSlow times: whether a bundle can
// be used must not depend on how busy the machine is.
func patiently(ctx context.Context, try func() error) (err error) {
	for range maxSlow {
		if err = try(); err == nil || !errors.Is(err, errLate) && !topdown.IsCancel(err) || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrTooSlow, err)
}

// evaluatorsAgree compares the plan with topdown on one input.
func (p *Policy) evaluatorsAgree(ctx context.Context, input ast.Value) error {
	if p.plan == nil {
		return nil
	}
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(EvalTimeout, cancel.Cancel)
	defer timer.Stop()
	want, err := p.evalTopdown(ctx, input, cancel)
	if err != nil {
		return fmt.Errorf("topdown: %w", err)
	}
	got, err := p.plan.eval(ctx, input, cancel, nil)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if got == nil || want == nil || ast.Compare(got.Value, want.Value) != 0 {
		return fmt.Errorf("the plan says %v, topdown says %v", got, want)
	}
	return nil
}
