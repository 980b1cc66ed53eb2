# METADATA
# title: The gate
# description: |
#   Decides whether one action of one tenant may run by itself. Everything it knows is in
#   `input`: the request, the tenant, the action type's overrides, the whitelist entries that
#   may match, and the clock. The tables are in `data.gate.actions` and `data.gate.tiers`.
# schemas: []
package gate

import data.gate.constraints
import data.gate.expiry

# METADATA
# title: The decision
# description: |
#   The decision tree. `_verdict` below has one clause per row of it, and its arguments are the
#   columns: is the action blocked, is the tenant stopped, what governs an action of this radius
#   at this tier, must a person approve, is it forced. No two clauses can hold for one input.
# entrypoint: true
decision := _verdict(
	"block" in _modes_in_force,
	object.get(input.tenant, "stopped", false),
	_governed_by,
	"require_approval" in _modes_in_force,
	"force_auto" in _modes_in_force,
)

# METADATA
# title: A block override is in force
# custom:
#   rule: block_override
#   decision: blocked
#   rationale: A block override is in force for {action_type} on this target, so it must not run.
_verdict(true, _, _, _, _) := _explain(rego.metadata.rule().custom, ["block_override"])

# METADATA
# title: The tenant is stopped
# custom:
#   rule: stopped
#   decision: queued_approval
#   rationale: The tenant is stopped. Until it is released, {action_type} waits for approval, whatever else would let it run.
_verdict(false, true, _, _, _) := _explain(rego.metadata.rule().custom, [])

# METADATA
# title: CRITICAL is never automatic
# custom:
#   rule: critical_never_auto
#   decision: queued_approval
#   rationale: The blast radius of {action_type} is CRITICAL, as is that of every action type the action table does not know. It always waits for approval; no tier, override or whitelist entry can change that.
_verdict(false, false, "critical", _, _) := _explain(rego.metadata.rule().custom, [])

# METADATA
# title: An approval override is in force
# custom:
#   rule: approval_override
#   decision: queued_approval
#   rationale: A require_approval override is in force for {action_type} on this target, so it waits for approval at {tier_label}.
_verdict(false, false, governed_by, true, _) := _explain(
	rego.metadata.rule().custom,
	["require_approval_override"],
) if {
	governed_by != "critical"
}

# METADATA
# title: A force_auto override is in force
# custom:
#   rule: force_auto_override
#   decision: auto
#   rationale: A force_auto override is in force for {action_type} on this target, so this {blast_radius} action runs by itself at {tier_label}.
_verdict(false, false, governed_by, false, true) := _explain(
	rego.metadata.rule().custom,
	["force_auto_override"],
) if {
	governed_by != "critical"
}

# METADATA
# title: A whitelist entry matches
# custom:
#   rule: whitelist_match
#   decision: auto
#   rationale: At {tier_label} a {blast_radius} action such as {action_type} runs by itself where the whitelist says so, and the entry named in overrides_applied is in force for this target.
_verdict(false, false, "whitelist", false, false) := _explain(
	rego.metadata.rule().custom,
	[concat("", ["whitelist:", _whitelist_id])],
)

# METADATA
# title: No whitelist entry matches
# custom:
#   rule: no_whitelist_match
#   decision: queued_approval
#   rationale: At {tier_label} a {blast_radius} action such as {action_type} runs by itself only where the whitelist says so, and no entry is in force for this target.
_verdict(false, false, "whitelist", false, false) := _explain(rego.metadata.rule().custom, []) if {
	not _whitelist_id
}

# METADATA
# title: The tier allows it
# custom:
#   rule: tier_allows
#   decision: auto
#   rationale: "{tier_label} lets {blast_radius} actions such as {action_type} run by themselves."
_verdict(false, false, "tier_allows", false, false) := _explain(rego.metadata.rule().custom, [])

# METADATA
# title: The tier requires approval
# custom:
#   rule: tier_requires_approval
#   decision: queued_approval
#   rationale: "{tier_label} does not let {blast_radius} actions such as {action_type} run by themselves, so it waits for approval."
_verdict(false, false, "tier_requires_approval", false, false) := _explain(rego.metadata.rule().custom, [])

# METADATA
# title: The answer
# description: A rule's METADATA, filled in for this input.
_explain(rule, overrides_applied) := {
	"decision": rule.decision,
	"rule": rule.rule,
	"rationale": strings.replace_n(
		{
			"{action_type}": input.request.action_type,
			"{blast_radius}": _blast_radius,
			"{tier_label}": _tier.label,
		},
		rule.rationale,
	),
	"blast_radius": _blast_radius,
	"maturity_tier": input.tenant.maturity_tier,
	"tier_label": _tier.label,
	"overrides_applied": overrides_applied,
}

_tier := data.gate.tiers.levels[input.tenant.maturity_tier]

default _blast_radius := "CRITICAL"

_blast_radius := data.gate.actions[input.request.action_type].blast_radius

# What governs an action of this radius at this tier.
_governed_by := _governor(_blast_radius, input.tenant.maturity_tier)

_governor("CRITICAL", _) := "critical"

_governor("HIGH", 4) := "whitelist"

_governor(radius, tier) := "tier_allows" if {
	radius != "CRITICAL"
	radius in data.gate.tiers.levels[tier].allows
}

_governor(radius, tier) := "tier_requires_approval" if {
	radius != "CRITICAL"
	not _at_top(radius, tier)
	not radius in data.gate.tiers.levels[tier].allows
}

_at_top("HIGH", 4)

# The modes of the overrides that are in force. Overrides that narrow stay in force unless they
# are shown not to apply; the one that widens must be shown to apply.
_modes_in_force contains override.mode if {
	some override in input.overrides
	override.mode in {"block", "require_approval"}
	not expiry.passed(override)
	not constraints.excluded(override)
}

_modes_in_force contains override.mode if {
	some override in input.overrides
	override.mode == "force_auto"
	expiry.ahead_or_none(override)
	constraints.met(object.get(override, "constraints", {}))
}

# The smallest id among the whitelist entries in force; undefined where there is none.
_whitelist_id := min({entry.id |
	some entry in input.whitelist
	entry.action_type == input.request.action_type
	expiry.ahead(entry)
	constraints.names_target(entry.constraints)
	constraints.met(entry.constraints)
})
