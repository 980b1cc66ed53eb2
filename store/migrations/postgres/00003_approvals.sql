-- What becomes of a queued action: whether a person let it go (approval), every
-- step to that (approval_event), and what came of it (decision_outcome).

-- +goose Up

CREATE TABLE approval (
    tenant_id           text COLLATE "C" NOT NULL,
    approval_id         uuid NOT NULL,
    status              text NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'cancelled', 'released', 'refused')),
    version             bigint NOT NULL CHECK (version > 0),
    action_digest       bytea NOT NULL CHECK (length(action_digest) = 32),
    action_type         text COLLATE "C" NOT NULL CHECK (action_type <> ''),
    target              text COLLATE "C" NOT NULL CHECK (target <> ''),
    blast_radius        text NOT NULL CHECK (blast_radius IN ('MINIMAL', 'LOW', 'MEDIUM', 'HIGH', 'CRITICAL')),
    decision_id         uuid NOT NULL,
    requester           text COLLATE "C" NOT NULL CHECK (requester <> ''),
    needed              smallint NOT NULL CHECK (needed > 0),
    approvers           json NOT NULL DEFAULT '[]' CHECK (json_typeof(approvers) = 'array'),
    opened_at           timestamptz NOT NULL,
    expires_at          timestamptz NOT NULL,
    closed_at           timestamptz,
    closed_by           text,
    release_decision_id uuid,
    valid_until         timestamptz,
    PRIMARY KEY (tenant_id, approval_id),
    CHECK (expires_at > opened_at),
    CHECK ((status IN ('pending', 'approved')) = (closed_at IS NULL)),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL)),
    CHECK ((status IN ('released', 'refused')) = (release_decision_id IS NOT NULL)),
    CHECK ((status = 'released') = (valid_until IS NOT NULL)),
    CONSTRAINT released_by_enough CHECK (status <> 'released' OR json_array_length(approvers) >= needed),
    CONSTRAINT released_in_time CHECK (status <> 'released' OR closed_at < expires_at)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX approval_open ON approval (tenant_id, action_digest) WHERE status = 'pending';
CREATE INDEX approval_by_status ON approval (tenant_id, status, approval_id);
CREATE INDEX approval_due ON approval (expires_at) WHERE closed_at IS NULL;
COMMENT ON TABLE  approval IS 'Where each approval stands; every row follows from its rows in approval_event.';
COMMENT ON COLUMN approval.tenant_id IS 'The tenant.';
COMMENT ON COLUMN approval.approval_id IS 'UUIDv7, made when it was opened.';
COMMENT ON COLUMN approval.status IS 'pending; or denied, expired, cancelled, released (it may run) or refused, which are final.';
COMMENT ON COLUMN approval.version IS 'seq of its newest event: a step is made on the version that was judged, or not at all.';
COMMENT ON COLUMN approval.action_digest IS 'SHA-256 of tenant, action type, target and parameters, RFC 8785 form. One approval of a digest is open at a time.';
COMMENT ON COLUMN approval.action_type IS 'What is to be done.';
COMMENT ON COLUMN approval.target IS 'To what.';
COMMENT ON COLUMN approval.blast_radius IS 'The blast radius when it was asked about.';
COMMENT ON COLUMN approval.decision_id IS 'The decision that opened it.';
COMMENT ON COLUMN approval.requester IS 'The person who asked first; all who asked are in approval_event.';
COMMENT ON COLUMN approval.needed IS 'How many people must approve, as the policy said last.';
COMMENT ON COLUMN approval.approvers IS 'Array of the people whose approval counts, as the policy said last.';
COMMENT ON COLUMN approval.opened_at IS 'When it was opened: decided_at of that decision.';
COMMENT ON COLUMN approval.expires_at IS 'From then on it is expired, whatever status says.';
COMMENT ON COLUMN approval.closed_at IS 'When it ended; NULL while it is open.';
COMMENT ON COLUMN approval.closed_by IS 'The person whose step ended it, system where time did.';
COMMENT ON COLUMN approval.release_decision_id IS 'The decision that was made again when enough people had approved.';
COMMENT ON COLUMN approval.valid_until IS 'Until when a released action may be started.';

CREATE TABLE approval_event (
    tenant_id    text COLLATE "C" NOT NULL,
    approval_id  uuid NOT NULL,
    seq          bigint NOT NULL CHECK (seq > 0),
    kind         text COLLATE "C" NOT NULL CHECK (kind IN ('opened', 'joined', 'approve', 'deny', 'cancelled', 'expired', 'released', 'refused')),
    status       text NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'cancelled', 'released', 'refused')),
    person       text COLLATE "C" NOT NULL CHECK (person <> ''),
    principal    text NOT NULL CHECK (principal <> ''),
    roles        json CHECK (json_typeof(roles) = 'array'),
    comment      text,
    at           timestamptz NOT NULL,
    rule         text,
    rationale    text,
    input        bytea CHECK (length(input) > 0),
    bundle_hash  text,
    decision_id  uuid,
    config_epoch bigint CHECK (config_epoch >= 0),
    policy_epoch bigint CHECK (policy_epoch >= 0),
    PRIMARY KEY (tenant_id, approval_id, seq),
    CHECK ((input IS NULL) OR (rule IS NOT NULL AND rationale IS NOT NULL AND bundle_hash IS NOT NULL))
);
COMMENT ON TABLE  approval_event IS 'Every step of every approval, in order; append-only.';
COMMENT ON COLUMN approval_event.tenant_id IS 'The tenant.';
COMMENT ON COLUMN approval_event.approval_id IS 'The approval.';
COMMENT ON COLUMN approval_event.seq IS '1, 2, 3… per approval, without gaps.';
COMMENT ON COLUMN approval_event.kind IS 'opened; joined (another person asked for the same); approve or deny (a vote); cancelled, expired, released or refused.';
COMMENT ON COLUMN approval_event.status IS 'Where the approval stood after it; approved stands here only, before the release or refusal of the same moment.';
COMMENT ON COLUMN approval_event.person IS 'Who: the person that the credential is of; of a joined one perhaps the user on whose initiative it came.';
COMMENT ON COLUMN approval_event.principal IS 'Name of the credential.';
COMMENT ON COLUMN approval_event.roles IS 'The roles of that credential at that moment; of votes only.';
COMMENT ON COLUMN approval_event.comment IS 'Why, in the words of that person.';
COMMENT ON COLUMN approval_event.at IS 'When.';
COMMENT ON COLUMN approval_event.rule IS 'The rule of data.gate.release that decided the step, where it was asked.';
COMMENT ON COLUMN approval_event.rationale IS 'Why, in the words of the policy.';
COMMENT ON COLUMN approval_event.input IS 'Canonical bytes of what data.gate.release saw.';
COMMENT ON COLUMN approval_event.bundle_hash IS 'Hash of the bundle that was asked.';
COMMENT ON COLUMN approval_event.decision_id IS 'The decision that it is about: the one that asked, or the one made again.';
COMMENT ON COLUMN approval_event.config_epoch IS 'Epoch of the tenant''s configuration, current when it committed.';
COMMENT ON COLUMN approval_event.policy_epoch IS 'Epoch of the policy, current when it committed.';

CREATE TABLE decision_outcome (
    tenant_id   text COLLATE "C" NOT NULL,
    decision_id uuid NOT NULL,
    seq         bigint NOT NULL CHECK (seq > 0),
    status      text NOT NULL CHECK (status IN ('executed', 'failed', 'rolled_back')),
    detail      text,
    person      text NOT NULL CHECK (person <> ''),
    principal   text NOT NULL CHECK (principal <> ''),
    at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, decision_id, seq)
);
COMMENT ON TABLE  decision_outcome IS 'What came of actions that were let go; append-only, the newest row counts.';
COMMENT ON COLUMN decision_outcome.tenant_id IS 'The tenant.';
COMMENT ON COLUMN decision_outcome.decision_id IS 'The decision that let the action go: an auto, or the one made again at the release.';
COMMENT ON COLUMN decision_outcome.seq IS '1, 2, 3… per decision.';
COMMENT ON COLUMN decision_outcome.status IS 'executed, failed or rolled_back.';
COMMENT ON COLUMN decision_outcome.detail IS 'What there is to say about it.';
COMMENT ON COLUMN decision_outcome.person IS 'Who reported it.';
COMMENT ON COLUMN decision_outcome.principal IS 'Name of the credential that reported it.';
COMMENT ON COLUMN decision_outcome.at IS 'When it was reported.';

ALTER TABLE remediation_gate_log ADD COLUMN approval_id uuid;
ALTER TABLE remediation_gate_log ADD COLUMN supersedes uuid CHECK (supersedes IS NULL OR approval_id IS NOT NULL);
-- Rows from before stay as they are. A gate that is older than this column
-- cannot leave a queued action without its approval any more.
ALTER TABLE remediation_gate_log ADD CONSTRAINT queued_has_approval CHECK (decision <> 'queued_approval' OR approval_id IS NOT NULL) NOT VALID;
COMMENT ON COLUMN remediation_gate_log.approval_id IS 'The approval that a queued_approval opened or joined, or by which the decision was made again.';
COMMENT ON COLUMN remediation_gate_log.supersedes IS 'The decision that opened that approval, on the row that was made again when enough people had approved.';

-- +goose StatementBegin
DO $do$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['approval_event', 'decision_outcome'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_change()', name);
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_change()', name);
    END LOOP;
END $do$;
-- +goose StatementEnd
-- What has ended stays so, and no approval goes back or becomes another one.
CREATE TRIGGER forward_only BEFORE UPDATE ON approval FOR EACH ROW
    WHEN (NEW.version <= OLD.version OR OLD.status NOT IN ('pending', 'approved') OR NEW.tenant_id <> OLD.tenant_id OR NEW.approval_id <> OLD.approval_id
        OR NEW.action_digest <> OLD.action_digest OR NEW.decision_id <> OLD.decision_id OR NEW.expires_at > OLD.expires_at) EXECUTE FUNCTION tiergate_refuse_back();
CREATE TRIGGER forward_only_delete BEFORE DELETE ON approval FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_back();
CREATE TRIGGER forward_only_truncate BEFORE TRUNCATE ON approval FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_back();

GRANT SELECT, INSERT, UPDATE (status, version, needed, approvers, closed_at, closed_by, release_decision_id, valid_until) ON approval TO tiergate_writer;
GRANT SELECT, INSERT ON approval_event, decision_outcome TO tiergate_writer;
GRANT INSERT (approval_id, supersedes) ON remediation_gate_log TO tiergate_writer;

-- +goose Down
-- There is no way down: the log is evidence.
