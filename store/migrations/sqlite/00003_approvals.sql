-- What becomes of a queued action: the same tables as in PostgreSQL.

-- +goose Up

-- Where each approval stands; every row follows from its rows in approval_event.
CREATE TABLE approval (
    tenant_id TEXT NOT NULL, -- The tenant.
    approval_id TEXT NOT NULL, -- UUIDv7, made when it was opened.
    status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'cancelled', 'released', 'refused')), -- pending; or denied, expired, cancelled, released (it may run) or refused, which are final.
    version INTEGER NOT NULL CHECK (version > 0), -- seq of its newest event: a step is made on the version that was judged, or not at all.
    action_digest BLOB NOT NULL CHECK (length(action_digest) = 32), -- SHA-256 of tenant, action type, target and parameters, RFC 8785 form. One approval of a digest is open at a time.
    action_type TEXT NOT NULL CHECK (action_type <> ''), -- What is to be done.
    target TEXT NOT NULL CHECK (target <> ''), -- To what.
    blast_radius TEXT NOT NULL CHECK (blast_radius IN ('MINIMAL', 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL')), -- The blast radius when it was asked about.
    decision_id TEXT NOT NULL, -- The decision that opened it.
    requester TEXT NOT NULL CHECK (requester <> ''), -- The person who asked first; all who asked are in approval_event.
    needed INTEGER NOT NULL CHECK (needed > 0), -- How many people must approve, as the policy said last.
    approvers TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(approvers) AND json_type(approvers) = 'array'), -- Array of the people whose approval counts, as the policy said last.
    opened_at TEXT NOT NULL, -- When it was opened: decided_at of that decision.
    expires_at TEXT NOT NULL, -- From then on it is expired, whatever status says.
    closed_at TEXT, -- When it ended; NULL while it is open.
    closed_by TEXT, -- The person whose step ended it, system where time did.
    release_decision_id TEXT, -- The decision that was made again when enough people had approved.
    valid_until TEXT, -- Until when a released action may be started.
    PRIMARY KEY (tenant_id, approval_id),
    CHECK (expires_at > opened_at),
    CHECK ((status IN ('pending', 'approved')) = (closed_at IS NULL)),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL)),
    CHECK ((status IN ('released', 'refused')) = (release_decision_id IS NOT NULL)),
    CHECK ((status = 'released') = (valid_until IS NOT NULL)),
    CONSTRAINT released_by_enough CHECK (status <> 'released' OR json_array_length(approvers) >= needed),
    CONSTRAINT released_in_time CHECK (status <> 'released' OR closed_at < expires_at)
) STRICT;

-- Every step of every approval, in order; append-only.
CREATE TABLE approval_event (
    tenant_id TEXT NOT NULL, -- The tenant.
    approval_id TEXT NOT NULL, -- The approval.
    seq INTEGER NOT NULL CHECK (seq > 0), -- 1, 2, 3… per approval, without gaps.
    kind TEXT NOT NULL CHECK (kind IN ('opened', 'joined', 'approve', 'deny', 'cancelled', 'expired', 'released', 'refused')), -- opened; joined (another person asked for the same); approve or deny (a vote); cancelled, expired, released or refused.
    status TEXT NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'cancelled', 'released', 'refused')), -- Where the approval stood after it; approved stands here only, before the release or refusal of the same moment.
    person TEXT NOT NULL CHECK (person <> ''), -- Who: the person that the credential is of; of a joined one perhaps the user on whose initiative it came.
    principal TEXT NOT NULL CHECK (principal <> ''), -- Name of the credential.
    roles TEXT CHECK (json_valid(roles) AND json_type(roles) = 'array'), -- The roles of that credential at that moment; of votes only.
    comment TEXT, -- Why, in the words of that person.
    at TEXT NOT NULL, -- When.
    rule TEXT, -- The rule of data.gate.release that decided the step, where it was asked.
    rationale TEXT, -- Why, in the words of the policy.
    input BLOB CHECK (length(input) > 0), -- Canonical bytes of what data.gate.release saw.
    bundle_hash TEXT, -- Hash of the bundle that was asked.
    decision_id TEXT, -- The decision that it is about: the one that asked, or the one made again.
    config_epoch INTEGER CHECK (config_epoch >= 0), -- Epoch of the tenant's configuration, current when it committed.
    policy_epoch INTEGER CHECK (policy_epoch >= 0), -- Epoch of the policy, current when it committed.
    PRIMARY KEY (tenant_id, approval_id, seq),
    CHECK ((input IS NULL) OR (rule IS NOT NULL AND rationale IS NOT NULL AND bundle_hash IS NOT NULL))
) STRICT;

-- What came of actions that were let go; append-only, the newest row counts.
CREATE TABLE decision_outcome (
    tenant_id TEXT NOT NULL, -- The tenant.
    decision_id TEXT NOT NULL, -- The decision that let the action go: an auto, or the one made again at the release.
    seq INTEGER NOT NULL CHECK (seq > 0), -- 1, 2, 3… per decision.
    status TEXT NOT NULL CHECK (status IN ('executed', 'failed', 'rolled_back')), -- executed, failed or rolled_back.
    detail TEXT, -- What there is to say about it.
    person TEXT NOT NULL CHECK (person <> ''), -- Who reported it.
    principal TEXT NOT NULL CHECK (principal <> ''), -- Name of the credential that reported it.
    at TEXT NOT NULL, -- When it was reported.
    PRIMARY KEY (tenant_id, decision_id, seq)
) STRICT;

CREATE UNIQUE INDEX approval_open ON approval (tenant_id, action_digest) WHERE status = 'pending';
CREATE INDEX approval_by_status ON approval (tenant_id, status, approval_id);
CREATE INDEX approval_due ON approval (expires_at) WHERE closed_at IS NULL;

-- The approval that a queued_approval opened or joined, or by which the decision was made again.
ALTER TABLE remediation_gate_log ADD COLUMN approval_id TEXT;
-- The decision that opened that approval, on the row that was made again when enough people had approved.
ALTER TABLE remediation_gate_log ADD COLUMN supersedes TEXT CHECK (supersedes IS NULL OR approval_id IS NOT NULL);

-- +goose StatementBegin
CREATE TRIGGER approval_event_refuse_update BEFORE UPDATE ON approval_event
BEGIN SELECT RAISE(ABORT, 'approval_event is append-only: UPDATE refused'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER approval_event_refuse_delete BEFORE DELETE ON approval_event
BEGIN SELECT RAISE(ABORT, 'approval_event is append-only: DELETE refused'); END;
-- +goose StatementEnd

-- Against REPLACE INTO; see 00001.
-- +goose StatementBegin
CREATE TRIGGER approval_event_refuse_replace BEFORE INSERT ON approval_event
WHEN EXISTS (SELECT 1 FROM approval_event WHERE tenant_id = NEW.tenant_id AND approval_id = NEW.approval_id AND seq = NEW.seq)
    OR EXISTS (SELECT 1 FROM approval_event WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'approval_event is append-only: a row with this key exists'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER decision_outcome_refuse_update BEFORE UPDATE ON decision_outcome
BEGIN SELECT RAISE(ABORT, 'decision_outcome is append-only: UPDATE refused'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER decision_outcome_refuse_delete BEFORE DELETE ON decision_outcome
BEGIN SELECT RAISE(ABORT, 'decision_outcome is append-only: DELETE refused'); END;
-- +goose StatementEnd

-- Against REPLACE INTO; see 00001.
-- +goose StatementBegin
CREATE TRIGGER decision_outcome_refuse_replace BEFORE INSERT ON decision_outcome
WHEN EXISTS (SELECT 1 FROM decision_outcome WHERE tenant_id = NEW.tenant_id AND decision_id = NEW.decision_id AND seq = NEW.seq)
    OR EXISTS (SELECT 1 FROM decision_outcome WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'decision_outcome is append-only: a row with this key exists'); END;
-- +goose StatementEnd

-- What has ended stays so, and no approval goes back or becomes another one.
-- +goose StatementBegin
CREATE TRIGGER approval_refuse_back BEFORE UPDATE ON approval
WHEN NEW.version <= OLD.version OR OLD.status NOT IN ('pending', 'approved') OR NEW.tenant_id <> OLD.tenant_id OR NEW.approval_id <> OLD.approval_id
    OR NEW.action_digest <> OLD.action_digest OR NEW.decision_id <> OLD.decision_id OR NEW.expires_at > OLD.expires_at
BEGIN SELECT RAISE(ABORT, 'approval only moves forward: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER approval_refuse_delete BEFORE DELETE ON approval
BEGIN SELECT RAISE(ABORT, 'approval only moves forward: DELETE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER approval_refuse_replace BEFORE INSERT ON approval
WHEN EXISTS (SELECT 1 FROM approval WHERE tenant_id = NEW.tenant_id AND approval_id = NEW.approval_id)
    OR EXISTS (SELECT 1 FROM approval WHERE tenant_id = NEW.tenant_id AND action_digest = NEW.action_digest AND status = 'pending' AND NEW.status = 'pending')
    OR EXISTS (SELECT 1 FROM approval WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'approval only moves forward: a row with this key exists'); END;
-- +goose StatementEnd

-- A queued action has its approval; rows from before stay as they are.
-- +goose StatementBegin
CREATE TRIGGER remediation_gate_log_queued BEFORE INSERT ON remediation_gate_log
WHEN NEW.decision = 'queued_approval' AND NEW.approval_id IS NULL
BEGIN SELECT RAISE(ABORT, 'a queued_approval has an approval'); END;
-- +goose StatementEnd

-- +goose Down
-- There is no way down: the log is evidence.
