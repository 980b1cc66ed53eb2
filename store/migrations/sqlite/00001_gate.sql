-- The same tables as in PostgreSQL, in SQLite's words. Times are text in UTC with
-- three decimals (2026-11-23T08:00:00.123Z), which sorts as time does.

-- +goose Up

-- One narrow row per tenant, locked by every append and every change: the order of both.
CREATE TABLE tenant_head (
    tenant_id TEXT NOT NULL PRIMARY KEY CHECK (tenant_id <> ''), -- The tenant.
    log_seq INTEGER NOT NULL DEFAULT 0 CHECK (log_seq >= 0), -- log_seq of the newest row of remediation_gate_log, 0 for none.
    epoch INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0) -- epoch of the newest row of config_change, 0 for none.
) STRICT, WITHOUT ROWID;

-- The dial of each tenant that was ever configured; any other is at tier 0.
CREATE TABLE tenant (
    tenant_id TEXT NOT NULL PRIMARY KEY, -- The tenant.
    maturity_tier INTEGER NOT NULL DEFAULT 0 CHECK (maturity_tier BETWEEN 0 AND 4), -- 0 (L0-Observe) to 4 (L4-Automate).
    stopped INTEGER NOT NULL DEFAULT 0 CHECK (stopped IN (0, 1)), -- While true, nothing that is not blocked is anything but queued_approval.
    changed_by TEXT NOT NULL, -- Who made the newest change of any kind.
    changed_at TEXT NOT NULL -- When the newest change of any kind was made.
) STRICT;

-- What stands between a tenant's tier and one action type; at most one of each mode.
CREATE TABLE action_override (
    tenant_id TEXT NOT NULL, -- The tenant.
    action_type TEXT NOT NULL, -- The action type.
    mode TEXT NOT NULL CHECK (mode IN ('block', 'require_approval', 'force_auto')), -- block, require_approval or force_auto.
    constraints TEXT NOT NULL CHECK (json_valid(constraints)), -- Where it applies; the exact bytes that the policy sees.
    expires_at TEXT CHECK (expires_at IS NULL OR (expires_at GLOB '????-??-??T??:??:??.???Z' AND julianday(expires_at) IS NOT NULL)), -- In force while now is before; NULL: always.
    reason TEXT NOT NULL, -- Why, for a person.
    set_by TEXT NOT NULL, -- Name of the credential that set it.
    set_at TEXT NOT NULL, -- When it was set.
    PRIMARY KEY (tenant_id, action_type, mode)
) STRICT;

-- Targets on which a HIGH action type may run by itself at tier 4.
CREATE TABLE whitelist_entry (
    tenant_id TEXT NOT NULL, -- The tenant.
    id TEXT NOT NULL CHECK (id <> ''), -- UUIDv7, made when the entry was added.
    action_type TEXT NOT NULL, -- The action type.
    constraints TEXT NOT NULL CHECK (json_valid(constraints)), -- Where it applies; the exact bytes that the policy sees.
    expires_at TEXT NOT NULL CHECK (expires_at GLOB '????-??-??T??:??:??.???Z' AND julianday(expires_at) IS NOT NULL), -- In force while now is before.
    reason TEXT NOT NULL, -- Why, for a person.
    notify TEXT NOT NULL CHECK (json_valid(notify) AND json_type(notify) = 'array'), -- Array of where each use is announced.
    set_by TEXT NOT NULL, -- Name of the credential that added it.
    set_at TEXT NOT NULL, -- When it was added.
    PRIMARY KEY (tenant_id, id)
) STRICT;

CREATE INDEX whitelist_entry_by_action ON whitelist_entry (tenant_id, action_type, id);

-- Every accepted change of a tenant's configuration, in order; append-only. Together they rebuild the configuration at any past moment.
CREATE TABLE config_change (
    tenant_id TEXT NOT NULL, -- The tenant.
    epoch INTEGER NOT NULL CHECK (epoch > 0), -- 1, 2, 3… per tenant, without gaps.
    kind TEXT NOT NULL CHECK (kind <> ''), -- config, override_set, override_remove, whitelist_add, whitelist_remove, stop or release.
    before TEXT NOT NULL CHECK (json_valid(before)), -- What stood before; JSON null for nothing.
    after TEXT NOT NULL CHECK (json_valid(after)), -- What stands after; JSON null for nothing.
    actor TEXT NOT NULL, -- Name of the credential that made the change.
    reason TEXT NOT NULL, -- Why, for a person; may be empty for a change of tier.
    at TEXT NOT NULL, -- When it was made.
    PRIMARY KEY (tenant_id, epoch)
) STRICT;

-- One row per decision of the gate, whatever the decision; append-only.
CREATE TABLE remediation_gate_log (
    tenant_id TEXT NOT NULL, -- The tenant that asked.
    log_seq INTEGER NOT NULL CHECK (log_seq > 0), -- 1, 2, 3… per tenant, without gaps.
    decision_id TEXT NOT NULL, -- UUIDv7 of the decision.
    action_id TEXT NOT NULL, -- The idempotency key, once per tenant.
    action_type TEXT NOT NULL CHECK (action_type <> ''), -- What was to be done.
    target TEXT NOT NULL CHECK (target <> ''), -- To what.
    blast_radius TEXT NOT NULL CHECK (blast_radius IN ('MINIMAL', 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL')), -- How far the harm of a wrong action reaches, as the policy saw it.
    maturity_tier INTEGER NOT NULL CHECK (maturity_tier BETWEEN 0 AND 4), -- The tenant's tier, as the policy saw it.
    decision TEXT NOT NULL CHECK (decision IN ('auto', 'queued_approval', 'blocked')), -- auto, queued_approval or blocked.
    rule TEXT NOT NULL CHECK (rule <> ''), -- The rule that decided.
    rationale TEXT NOT NULL CHECK (rationale <> ''), -- Why, for a person.
    overrides_applied TEXT NOT NULL CHECK (json_valid(overrides_applied)), -- Array of the overrides and whitelist entries that decided.
    rollback TEXT NOT NULL, -- How the action is undone.
    actor TEXT NOT NULL CHECK (actor <> ''), -- On whose initiative: system or user:<id>.
    principal TEXT NOT NULL, -- Name of the credential that asked.
    incident_id TEXT, -- The incident it belongs to, if one was named.
    confidence REAL CHECK (confidence BETWEEN 0 AND 1), -- The caller's confidence, 0 to 1, if given.
    read_set TEXT CHECK (json_valid(read_set)), -- The view that the caller read before it asked, if given.
    parameters_digest TEXT, -- SHA-256 of the parameters, which are kept in decision_parameters.
    input BLOB NOT NULL CHECK (length(input) > 0), -- Canonical bytes of what the policy saw: facts, request and clock.
    policy_revision TEXT NOT NULL, -- Revision of the bundle that decided.
    bundle_hash TEXT NOT NULL, -- Hash of the bundle that decided.
    engine_version TEXT NOT NULL, -- Versions of tiergate and OPA.
    config_epoch INTEGER NOT NULL CHECK (config_epoch >= 0), -- Epoch of the configuration that the policy saw, current when the row committed.
    decided_at TEXT NOT NULL, -- The clock of the decision, input.now.
    request_digest BLOB NOT NULL CHECK (length(request_digest) = 32), -- SHA-256 of the request without its action_id, RFC 8785 form.
    CONSTRAINT critical_never_auto CHECK (NOT (blast_radius = 'CRITICAL' AND decision = 'auto')),
    PRIMARY KEY (tenant_id, log_seq)
) STRICT;

CREATE INDEX remediation_gate_log_decision ON remediation_gate_log (decision_id);
CREATE INDEX remediation_gate_log_target ON remediation_gate_log (tenant_id, target);

-- Which row of the log answered an action_id: the key that makes asking twice safe.
CREATE TABLE remediation_action (
    tenant_id TEXT NOT NULL, -- The tenant.
    action_id TEXT NOT NULL, -- The idempotency key.
    log_seq INTEGER NOT NULL, -- log_seq of the row that answered it.
    decided_at TEXT NOT NULL, -- decided_at of that row, which names its partition.
    PRIMARY KEY (tenant_id, action_id)
) STRICT, WITHOUT ROWID;

-- The parameters of decisions, kept apart so that retention may erase them without touching the log.
CREATE TABLE decision_parameters (
    decision_id TEXT NOT NULL PRIMARY KEY, -- The decision.
    tenant_id TEXT NOT NULL, -- The tenant.
    parameters BLOB NOT NULL -- RFC 8785 bytes of the parameters object.
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER remediation_gate_log_refuse_update BEFORE UPDATE ON remediation_gate_log
BEGIN SELECT RAISE(ABORT, 'remediation_gate_log is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER remediation_gate_log_refuse_delete BEFORE DELETE ON remediation_gate_log
BEGIN SELECT RAISE(ABORT, 'remediation_gate_log is append-only: DELETE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER config_change_refuse_update BEFORE UPDATE ON config_change
BEGIN SELECT RAISE(ABORT, 'config_change is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER config_change_refuse_delete BEFORE DELETE ON config_change
BEGIN SELECT RAISE(ABORT, 'config_change is append-only: DELETE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER remediation_action_refuse_update BEFORE UPDATE ON remediation_action
BEGIN SELECT RAISE(ABORT, 'remediation_action is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER remediation_action_refuse_delete BEFORE DELETE ON remediation_action
BEGIN SELECT RAISE(ABORT, 'remediation_action is append-only: DELETE refused'); END;
-- +goose StatementEnd

-- REPLACE INTO and INSERT OR REPLACE delete without firing a DELETE trigger
-- (unless recursive_triggers is on), by any unique key and by the rowid, which
-- reads as -1 here where the statement does not name it.
-- +goose StatementBegin
CREATE TRIGGER remediation_gate_log_refuse_replace BEFORE INSERT ON remediation_gate_log
WHEN EXISTS (SELECT 1 FROM remediation_gate_log WHERE tenant_id = NEW.tenant_id AND log_seq = NEW.log_seq)
    OR EXISTS (SELECT 1 FROM remediation_gate_log WHERE decision_id = NEW.decision_id)
    OR EXISTS (SELECT 1 FROM remediation_gate_log WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'remediation_gate_log is append-only: a row with this key exists'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER config_change_refuse_replace BEFORE INSERT ON config_change
WHEN EXISTS (SELECT 1 FROM config_change WHERE tenant_id = NEW.tenant_id AND epoch = NEW.epoch)
    OR EXISTS (SELECT 1 FROM config_change WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'config_change is append-only: a row with this key exists'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER remediation_action_refuse_replace BEFORE INSERT ON remediation_action
WHEN EXISTS (SELECT 1 FROM remediation_action WHERE tenant_id = NEW.tenant_id AND action_id = NEW.action_id)
BEGIN SELECT RAISE(ABORT, 'remediation_action is append-only: a row with this key exists'); END;
-- +goose StatementEnd

-- A head that went back would hand out a log_seq or an epoch twice.
-- +goose StatementBegin
CREATE TRIGGER tenant_head_refuse_back BEFORE UPDATE ON tenant_head
WHEN NEW.log_seq < OLD.log_seq OR NEW.epoch < OLD.epoch OR NEW.tenant_id <> OLD.tenant_id
BEGIN SELECT RAISE(ABORT, 'tenant_head only moves forward: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tenant_head_refuse_delete BEFORE DELETE ON tenant_head
BEGIN SELECT RAISE(ABORT, 'tenant_head only moves forward: DELETE refused'); END;
-- +goose StatementEnd
-- A head that is there stays, also under REPLACE INTO; ON CONFLICT DO NOTHING comes here too.
-- +goose StatementBegin
CREATE TRIGGER tenant_head_keep BEFORE INSERT ON tenant_head
WHEN EXISTS (SELECT 1 FROM tenant_head WHERE tenant_id = NEW.tenant_id)
BEGIN SELECT RAISE(IGNORE); END;
-- +goose StatementEnd

-- +goose Down
-- There is no way down: the log is evidence.
