package audit

// The kinds of leaves. What a column means is told in the database, by its
// comment. Columns that hold JSON (overrides_applied, read_set, roles, before,
// after) are written as strings, their text as it is stored: so the leaf covers
// the exact bytes, and nobody has to agree on how to read them.
var (
	// Genesis begins a tree: what the tenant had before is not covered by it.
	// For a tenant that began with its tree all counts are 0.
	Genesis = newKind("genesis",
		text("tenant_id"), integer("log_seq"), integer("epoch"), integer("approval_events"), integer("outcomes"), moment("at"))

	// Decision is a row of remediation_gate_log. Of input it has the SHA-256, so
	// that a leaf stays small, and can be shown when input is erased.
	Decision = newKind("decision",
		text("tenant_id"), integer("log_seq"), id("decision_id"), id("action_id"), text("action_type"), text("target"), text("blast_radius"), integer("maturity_tier"),
		text("decision"), text("rule"), text("rationale"), text("overrides_applied"), text("rollback"), text("actor"), text("principal"), text("incident_id"), number("confidence"),
		text("read_set"), text("parameters_digest"), content("input"), text("policy_revision"), text("bundle_hash"), text("engine_version"), integer("config_epoch"),
		moment("decided_at"), digest("request_digest"), integer("policy_epoch"), id("approval_id"), id("supersedes"), integer("leaf_index"))

	// ConfigChange is a row of config_change.
	ConfigChange = newKind("config_change",
		text("tenant_id"), integer("epoch"), text("kind"), text("before"), text("after"), text("actor"), text("reason"), moment("at"), integer("leaf_index"))

	// PolicyChange is a row of policy_change. It belongs to the deployment and is
	// a leaf of every tenant's tree, the same bytes in each.
	PolicyChange = newKind("policy_change",
		integer("change_id"), integer("policy_epoch"), text("kind"), text("bundle_hash"), text("before"), text("after"), text("actor"), text("reason"), moment("at"))

	// ApprovalEvent is a row of approval_event.
	ApprovalEvent = newKind("approval_event",
		text("tenant_id"), id("approval_id"), integer("seq"), text("kind"), text("status"), text("person"), text("principal"), text("roles"), text("comment"), moment("at"),
		text("rule"), text("rationale"), content("input"), text("bundle_hash"), id("decision_id"), integer("config_epoch"), integer("policy_epoch"), integer("leaf_index"))

	// Outcome is a row of decision_outcome.
	Outcome = newKind("outcome",
		text("tenant_id"), id("decision_id"), integer("seq"), text("status"), text("detail"), text("person"), text("principal"), moment("at"), integer("leaf_index"))
)

// Kinds are all kinds of leaves.
var Kinds = []*Kind{Genesis, Decision, ConfigChange, PolicyChange, ApprovalEvent, Outcome}

// KindNamed returns the kind of that name, nil where there is none.
func KindNamed(name string) *Kind {
	for _, k := range Kinds {
		if k.Name == name {
			return k
		}
	}
	return nil
}
