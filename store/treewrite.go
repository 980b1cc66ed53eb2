package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
)

// executor runs statements, written for PostgreSQL, inside a transaction.
type executor interface {
	exec(query string, args ...any) error
	query(query string, args ...any) (*sql.Rows, error)
	row(query string, args ...any) *sql.Row
}

func columnList(k *audit.Kind) string { return strings.Join(k.Columns, ", ") }

// insertInto is an INSERT of one row with all columns of a kind of leaves.
func insertInto(table string, k *audit.Kind) string {
	marks := make([]string, len(k.Columns))
	for i := range marks {
		marks[i] = param(i + 1)
	}
	return `INSERT INTO ` + table + ` (` + columnList(k) + `) VALUES (` + strings.Join(marks, ", ") + `)`
}

var (
	insertDecision = insertInto("remediation_gate_log", audit.Decision)
	insertChange   = insertInto("config_change", audit.ConfigChange)
	insertEvent    = insertInto("approval_event", audit.ApprovalEvent)
	insertOutcome  = insertInto("decision_outcome", audit.Outcome)
	insertGenesis  = insertInto("tree_genesis", audit.Genesis)
)

const (
	insertLeaf = `INSERT INTO tree_leaf (tenant_id, leaf_index, kind, id, seq, hashes) VALUES ($1, $2, $3, $4, $5, $6)`
	insertTile = `INSERT INTO tree_tile (tenant_id, level, tile_index, hashes, root) VALUES ($1, $2, $3, $4, $5)`
	moveHead   = `UPDATE tenant_head SET log_seq = $2, epoch = $3, tree_size = $4, tree_edge = $5, tree_change = $6 WHERE tenant_id = $1`
)

func (g *growth) runValues(r run) []any {
	return []any{g.tenant, r.first, r.kind.Name, orNull(r.id), r.seq, r.hashes}
}

// headValues are what moveHead takes.
func (g *growth) headValues() []any {
	return []any{g.tenant, g.head.seq, g.head.epoch, g.head.tree.Size(), g.head.tree.Bytes(), g.head.change}
}

// saveGenesis writes the row of a tree that begins.
func (g *growth) saveGenesis(db executor) error {
	if g.began == nil {
		return nil
	}
	return db.exec(insertGenesis, g.began.values(g.tenant)...)
}

// saveTiles writes the tiles that were completed, from a level on, after what
// they are made of.
func (g *growth) saveTiles(db executor, from int) error {
	for _, t := range g.tiles {
		if t.Level < from {
			continue
		}
		hashes, err := readTile(db.query, g.tenant, t.Level, t.Index, audit.TileWidth)
		if err != nil {
			return err
		}
		if err := db.exec(insertTile, g.tenant, t.Level, t.Index, hashes, t.Root[:]); err != nil {
			return err
		}
	}
	return nil
}

// save writes everything, row by row.
func (g *growth) save(db executor) error {
	if err := g.saveGenesis(db); err != nil {
		return err
	}
	for _, r := range g.runs {
		if err := db.exec(insertLeaf, g.runValues(r)...); err != nil {
			return err
		}
	}
	if err := g.saveTiles(db, 0); err != nil {
		return err
	}
	return db.exec(moveHead, g.headValues()...)
}

// readTile puts the first width hashes of a tile together from the rows that it
// is made of: leaves, or the tiles below.
func readTile(query func(string, ...any) (*sql.Rows, error), tenant string, level int, index int64, width int) ([]byte, error) {
	low := index * audit.TileWidth
	const (
		leaves = `SELECT hashes FROM tree_leaf WHERE tenant_id = $1 AND leaf_index >= $2 AND leaf_index < $3 ORDER BY leaf_index`
		roots  = `SELECT root FROM tree_tile WHERE tenant_id = $1 AND tile_index >= $2 AND tile_index < $3 AND level = $4 ORDER BY tile_index`
	)
	text, args := leaves, []any{tenant, low, low + int64(width)}
	if level > 0 {
		text, args = roots, append(args, level-1)
	}
	rows, err := query(text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tile := make([]byte, 0, audit.TileWidth*tlog.HashSize)
	for rows.Next() {
		var hashes sql.RawBytes
		if err := rows.Scan(&hashes); err != nil {
			return nil, err
		}
		tile = append(tile, hashes...)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(tile) < width*tlog.HashSize {
		return nil, fmt.Errorf("the tree of tenant %s lacks hashes at level %d from %d on: it has %d of %d bytes; restore it from a backup", tenant, level, low, len(tile), width*tlog.HashSize)
	}
	return tile[:width*tlog.HashSize], nil
}

// exec, query and row make an append worker's connection an executor.
func (c *connTx) exec(query string, args ...any) error {
	_, err := c.conn.ExecContext(context.Background(), c.text(query), args...)
	return err
}

func (c *connTx) query(query string, args ...any) (*sql.Rows, error) {
	return c.conn.QueryContext(context.Background(), c.text(query), args...)
}

func (c *connTx) row(query string, args ...any) *sql.Row {
	return c.conn.QueryRowContext(context.Background(), c.text(query), args...)
}
