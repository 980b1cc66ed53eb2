-- The gate's tables: what we know (tenant, action_override, whitelist_entry),
-- what was changed (config_change) and what we decided (remediation_gate_log).
-- PostgreSQL 13 or newer.

-- +goose Up

CREATE TABLE tenant_head (
    tenant_id text COLLATE "C" PRIMARY KEY CHECK (tenant_id <> ''),
    log_seq   bigint NOT NULL DEFAULT 0 CHECK (log_seq >= 0),
    epoch     bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE  tenant_head IS 'One narrow row per tenant, locked by every append and every change: the order of both.';
COMMENT ON COLUMN tenant_head.tenant_id IS 'The tenant.';
COMMENT ON COLUMN tenant_head.log_seq IS 'log_seq of the newest row of remediation_gate_log, 0 for none.';
COMMENT ON COLUMN tenant_head.epoch IS 'epoch of the newest row of config_change, 0 for none.';

CREATE TABLE tenant (
    tenant_id     text COLLATE "C" PRIMARY KEY,
    maturity_tier smallint NOT NULL DEFAULT 0 CHECK (maturity_tier BETWEEN 0 AND 4),
    stopped       boolean NOT NULL DEFAULT false,
    changed_by    text NOT NULL,
    changed_at    timestamptz NOT NULL
);
COMMENT ON TABLE  tenant IS 'The dial of each tenant that was ever configured; any other is at tier 0.';
COMMENT ON COLUMN tenant.tenant_id IS 'The tenant.';
COMMENT ON COLUMN tenant.maturity_tier IS '0 (L0-Observe) to 4 (L4-Automate).';
COMMENT ON COLUMN tenant.stopped IS 'While true, nothing that is not blocked is anything but queued_approval.';
COMMENT ON COLUMN tenant.changed_by IS 'Who made the newest change of any kind.';
COMMENT ON COLUMN tenant.changed_at IS 'When the newest change of any kind was made.';

CREATE TABLE action_override (
    tenant_id   text COLLATE "C" NOT NULL,
    action_type text COLLATE "C" NOT NULL,
    mode        text COLLATE "C" NOT NULL CHECK (mode IN ('block', 'require_approval', 'force_auto')),
    constraints json NOT NULL,
    expires_at  timestamptz CHECK (expires_at >= '0001-01-01Z' AND expires_at < '10000-01-01Z'),
    reason      text NOT NULL,
    set_by      text NOT NULL,
    set_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, action_type, mode)
);
COMMENT ON TABLE  action_override IS 'What stands between a tenant''s tier and one action type; at most one of each mode.';
COMMENT ON COLUMN action_override.tenant_id IS 'The tenant.';
COMMENT ON COLUMN action_override.action_type IS 'The action type.';
COMMENT ON COLUMN action_override.mode IS 'block, require_approval or force_auto.';
COMMENT ON COLUMN action_override.constraints IS 'Where it applies; the exact bytes that the policy sees.';
COMMENT ON COLUMN action_override.expires_at IS 'In force while now is before; NULL: always.';
COMMENT ON COLUMN action_override.reason IS 'Why, for a person.';
COMMENT ON COLUMN action_override.set_by IS 'Name of the credential that set it.';
COMMENT ON COLUMN action_override.set_at IS 'When it was set.';

CREATE TABLE whitelist_entry (
    tenant_id   text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL CHECK (id <> ''),
    action_type text COLLATE "C" NOT NULL,
    constraints json NOT NULL,
    expires_at  timestamptz NOT NULL CHECK (expires_at >= '0001-01-01Z' AND expires_at < '10000-01-01Z'),
    reason      text NOT NULL,
    notify      json NOT NULL CHECK (json_typeof(notify) = 'array'),
    set_by      text NOT NULL,
    set_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX whitelist_entry_by_action ON whitelist_entry (tenant_id, action_type, id);
COMMENT ON TABLE  whitelist_entry IS 'Targets on which a HIGH action type may run by itself at tier 4.';
COMMENT ON COLUMN whitelist_entry.tenant_id IS 'The tenant.';
COMMENT ON COLUMN whitelist_entry.id IS 'UUIDv7, made when the entry was added.';
COMMENT ON COLUMN whitelist_entry.action_type IS 'The action type.';
COMMENT ON COLUMN whitelist_entry.constraints IS 'Where it applies; the exact bytes that the policy sees.';
COMMENT ON COLUMN whitelist_entry.expires_at IS 'In force while now is before.';
COMMENT ON COLUMN whitelist_entry.reason IS 'Why, for a person.';
COMMENT ON COLUMN whitelist_entry.notify IS 'Array of where each use is announced.';
COMMENT ON COLUMN whitelist_entry.set_by IS 'Name of the credential that added it.';
COMMENT ON COLUMN whitelist_entry.set_at IS 'When it was added.';

CREATE TABLE config_change (
    tenant_id text COLLATE "C" NOT NULL,
    epoch     bigint NOT NULL CHECK (epoch > 0),
    kind      text NOT NULL CHECK (kind <> ''),
    before    json NOT NULL,
    after     json NOT NULL,
    actor     text NOT NULL,
    reason    text NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, epoch)
);
COMMENT ON TABLE  config_change IS 'Every accepted change of a tenant''s configuration, in order; append-only. Together they rebuild the configuration at any past moment.';
COMMENT ON COLUMN config_change.tenant_id IS 'The tenant.';
COMMENT ON COLUMN config_change.epoch IS '1, 2, 3… per tenant, without gaps.';
COMMENT ON COLUMN config_change.kind IS 'config, override_set, override_remove, whitelist_add, whitelist_remove, stop or release.';
COMMENT ON COLUMN config_change.before IS 'What stood before; JSON null for nothing.';
COMMENT ON COLUMN config_change.after IS 'What stands after; JSON null for nothing.';
COMMENT ON COLUMN config_change.actor IS 'Name of the credential that made the change.';
COMMENT ON COLUMN config_change.reason IS 'Why, for a person; may be empty for a change of tier.';
COMMENT ON COLUMN config_change.at IS 'When it was made.';

CREATE TABLE remediation_gate_log (
    tenant_id         text COLLATE "C" NOT NULL,
    log_seq           bigint NOT NULL CHECK (log_seq > 0),
    decision_id       uuid NOT NULL,
    action_id         uuid NOT NULL,
    action_type       text COLLATE "C" NOT NULL CHECK (action_type <> ''),
    target            text COLLATE "C" NOT NULL CHECK (target <> ''),
    blast_radius      text NOT NULL CHECK (blast_radius IN ('MINIMAL', 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
    maturity_tier     smallint NOT NULL CHECK (maturity_tier BETWEEN 0 AND 4),
    decision          text NOT NULL CHECK (decision IN ('auto', 'queued_approval', 'blocked')),
    rule              text NOT NULL CHECK (rule <> ''),
    rationale         text NOT NULL CHECK (rationale <> ''),
    overrides_applied json NOT NULL,
    rollback          text NOT NULL,
    actor             text NOT NULL CHECK (actor <> ''),
    principal         text NOT NULL,
    incident_id       text,
    confidence        double precision CHECK (confidence BETWEEN 0 AND 1),
    read_set          json,
    parameters_digest text,
    input             bytea NOT NULL CHECK (length(input) > 0),
    policy_revision   text NOT NULL,
    bundle_hash       text NOT NULL,
    engine_version    text NOT NULL,
    config_epoch      bigint NOT NULL CHECK (config_epoch >= 0),
    decided_at        timestamptz NOT NULL,
    request_digest    bytea NOT NULL CHECK (length(request_digest) = 32),
    CONSTRAINT critical_never_auto CHECK (NOT (blast_radius = 'CRITICAL' AND decision = 'auto'))
) PARTITION BY RANGE (decided_at);
-- log_seq and action_id cannot be unique here (a unique key of a partitioned
-- table must hold its partition key): the lock on tenant_head and the primary
-- key of remediation_action keep them so.
CREATE INDEX remediation_gate_log_seq ON remediation_gate_log (tenant_id, log_seq);
CREATE INDEX remediation_gate_log_decision ON remediation_gate_log (decision_id);
CREATE INDEX remediation_gate_log_target ON remediation_gate_log (tenant_id, target);
CREATE INDEX remediation_gate_log_time ON remediation_gate_log USING brin (decided_at);
COMMENT ON TABLE  remediation_gate_log IS 'One row per decision of the gate, whatever the decision; append-only, partitioned by month of decided_at (UTC).';
COMMENT ON COLUMN remediation_gate_log.tenant_id IS 'The tenant that asked.';
COMMENT ON COLUMN remediation_gate_log.log_seq IS '1, 2, 3… per tenant, without gaps.';
COMMENT ON COLUMN remediation_gate_log.decision_id IS 'UUIDv7 of the decision.';
COMMENT ON COLUMN remediation_gate_log.action_id IS 'The idempotency key, once per tenant.';
COMMENT ON COLUMN remediation_gate_log.action_type IS 'What was to be done.';
COMMENT ON COLUMN remediation_gate_log.target IS 'To what.';
COMMENT ON COLUMN remediation_gate_log.blast_radius IS 'How far the harm of a wrong action reaches, as the policy saw it.';
COMMENT ON COLUMN remediation_gate_log.maturity_tier IS 'The tenant''s tier, as the policy saw it.';
COMMENT ON COLUMN remediation_gate_log.decision IS 'auto, queued_approval or blocked.';
COMMENT ON COLUMN remediation_gate_log.rule IS 'The rule that decided.';
COMMENT ON COLUMN remediation_gate_log.rationale IS 'Why, for a person.';
COMMENT ON COLUMN remediation_gate_log.overrides_applied IS 'Array of the overrides and whitelist entries that decided.';
COMMENT ON COLUMN remediation_gate_log.rollback IS 'How the action is undone.';
COMMENT ON COLUMN remediation_gate_log.actor IS 'On whose initiative: system or user:<id>.';
COMMENT ON COLUMN remediation_gate_log.principal IS 'Name of the credential that asked.';
COMMENT ON COLUMN remediation_gate_log.incident_id IS 'The incident it belongs to, if one was named.';
COMMENT ON COLUMN remediation_gate_log.confidence IS 'The caller''s confidence, 0 to 1, if given.';
COMMENT ON COLUMN remediation_gate_log.read_set IS 'The view that the caller read before it asked, if given.';
COMMENT ON COLUMN remediation_gate_log.parameters_digest IS 'SHA-256 of the parameters, which are kept in decision_parameters.';
COMMENT ON COLUMN remediation_gate_log.input IS 'Canonical bytes of what the policy saw: facts, request and clock.';
COMMENT ON COLUMN remediation_gate_log.policy_revision IS 'Revision of the bundle that decided.';
COMMENT ON COLUMN remediation_gate_log.bundle_hash IS 'Hash of the bundle that decided.';
COMMENT ON COLUMN remediation_gate_log.engine_version IS 'Versions of tiergate and OPA.';
COMMENT ON COLUMN remediation_gate_log.config_epoch IS 'Epoch of the configuration that the policy saw, current when the row committed.';
COMMENT ON COLUMN remediation_gate_log.decided_at IS 'The clock of the decision, input.now.';
COMMENT ON COLUMN remediation_gate_log.request_digest IS 'SHA-256 of the request without its action_id, RFC 8785 form.';

CREATE TABLE remediation_action (
    tenant_id      text COLLATE "C" NOT NULL,
    action_id      uuid NOT NULL,
    log_seq        bigint NOT NULL,
    decided_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, action_id)
);
COMMENT ON TABLE  remediation_action IS 'Which row of the log answered an action_id: the key that makes asking twice safe.';
COMMENT ON COLUMN remediation_action.tenant_id IS 'The tenant.';
COMMENT ON COLUMN remediation_action.action_id IS 'The idempotency key.';
COMMENT ON COLUMN remediation_action.log_seq IS 'log_seq of the row that answered it.';
COMMENT ON COLUMN remediation_action.decided_at IS 'decided_at of that row, which names its partition.';

CREATE TABLE decision_parameters (
    decision_id uuid PRIMARY KEY,
    tenant_id   text COLLATE "C" NOT NULL,
    parameters  bytea NOT NULL
);
COMMENT ON TABLE  decision_parameters IS 'The parameters of decisions, kept apart so that retention may erase them without touching the log.';
COMMENT ON COLUMN decision_parameters.decision_id IS 'The decision.';
COMMENT ON COLUMN decision_parameters.tenant_id IS 'The tenant.';
COMMENT ON COLUMN decision_parameters.parameters IS 'RFC 8785 bytes of the parameters object.';

-- +goose StatementBegin
CREATE FUNCTION tiergate_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON remediation_gate_log FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON remediation_gate_log FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON config_change FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON config_change FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON remediation_action FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON remediation_action FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_change();

-- A head that went back would hand out a log_seq or an epoch twice. The WHEN is
-- all that an append pays.
-- +goose StatementBegin
CREATE FUNCTION tiergate_refuse_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only moves forward: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd
CREATE TRIGGER forward_only BEFORE UPDATE ON tenant_head FOR EACH ROW
    WHEN (NEW.log_seq < OLD.log_seq OR NEW.epoch < OLD.epoch OR NEW.tenant_id <> OLD.tenant_id) EXECUTE FUNCTION tiergate_refuse_back();
CREATE TRIGGER forward_only_delete BEFORE DELETE ON tenant_head FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_back();
CREATE TRIGGER forward_only_truncate BEFORE TRUNCATE ON tenant_head FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_back();

-- The writer may have months made without owning a table: the function runs
-- with its owner's rights and a pinned search_path. The partition is made
-- beside the table and attached, so that appends go on meanwhile.
-- +goose StatementBegin
DO $do$
BEGIN
    EXECUTE format($f$
CREATE FUNCTION tiergate_ensure_month(at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, %1$I, pg_temp AS $body$
DECLARE
    first timestamp := date_trunc('month', at AT TIME ZONE 'UTC');
    name  text := 'remediation_gate_log_' || to_char(first, 'YYYYMM');
BEGIN
    IF at < '2000-01-01Z' OR at >= '2263-01-01Z' OR at IS NULL THEN
        RAISE EXCEPTION 'no partition for %%: outside 2000 to 2262', at USING ERRCODE = 'datetime_field_overflow';
    END IF;
    PERFORM pg_advisory_xact_lock(720394051260);
    IF to_regclass(format('%%I.%%I', %1$L, name)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %%I.%%I (LIKE %%I.remediation_gate_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)',
                   %1$L, name, %1$L);
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %%I.%%I FOR EACH STATEMENT EXECUTE FUNCTION %%I.tiergate_refuse_change()',
                   %1$L, name, %1$L);
    EXECUTE format('ALTER TABLE %%I.remediation_gate_log ATTACH PARTITION %%I.%%I FOR VALUES FROM (%%L) TO (%%L)',
                   %1$L, %1$L, name, first::text || 'Z', (first + interval '1 month')::text || 'Z');
END $body$;
$f$, current_schema());
END $do$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION tiergate_ensure_month(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION tiergate_ensure_month(timestamptz) IS 'Makes the partition of remediation_gate_log for the month of the given time, unless it is there.';

-- The role that the gate works as. A role belongs to the whole cluster, so it
-- may be there already, or be made by a neighbour at this moment.
-- +goose StatementBegin
DO $do$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tiergate_writer') THEN
        CREATE ROLE tiergate_writer NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $do$;
-- +goose StatementEnd
-- +goose StatementBegin
DO $do$
BEGIN
    -- SET ROLE takes membership; a superuser needs none.
    IF NOT pg_has_role(current_user, 'tiergate_writer', 'MEMBER') THEN
        EXECUTE format('GRANT tiergate_writer TO %I', current_user);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tiergate_writer', current_schema());
END $do$;
-- +goose StatementEnd
GRANT EXECUTE ON FUNCTION tiergate_ensure_month(timestamptz) TO tiergate_writer;
GRANT SELECT ON goose_db_version TO tiergate_writer;
GRANT SELECT, INSERT (tenant_id), UPDATE (log_seq, epoch) ON tenant_head TO tiergate_writer;
GRANT SELECT, INSERT, UPDATE ON tenant TO tiergate_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON action_override TO tiergate_writer;
GRANT SELECT, INSERT, DELETE ON whitelist_entry TO tiergate_writer;
GRANT SELECT, INSERT ON config_change, remediation_action, decision_parameters TO tiergate_writer;
GRANT SELECT, INSERT (tenant_id, log_seq, decision_id, action_id, action_type, target, blast_radius, maturity_tier,
    decision, rule, rationale, overrides_applied, rollback, actor, principal, incident_id, confidence, read_set,
    parameters_digest, input, policy_revision, bundle_hash, engine_version, config_epoch, decided_at, request_digest)
    ON remediation_gate_log TO tiergate_writer;

-- +goose Down
-- There is no way down: the log is evidence.
