package gate.release_test

import data.gate

_at := "2026-11-23T08:00:00.000Z"

_later := "2026-11-23T12:00:00.000Z"

_approval(action_type, radius) := {
	"action_type": action_type,
	"blast_radius": radius,
	"requesters": ["soar"],
	"opened_at": _at,
	"expires_at": _later,
}

_vote(person, verdict, roles) := {"person": person, "roles": roles, "roles_now": roles, "verdict": verdict, "at": _at}

_yes(person) := _vote(person, "approve", ["approver"])

_lost(person) := object.union(_yes(person), {"roles_now": ["auditor"]})

_high := {"now": _at, "approval": _approval("isolate_host", "HIGH"), "votes": [_yes("anna")]}

_critical := {"now": _at, "approval": _approval("wipe_disk", "CRITICAL"), "votes": [_yes("anna")]}

_decided(decision, stopped) := {"decision": {"decision": decision, "rule": "any", "stopped": stopped}}

_cases := {
	"one yes is enough for HIGH": {"input": _high, "want": ["approved", "enough_approvals", 1, ["anna"]]},
	"one yes is not enough for CRITICAL": {"input": _critical, "want": ["pending", "more_approvals_needed", 2, ["anna"]]},
	"two people are enough for CRITICAL": {
		"input": object.union(_critical, {"votes": [_yes("ben"), _yes("anna")]}),
		"want": ["approved", "enough_approvals", 2, ["anna", "ben"]],
	},
	"one person under two tokens counts once": {
		"input": object.union(_critical, {"votes": [_yes("anna"), _yes("anna")]}),
		"want": ["not_counted", "counted_already", 2, ["anna"]],
	},
	"names compare exactly": {
		"input": object.union(_critical, {"votes": [_yes("anna"), _yes("Anna")]}),
		"want": ["approved", "enough_approvals", 2, ["Anna", "anna"]],
	},
	"who asked cannot approve": {
		"input": object.union(_high, {"votes": [_yes("soar")]}),
		"want": ["not_counted", "own_request", 1, []],
	},
	"nobody knows who asked": {
		"input": object.union(_high, {"approval": object.union(_high.approval, {"requesters": []})}),
		"want": ["not_counted", "own_request", 1, []],
	},
	"an agent cannot approve, whatever else it is": {
		"input": object.union(_high, {"votes": [_vote("anna", "approve", ["approver", "agent"])]}),
		"want": ["not_counted", "agent_never_approves", 1, []],
	},
	"an agent of today cannot have approved": {
		"input": object.union(_high, {"votes": [object.union(_yes("anna"), {"roles_now": ["approver", "agent"]})]}),
		"want": ["not_counted", "agent_never_approves", 1, []],
	},
	"an agent of then cannot have approved": {
		"input": object.union(_high, {"votes": [object.union(_yes("anna"), {"roles": ["approver", "agent"]})]}),
		"want": ["not_counted", "agent_never_approves", 1, []],
	},
	"without the role": {
		"input": object.union(_high, {"votes": [_vote("anna", "approve", ["operator"])]}),
		"want": ["not_counted", "role_missing", 1, []],
	},
	"without a name": {
		"input": object.union(_high, {"votes": [_yes("")]}),
		"want": ["not_counted", "role_missing", 1, []],
	},
	"a vote that says nothing about roles": {
		"input": object.union(_high, {"votes": [object.remove(_yes("anna"), ["roles", "roles_now"])]}),
		"want": ["not_counted", "role_missing", 1, []],
	},
	"a role lost between two approvals": {
		"input": object.union(_critical, {"votes": [_lost("anna"), _yes("ben")]}),
		"want": ["pending", "more_approvals_needed", 2, ["ben"]],
	},
	"a role won after the vote": {
		"input": object.union(_critical, {"votes": [object.union(_yes("anna"), {"roles": []}), _yes("ben")]}),
		"want": ["pending", "more_approvals_needed", 2, ["ben"]],
	},
	"who lost the role and has it again may vote again": {
		"input": object.union(_critical, {"votes": [_lost("anna"), _yes("ben"), _yes("anna")]}),
		"want": ["approved", "enough_approvals", 2, ["anna", "ben"]],
	},
	"a role that came back is noticed when somebody votes again": {
		"input": object.union(_critical, {"votes": [_yes("anna"), _yes("ben"), _yes("anna")]}),
		"want": ["approved", "enough_approvals", 2, ["anna", "ben"]],
	},
	"a no ends it": {
		"input": object.union(_critical, {"votes": [_yes("anna"), _vote("ben", "deny", ["approver"])]}),
		"want": ["denied", "denied_by_approver", 2, ["anna"]],
	},
	"who asked may say no": {
		"input": object.union(_high, {"votes": [_vote("soar", "deny", ["agent", "approver"])]}),
		"want": ["denied", "denied_by_approver", 1, []],
	},
	"a no without the role is none": {
		"input": object.union(_high, {"votes": [_vote("eve", "deny", ["operator"])]}),
		"want": ["not_counted", "role_missing", 1, []],
	},
	"the last moment is too late": {
		"input": object.union(_high, {"now": _later}),
		"want": ["expired", "time_ran_out", 1, ["anna"]],
	},
	"too late also for a decision that stands": {
		"input": object.union(object.union(_high, {"now": _later}), _decided("auto", false)),
		"want": ["expired", "time_ran_out", 1, ["anna"]],
	},
	"an end that is no time has passed": {
		"input": object.union(_high, {"approval": object.union(_high.approval, {"expires_at": "soon"})}),
		"want": ["expired", "time_ran_out", 1, ["anna"]],
	},
	"blocked now": {
		"input": object.union(_high, _decided("blocked", false)),
		"want": ["refused", "blocked_now", 1, ["anna"]],
	},
	"blocked and stopped now": {
		"input": object.union(_high, _decided("blocked", true)),
		"want": ["refused", "blocked_now", 1, ["anna"]],
	},
	"stopped now": {
		"input": object.union(_high, _decided("queued_approval", true)),
		"want": ["refused", "stopped_now", 1, ["anna"]],
	},
	"still queued now": {
		"input": object.union(_high, _decided("queued_approval", false)),
		"want": ["released", "approved_in_time", 1, ["anna"]],
	},
	"automatic now": {
		"input": object.union(_high, _decided("auto", false)),
		"want": ["released", "approved_in_time", 1, ["anna"]],
	},
	"a decision does not make up for a missing approval": {
		"input": object.union(_critical, _decided("auto", false)),
		"want": ["pending", "more_approvals_needed", 2, ["anna"]],
	},
	"CRITICAL when asked, HIGH today: two": {
		"input": object.union(_high, {"approval": _approval("isolate_host", "CRITICAL")}),
		"want": ["pending", "more_approvals_needed", 2, ["anna"]],
	},
	"HIGH when asked, CRITICAL today: two": {
		"input": object.union(_critical, {"approval": _approval("wipe_disk", "HIGH")}),
		"want": ["pending", "more_approvals_needed", 2, ["anna"]],
	},
}

test_release if {
	every case in _cases {
		r := gate.release with input as case.input
		[r.outcome, r.rule, r.approvals_needed, r.approvers] == case.want
		not contains(r.rationale, "%")
		r.start_within == "60s"
	}
}

test_whole_answer if {
	gate.release == {
		"outcome": "released",
		"rule": "approved_in_time",
		"rationale": "1 of 1 people approved isolate_host in time, and nothing blocks or stops it now.",
		"approvals_needed": 1,
		"approvers": ["anna"],
		"start_within": "60s",
	} with input as object.union(_high, _decided("queued_approval", false))
}

# No answer at all where the input says too little: nothing is released by it.
test_undefined if {
	every input_ in [
		{},
		object.remove(_high, ["approval"]),
		object.union(_high, {"votes": []}),
		object.union(_high, {"approval": _approval("isolate_host", "HUGE")}),
		object.union(_high, _decided("perhaps", false)),
		object.union(_high, {"decision": {"decision": "auto"}}),
		object.union(_high, {"decision": null}),
	] {
		not gate.release with input as input_
	}
}

# A role that the table asks for at either radius is needed.
test_roles_of_both_radii if {
	table := {
		"HIGH": {"approvers": 1, "role": "approver", "wait": "4h", "start_within": "60s"},
		"LOW": {"approvers": 1, "role": "operator", "wait": "4h", "start_within": "60s"},
	}
	r := gate.release with input as object.union(_high, {"approval": _approval("isolate_host", "LOW")})
		with data.gate.approvals.by_radius as table
	r.rule == "role_missing"
}
