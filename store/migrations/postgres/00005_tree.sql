-- The tamper-evident log: per tenant one Merkle tree (RFC 6962) over the rows
-- that are evidence. What the bytes of a leaf are is told in docs/tree.md; they
-- follow from the row, so that they are kept nowhere else.

-- +goose Up

ALTER TABLE tenant_head ADD COLUMN tree_size bigint NOT NULL DEFAULT 0;
ALTER TABLE tenant_head ADD COLUMN tree_edge bytea NOT NULL DEFAULT '';
ALTER TABLE tenant_head ADD COLUMN tree_change bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN tenant_head.tree_size IS 'How many leaves the tenant''s tree has; 0: it begins with the next row.';
COMMENT ON COLUMN tenant_head.tree_edge IS 'Hashes of the perfect subtrees that make up the tree, from left to right, 32 bytes for each bit that is set in tree_size. The root follows from them.';
COMMENT ON COLUMN tenant_head.tree_change IS 'change_id of the newest row of policy_change that is a leaf of the tree, 0 for none.';

CREATE TABLE tree_genesis (
    tenant_id       text COLLATE "C" PRIMARY KEY,
    log_seq         bigint NOT NULL CHECK (log_seq >= 0),
    epoch           bigint NOT NULL CHECK (epoch >= 0),
    approval_events bigint NOT NULL CHECK (approval_events >= 0),
    outcomes        bigint NOT NULL CHECK (outcomes >= 0),
    at              timestamptz NOT NULL
);
COMMENT ON TABLE  tree_genesis IS 'Leaf 0 of each tree: what the tenant had before is not covered by the tree. Append-only.';
COMMENT ON COLUMN tree_genesis.tenant_id IS 'The tenant.';
COMMENT ON COLUMN tree_genesis.log_seq IS 'log_seq of the newest decision that is not covered, 0 for none.';
COMMENT ON COLUMN tree_genesis.epoch IS 'epoch of the newest change of configuration that is not covered, 0 for none.';
COMMENT ON COLUMN tree_genesis.approval_events IS 'How many rows of approval_event are not covered.';
COMMENT ON COLUMN tree_genesis.outcomes IS 'How many rows of decision_outcome are not covered.';
COMMENT ON COLUMN tree_genesis.at IS 'When the tree began.';

-- One row for neighbours of one kind, and not one for each leaf: so that the tree
-- costs an append of many decisions one row more. No CHECKs: each would cost an
-- append of one decision 8 µs, and whoever verifies the tree finds more than they do.
CREATE TABLE tree_leaf (
    tenant_id  text COLLATE "C" NOT NULL,
    leaf_index bigint NOT NULL,
    kind       text COLLATE "C" NOT NULL,
    id         uuid,
    seq        bigint NOT NULL,
    hashes     bytea NOT NULL,
    PRIMARY KEY (tenant_id, leaf_index)
) WITH (toast_tuple_target = 8160);
-- Hashes do not compress; trying costs time.
ALTER TABLE tree_leaf ALTER COLUMN hashes SET STORAGE EXTERNAL;
COMMENT ON TABLE  tree_leaf IS 'The leaves of the trees, a row for each run of neighbours whose rows follow one another; append-only. It stays when the rows themselves are erased or detached.';
COMMENT ON COLUMN tree_leaf.tenant_id IS 'The tenant.';
COMMENT ON COLUMN tree_leaf.leaf_index IS 'Index of the run''s first leaf, from 0. A run ends where a tile does, at a multiple of 256, at the latest.';
COMMENT ON COLUMN tree_leaf.kind IS 'genesis; decision, config_change, policy_change, approval_event or outcome: the table of the rows.';
COMMENT ON COLUMN tree_leaf.id IS 'approval_id of approval events, decision_id of outcomes.';
COMMENT ON COLUMN tree_leaf.seq IS 'Of the first row: log_seq of a decision, epoch of a config_change, change_id of a policy_change, seq of the others, 0 of the genesis. Those of the run''s other rows follow without gaps.';
COMMENT ON COLUMN tree_leaf.hashes IS 'The leaf hashes, 32 bytes each.';

CREATE TABLE tree_tile (
    tenant_id  text COLLATE "C" NOT NULL,
    level      smallint NOT NULL CHECK (level BETWEEN 0 AND 6),
    tile_index bigint NOT NULL CHECK (tile_index >= 0),
    hashes     bytea NOT NULL CHECK (length(hashes) = 8192),
    root       bytea NOT NULL CHECK (length(root) = 32),
    PRIMARY KEY (tenant_id, level, tile_index)
);
ALTER TABLE tree_tile ALTER COLUMN hashes SET STORAGE EXTERNAL;
COMMENT ON TABLE  tree_tile IS 'Complete tiles of the trees as in C2SP tlog-tiles, 256 hashes wide; append-only.';
COMMENT ON COLUMN tree_tile.tenant_id IS 'The tenant.';
COMMENT ON COLUMN tree_tile.level IS '0: leaf hashes; n: hashes of complete tiles of level n - 1.';
COMMENT ON COLUMN tree_tile.tile_index IS 'Place in its level, from 0.';
COMMENT ON COLUMN tree_tile.hashes IS 'The tile''s 256 hashes.';
COMMENT ON COLUMN tree_tile.root IS 'The hash of the node above them, which is a hash of the tile above.';

ALTER TABLE remediation_gate_log ADD COLUMN leaf_index bigint;
ALTER TABLE config_change ADD COLUMN leaf_index bigint;
ALTER TABLE approval_event ADD COLUMN leaf_index bigint;
ALTER TABLE decision_outcome ADD COLUMN leaf_index bigint;
COMMENT ON COLUMN remediation_gate_log.leaf_index IS 'The row''s leaf of the tenant''s tree; NULL: from before the tree.';
COMMENT ON COLUMN config_change.leaf_index IS 'The row''s leaf of the tenant''s tree; NULL: from before the tree.';
COMMENT ON COLUMN approval_event.leaf_index IS 'The row''s leaf of the tenant''s tree; NULL: from before the tree.';
COMMENT ON COLUMN decision_outcome.leaf_index IS 'The row''s leaf of the tenant''s tree; NULL: from before the tree.';

-- +goose StatementBegin
DO $do$
DECLARE name text;
BEGIN
    -- Rows from before stay as they are. A gate that is older than the tree cannot
    -- write evidence past it any more.
    FOREACH name IN ARRAY ARRAY['remediation_gate_log', 'config_change', 'approval_event', 'decision_outcome'] LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT in_tree CHECK (leaf_index IS NOT NULL) NOT VALID', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['tree_genesis', 'tree_leaf', 'tree_tile'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION tiergate_refuse_change()', name);
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION tiergate_refuse_change()', name);
    END LOOP;
END $do$;
-- +goose StatementEnd

-- A tree only grows, and what has grown stays.
DROP TRIGGER forward_only ON tenant_head;
CREATE TRIGGER forward_only BEFORE UPDATE ON tenant_head FOR EACH ROW
    WHEN (NEW.log_seq < OLD.log_seq OR NEW.epoch < OLD.epoch OR NEW.tenant_id <> OLD.tenant_id
        OR NEW.tree_size < OLD.tree_size OR NEW.tree_change < OLD.tree_change
        OR (NEW.tree_size = OLD.tree_size AND NEW.tree_edge <> OLD.tree_edge)) EXECUTE FUNCTION tiergate_refuse_back();

GRANT SELECT, INSERT ON tree_genesis, tree_leaf, tree_tile TO tiergate_writer;
GRANT UPDATE (tree_size, tree_edge, tree_change) ON tenant_head TO tiergate_writer;
GRANT INSERT (leaf_index) ON remediation_gate_log TO tiergate_writer;

-- +goose Down
-- There is no way down: the log is evidence.
