package gate.gate_test

import data.gate

_now := "2026-11-23T08:00:00.000Z"

_later := "2026-12-31T23:59:59.000Z"

_input(action_type, tier, changes) := object.union(
	{
		"now": _now,
		"request": {"action_type": action_type, "target": "host:wks-042", "actor": "system"},
		"tenant": {"id": "acme", "maturity_tier": tier},
	},
	changes,
)

_entry(id, constraints) := {
	"id": id,
	"action_type": "isolate_host",
	"constraints": constraints,
	"expires_at": _later,
}

_block := {"mode": "block"}

_ask := {"mode": "require_approval"}

_force := {"mode": "force_auto"}

# Every branch of the tree, each beside the one above it that it yields to.
_branches := {
	"a block comes first": {
		"input": _input("wipe_disk", 4, {"tenant": {"stopped": true}, "overrides": [_force, _ask, _block]}),
		"want": ["blocked", "block_override", ["block_override"]],
	},
	"a stop comes before CRITICAL": {
		"input": _input("wipe_disk", 4, {"tenant": {"stopped": true}}),
		"want": ["queued_approval", "stopped", []],
	},
	"a stop comes before what the tier allows": {
		"input": _input("notify_slack", 4, {"tenant": {"stopped": true}}),
		"want": ["queued_approval", "stopped", []],
	},
	"unknown is CRITICAL whatever is forced": {
		"input": _input("wipe_disk", 4, {"overrides": [_force, _ask]}),
		"want": ["queued_approval", "critical_never_auto", []],
	},
	"approval comes before force": {
		"input": _input("block_ip", 4, {"overrides": [_force, _ask]}),
		"want": ["queued_approval", "approval_override", ["require_approval_override"]],
	},
	"force comes before the whitelist": {
		"input": _input("isolate_host", 4, {"overrides": [_force], "whitelist": [_entry("w1", {"target": "host:wks-042"})]}),
		"want": ["auto", "force_auto_override", ["force_auto_override"]],
	},
	"force lifts L0": {
		"input": _input("isolate_host", 0, {"overrides": [_force]}),
		"want": ["auto", "force_auto_override", ["force_auto_override"]],
	},
	"the smallest matching id is named": {
		"input": _input("isolate_host", 4, {"whitelist": [
			_entry("w3", {"target": "host:wks-042"}),
			_entry("w2", {"target_prefix": "host:"}),
			_entry("w1", {"target": "host:other"}),
		]}),
		"want": ["auto", "whitelist_match", ["whitelist:w2"]],
	},
	"HIGH at L4 without an entry": {
		"input": _input("isolate_host", 4, {}),
		"want": ["queued_approval", "no_whitelist_match", []],
	},
	"an entry of another action type": {
		"input": _input("disable_user", 4, {"whitelist": [_entry("w1", {"target": "host:wks-042"})]}),
		"want": ["queued_approval", "no_whitelist_match", []],
	},
	"an entry without a target": {
		"input": _input("isolate_host", 4, {"whitelist": [_entry("w1", {})]}),
		"want": ["queued_approval", "no_whitelist_match", []],
	},
	"an entry without an expiry": {
		"input": _input("isolate_host", 4, {"whitelist": [object.remove(_entry("w1", {"target": "host:wks-042"}), ["expires_at"])]}),
		"want": ["queued_approval", "no_whitelist_match", []],
	},
	"what is no entry is as if absent": {
		"input": _input("isolate_host", 4, {"overrides": [null, {"mode": "blok"}, "x"], "whitelist": [
			null,
			"x",
			_entry(7, {"target": "host:wks-042"}),
			object.remove(_entry("w1", {"target": "host:wks-042"}), ["id"]),
		]}),
		"want": ["queued_approval", "no_whitelist_match", []],
	},
	"the whitelist is for L4 only": {
		"input": _input("isolate_host", 3, {"whitelist": [_entry("w1", {"target": "host:wks-042"})]}),
		"want": ["queued_approval", "tier_requires_approval", []],
	},
}

test_branches if {
	every branch in _branches {
		d := gate.decision with input as branch.input
		[d.decision, d.rule, d.overrides_applied] == branch.want
		not contains(d.rationale, "%")
		d.rationale != ""
	}
}

_radius_of := {
	"MINIMAL": "notify_slack",
	"LOW": "run_av_scan",
	"MEDIUM": "block_ip",
	"HIGH": "isolate_host",
	"CRITICAL": "wipe_disk",
}

_allowed := [set(), {"MINIMAL"}, {"MINIMAL", "LOW"}, {"MINIMAL", "LOW", "MEDIUM"}, {"MINIMAL", "LOW", "MEDIUM"}]

test_tier_by_radius if {
	every tier, radii in _allowed {
		every radius, action_type in _radius_of {
			d := gate.decision with input as _input(action_type, tier, {})
			d.blast_radius == radius
			d.maturity_tier == tier
			d.decision == {true: "auto", false: "queued_approval"}[radius in radii]
		}
	}
}

test_whole_answer if {
	gate.decision == {
		"decision": "auto",
		"rule": "tier_allows",
		"rationale": "L3-Remediate lets MEDIUM actions such as block_ip run by themselves.",
		"blast_radius": "MEDIUM",
		"maturity_tier": 3,
		"tier_label": "L3-Remediate",
		"overrides_applied": [],
	} with input as _input("block_ip", 3, {})
}

# Expired, unsound or unmet: each mode errs to the side that lets less run.
_in_force := {
	"a block with a passed expiry is as if absent": {
		"overrides": [{"mode": "block", "expires_at": _now}],
		"want": "tier_allows",
	},
	"a block whose expiry is no time stands": {
		"overrides": [{"mode": "block", "expires_at": "soon"}],
		"want": "block_override",
	},
	"a block for another target is as if absent": {
		"overrides": [{"mode": "block", "constraints": {"target": "host:other"}}],
		"want": "tier_allows",
	},
	"a block with an unknown key stands": {
		"overrides": [{"mode": "block", "constraints": {"colour": "red"}}],
		"want": "block_override",
	},
	"a block with constraints that are no object stands": {
		"overrides": [{"mode": "block", "constraints": "all"}],
		"want": "block_override",
	},
	"a force with a passed expiry is as if absent": {
		"overrides": [{"mode": "force_auto", "expires_at": _now}],
		"want": "tier_requires_approval",
	},
	"a force whose expiry is no time is as if absent": {
		"overrides": [{"mode": "force_auto", "expires_at": "soon"}],
		"want": "tier_requires_approval",
	},
	"a force with an unknown key is as if absent": {
		"overrides": [{"mode": "force_auto", "constraints": {"colour": "red"}}],
		"want": "tier_requires_approval",
	},
	"a force with an expiry ahead stands": {
		"overrides": [{"mode": "force_auto", "expires_at": _later, "constraints": {"target_prefix": ["host:"]}}],
		"want": "force_auto_override",
	},
}

test_in_force if {
	every case in _in_force {
		tier := {"block": 3, "force_auto": 2}[case.overrides[0].mode]
		d := gate.decision with input as _input("kill_process", tier, {"overrides": case.overrides})
		d.rule == case.want
	}
}

# Even a table that says otherwise does not lift CRITICAL.
test_critical_whatever_the_table_says if {
	every what in ["tier_allows", "whitelist"] {
		d := gate.decision with input as _input("wipe_disk", 4, {})
			with data.gate.tiers.levels as [{}, {}, {}, {}, {"label": "L4-Automate", "governs": {"CRITICAL": what}}]
		d.rule == "critical_never_auto"
	}
}
