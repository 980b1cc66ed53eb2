package engine

import "fmt"

// Decision says whether an action may run by itself. The zero value is no
// decision at all: code that forgets to set it can never let an action run.
type Decision uint8

const (
	undecided      Decision = iota
	Blocked                 // must not run
	QueuedApproval          // waits for a person
	Auto                    // may run now, by itself
)

var decisionText = [...]string{undecided: "", Blocked: "blocked", QueuedApproval: "queued_approval", Auto: "auto"}

// String returns the decision as it is spelled on the wire.
func (d Decision) String() string {
	if int(d) < len(decisionText) {
		return decisionText[d]
	}
	return fmt.Sprintf("Decision(%d)", uint8(d))
}

// ParseDecision reads the spelling of the wire; anything else is an error.
func ParseDecision(s string) (Decision, error) {
	for d := Blocked; d <= Auto; d++ {
		if decisionText[d] == s {
			return d, nil
		}
	}
	return undecided, fmt.Errorf("unknown decision %q: want auto, queued_approval or blocked", s)
}

// BlastRadius is how far the harm of a wrong action reaches. The zero value is
// none; an action type that no table knows counts as Critical.
type BlastRadius uint8

const (
	noRadius BlastRadius = iota
	Minimal
	Low
	Medium
	High
	Critical
)

var radiusText = [...]string{"", "MINIMAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"}

// String returns the radius as it is spelled on the wire.
func (r BlastRadius) String() string {
	if int(r) < len(radiusText) {
		return radiusText[r]
	}
	return fmt.Sprintf("BlastRadius(%d)", uint8(r))
}

// ParseBlastRadius reads the spelling of the wire; anything else is an error.
func ParseBlastRadius(s string) (BlastRadius, error) {
	for r := Minimal; r <= Critical; r++ {
		if radiusText[r] == s {
			return r, nil
		}
	}
	return noRadius, fmt.Errorf("unknown blast radius %q: want MINIMAL, LOW, MEDIUM, HIGH or CRITICAL", s)
}

// MaxTier is the highest maturity tier; tiers run from 0 (L0-Observe) to MaxTier.
const MaxTier = 4

var tierLabels = [MaxTier + 1]string{"L0-Observe", "L1-Notify", "L2-Contain", "L3-Remediate", "L4-Automate"}

// TierLabel names a maturity tier, or returns "" for a tier outside 0..4.
func TierLabel(tier int) string {
	if tier < 0 || tier > MaxTier {
		return ""
	}
	return tierLabels[tier]
}

// Verdict is what the policy says about one input: the decision and everything
// that explains it.
type Verdict struct {
	Decision         Decision
	Rule             string // the rule that decided, for example "tier_allows"
	Rationale        string // one or two sentences for a person
	BlastRadius      BlastRadius
	MaturityTier     int
	TierLabel        string
	OverridesApplied []string // never nil
}

// PolicyID names the policy that gave a verdict.
type PolicyID struct {
	Revision   string // semantic version from the bundle's manifest
	BundleHash string // "sha256:" and 64 hex digits
}

// The rules of the decision tree, in the order in which they are tried.
const (
	RuleBlockOverride        = "block_override"
	RuleStopped              = "stopped"
	RuleCriticalNeverAuto    = "critical_never_auto"
	RuleApprovalOverride     = "approval_override"
	RuleForceAutoOverride    = "force_auto_override"
	RuleWhitelistMatch       = "whitelist_match"
	RuleNoWhitelistMatch     = "no_whitelist_match"
	RuleTierAllows           = "tier_allows"
	RuleTierRequiresApproval = "tier_requires_approval"
)

// ruleDecision is what each rule may decide. A verdict that pairs them
// otherwise is no verdict.
var ruleDecision = map[string]Decision{
	RuleBlockOverride:        Blocked,
	RuleStopped:              QueuedApproval,
	RuleCriticalNeverAuto:    QueuedApproval,
	RuleApprovalOverride:     QueuedApproval,
	RuleForceAutoOverride:    Auto,
	RuleWhitelistMatch:       Auto,
	RuleNoWhitelistMatch:     QueuedApproval,
	RuleTierAllows:           Auto,
	RuleTierRequiresApproval: QueuedApproval,
}
