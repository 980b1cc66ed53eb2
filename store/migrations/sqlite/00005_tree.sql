-- The tamper-evident log: the same tables as in PostgreSQL.

-- +goose Up

-- How many leaves the tenant's tree has; 0: it begins with the next row.
ALTER TABLE tenant_head ADD COLUMN tree_size INTEGER NOT NULL DEFAULT 0 CHECK (tree_size >= 0);
-- Hashes of the perfect subtrees that make up the tree, from left to right, 32 bytes for each bit that is set in tree_size. The root follows from them.
ALTER TABLE tenant_head ADD COLUMN tree_edge BLOB NOT NULL DEFAULT x'';
-- change_id of the newest row of policy_change that is a leaf of the tree, 0 for none.
ALTER TABLE tenant_head ADD COLUMN tree_change INTEGER NOT NULL DEFAULT 0 CHECK (tree_change >= 0);

-- Leaf 0 of each tree: what the tenant had before is not covered by the tree. Append-only.
CREATE TABLE tree_genesis (
    tenant_id TEXT NOT NULL PRIMARY KEY, -- The tenant.
    log_seq INTEGER NOT NULL CHECK (log_seq >= 0), -- log_seq of the newest decision that is not covered, 0 for none.
    epoch INTEGER NOT NULL CHECK (epoch >= 0), -- epoch of the newest change of configuration that is not covered, 0 for none.
    approval_events INTEGER NOT NULL CHECK (approval_events >= 0), -- How many rows of approval_event are not covered.
    outcomes INTEGER NOT NULL CHECK (outcomes >= 0), -- How many rows of decision_outcome are not covered.
    at TEXT NOT NULL -- When the tree began.
) STRICT, WITHOUT ROWID;

-- With a rowid, so that leaves of many tenants that are added together lie together.
-- The leaves of the trees, a row for each run of neighbours whose rows follow one another; append-only. It stays when the rows themselves are erased.
CREATE TABLE tree_leaf (
    tenant_id TEXT NOT NULL, -- The tenant.
    leaf_index INTEGER NOT NULL CHECK (leaf_index >= 0), -- Index of the run's first leaf, from 0. A run ends where a tile does, at a multiple of 256, at the latest.
    kind TEXT NOT NULL CHECK (kind IN ('genesis', 'decision', 'config_change', 'policy_change', 'approval_event', 'outcome')), -- genesis; decision, config_change, policy_change, approval_event or outcome: the table of the rows.
    id TEXT, -- approval_id of approval events, decision_id of outcomes.
    seq INTEGER NOT NULL CHECK (seq >= 0), -- Of the first row: log_seq of a decision, epoch of a config_change, change_id of a policy_change, seq of the others, 0 of the genesis. Those of the run's other rows follow without gaps.
    hashes BLOB NOT NULL CHECK (length(hashes) > 0 AND length(hashes) % 32 = 0 AND leaf_index % 256 + length(hashes) / 32 <= 256), -- The leaf hashes, 32 bytes each.
    PRIMARY KEY (tenant_id, leaf_index),
    CHECK ((kind IN ('approval_event', 'outcome')) = (id IS NOT NULL))
) STRICT;

-- Complete tiles of the trees as in C2SP tlog-tiles, 256 hashes wide; append-only.
CREATE TABLE tree_tile (
    tenant_id TEXT NOT NULL, -- The tenant.
    level INTEGER NOT NULL CHECK (level BETWEEN 0 AND 6), -- 0: leaf hashes; n: hashes of complete tiles of level n - 1.
    tile_index INTEGER NOT NULL CHECK (tile_index >= 0), -- Place in its level, from 0.
    root BLOB NOT NULL CHECK (length(root) = 32), -- The hash of the node above the tile's, which is a hash of the tile above.
    hashes BLOB NOT NULL CHECK (length(hashes) = 8192), -- The tile's 256 hashes.
    PRIMARY KEY (tenant_id, level, tile_index)
) STRICT, WITHOUT ROWID;

-- The row's leaf of the tenant's tree; NULL: from before the tree.
ALTER TABLE remediation_gate_log ADD COLUMN leaf_index INTEGER;
ALTER TABLE config_change ADD COLUMN leaf_index INTEGER;
ALTER TABLE approval_event ADD COLUMN leaf_index INTEGER;
ALTER TABLE decision_outcome ADD COLUMN leaf_index INTEGER;

-- Every row from now on has its leaf; rows from before stay as they are.
-- +goose StatementBegin
CREATE TRIGGER remediation_gate_log_in_tree BEFORE INSERT ON remediation_gate_log
WHEN NEW.leaf_index IS NULL
BEGIN SELECT RAISE(ABORT, 'a row of remediation_gate_log has a leaf_index'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER config_change_in_tree BEFORE INSERT ON config_change
WHEN NEW.leaf_index IS NULL
BEGIN SELECT RAISE(ABORT, 'a row of config_change has a leaf_index'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER approval_event_in_tree BEFORE INSERT ON approval_event
WHEN NEW.leaf_index IS NULL
BEGIN SELECT RAISE(ABORT, 'a row of approval_event has a leaf_index'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER decision_outcome_in_tree BEFORE INSERT ON decision_outcome
WHEN NEW.leaf_index IS NULL
BEGIN SELECT RAISE(ABORT, 'a row of decision_outcome has a leaf_index'); END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tree_genesis_refuse_update BEFORE UPDATE ON tree_genesis
BEGIN SELECT RAISE(ABORT, 'tree_genesis is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tree_genesis_refuse_delete BEFORE DELETE ON tree_genesis
BEGIN SELECT RAISE(ABORT, 'tree_genesis is append-only: DELETE refused'); END;
-- +goose StatementEnd
-- Against REPLACE INTO; see 00001.
-- +goose StatementBegin
CREATE TRIGGER tree_genesis_refuse_replace BEFORE INSERT ON tree_genesis
WHEN EXISTS (SELECT 1 FROM tree_genesis WHERE tenant_id = NEW.tenant_id)
BEGIN SELECT RAISE(ABORT, 'tree_genesis is append-only: a row with this key exists'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tree_leaf_refuse_update BEFORE UPDATE ON tree_leaf
BEGIN SELECT RAISE(ABORT, 'tree_leaf is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tree_leaf_refuse_delete BEFORE DELETE ON tree_leaf
BEGIN SELECT RAISE(ABORT, 'tree_leaf is append-only: DELETE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tree_leaf_refuse_replace BEFORE INSERT ON tree_leaf
WHEN EXISTS (SELECT 1 FROM tree_leaf WHERE tenant_id = NEW.tenant_id AND leaf_index = NEW.leaf_index)
    OR EXISTS (SELECT 1 FROM tree_leaf WHERE rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'tree_leaf is append-only: a row with this key exists'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tree_tile_refuse_update BEFORE UPDATE ON tree_tile
BEGIN SELECT RAISE(ABORT, 'tree_tile is append-only: UPDATE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tree_tile_refuse_delete BEFORE DELETE ON tree_tile
BEGIN SELECT RAISE(ABORT, 'tree_tile is append-only: DELETE refused'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER tree_tile_refuse_replace BEFORE INSERT ON tree_tile
WHEN EXISTS (SELECT 1 FROM tree_tile WHERE tenant_id = NEW.tenant_id AND level = NEW.level AND tile_index = NEW.tile_index)
BEGIN SELECT RAISE(ABORT, 'tree_tile is append-only: a row with this key exists'); END;
-- +goose StatementEnd

-- A tree only grows, and what has grown stays.
DROP TRIGGER tenant_head_refuse_back;
-- +goose StatementBegin
CREATE TRIGGER tenant_head_refuse_back BEFORE UPDATE ON tenant_head
WHEN NEW.log_seq < OLD.log_seq OR NEW.epoch < OLD.epoch OR NEW.tenant_id <> OLD.tenant_id
    OR NEW.tree_size < OLD.tree_size OR NEW.tree_change < OLD.tree_change
    OR (NEW.tree_size = OLD.tree_size AND NEW.tree_edge <> OLD.tree_edge)
BEGIN SELECT RAISE(ABORT, 'tenant_head only moves forward: UPDATE refused'); END;
-- +goose StatementEnd

-- +goose Down
-- There is no way down: the log is evidence.
