-- What auditors read with SQL: two views, and a role that can read the evidence
-- and nothing else.

-- +goose Up

CREATE VIEW v_gate_log AS
SELECT l.tenant_id, l.log_seq, l.decided_at, l.decision, l.action_type, l.target, l.blast_radius,
       l.maturity_tier, (ARRAY['L0-Observe', 'L1-Notify', 'L2-Contain', 'L3-Remediate', 'L4-Automate'])[l.maturity_tier + 1] AS tier_label,
       l.rule, l.rationale, l.overrides_applied, l.rollback,
       l.actor, l.principal, l.incident_id, l.confidence,
       l.approval_id, a.status AS approval_status, a.approvers, a.closed_by AS approval_closed_by, l.supersedes,
       (SELECT o.status FROM decision_outcome o WHERE o.tenant_id = l.tenant_id AND o.decision_id = l.decision_id ORDER BY o.seq DESC LIMIT 1) AS outcome,
       l.config_epoch, l.policy_epoch, l.policy_revision, l.bundle_hash, l.engine_version,
       l.decision_id, l.action_id, l.leaf_index, l.parameters_digest, convert_from(l.input, 'UTF8')::json AS input
FROM remediation_gate_log l
LEFT JOIN approval a ON a.tenant_id = l.tenant_id AND a.approval_id = l.approval_id;
COMMENT ON VIEW   v_gate_log IS 'The gate log for people: each decision with its approval and what came of it.';
COMMENT ON COLUMN v_gate_log.tier_label IS 'Name of maturity_tier.';
COMMENT ON COLUMN v_gate_log.approval_status IS 'Where the approval that it waits for, or was made again for, stands now; NULL: there is none.';
COMMENT ON COLUMN v_gate_log.approvers IS 'Array of the people whose approval counts.';
COMMENT ON COLUMN v_gate_log.approval_closed_by IS 'The person whose step ended the approval, system where time did.';
COMMENT ON COLUMN v_gate_log.outcome IS 'What came of it as last reported: executed, failed or rolled_back; NULL: nothing was reported.';
COMMENT ON COLUMN v_gate_log.input IS 'What the policy saw: facts, request and clock.';

-- Each step gives one fact another value, or none; what stood is what lies
-- between two steps of the same fact.
CREATE VIEW v_autonomy_at AS
WITH steps (tenant_id, fact, action_type, name, value, at, expires_at, epoch, set_by, reason) AS (
    SELECT tenant_id, 'maturity_tier', NULL::text, NULL::text, 'L0-Observe', timestamptz '0001-01-01 00:00:00Z', NULL::timestamptz, 0::bigint, 'system', ''
    FROM tenant_head
    UNION ALL
    SELECT tenant_id, 'maturity_tier', NULL, NULL, after ->> 'tier_label', at, NULL, epoch, actor, reason
    FROM config_change WHERE kind = 'config' AND after ->> 'maturity_tier' IS DISTINCT FROM before ->> 'maturity_tier'
    UNION ALL
    SELECT tenant_id, 'stopped', NULL, NULL, CASE kind WHEN 'stop' THEN 'true' END, at, NULL, epoch, actor, reason
    FROM config_change WHERE kind IN ('stop', 'release')
    UNION ALL
    SELECT tenant_id, 'override', after ->> 'action_type', after ->> 'mode', after ->> 'constraints', at, (after ->> 'expires_at')::timestamptz, epoch, actor, reason
    FROM config_change WHERE kind = 'override_set'
    UNION ALL
    SELECT tenant_id, 'override', o ->> 'action_type', o ->> 'mode', NULL, at, NULL, epoch, actor, c.reason
    FROM config_change c, json_array_elements(before) o WHERE kind = 'override_remove'
    UNION ALL
    SELECT tenant_id, 'override', a.key, m.key, m.value ->> 'constraints', at, (m.value ->> 'expires_at')::timestamptz, epoch, actor, c.reason
    FROM config_change c, json_each(after -> 'action_overrides') a, json_each(a.value) m
    WHERE kind = 'config' AND m.value::text IS DISTINCT FROM (before -> 'action_overrides' -> a.key -> m.key)::text
    UNION ALL
    SELECT tenant_id, 'override', a.key, m.key, NULL, at, NULL, epoch, actor, c.reason
    FROM config_change c, json_each(before -> 'action_overrides') a, json_each(a.value) m
    WHERE kind = 'config' AND (after -> 'action_overrides' -> a.key -> m.key) IS NULL
    UNION ALL
    SELECT tenant_id, 'whitelist', after ->> 'action_type', after ->> 'id', after ->> 'constraints', at, (after ->> 'expires_at')::timestamptz, epoch, actor, reason
    FROM config_change WHERE kind = 'whitelist_add'
    UNION ALL
    SELECT tenant_id, 'whitelist', before ->> 'action_type', before ->> 'id', NULL, at, NULL, epoch, actor, reason
    FROM config_change WHERE kind = 'whitelist_remove'
)
SELECT tenant_id, fact, action_type, name, value, valid_from, valid_until, from_epoch, until_epoch, set_by, reason
FROM (
    SELECT tenant_id, fact, action_type, name, value, at AS valid_from, least(lead(at) OVER step, expires_at) AS valid_until,
           epoch AS from_epoch, lead(epoch) OVER step AS until_epoch, set_by, reason
    FROM steps WINDOW step AS (PARTITION BY tenant_id, fact, action_type, name ORDER BY epoch)
    UNION ALL
    SELECT h.tenant_id, 'policy', NULL, NULL, p.bundle_hash, p.at, p.until, NULL, NULL, p.actor, p.reason
    FROM tenant_head h, (
        SELECT bundle_hash, at, lead(at) OVER (ORDER BY change_id) AS until, actor, reason
        FROM policy_change WHERE kind IN ('seed', 'activate', 'rollback')) p
) stood
WHERE value IS NOT NULL;
COMMENT ON VIEW   v_autonomy_at IS 'What stood when, from the changes alone: the tier, stops, overrides, whitelist entries and the active policy, each as long as it stood. At a moment t: valid_from <= t AND (valid_until IS NULL OR valid_until > t).';
COMMENT ON COLUMN v_autonomy_at.tenant_id IS 'The tenant.';
COMMENT ON COLUMN v_autonomy_at.fact IS 'maturity_tier, stopped, override, whitelist or policy.';
COMMENT ON COLUMN v_autonomy_at.action_type IS 'The action type of an override or a whitelist entry.';
COMMENT ON COLUMN v_autonomy_at.name IS 'The mode of an override, the id of a whitelist entry.';
COMMENT ON COLUMN v_autonomy_at.value IS 'The tier''s label; true for stopped; the constraints of an override or whitelist entry; the policy''s bundle_hash.';
COMMENT ON COLUMN v_autonomy_at.valid_from IS 'When it was set; the year 1 for the tier that every tenant begins with.';
COMMENT ON COLUMN v_autonomy_at.valid_until IS 'When it was changed or removed, or expired, whichever came first; NULL: it still stands.';
COMMENT ON COLUMN v_autonomy_at.from_epoch IS 'Epoch of the change that set it: a decision saw it from this config_epoch on. NULL for the policy, which has epochs of its own.';
COMMENT ON COLUMN v_autonomy_at.until_epoch IS 'Epoch of the change that ended it; NULL: none did, though it may have expired.';
COMMENT ON COLUMN v_autonomy_at.set_by IS 'Name of the credential that set it.';
COMMENT ON COLUMN v_autonomy_at.reason IS 'Why, for a person.';

-- What auditors ask for: a tenant's day, its quarter by radius (counted from the
-- index alone), and the rows of high radius among many others. The index over all
-- tenants now summarizes new pages by itself; without, it says of each that it may
-- hold any time.
CREATE INDEX remediation_gate_log_when ON remediation_gate_log (tenant_id, decided_at, blast_radius, decision);
CREATE INDEX remediation_gate_log_high ON remediation_gate_log (tenant_id, decided_at) WHERE blast_radius IN ('HIGH', 'CRITICAL');
DROP INDEX remediation_gate_log_time;
CREATE INDEX remediation_gate_log_time ON remediation_gate_log USING brin (decided_at) WITH (autosummarize = on, pages_per_range = 32);

-- +goose StatementBegin
DO $do$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tiergate_auditor') THEN
        CREATE ROLE tiergate_auditor NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $do$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $do$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tiergate_auditor', current_schema());
END $do$;
-- +goose StatementEnd
-- Everything but the channels' secrets, and what waits to be announced. A view
-- asks its owner's rights for the tables behind it.
GRANT SELECT ON goose_db_version, tenant_head, tenant, action_override, whitelist_entry, config_change, remediation_gate_log, remediation_action,
    decision_parameters, policy_bundle, policy_bundle_copy, policy_proof, policy_change, policy_head, approval, approval_event, decision_outcome,
    channel, announcement, tree_genesis, tree_leaf, tree_tile, tree_checkpoint, v_gate_log, v_autonomy_at TO tiergate_auditor;

-- +goose Down
-- There is no way down: the log is evidence.
