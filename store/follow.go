package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// page is how many rows one query of a long read returns at most.
const page = 1000

// catchUpTenant brings the view of one tenant to the newest epoch that has
// committed. It is the one way for changes into memory, for those made here and
// those made by other gates.
func (s *Store) catchUpTenant(ctx context.Context, tenant string) error {
	s.catchUp.Lock()
	defer s.catchUp.Unlock()
	for {
		have := s.view.epoch(tenant)
		changes, err := s.History(ctx, tenant, engine.HistoryQuery{AfterEpoch: have, Limit: page})
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			return nil
		}
		e := s.view.edit()
		for i, c := range changes {
			if c.Epoch != have+int64(i)+1 {
				err = fmt.Errorf("change %d of tenant %s is missing", have+int64(i)+1, tenant)
			} else {
				err = e.apply(c)
			}
			if err != nil {
				e.abort()
				s.log.Error("a stored change cannot be followed; loading the tenant anew", "tenant", tenant, "epoch", c.Epoch, "error", err)
				return s.reload(ctx, tenant)
			}
		}
		if err := e.commit(); err != nil {
			return err
		}
		s.metrics.applied.Add(float64(len(changes)))
		if len(changes) < page {
			return nil
		}
	}
}

// reload replaces all that the view knows about a tenant. The caller holds
// s.catchUp, so the view does not move meanwhile.
func (s *Store) reload(ctx context.Context, tenant string) error {
	tx, err := s.db.snapshot(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	e := s.view.edit()
	err = e.clearTenant(tenant)
	if err == nil {
		err = s.loadInto(ctx, tx, e, ` WHERE tenant_id = $1`, tenant)
	}
	if err != nil {
		e.abort()
		return err
	}
	return e.commit()
}

// load fills the empty view, all of one moment.
func (s *Store) load(ctx context.Context) error {
	tx, err := s.db.snapshot(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	e := s.view.edit()
	if err := s.loadInto(ctx, tx, e, ""); err != nil {
		e.abort()
		return err
	}
	return e.commit()
}

// loadInto reads the state of the tenants that where selects.
func (s *Store) loadInto(ctx context.Context, tx *sql.Tx, e *edit, where string, args ...any) error {
	query := func(q string, each func(scan func(...any) error) error) error {
		rows, err := tx.QueryContext(ctx, s.db.text(q+where), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := each(rows.Scan); err != nil {
				return err
			}
		}
		return rows.Err()
	}
	err := query(`SELECT tenant_id, maturity_tier, stopped, epoch FROM (
			SELECT t.tenant_id, t.maturity_tier, t.stopped, coalesce(h.epoch, 0) AS epoch FROM tenant t LEFT JOIN tenant_head h ON h.tenant_id = t.tenant_id
			UNION ALL SELECT h.tenant_id, 0, false, h.epoch FROM tenant_head h
			WHERE h.epoch > 0 AND NOT EXISTS (SELECT 1 FROM tenant t WHERE t.tenant_id = h.tenant_id)) known`, func(scan func(...any) error) error {
		var t tenantState
		if err := scan(&t.id, &t.tier, &t.stopped, &t.epoch); err != nil {
			return err
		}
		return e.putTenant(&t)
	})
	if err != nil {
		return err
	}
	err = query(`SELECT `+overrideColumns+` FROM action_override`, func(scan func(...any) error) error {
		o, fault, err := scanOverride(scan)
		if err != nil {
			return err
		}
		if fault != nil {
			s.log.Error("a stored override cannot be read as it stands: one that narrows counts as without expiry, force_auto does not count. Set or remove it", "table", "action_override", "tenant", o.TenantID, "action_type", o.ActionType, "mode", o.Mode, "error", fault)
		}
		return e.changeOverrides(o.TenantID, o.ActionType, []engine.Mode{o.Mode}, o)
	})
	if err != nil {
		return err
	}
	return query(`SELECT `+entryColumns+` FROM whitelist_entry`, func(scan func(...any) error) error {
		w, fault, err := scanWhitelist(scan)
		if err != nil {
			return err
		}
		if fault != nil {
			s.log.Error("a stored whitelist entry cannot be read and does not count. Remove it", "table", "whitelist_entry", "tenant", w.TenantID, "id", w.ID, "action_type", w.ActionType, "error", fault)
			w.Constraints = nil // as one with unsound constraints
		}
		return e.addEntry(newEntry(w))
	})
}

// hint takes news of a change, perhaps old, perhaps of this gate's own making.
func (s *Store) hint(tenant string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var err error
	if tenant == "" {
		err = s.poll(ctx)
	} else {
		err = s.catchUpTenant(ctx, tenant)
	}
	if err != nil {
		s.log.Warn("a change of configuration was announced and cannot be read; the poll will try again", "tenant", tenant, "error", err)
	}
}

func (s *Store) pollLoop(ctx context.Context) {
	tick := time.NewTicker(s.opts.Poll)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		within, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := s.poll(within)
		cancel()
		if err != nil && !failing && !errors.Is(err, context.Canceled) {
			s.log.Warn("cannot ask the database for changes of configuration; trying on", "database", s.db.where(), "error", err)
		}
		if err == nil && failing {
			s.log.Info("the database answers again", "database", s.db.where())
		}
		failing = err != nil
	}
}

// poll compares every tenant's epoch with the view's and catches up.
func (s *Store) poll(ctx context.Context) error {
	after := ""
	for {
		behind, ahead, last, n, err := s.pollPage(ctx, after)
		if err != nil {
			return err
		}
		for _, t := range behind {
			if err := s.catchUpTenant(ctx, t); err != nil {
				return err
			}
		}
		for _, t := range ahead {
			if err := s.turnBack(ctx, t); err != nil {
				return err
			}
		}
		if n < page {
			return nil
		}
		after = last
	}
}

func (s *Store) pollPage(ctx context.Context, after string) (behind, ahead []string, last string, n int, err error) {
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT tenant_id, epoch FROM tenant_head WHERE epoch > 0 AND tenant_id > $1 ORDER BY tenant_id LIMIT $2`), after, page)
	if err != nil {
		return nil, nil, "", 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var epoch int64
		if err := rows.Scan(&last, &epoch); err != nil {
			return nil, nil, "", 0, err
		}
		n++
		switch have := s.view.epoch(last); {
		case have < epoch:
			behind = append(behind, last)
		case have > epoch:
			ahead = append(ahead, last)
		}
	}
	return behind, ahead, last, n, rows.Err()
}

// turnBack loads a tenant anew when the database's epoch is below the view's,
// as after a restore from a backup. The poll's reading may simply have been
// older than the view, so it is repeated while the view stands still.
func (s *Store) turnBack(ctx context.Context, tenant string) error {
	s.catchUp.Lock()
	defer s.catchUp.Unlock()
	have := s.view.epoch(tenant)
	var epoch int64
	err := s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT coalesce(max(epoch), 0) FROM tenant_head WHERE tenant_id = $1`), tenant).Scan(&epoch)
	if err != nil || epoch >= have {
		return err
	}
	s.log.Error("the database is behind what this gate has seen: it was restored or replaced; loading the tenant anew", "tenant", tenant, "database_epoch", epoch, "seen_epoch", have)
	s.known.Delete(tenant)
	return s.reload(ctx, tenant)
}
