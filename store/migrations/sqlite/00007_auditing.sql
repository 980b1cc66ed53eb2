-- What auditors read with SQL: the same views as in PostgreSQL. Who may read the
-- file may read all of it.

-- +goose Up

-- The gate log for people: each decision with its approval and what came of it.
CREATE VIEW v_gate_log AS
SELECT l.tenant_id, l.log_seq, l.decided_at, l.decision, l.action_type, l.target, l.blast_radius,
       l.maturity_tier, CASE l.maturity_tier WHEN 0 THEN 'L0-Observe' WHEN 1 THEN 'L1-Notify' WHEN 2 THEN 'L2-Contain' WHEN 3 THEN 'L3-Remediate' WHEN 4 THEN 'L4-Automate' END AS tier_label, -- Name of maturity_tier.
       l.rule, l.rationale, l.overrides_applied, l.rollback,
       l.actor, l.principal, l.incident_id, l.confidence,
       l.approval_id, a.status AS approval_status, -- Where the approval that it waits for, or was made again for, stands now; NULL: there is none.
       a.approvers, -- Array of the people whose approval counts.
       a.closed_by AS approval_closed_by, -- The person whose step ended the approval, system where time did.
       l.supersedes,
       (SELECT o.status FROM decision_outcome o WHERE o.tenant_id = l.tenant_id AND o.decision_id = l.decision_id ORDER BY o.seq DESC LIMIT 1) AS outcome, -- What came of it as last reported: executed, failed or rolled_back; NULL: nothing was reported.
       l.config_epoch, l.policy_epoch, l.policy_revision, l.bundle_hash, l.engine_version,
       l.decision_id, l.action_id, l.leaf_index, l.parameters_digest, CAST(l.input AS TEXT) AS input -- What the policy saw: facts, request and clock.
FROM remediation_gate_log l
LEFT JOIN approval a ON a.tenant_id = l.tenant_id AND a.approval_id = l.approval_id;

-- What stood when, from the changes alone: the tier, stops, overrides, whitelist
-- entries and the active policy, each as long as it stood. At a moment t:
-- valid_from <= t AND (valid_until IS NULL OR valid_until > t).
CREATE VIEW v_autonomy_at AS
WITH steps (tenant_id, fact, action_type, name, value, at, expires_at, epoch, set_by, reason) AS (
    SELECT tenant_id, 'maturity_tier', NULL, NULL, 'L0-Observe', '0001-01-01T00:00:00.000Z', NULL, 0, 'system', ''
    FROM tenant_head
    UNION ALL
    SELECT tenant_id, 'maturity_tier', NULL, NULL, after ->> 'tier_label', at, NULL, epoch, actor, reason
    FROM config_change WHERE kind = 'config' AND after ->> 'maturity_tier' IS NOT before ->> 'maturity_tier'
    UNION ALL
    SELECT tenant_id, 'stopped', NULL, NULL, CASE kind WHEN 'stop' THEN 'true' END, at, NULL, epoch, actor, reason
    FROM config_change WHERE kind IN ('stop', 'release')
    UNION ALL
    SELECT tenant_id, 'override', after ->> 'action_type', after ->> 'mode', after ->> 'constraints', at, after ->> 'expires_at', epoch, actor, reason
    FROM config_change WHERE kind = 'override_set'
    UNION ALL
    SELECT tenant_id, 'override', o.value ->> 'action_type', o.value ->> 'mode', NULL, at, NULL, epoch, actor, c.reason
    FROM config_change c, json_each(before) o WHERE kind = 'override_remove'
    UNION ALL
    SELECT tenant_id, 'override', a.key, m.key, m.value ->> 'constraints', at, m.value ->> 'expires_at', epoch, actor, c.reason
    FROM config_change c, json_each(after, '$.action_overrides') a, json_each(a.value) m
    WHERE kind = 'config' AND m.value IS NOT (SELECT n.value FROM json_each(before, '$.action_overrides') b, json_each(b.value) n WHERE b.key = a.key AND n.key = m.key)
    UNION ALL
    SELECT tenant_id, 'override', a.key, m.key, NULL, at, NULL, epoch, actor, c.reason
    FROM config_change c, json_each(before, '$.action_overrides') a, json_each(a.value) m
    WHERE kind = 'config' AND NOT EXISTS (SELECT 1 FROM json_each(after, '$.action_overrides') b, json_each(b.value) n WHERE b.key = a.key AND n.key = m.key)
    UNION ALL
    SELECT tenant_id, 'whitelist', after ->> 'action_type', after ->> 'id', after ->> 'constraints', at, after ->> 'expires_at', epoch, actor, reason
    FROM config_change WHERE kind = 'whitelist_add'
    UNION ALL
    SELECT tenant_id, 'whitelist', before ->> 'action_type', before ->> 'id', NULL, at, NULL, epoch, actor, reason
    FROM config_change WHERE kind = 'whitelist_remove'
)
SELECT tenant_id, -- The tenant.
    fact, -- maturity_tier, stopped, override, whitelist or policy.
    action_type, -- The action type of an override or a whitelist entry.
    name, -- The mode of an override, the id of a whitelist entry.
    value, -- The tier's label; true for stopped; the constraints of an override or whitelist entry; the policy's bundle_hash.
    valid_from, -- When it was set; the year 1 for the tier that every tenant begins with.
    valid_until, -- When it was changed or removed, or expired, whichever came first; NULL: it still stands.
    from_epoch, -- Epoch of the change that set it: a decision saw it from this config_epoch on. NULL for the policy, which has epochs of its own.
    until_epoch, -- Epoch of the change that ended it; NULL: none did, though it may have expired.
    set_by, -- Name of the credential that set it.
    reason -- Why, for a person.
FROM (
    SELECT tenant_id, fact, action_type, name, value, at AS valid_from,
           coalesce(min(lead(at) OVER step, expires_at), lead(at) OVER step, expires_at) AS valid_until,
           epoch AS from_epoch, lead(epoch) OVER step AS until_epoch, set_by, reason
    FROM steps WINDOW step AS (PARTITION BY tenant_id, fact, action_type, name ORDER BY epoch)
    UNION ALL
    SELECT h.tenant_id, 'policy', NULL, NULL, p.bundle_hash, p.at, p.until, NULL, NULL, p.actor, p.reason
    FROM tenant_head h, (
        SELECT bundle_hash, at, lead(at) OVER (ORDER BY change_id) AS until, actor, reason
        FROM policy_change WHERE kind IN ('seed', 'activate', 'rollback')) p
) stood
WHERE value IS NOT NULL;

-- +goose Down
-- There is no way down: the log is evidence.
