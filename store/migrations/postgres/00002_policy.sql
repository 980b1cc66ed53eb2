-- Which policy decides: every bundle (policy_bundle), what was proved about it
-- (policy_proof), every change of what the deployment runs (policy_change) and
-- where it stands (policy_head).

-- +goose Up

CREATE TABLE policy_bundle (
    bundle_hash text COLLATE "C" PRIMARY KEY CHECK (bundle_hash ~ '^sha256:[0-9a-f]{64}$'),
    change_id   bigint NOT NULL UNIQUE CHECK (change_id > 0),
    revision    text COLLATE "C" NOT NULL CHECK (revision <> ''),
    archive     bytea NOT NULL CHECK (length(archive) > 0),
    uploaded_by text NOT NULL,
    uploaded_at timestamptz NOT NULL
);
COMMENT ON TABLE  policy_bundle IS 'Every bundle that was ever uploaded or active, so that any row of the log can be replayed; append-only.';
COMMENT ON COLUMN policy_bundle.bundle_hash IS 'Hash of what the bundle says, as in remediation_gate_log.';
COMMENT ON COLUMN policy_bundle.change_id IS 'change_id of the row of policy_change that brought it.';
COMMENT ON COLUMN policy_bundle.revision IS 'Semantic version from its manifest.';
COMMENT ON COLUMN policy_bundle.archive IS 'The gzipped tar as it came, with its signature where it has one.';
COMMENT ON COLUMN policy_bundle.uploaded_by IS 'Name of the credential that uploaded it, or system.';
COMMENT ON COLUMN policy_bundle.uploaded_at IS 'When it was uploaded.';

CREATE TABLE policy_bundle_copy (
    bundle_hash text COLLATE "C" NOT NULL REFERENCES policy_bundle,
    change_id   bigint NOT NULL CHECK (change_id > 0),
    archive     bytea NOT NULL CHECK (length(archive) > 0),
    PRIMARY KEY (bundle_hash, change_id)
);
COMMENT ON TABLE  policy_bundle_copy IS 'The same bundle signed anew, after the verification key changed; append-only.';
COMMENT ON COLUMN policy_bundle_copy.bundle_hash IS 'Which bundle it is.';
COMMENT ON COLUMN policy_bundle_copy.change_id IS 'change_id of the row of policy_change that brought it.';
COMMENT ON COLUMN policy_bundle_copy.archive IS 'The gzipped tar as it came.';

CREATE TABLE policy_proof (
    bundle_hash    text COLLATE "C" NOT NULL REFERENCES policy_bundle,
    engine_version text COLLATE "C" NOT NULL CHECK (engine_version <> ''),
    holds          boolean NOT NULL,
    report         json NOT NULL,
    at             timestamptz NOT NULL,
    PRIMARY KEY (bundle_hash, engine_version)
);
COMMENT ON TABLE  policy_proof IS 'Whether the promises hold over everything that a bundle can tell apart, under one engine; append-only.';
COMMENT ON COLUMN policy_proof.bundle_hash IS 'The bundle.';
COMMENT ON COLUMN policy_proof.engine_version IS 'Versions of tiergate and OPA that evaluated it.';
COMMENT ON COLUMN policy_proof.holds IS 'Only a bundle for which this is true can be activated.';
COMMENT ON COLUMN policy_proof.report IS 'What was looked at, and the counterexample where it does not hold.';
COMMENT ON COLUMN policy_proof.at IS 'When it was found out.';

CREATE TABLE policy_change (
    change_id    bigint PRIMARY KEY CHECK (change_id > 0),
    policy_epoch bigint NOT NULL CHECK (policy_epoch >= 0),
    kind         text NOT NULL CHECK (kind IN ('seed', 'upload', 'activate', 'rollback', 'shadow', 'shadow_stop')),
    bundle_hash  text COLLATE "C" NOT NULL REFERENCES policy_bundle,
    before       json NOT NULL,
    after        json NOT NULL,
    actor        text NOT NULL CHECK (actor <> ''),
    reason       text NOT NULL CHECK (reason <> ''),
    at           timestamptz NOT NULL
);
CREATE UNIQUE INDEX policy_change_epoch ON policy_change (policy_epoch) WHERE kind IN ('seed', 'activate', 'rollback');
CREATE INDEX policy_change_bundle ON policy_change (bundle_hash);
COMMENT ON TABLE  policy_change IS 'Every accepted change of which bundles there are and which one decides, in order; append-only.';
COMMENT ON COLUMN policy_change.change_id IS '1, 2, 3… without gaps.';
COMMENT ON COLUMN policy_change.policy_epoch IS 'The epoch after it: seed, activate and rollback raise it by one, the others leave it.';
COMMENT ON COLUMN policy_change.kind IS 'seed, upload, activate, rollback, shadow or shadow_stop.';
COMMENT ON COLUMN policy_change.bundle_hash IS 'The bundle that it is about.';
COMMENT ON COLUMN policy_change.before IS 'What ran before: {"active","shadow"}, each a hash or null.';
COMMENT ON COLUMN policy_change.after IS 'What runs after.';
COMMENT ON COLUMN policy_change.actor IS 'Name of the credential that made the change, or system.';
COMMENT ON COLUMN policy_change.reason IS 'Why, for a person.';
COMMENT ON COLUMN policy_change.at IS 'When it was made.';

CREATE TABLE policy_head (
    one          smallint PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    change_id    bigint NOT NULL DEFAULT 0 CHECK (change_id >= 0),
    policy_epoch bigint NOT NULL DEFAULT 0 CHECK (policy_epoch >= 0),
    active_hash  text COLLATE "C" REFERENCES policy_bundle,
    shadow_hash  text COLLATE "C" REFERENCES policy_bundle,
    CHECK ((policy_epoch = 0) = (active_hash IS NULL))
);
INSERT INTO policy_head DEFAULT VALUES;
COMMENT ON TABLE  policy_head IS 'One row: what the whole deployment runs. Appends share a lock on this table that an activation takes alone.';
COMMENT ON COLUMN policy_head.one IS 'Always 1.';
COMMENT ON COLUMN policy_head.change_id IS 'change_id of the newest row of policy_change, 0 for none.';
COMMENT ON COLUMN policy_head.policy_epoch IS 'How often the active bundle was set, 0 for never.';
COMMENT ON COLUMN policy_head.active_hash IS 'The bundle that decides.';
COMMENT ON COLUMN policy_head.shadow_hash IS 'The bundle that decides beside it without being heard; NULL for none.';

-- 0 is what the rows before this migration get. There is no default for later
-- ones: a gate that is older than this table cannot write rows any more, so it
-- cannot decide past an activation that it knows nothing of.
ALTER TABLE remediation_gate_log ADD COLUMN policy_epoch bigint NOT NULL DEFAULT 0;
ALTER TABLE remediation_gate_log ALTER COLUMN policy_epoch DROP DEFAULT;
COMMENT ON COLUMN remediation_gate_log.policy_epoch IS 'policy_epoch of the change that made bundle_hash the active bundle, current when the row committed; 0: before bundles were kept.';

-- +goose StatementBegin
DO $do$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['policy_bundle', 'policy_bundle_copy', 'policy_proof', 'policy_change'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_change()', name);
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_change()', name);
    END LOOP;
END $do$;
-- +goose StatementEnd
CREATE TRIGGER forward_only BEFORE UPDATE ON policy_head FOR EACH ROW
    WHEN (NEW.change_id < OLD.change_id OR NEW.policy_epoch < OLD.policy_epoch
        OR (NEW.policy_epoch = OLD.policy_epoch AND NEW.active_hash IS DISTINCT FROM OLD.active_hash)) EXECUTE FUNCTION tiergate_refuse_back();
CREATE TRIGGER forward_only_delete BEFORE DELETE ON policy_head FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_back();
CREATE TRIGGER forward_only_truncate BEFORE TRUNCATE ON policy_head FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_back();

GRANT SELECT, INSERT ON policy_bundle, policy_bundle_copy, policy_proof, policy_change TO tiergate_writer;
-- On the whole table, because LOCK TABLE asks for that.
GRANT SELECT, UPDATE ON policy_head TO tiergate_writer;
GRANT INSERT (policy_epoch) ON remediation_gate_log TO tiergate_writer;

-- +goose Down
-- There is no way down: the log is evidence.
