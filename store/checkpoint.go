package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
)

// Trees returns the trees of tenants behind after, in the order of their ids,
// of at most limit tenants: those that want takes, with their roots. A head that
// is damaged has none, and is left out. last is the last tenant that was looked
// at, "" where there is none any more.
func (s *Store) Trees(ctx context.Context, after string, limit int, want func(tenant string, size int64) bool) (list []engine.Checkpoint, last string, err error) {
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT tenant_id, tree_size, tree_edge FROM tenant_head WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2`), after, limit)
	if err != nil {
		return nil, "", s.cannotRead("the trees' heads", err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		c := engine.Checkpoint{}
		var edge sql.RawBytes
		if err := rows.Scan(&c.TenantID, &c.Size, &edge); err != nil {
			return nil, "", s.cannotRead("the trees' heads", err)
		}
		n++
		last = c.TenantID
		if c.Size == 0 || !want(c.TenantID, c.Size) {
			continue
		}
		e, err := audit.ParseEdge(c.Size, edge)
		if err != nil {
			if _, told := s.damaged.LoadOrStore(c.TenantID, nil); !told {
				s.log.Error("a tree's head is damaged and gets no checkpoint: run tiergate verify", "tenant", c.TenantID, "error", err)
			}
			continue
		}
		c.Root = e.Root()
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, "", s.cannotRead("the trees' heads", err)
	}
	if n < limit {
		last = ""
	}
	return list, last, nil
}

// AddCheckpoints keeps signed checkpoints, in one short transaction. Of a size
// that has one already, the first one stays: gates that share a database sign
// the same trees.
func (s *Store) AddCheckpoints(ctx context.Context, list []engine.Checkpoint) error {
	if len(list) == 0 {
		return nil
	}
	s.changes.RLock()
	defer s.changes.RUnlock()
	if s.closed {
		return fmt.Errorf("keep checkpoints: %w: the store is closed", engine.ErrUnavailable)
	}
	turn := s.db.exclusive()
	turn.Lock()
	defer turn.Unlock()
	tx, err := s.db.begin()
	if err == nil {
		defer tx.Rollback()
		err = s.addCheckpoints(ctx, tx, list)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("keep checkpoints in %s: %w: %v", s.db.where(), engine.ErrUnavailable, err)
	}
	return nil
}

func (s *Store) addCheckpoints(ctx context.Context, tx *sql.Tx, list []engine.Checkpoint) error {
	insert, err := tx.PrepareContext(ctx, s.db.text(`INSERT INTO tree_checkpoint (tenant_id, tree_size, root, note, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`))
	if err != nil {
		return err
	}
	defer insert.Close()
	_, postgres := s.db.(*postgres)
	now := engine.FormatTime(time.Now())
	for _, c := range list {
		if !postgres { // there, the trigger against REPLACE comes before ON CONFLICT
			var n int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM tree_checkpoint WHERE tenant_id = ? AND tree_size = ?`, c.TenantID, c.Size).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				continue
			}
		}
		if _, err := insert.ExecContext(ctx, c.TenantID, c.Size, c.Root[:], string(c.Note), now); err != nil {
			return fmt.Errorf("tenant %s: %w", c.TenantID, err)
		}
	}
	return nil
}

// Checkpoint returns the tenant's newest signed checkpoint. Returns
// engine.ErrNotFound where there is none yet.
func (s *Store) Checkpoint(ctx context.Context, tenant string) (engine.Checkpoint, error) {
	c := engine.Checkpoint{TenantID: tenant}
	var root []byte
	err := s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT tree_size, root, note FROM tree_checkpoint WHERE tenant_id = $1 ORDER BY tree_size DESC LIMIT 1`), tenant).Scan(&c.Size, &root, &c.Note)
	switch {
	case errors.Is(err, sql.ErrNoRows) || s.matchesNothing(err):
		return engine.Checkpoint{}, fmt.Errorf("a checkpoint of tenant %s: %w", tenant, engine.ErrNotFound)
	case err != nil:
		return engine.Checkpoint{}, s.cannotRead("a checkpoint", err)
	}
	copy(c.Root[:], root)
	return c, nil
}

// Leaf returns the hash of a leaf of the tenant's tree. Returns
// engine.ErrNotFound where there is none.
func (s *Store) Leaf(ctx context.Context, tenant string, index int64) (hash tlog.Hash, err error) {
	if index < 0 {
		return hash, fmt.Errorf("leaf %d: %w", index, engine.ErrNotFound)
	}
	var first int64
	var hashes []byte
	err = s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT leaf_index, hashes FROM tree_leaf WHERE tenant_id = $1 AND leaf_index <= $2 ORDER BY leaf_index DESC LIMIT 1`), tenant, index).Scan(&first, &hashes)
	switch {
	case errors.Is(err, sql.ErrNoRows) || s.matchesNothing(err) || err == nil && index-first >= int64(len(hashes)/tlog.HashSize):
		return hash, fmt.Errorf("leaf %d: %w", index, engine.ErrNotFound)
	case err != nil:
		return hash, s.cannotRead("a leaf", err)
	}
	copy(hash[:], hashes[(index-first)*tlog.HashSize:])
	return hash, nil
}

// Setback says whether the tenant was stopped with this reason, and released since.
func (s *Store) Setback(ctx context.Context, tenant, reason string) (engine.Setback, error) {
	var stopped, released int64
	err := s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT coalesce(max(CASE WHEN kind = '`+engine.KindStop+`' AND reason = $2 THEN epoch END), 0), coalesce(max(CASE WHEN kind = '`+engine.KindRelease+`' THEN epoch END), 0)
		FROM config_change WHERE tenant_id = $1`), tenant, reason).Scan(&stopped, &released)
	switch {
	case err != nil:
		return engine.SetbackUnknown, s.cannotRead("the changes of configuration", err)
	case stopped == 0:
		return engine.SetbackUnknown, nil
	case released < stopped:
		return engine.SetbackStopped, nil
	}
	return engine.SetbackReleased, nil
}
