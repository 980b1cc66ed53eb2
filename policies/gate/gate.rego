# METADATA
# title: The gate
# description: |
#   Decides whether one action of one tenant may run by itself. Everything it knows is in
#   `input`: the request, the tenant, the action type's overrides, the whitelist entries that
#   may match, and the clock. The tables are `data.gate.actions` and `data.gate.tiers`.
package gate

import data.gate.constraints
import data.gate.expiry

# METADATA
# title: The decision
# description: |
#   Gathers what the decision tree asks about and fills in the texts of the rule that decides.
# entrypoint: true
decision := _answer(
	_verdict(
		"block" in modes,
		object.get(input.tenant, "stopped", false),
		radius,
		"require_approval" in modes,
		"force_auto" in modes,
		tier.governs[radius],
	),
	radius,
	tier.label,
) if {
	tier := data.gate.tiers.levels[input.tenant.maturity_tier]
	radius := object.get(data.gate.actions, [input.request.action_type, "blast_radius"], "CRITICAL")
	modes := {override.mode | some override in input.overrides; _in_force(override.mode, override)}
}

_answer([rule, overrides_applied], blast_radius, tier_label) := {
	"decision": rule.decision,
	"rule": rule.rule,
	"rationale": sprintf(rule.rationale, [input.request.action_type, blast_radius, tier_label]),
	"blast_radius": blast_radius,
	"maturity_tier": input.tenant.maturity_tier,
	"tier_label": tier_label,
	"overrides_applied": overrides_applied,
}

# The decision tree. Its arguments are: is the action blocked, is the tenant stopped, the blast
# radius, must a person approve, is it forced, and what governs this radius at this tier. No two
# clauses hold for one input. In a rationale, %[1]s is the action type, %[2]s the blast radius and
# %[3]s the tier's label.

# METADATA
# title: A block override is in force
# custom:
#   rule: block_override
#   decision: blocked
#   rationale: A block override is in force for %[1]s on this target, so it must not run.
_verdict(true, _, _, _, _, _) := [rego.metadata.rule().custom, ["block_override"]]

# METADATA
# title: The tenant is stopped
# custom:
#   rule: stopped
#   decision: queued_approval
#   rationale: The tenant is stopped. Until it is released, %[1]s waits for approval, whatever else would let it run.
_verdict(false, true, _, _, _, _) := [rego.metadata.rule().custom, []]

# METADATA
# title: CRITICAL is never automatic
# custom:
#   rule: critical_never_auto
#   decision: queued_approval
#   rationale: The blast radius of %[1]s is CRITICAL, as is that of every action type the action table does not know. It always waits for approval; no tier, override or whitelist entry can change that.
_verdict(false, false, "CRITICAL", _, _, _) := [rego.metadata.rule().custom, []]

# METADATA
# title: An approval override is in force
# custom:
#   rule: approval_override
#   decision: queued_approval
#   rationale: A require_approval override is in force for %[1]s on this target, so it waits for approval at %[3]s.
_verdict(false, false, radius, true, _, _) := [rego.metadata.rule().custom, ["require_approval_override"]] if {
	radius != "CRITICAL"
}

# METADATA
# title: A force_auto override is in force
# custom:
#   rule: force_auto_override
#   decision: auto
#   rationale: A force_auto override is in force for %[1]s on this target, so this %[2]s action runs by itself at %[3]s.
_verdict(false, false, radius, false, true, _) := [rego.metadata.rule().custom, ["force_auto_override"]] if {
	radius != "CRITICAL"
}

# METADATA
# title: A whitelist entry matches
# custom:
#   rule: whitelist_match
#   decision: auto
#   rationale: At %[3]s a %[2]s action such as %[1]s runs by itself where the whitelist says so, and the entry named in overrides_applied is in force for this target.
_verdict(false, false, radius, false, false, "whitelist") := [rego.metadata.rule().custom, [concat("", ["whitelist:", _whitelist_id])]] if {
	radius != "CRITICAL"
}

# METADATA
# title: No whitelist entry matches
# custom:
#   rule: no_whitelist_match
#   decision: queued_approval
#   rationale: At %[3]s a %[2]s action such as %[1]s runs by itself only where the whitelist says so, and no entry is in force for this target.
_verdict(false, false, radius, false, false, "whitelist") := [rego.metadata.rule().custom, []] if {
	radius != "CRITICAL"
	not _whitelist_id
}

# METADATA
# title: The tier allows it
# custom:
#   rule: tier_allows
#   decision: auto
#   rationale: "%[3]s lets %[2]s actions such as %[1]s run by themselves."
_verdict(false, false, radius, false, false, "tier_allows") := [rego.metadata.rule().custom, []] if {
	radius != "CRITICAL"
}

# METADATA
# title: The tier requires approval
# custom:
#   rule: tier_requires_approval
#   decision: queued_approval
#   rationale: "%[3]s does not let %[2]s actions such as %[1]s run by themselves, so it waits for approval."
_verdict(false, false, radius, false, false, "tier_requires_approval") := [rego.metadata.rule().custom, []] if {
	radius != "CRITICAL"
}

# Overrides that narrow are in force unless they are shown not to apply; the one that widens must
# be shown to apply.
_in_force("block", override) if _not_shown_off(override)

_in_force("require_approval", override) if _not_shown_off(override)

_in_force("force_auto", override) if {
	expiry.ahead_or_none(override)
	constraints.met(object.get(override, "constraints", {}))
}

_not_shown_off(override) if {
	not expiry.passed(override)
	not constraints.excluded(override)
}

# The smallest id among the whitelist entries in force; undefined where there is none.
_whitelist_id := min({entry.id |
	some entry in input.whitelist
	is_string(entry.id)
	entry.action_type == input.request.action_type
	expiry.ahead(entry)
	constraints.names_target(entry.constraints)
	constraints.met(entry.constraints)
})
