-- Signed checkpoints of the tenants' trees (docs/checkpoints.md). What is here
-- is for whoever asks the gate; what convicts is the copy outside.

-- +goose Up

CREATE TABLE tree_checkpoint (
    tenant_id text COLLATE "C" NOT NULL,
    tree_size bigint NOT NULL CHECK (tree_size >= 1),
    root      bytea NOT NULL CHECK (length(root) = 32),
    note      text NOT NULL CHECK (length(note) BETWEEN 1 AND 16384),
    at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, tree_size)
);
COMMENT ON TABLE  tree_checkpoint IS 'Signed checkpoints, at most one for each size of a tree; append-only.';
COMMENT ON COLUMN tree_checkpoint.tenant_id IS 'The tenant.';
COMMENT ON COLUMN tree_checkpoint.tree_size IS 'How many leaves the tree had.';
COMMENT ON COLUMN tree_checkpoint.root IS 'The root that it had.';
COMMENT ON COLUMN tree_checkpoint.note IS 'The checkpoint as it was signed (C2SP tlog-checkpoint).';
COMMENT ON COLUMN tree_checkpoint.at IS 'When a gate wrote it, by the gate''s clock; nothing signs this.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON tree_checkpoint FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON tree_checkpoint FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_change();

GRANT SELECT, INSERT ON tree_checkpoint TO tiergate_writer;

-- +goose Down
-- There is no way down: the log is evidence.
