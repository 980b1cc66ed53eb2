# METADATA
# title: Approvals
# description: |
#   Whose vote counts on one approval, and how many must. `input.votes` are all votes in order, the
#   newest last. What a voter may do is asked twice: `roles` are those of the credential when it
#   voted, `roles_now` those of the credential of that name today, and both must suffice.
package gate.approvals

# METADATA
# title: How many people must approve
# description: |
#   The larger of what the blast radius asks for that the action had when it was asked about, and
#   of the one that the action table gives it today; undefined where the table lacks one of them.
needed := max({data.gate.approvals.by_radius[radius].approvers | some radius in _radii}) if {
	every radius in _radii {
		data.gate.approvals.by_radius[radius].approvers >= 1
	}
}

# METADATA
# title: Who has approved
# description: The people whose approval counts, each once, in order.
approvers := sort({vote.person |
	some vote in input.votes
	vote.verdict == "approve"
	_objection(vote) == "none"
})

# METADATA
# title: Somebody who may has denied
# description: A denial needs the role and nothing else. It only narrows.
denied if {
	some vote in input.votes
	vote.verdict == "deny"
	_has_role(vote)
}

# METADATA
# title: How the newest vote stands
# description: |
#   counts, or why it does not. Who votes again adds nothing, unless there are enough approvals by
#   now, as when a role has come back that somebody had lost: then this vote is the occasion.
standing := objection if {
	objection := _objection(_newest)
	objection != "none"
}

standing := "again" if {
	_objection(_newest) == "none"
	_newest.person in _earlier
	not _enough
}

standing := "counts" if {
	_objection(_newest) == "none"
	not _newest.person in _earlier
}

standing := "counts" if {
	_objection(_newest) == "none"
	_newest.person in _earlier
	_enough
}

_enough if count(approvers) >= needed

# METADATA
# title: How long a released action may be started
start_within := data.gate.approvals.by_radius[_radius_now].start_within

_radii := {input.approval.blast_radius, _radius_now}

_radius_now := object.get(data.gate.actions, [input.approval.action_type, "blast_radius"], "CRITICAL")

_newest := input.votes[count(input.votes) - 1]

_earlier := {vote.person |
	some vote in array.slice(input.votes, 0, count(input.votes) - 1)
	vote.verdict == "approve"
	_objection(vote) == "none"
}

# Why a vote does not count, the first reason of three. What is missing in a vote is a reason.
_objection(vote) := "own_request" if _asked(vote)

_objection(vote) := "agent" if {
	not _asked(vote)
	_agent(vote)
}

_objection(vote) := "no_role" if {
	not _asked(vote)
	not _agent(vote)
	not _has_role(vote)
}

_objection(vote) := "none" if {
	not _asked(vote)
	not _agent(vote)
	_has_role(vote)
}

_asked(vote) if vote.person in input.approval.requesters

# An approval of which nobody knows who asked is everybody's own request.
_asked(_) if not _requesters_known

_requesters_known if count(input.approval.requesters) > 0

_agent(vote) if "agent" in vote.roles

_agent(vote) if "agent" in vote.roles_now

_has_role(vote) if {
	vote.person != ""
	every radius in _radii {
		data.gate.approvals.by_radius[radius].role in vote.roles
		data.gate.approvals.by_radius[radius].role in vote.roles_now
	}
}
