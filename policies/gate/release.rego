package gate

import data.gate.approvals
import data.gate.expiry

# METADATA
# title: The release
# description: |
#   Decides what a vote makes of an approval. Everything it knows is in `input`: the clock, the
#   approval, all votes, and, once the votes suffice, what the gate decides about the action now.
#   It is asked without that decision first; the answer `approved` says that it is needed. Whether a
#   person's yes is enough is decided here; the decision itself stays what data.gate.decision said.
# entrypoint: true
release := _release_answer(_release(
	_time,
	_denied,
	approvals.standing,
	count(approvals.approvers) >= approvals.needed,
	_decided_now,
))

_release_answer(rule) := {
	"outcome": rule.outcome,
	"rule": rule.rule,
	"rationale": sprintf(rule.rationale, [input.approval.action_type, count(approvals.approvers), approvals.needed]),
	"approvals_needed": approvals.needed,
	"approvers": approvals.approvers,
	"start_within": approvals.start_within,
}

# What a vote makes of an approval. The arguments are: is time left, has somebody who may denied, how
# the newest vote stands, do the approvals suffice, and what the gate decides now. No two clauses hold
# for one input. In a rationale, %[1]s is the action type, %[2]d how many have approved and %[3]d how
# many must.

# METADATA
# title: Time ran out
# custom:
#   rule: time_ran_out
#   outcome: expired
#   rationale: Nobody let %[1]s go in time (%[2]d of %[3]d approvals), so it must not run. Ask again.
_release("up", _, _, _, _) := rego.metadata.rule().custom

# METADATA
# title: An approver said no
# custom:
#   rule: denied_by_approver
#   outcome: denied
#   rationale: An approver has denied %[1]s, so it must not run; one no outweighs %[2]d of %[3]d approvals.
_release("left", true, _, _, _) := rego.metadata.rule().custom

# METADATA
# title: Nobody approves what they asked for
# custom:
#   rule: own_request
#   outcome: not_counted
#   rationale: Whoever asked for %[1]s cannot approve it. Another person has to (%[2]d of %[3]d approvals).
_release("left", false, "own_request", _, _) := rego.metadata.rule().custom

# METADATA
# title: An agent never approves
# custom:
#   rule: agent_never_approves
#   outcome: not_counted
#   rationale: A credential with the role agent can never approve, so this does not count for %[1]s (%[2]d of %[3]d approvals).
_release("left", false, "agent", _, _) := rego.metadata.rule().custom

# METADATA
# title: The role is missing
# custom:
#   rule: role_missing
#   outcome: not_counted
#   rationale: This credential lacks the role that voting on %[1]s takes (%[2]d of %[3]d approvals).
_release("left", false, "no_role", _, _) := rego.metadata.rule().custom

# METADATA
# title: One person counts once
# custom:
#   rule: counted_already
#   outcome: not_counted
#   rationale: This person has approved %[1]s before, and one person counts once, whatever the token (%[2]d of %[3]d approvals).
_release("left", false, "again", _, _) := rego.metadata.rule().custom

# METADATA
# title: More people must approve
# custom:
#   rule: more_approvals_needed
#   outcome: pending
#   rationale: Of %[3]d people who must approve %[1]s, %[2]d have. A vote of somebody who lost the role since does not count any more.
_release("left", false, "counts", false, _) := rego.metadata.rule().custom

# METADATA
# title: Enough people have approved
# custom:
#   rule: enough_approvals
#   outcome: approved
#   rationale: "%[2]d of %[3]d people have approved %[1]s. The gate decides again before anything runs."
_release("left", false, "counts", true, "not_yet") := rego.metadata.rule().custom

# METADATA
# title: It is blocked now
# custom:
#   rule: blocked_now
#   outcome: refused
#   rationale: "%[1]s was approved (%[2]d of %[3]d), but the gate blocks it now, so it must not run."
_release("left", false, "counts", true, "blocked") := rego.metadata.rule().custom

# METADATA
# title: The tenant is stopped now
# custom:
#   rule: stopped_now
#   outcome: refused
#   rationale: "%[1]s was approved (%[2]d of %[3]d), but the tenant is stopped now, so it must not run."
_release("left", false, "counts", true, "stopped") := rego.metadata.rule().custom

# METADATA
# title: Approved in time
# custom:
#   rule: approved_in_time
#   outcome: released
#   rationale: "%[2]d of %[3]d people approved %[1]s in time, and nothing blocks or stops it now."
_release("left", false, "counts", true, "not_blocked") := rego.metadata.rule().custom

_time := "left" if expiry.ahead(input.approval)

_time := "up" if not expiry.ahead(input.approval)

_denied if approvals.denied

_denied := false if not approvals.denied

# What the gate decides now. A decision of which nothing is known is none.
_decided_now := "not_yet" if not input.decision

_decided_now := "blocked" if input.decision.decision == "blocked"

_decided_now := "stopped" if {
	input.decision.decision in {"queued_approval", "auto"}
	input.decision.stopped
}

_decided_now := "not_blocked" if {
	input.decision.decision in {"queued_approval", "auto"}
	input.decision.stopped == false
}
