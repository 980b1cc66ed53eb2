# The same tree as one would write it first: facts in data, an else chain, sprintf, no defence
# against stored data that is unsound. It agrees with the shipped policy on bench/corpus.jsonl.
package naive

radius := data.actions[input.request.action_type].blast_radius

blast_radius := radius

blast_radius := "CRITICAL" if not radius

tier := data.tiers[input.tenant.maturity_tier]

unexpired(entry) if not entry.expires_at

unexpired(entry) if entry.expires_at == null

unexpired(entry) if time.parse_rfc3339_ns(input.now) < time.parse_rfc3339_ns(entry.expires_at)

values(x) := x if is_array(x)

values(x) := [x] if is_string(x)

meets(key, value) if {
	key == "target"
	input.request.target in values(value)
}

meets(key, value) if {
	key == "target_prefix"
	some prefix in values(value)
	startswith(input.request.target, prefix)
}

meets(key, value) if {
	key == "target_cidr"
	some cidr in values(value)
	net.cidr_contains(cidr, input.request.target)
}

meets(key, value) if {
	key == "not_target_cidr"
	every cidr in values(value) {
		not net.cidr_contains(cidr, input.request.target)
	}
}

meets(key, value) if {
	key == "min_confidence"
	input.request.confidence >= value
}

applies(entry) if {
	unexpired(entry)
	every key, value in entry.constraints {
		meets(key, value)
	}
}

in_force(mode) if {
	some override in input.overrides
	override.mode == mode
	applies(override)
}

whitelisted contains entry.id if {
	some entry in input.whitelist
	entry.action_type == input.request.action_type
	applies(entry)
}

answer(decision, rule, rationale, applied) := {
	"decision": decision,
	"rule": rule,
	"rationale": rationale,
	"blast_radius": blast_radius,
	"maturity_tier": input.tenant.maturity_tier,
	"tier_label": tier.label,
	"overrides_applied": applied,
}

decision := answer(
	"blocked", "block_override",
	sprintf("A block override is in force for %s on this target, so it must not run.", [input.request.action_type]),
	["block_override"],
) if {
	in_force("block")
} else := answer(
	"queued_approval", "stopped",
	sprintf("The tenant is stopped. Until it is released, %s waits for approval.", [input.request.action_type]),
	[],
) if {
	input.tenant.stopped
} else := answer(
	"queued_approval", "critical_never_auto",
	sprintf("The blast radius of %s is CRITICAL. It always waits for approval.", [input.request.action_type]),
	[],
) if {
	blast_radius == "CRITICAL"
} else := answer(
	"queued_approval", "approval_override",
	sprintf("A require_approval override is in force for %s on this target, so it waits for approval at %s.", [input.request.action_type, tier.label]),
	["require_approval_override"],
) if {
	in_force("require_approval")
} else := answer(
	"auto", "force_auto_override",
	sprintf("A force_auto override is in force for %s on this target, so this %s action runs by itself at %s.", [input.request.action_type, blast_radius, tier.label]),
	["force_auto_override"],
) if {
	in_force("force_auto")
} else := answer(
	"auto", "whitelist_match",
	sprintf("At %s a %s action such as %s runs by itself where the whitelist says so, and an entry is in force for this target.", [tier.label, blast_radius, input.request.action_type]),
	[concat(":", ["whitelist", min(whitelisted)])],
) if {
	blast_radius == "HIGH"
	input.tenant.maturity_tier == 4
	count(whitelisted) > 0
} else := answer(
	"queued_approval", "no_whitelist_match",
	sprintf("At %s a %s action such as %s runs by itself only where the whitelist says so, and no entry is in force for this target.", [tier.label, blast_radius, input.request.action_type]),
	[],
) if {
	blast_radius == "HIGH"
	input.tenant.maturity_tier == 4
} else := answer(
	"auto", "tier_allows",
	sprintf("%s lets %s actions such as %s run by themselves.", [tier.label, blast_radius, input.request.action_type]),
	[],
) if {
	blast_radius in tier.allows
} else := answer(
	"queued_approval", "tier_requires_approval",
	sprintf("%s does not let %s actions such as %s run by themselves, so it waits for approval.", [tier.label, blast_radius, input.request.action_type]),
	[],
)
