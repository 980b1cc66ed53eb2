package storetest

import (
	"bytes"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
)

// CheckTrees proves the trees of the database at url: every row of evidence is a
// leaf and every leaf is a row, the leaf hashes are those of the rows' bytes and
// stand in the order that package store promises, and head, root and tiles are
// the ones that follow from them. It holds everything in memory and shares
// nothing with the store but the bytes of leaves.
func CheckTrees(t testing.TB, url string) {
	t.Helper()
	db := snapshot(t, url)
	defer db.Rollback()
	checkTrees(t, db, placeholder(url))
}

// snapshot is a transaction that sees one state of the database at url: a
// commit that nobody waits for any more may still come while a check reads.
func snapshot(t testing.TB, url string) *sql.Tx {
	t.Helper()
	isolation := sql.LevelRepeatableRead
	if strings.HasPrefix(url, "sqlite:") {
		isolation = sql.LevelDefault // each transaction of SQLite's is a snapshot
	}
	tx, err := DB(t, url).BeginTx(t.Context(), &sql.TxOptions{Isolation: isolation})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func checkTrees(t testing.TB, db *sql.Tx, place string) {
	t.Helper()
	for what, query := range map[string]string{
		"decisions without a leaf":               `SELECT count(*) FROM remediation_gate_log r WHERE r.leaf_index IS NULL AND NOT EXISTS (SELECT 1 FROM tree_genesis g WHERE g.tenant_id = r.tenant_id AND r.log_seq <= g.log_seq)`,
		"changes without a leaf":                 `SELECT count(*) FROM config_change r WHERE r.leaf_index IS NULL AND NOT EXISTS (SELECT 1 FROM tree_genesis g WHERE g.tenant_id = r.tenant_id AND r.epoch <= g.epoch)`,
		"tenants with events without a leaf":     `SELECT count(*) FROM tree_genesis g WHERE g.approval_events <> (SELECT count(*) FROM approval_event r WHERE r.tenant_id = g.tenant_id AND r.leaf_index IS NULL)`,
		"tenants with outcomes without a leaf":   `SELECT count(*) FROM tree_genesis g WHERE g.outcomes <> (SELECT count(*) FROM decision_outcome r WHERE r.tenant_id = g.tenant_id AND r.leaf_index IS NULL)`,
		"trees that have not begun, with leaves": `SELECT count(*) FROM tenant_head h WHERE (h.tree_size = 0) = EXISTS (SELECT 1 FROM tree_leaf l WHERE l.tenant_id = h.tenant_id)`,
		"trees of nobody":                        `SELECT count(*) FROM tree_leaf l WHERE NOT EXISTS (SELECT 1 FROM tenant_head h WHERE h.tenant_id = l.tenant_id)`,
	} {
		var n int
		if err := db.QueryRow(query).Scan(&n); err != nil {
			t.Fatalf("check the trees, %s: %v", what, err)
		}
		if n != 0 {
			t.Errorf("check the trees: %d %s", n, what)
		}
	}
	rows, err := db.Query(`SELECT tenant_id, tree_size, tree_edge FROM tenant_head WHERE tree_size > 0`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	type tree struct {
		tenant string
		size   int64
		edge   []byte
	}
	var trees []tree
	for rows.Next() {
		var one tree
		if err := rows.Scan(&one.tenant, &one.size, &one.edge); err != nil {
			t.Fatal(err)
		}
		trees = append(trees, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	policy := readRows(t, db, audit.PolicyChange, `policy_change`, "")
	for _, one := range trees {
		c := &treeCheck{t: t, db: db, tenant: one.tenant, place: place, rows: map[string][]byte{}}
		c.check(one.size, one.edge, policy)
	}
}

func placeholder(url string) string {
	if strings.HasPrefix(url, "sqlite:") {
		return "?1"
	}
	return "$1"
}

type querier interface {
	Query(query string, args ...any) (*sql.Rows, error)
	QueryRow(query string, args ...any) *sql.Row
}

type treeCheck struct {
	t             testing.TB
	db            querier
	tenant, place string
	rows          map[string][]byte // "kind/id/seq" → leaf bytes
	all           []tlog.Hash       // tlog's storage
}

// readRows reads the leaves of a table: "kind/id/seq" → bytes. where may be "".
func readRows(t testing.TB, db querier, k *audit.Kind, table, where string, args ...any) map[string][]byte {
	t.Helper()
	columns := ""
	for _, c := range k.Columns {
		columns += c + ", "
	}
	rows, err := db.Query(`SELECT `+columns[:len(columns)-2]+` FROM `+table+where, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	list := map[string][]byte{}
	for rows.Next() {
		values := make([]any, len(k.Columns))
		dest := make([]any, len(values))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		leaf, err := k.AppendLeaf(nil, values)
		if err != nil {
			t.Fatal(err)
		}
		id, seq := "", any(int64(0))
		for i, c := range k.Columns {
			text := values[i]
			if b, ok := text.([]byte); ok {
				text = string(b)
			}
			switch {
			case k == audit.Decision && c == "log_seq", k == audit.ConfigChange && c == "epoch", k == audit.PolicyChange && c == "change_id",
				(k == audit.ApprovalEvent || k == audit.Outcome) && c == "seq":
				seq = text
			case k == audit.ApprovalEvent && c == "approval_id", k == audit.Outcome && c == "decision_id":
				id = text.(string)
			}
		}
		key := fmt.Sprintf("%s/%s/%d", k.Name, id, seq)
		if list[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		list[key] = leaf
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func (c *treeCheck) check(size int64, edge []byte, policy map[string][]byte) {
	c.t.Helper()
	for table, k := range map[string]*audit.Kind{
		"remediation_gate_log": audit.Decision, "config_change": audit.ConfigChange, "approval_event": audit.ApprovalEvent, "decision_outcome": audit.Outcome,
	} {
		for key, leaf := range readRows(c.t, c.db, k, table, ` WHERE leaf_index IS NOT NULL AND tenant_id = `+c.place, c.tenant) {
			c.rows[key] = leaf
		}
	}
	for key, leaf := range readRows(c.t, c.db, audit.Genesis, "tree_genesis", ` WHERE tenant_id = `+c.place, c.tenant) {
		c.rows[key] = leaf
	}
	next, policies := c.leaves(policy)
	if len(c.rows) > 0 {
		c.t.Errorf("tree of %s: %d rows are no leaves", c.tenant, len(c.rows))
	}
	if next != size {
		c.t.Errorf("tree of %s: %d leaves, the head says %d", c.tenant, next, size)
		return
	}
	var change int64
	if err := c.db.QueryRow(`SELECT tree_change FROM tenant_head WHERE tenant_id = `+c.place, c.tenant).Scan(&change); err != nil || change != policies {
		c.t.Errorf("tree of %s: has %d changes of the policy, the head says %d %v", c.tenant, policies, change, err)
	}
	reader := tlog.HashReaderFunc(c.read)
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		c.t.Fatal(err)
	}
	if e, err := audit.ParseEdge(size, edge); err != nil || e.Root() != root {
		c.t.Errorf("tree of %s: the root is %v, not that of the head's edge %v", c.tenant, root, err)
	}
	c.tiles(size, reader)
}

func (c *treeCheck) read(indexes []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		list[i] = c.all[x]
	}
	return list, nil
}

// leaves walks through tree_leaf and takes each leaf's row away.
func (c *treeCheck) leaves(policy map[string][]byte) (next, policies int64) {
	c.t.Helper()
	rows, err := c.db.Query(`SELECT leaf_index, kind, coalesce(CAST(id AS text), ''), seq, hashes FROM tree_leaf WHERE tenant_id = `+c.place+` ORDER BY leaf_index`, c.tenant)
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var first, seq int64
		var kind, id string
		var hashes []byte
		if err := rows.Scan(&first, &kind, &id, &seq, &hashes); err != nil {
			c.t.Fatal(err)
		}
		if first != next || (first == 0) != (kind == "genesis") {
			c.t.Errorf("tree of %s: a run of %s begins at %d, want %d", c.tenant, kind, first, next)
		}
		for ; len(hashes) > 0; hashes = hashes[tlog.HashSize:] {
			key := fmt.Sprintf("%s/%s/%d", kind, id, seq)
			leaf := c.rows[key]
			delete(c.rows, key)
			if kind == "policy_change" {
				if leaf = policy[key]; seq != policies+1 {
					c.t.Errorf("tree of %s: change %d of the policy comes after %d", c.tenant, seq, policies)
				}
				policies = seq
			}
			hash := tlog.RecordHash(leaf)
			if leaf == nil || !bytes.Equal(hash[:], hashes[:tlog.HashSize]) {
				c.t.Errorf("tree of %s: leaf %d is not that of %s: %s", c.tenant, next, key, leaf)
			}
			if want := fmt.Sprintf(`"leaf_index":%d,`, next); kind != "policy_change" && kind != "genesis" && !bytes.Contains(leaf, []byte(want)) {
				c.t.Errorf("tree of %s: leaf %d is %s", c.tenant, next, leaf)
			}
			stored, err := tlog.StoredHashesForRecordHash(next, hash, tlog.HashReaderFunc(c.read))
			if err != nil {
				c.t.Fatal(err)
			}
			c.all = append(c.all, stored...)
			seq++
			next++
		}
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
	return next, policies
}

// tiles compares the complete tiles with those that tlog makes.
func (c *treeCheck) tiles(size int64, reader tlog.HashReader) {
	c.t.Helper()
	rows, err := c.db.Query(`SELECT level, tile_index, hashes, root FROM tree_tile WHERE tenant_id = `+c.place, c.tenant)
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	have := map[tlog.Tile]bool{}
	for rows.Next() {
		tile := tlog.Tile{H: audit.TileHeight, W: audit.TileWidth}
		var hashes, root []byte
		if err := rows.Scan(&tile.L, &tile.N, &hashes, &root); err != nil {
			c.t.Fatal(err)
		}
		have[tile] = true
		want, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			c.t.Fatal(err)
		}
		above, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(audit.TileHeight*(tile.L+1), tile.N)})
		if err != nil {
			c.t.Fatal(err)
		}
		if !bytes.Equal(hashes, want) || !bytes.Equal(root, above[0][:]) {
			c.t.Errorf("tree of %s: %s is wrong", c.tenant, tile.Path())
		}
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
	for _, tile := range tlog.NewTiles(audit.TileHeight, 0, size) {
		if tile.W == audit.TileWidth && !have[tile] {
			c.t.Errorf("tree of %s: %s is missing", c.tenant, tile.Path())
		}
	}
}

// Leaves are the leaf hashes of a tenant's tree, as tree_leaf has them.
func Leaves(t testing.TB, url, tenant string) (list []tlog.Hash) {
	t.Helper()
	rows, err := DB(t, url).Query(`SELECT hashes FROM tree_leaf WHERE tenant_id = `+placeholder(url)+` ORDER BY leaf_index`, tenant)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var hashes []byte
		if err := rows.Scan(&hashes); err != nil {
			t.Fatal(err)
		}
		for ; len(hashes) > 0; hashes = hashes[tlog.HashSize:] {
			list = append(list, tlog.Hash(hashes[:tlog.HashSize]))
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// LeafBytes are the bytes of the leaf of a decision or a config_change.
func LeafBytes(t testing.TB, url, tenant, kind string, seq int64) []byte {
	t.Helper()
	table := map[string]string{"decision": "remediation_gate_log", "config_change": "config_change"}[kind]
	leaf := readRows(t, DB(t, url), audit.KindNamed(kind), table, ` WHERE tenant_id = `+placeholder(url), tenant)[fmt.Sprintf("%s//%d", kind, seq)]
	if leaf == nil {
		t.Fatalf("there is no %s %d of %s", kind, seq, tenant)
	}
	return leaf
}
