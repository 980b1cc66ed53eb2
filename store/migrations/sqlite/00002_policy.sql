-- Which policy decides: the same tables as in PostgreSQL.

-- +goose Up

-- Every bundle that was ever uploaded or active, so that any row of the log can be replayed; append-only.
CREATE TABLE policy_bundle (
    bundle_hash TEXT NOT NULL PRIMARY KEY CHECK (bundle_hash GLOB 'sha256:*' AND length(bundle_hash) = 71), -- Hash of what the bundle says, as in remediation_gate_log.
    change_id INTEGER NOT NULL UNIQUE CHECK (change_id > 0), -- change_id of the row of policy_change that brought it.
    revision TEXT NOT NULL CHECK (revision <> ''), -- Semantic version from its manifest.
    archive BLOB NOT NULL CHECK (length(archive) > 0), -- The gzipped tar as it came, with its signature where it has one.
    uploaded_by TEXT NOT NULL, -- Name of the credential that uploaded it, or system.
    uploaded_at TEXT NOT NULL -- When it was uploaded.
) STRICT;

-- The same bundle signed anew, after the verification key changed; append-only.
CREATE TABLE policy_bundle_copy (
    bundle_hash TEXT NOT NULL REFERENCES policy_bundle, -- Which bundle it is.
    change_id INTEGER NOT NULL CHECK (change_id > 0), -- change_id of the row of policy_change that brought it.
    archive BLOB NOT NULL CHECK (length(archive) > 0), -- The gzipped tar as it came.
    PRIMARY KEY (bundle_hash, change_id)
) STRICT;

-- Whether the promises hold over everything that a bundle can tell apart, under one engine; append-only.
CREATE TABLE policy_proof (
    bundle_hash TEXT NOT NULL REFERENCES policy_bundle, -- The bundle.
    engine_version TEXT NOT NULL CHECK (engine_version <> ''), -- Versions of tiergate and OPA that evaluated it.
    holds INTEGER NOT NULL CHECK (holds IN (0, 1)), -- Only a bundle for which this is true can be activated.
    report TEXT NOT NULL CHECK (json_valid(report)), -- What was looked at, and the counterexample where it does not hold.
    at TEXT NOT NULL, -- When it was found out.
    PRIMARY KEY (bundle_hash, engine_version)
) STRICT;

-- Every accepted change of which bundles there are and which one decides, in order; append-only.
CREATE TABLE policy_change (
    change_id INTEGER NOT NULL PRIMARY KEY CHECK (change_id > 0), -- 1, 2, 3… without gaps.
    policy_epoch INTEGER NOT NULL CHECK (policy_epoch >= 0), -- The epoch after it: seed, activate and rollback raise it by one, the others leave it.
    kind TEXT NOT NULL CHECK (kind IN ('seed', 'upload', 'activate', 'rollback', 'shadow', 'shadow_stop')), -- seed, upload, activate, rollback, shadow or shadow_stop.
    bundle_hash TEXT NOT NULL REFERENCES policy_bundle, -- The bundle that it is about.
    before TEXT NOT NULL CHECK (json_valid(before)), -- What ran before: {"active","shadow"}, each a hash or null.
    after TEXT NOT NULL CHECK (json_valid(after)), -- What runs after.
    actor TEXT NOT NULL CHECK (actor <> ''), -- Name of the credential that made the change, or system.
    reason TEXT NOT NULL CHECK (reason <> ''), -- Why, for a person.
    at TEXT NOT NULL -- When it was made.
) STRICT;

CREATE UNIQUE INDEX policy_change_epoch ON policy_change (policy_epoch) WHERE kind IN ('seed', 'activate', 'rollback');
CREATE INDEX policy_change_bundle ON policy_change (bundle_hash);

-- One row: what the gate runs.
CREATE TABLE policy_head (
    one INTEGER NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1), -- Always 1.
    change_id INTEGER NOT NULL DEFAULT 0 CHECK (change_id >= 0), -- change_id of the newest row of policy_change, 0 for none.
    policy_epoch INTEGER NOT NULL DEFAULT 0 CHECK (policy_epoch >= 0), -- How often the active bundle was set, 0 for never.
    active_hash TEXT REFERENCES policy_bundle, -- The bundle that decides.
    shadow_hash TEXT REFERENCES policy_bundle, -- The bundle that decides beside it without being heard; NULL for none.
    CHECK ((policy_epoch = 0) = (active_hash IS NULL))
) STRICT;
INSERT INTO policy_head (one) VALUES (1);

-- policy_epoch of the change that made bundle_hash the active bundle, current when the row committed; 0: before bundles were kept.
ALTER TABLE remediation_gate_log ADD COLUMN policy_epoch INTEGER NOT NULL DEFAULT 0;

-- +goose StatementBegin
CREATE TRIGGER policy_bundle_refuse_update BEFORE UPDATE ON policy_bundle
BEGIN SELECT RAISE(ABORT, 'policy_bundle is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_bundle_refuse_delete BEFORE DELETE ON policy_bundle
BEGIN SELECT RAISE(ABORT, 'policy_bundle is append-only: DELETE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_bundle_copy_refuse_update BEFORE UPDATE ON policy_bundle_copy
BEGIN SELECT RAISE(ABORT, 'policy_bundle_copy is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_bundle_copy_refuse_delete BEFORE DELETE ON policy_bundle_copy
BEGIN SELECT RAISE(ABORT, 'policy_bundle_copy is append-only: DELETE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_proof_refuse_update BEFORE UPDATE ON policy_proof
BEGIN SELECT RAISE(ABORT, 'policy_proof is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_proof_refuse_delete BEFORE DELETE ON policy_proof
BEGIN SELECT RAISE(ABORT, 'policy_proof is append-only: DELETE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_change_refuse_update BEFORE UPDATE ON policy_change
BEGIN SELECT RAISE(ABORT, 'policy_change is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_change_refuse_delete BEFORE DELETE ON policy_change
BEGIN SELECT RAISE(ABORT, 'policy_change is append-only: DELETE refused'); END;
-- +goose StatementEnd

-- Against REPLACE INTO; see 00001.
-- +goose StatementBegin
CREATE TRIGGER policy_bundle_refuse_replace BEFORE INSERT ON policy_bundle
WHEN EXISTS (SELECT 1 FROM policy_bundle WHERE bundle_hash = NEW.bundle_hash OR change_id = NEW.change_id)
    OR EXISTS (SELECT 1 FROM policy_bundle WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'policy_bundle is append-only: a row with this key exists'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_bundle_copy_refuse_replace BEFORE INSERT ON policy_bundle_copy
WHEN EXISTS (SELECT 1 FROM policy_bundle_copy WHERE bundle_hash = NEW.bundle_hash AND change_id = NEW.change_id)
    OR EXISTS (SELECT 1 FROM policy_bundle_copy WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'policy_bundle_copy is append-only: a row with this key exists'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_proof_refuse_replace BEFORE INSERT ON policy_proof
WHEN EXISTS (SELECT 1 FROM policy_proof WHERE bundle_hash = NEW.bundle_hash AND engine_version = NEW.engine_version)
    OR EXISTS (SELECT 1 FROM policy_proof WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'policy_proof is append-only: a row with this key exists'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_change_refuse_replace BEFORE INSERT ON policy_change
WHEN EXISTS (SELECT 1 FROM policy_change WHERE change_id = NEW.change_id OR (policy_epoch = NEW.policy_epoch AND kind IN ('seed', 'activate', 'rollback') AND NEW.kind IN ('seed', 'activate', 'rollback')))
BEGIN SELECT RAISE(ABORT, 'policy_change is append-only: a row with this key exists'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER policy_head_refuse_back BEFORE UPDATE ON policy_head
WHEN NEW.change_id < OLD.change_id OR NEW.policy_epoch < OLD.policy_epoch OR NEW.one <> OLD.one
    OR (NEW.policy_epoch = OLD.policy_epoch AND NEW.active_hash IS NOT OLD.active_hash)
BEGIN SELECT RAISE(ABORT, 'policy_head only moves forward: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_head_refuse_delete BEFORE DELETE ON policy_head
BEGIN SELECT RAISE(ABORT, 'policy_head only moves forward: DELETE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER policy_head_refuse_replace BEFORE INSERT ON policy_head
BEGIN SELECT RAISE(ABORT, 'policy_head only moves forward: it has its one row'); END;
-- +goose StatementEnd

-- +goose Down
-- There is no way down: the log is evidence.
