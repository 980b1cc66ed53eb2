package peers

import (
	"net/netip"
	"strings"

	"github.com/tiergate/tiergate/engine"
)

// Handwritten is the decision tree written for speed in Go: the floor for any
// engine. The input is parsed beforehand, as far as that does not depend on
// the request: constraints are, since they could be when they are stored; the
// target is not.
func Handwritten() Peer {
	return Peer{Name: "hand-written Go", Prepare: func(doc []byte) (Ask, error) {
		in, err := parseInput(doc)
		if err != nil {
			return nil, err
		}
		return func() (Answer, error) { return in.decide(), nil }, nil
	}}
}

var radii = map[string]engine.BlastRadius{}

func init() {
	for radius, names := range map[engine.BlastRadius]string{
		engine.Minimal: "notify_slack create_ticket chatops_verify search_siem ack_alert",
		engine.Low:     "quarantine_file capture_forensics add_ioc_to_blocklist run_av_scan create_notable_event suppress_alert",
		engine.Medium:  "block_ip allow_ip block_domain block_ioc reset_password force_mfa kill_process run_playbook sync_detection_rule update_watcher",
		engine.High:    "isolate_host disable_user suspend_session run_script",
	} {
		for _, n := range strings.Fields(names) {
			radii[n] = radius
		}
	}
}

// radiusOf is the action table: what it does not know is CRITICAL.
func radiusOf(actionType string) engine.BlastRadius {
	if r, ok := radii[actionType]; ok {
		return r
	}
	return engine.Critical
}

// none is shared: nobody writes to an answer.
var none = []string{}

func (in *input) decide() Answer {
	radius, label := radiusOf(in.action), engine.TierLabel(in.tier)
	switch {
	case in.inForce(engine.ModeBlock):
		return Answer{"blocked", engine.RuleBlockOverride,
			"A block override is in force for " + in.action + " on this target, so it must not run.", []string{"block_override"}}
	case in.stopped:
		return Answer{"queued_approval", engine.RuleStopped,
			"The tenant is stopped. Until it is released, " + in.action + " waits for approval.", none}
	case radius == engine.Critical:
		return Answer{"queued_approval", engine.RuleCriticalNeverAuto,
			"The blast radius of " + in.action + " is CRITICAL. It always waits for approval.", none}
	case in.inForce(engine.ModeRequireApproval):
		return Answer{"queued_approval", engine.RuleApprovalOverride,
			"A require_approval override is in force for " + in.action + " on this target, so it waits for approval at " + label + ".", []string{"require_approval_override"}}
	case in.inForce(engine.ModeForceAuto):
		return Answer{"auto", engine.RuleForceAutoOverride,
			"A force_auto override is in force for " + in.action + " on this target, so this " + radius.String() + " action runs by itself at " + label + ".", []string{"force_auto_override"}}
	case radius == engine.High && in.tier == 4:
		if id := in.whitelisted(); id != "" {
			return Answer{"auto", engine.RuleWhitelistMatch,
				"At " + label + " a HIGH action such as " + in.action + " runs by itself where the whitelist says so, and an entry is in force for this target.", []string{"whitelist:" + id}}
		}
		return Answer{"queued_approval", engine.RuleNoWhitelistMatch,
			"At " + label + " a HIGH action such as " + in.action + " runs by itself only where the whitelist says so, and no entry is in force for this target.", none}
	case radius <= engine.Medium && in.tier >= int(radius-engine.Minimal)+1:
		return Answer{"auto", engine.RuleTierAllows, label + " lets " + radius.String() + " actions such as " + in.action + " run by themselves.", none}
	}
	return Answer{"queued_approval", engine.RuleTierRequiresApproval,
		label + " does not let " + radius.String() + " actions such as " + in.action + " run by themselves, so it waits for approval.", none}
}

func (in *input) inForce(mode engine.Mode) bool {
	for i := range in.overrides {
		o := &in.overrides[i]
		if o.mode != mode || in.now >= o.expires {
			continue
		}
		if mode == engine.ModeForceAuto {
			if in.widens(&o.rule) {
				return true
			}
		} else if in.narrows(&o.rule) {
			return true
		}
	}
	return false
}

func (in *input) whitelisted() (smallest string) {
	for i := range in.whitelist {
		w := &in.whitelist[i]
		if w.action == in.action && in.now < w.expires && (smallest == "" || w.id < smallest) && w.HasTarget() && in.widens(&w.rule) {
			smallest = w.id
		}
	}
	return smallest
}

// widens: every constraint is sound and met.
func (in *input) widens(r *rule) bool {
	if !r.sound || r.MinConfidence != nil && (in.confidence == nil || *in.confidence < *r.MinConfidence) {
		return false
	}
	if r.Target != nil && !anyOf(r.Target, func(s string) bool { return s == in.target }) ||
		r.TargetPrefix != nil && !anyOf(r.TargetPrefix, func(s string) bool { return strings.HasPrefix(in.target, s) }) {
		return false
	}
	if r.TargetCIDR == nil && r.NotTargetCIDR == nil {
		return true
	}
	t, ok := engine.ParseTarget(in.target)
	return ok && (r.TargetCIDR == nil || anyOf(r.TargetCIDR, func(n netip.Prefix) bool { return n.Bits() <= t.Bits() && n.Contains(t.Addr()) })) &&
		!anyOf(r.NotTargetCIDR, func(n netip.Prefix) bool { return overlap(n, t) })
}

// narrows: no constraint is sound and unmet; an unsound one was dropped.
func (in *input) narrows(r *rule) bool {
	if r.Target != nil && !anyOf(r.Target, func(s string) bool { return strings.EqualFold(s, in.target) }) ||
		r.TargetPrefix != nil && !anyOf(r.TargetPrefix, func(s string) bool {
			return len(s) <= len(in.target) && strings.EqualFold(s, in.target[:len(s)])
		}) {
		return false
	}
	if r.TargetCIDR == nil {
		return true
	}
	t, ok := engine.ParseTarget(in.target)
	return !ok || anyOf(r.TargetCIDR, func(n netip.Prefix) bool { return overlap(n, t) })
}

func anyOf[T any](list []T, holds func(T) bool) bool {
	for _, x := range list {
		if holds(x) {
			return true
		}
	}
	return false
}

var mapped = netip.MustParsePrefix("::ffff:0:0/96")

// overlap: an IPv6 network that holds ::ffff:0:0/96 overlaps every IPv4 one.
func overlap(a, b netip.Prefix) bool {
	switch {
	case a.Addr().Is4() == b.Addr().Is4():
		return a.Overlaps(b)
	case a.Addr().Is4():
		return b.Bits() < 96 && b.Overlaps(mapped)
	}
	return a.Bits() < 96 && a.Overlaps(mapped)
}
