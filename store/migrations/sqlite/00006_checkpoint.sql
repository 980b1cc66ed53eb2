-- Signed checkpoints of the tenants' trees: the same table as in PostgreSQL.

-- +goose Up

-- Signed checkpoints, at most one for each size of a tree; append-only.
CREATE TABLE tree_checkpoint (
    tenant_id TEXT NOT NULL, -- The tenant.
    tree_size INTEGER NOT NULL CHECK (tree_size >= 1), -- How many leaves the tree had.
    root BLOB NOT NULL CHECK (length(root) = 32), -- The root that it had.
    note TEXT NOT NULL CHECK (length(note) BETWEEN 1 AND 16384), -- The checkpoint as it was signed (C2SP tlog-checkpoint).
    at TEXT NOT NULL, -- When a gate wrote it, by the gate's clock; nothing signs this.
    PRIMARY KEY (tenant_id, tree_size)
) STRICT, WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER tree_checkpoint_refuse_update BEFORE UPDATE ON tree_checkpoint
BEGIN SELECT RAISE(ABORT, 'tree_checkpoint is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tree_checkpoint_refuse_delete BEFORE DELETE ON tree_checkpoint
BEGIN SELECT RAISE(ABORT, 'tree_checkpoint is append-only: DELETE refused'); END;
-- +goose StatementEnd
-- Against REPLACE INTO; see 00001.
-- +goose StatementBegin
CREATE TRIGGER tree_checkpoint_refuse_replace BEFORE INSERT ON tree_checkpoint
WHEN EXISTS (SELECT 1 FROM tree_checkpoint WHERE tenant_id = NEW.tenant_id AND tree_size = NEW.tree_size)
BEGIN SELECT RAISE(ABORT, 'tree_checkpoint is append-only: a row with this key exists'); END;
-- +goose StatementEnd

-- +goose Down
-- There is no way down: the log is evidence.
