package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/tiergate/tiergate/engine"
)

const overrideColumns = `tenant_id, action_type, mode, constraints, expires_at, reason, set_by, set_at`

// scanOverride reads an override. fault says why a row does not count as it
// stands: with an expiry that cannot be read, what narrows counts as without
// one, and force_auto as expired and unsound.
func scanOverride(scan func(...any) error) (_ *engine.Override, fault, err error) {
	var o engine.Override
	var constraints string
	var expires expiry
	var set looseStamp
	if err := scan(&o.TenantID, &o.ActionType, &o.Mode, &constraints, &expires, &o.Reason, &o.SetBy, &set); err != nil {
		return nil, nil, err
	}
	o.Constraints, o.SetAt = []byte(constraints), time.Time(set)
	switch {
	case expires.fault == nil && !expires.at.IsZero():
		o.ExpiresAt = &expires.at
	case expires.fault != nil && o.Mode == engine.ModeForceAuto:
		o.ExpiresAt, o.Constraints = &time.Time{}, []byte("null")
	}
	return engine.NewOverride(o), expires.fault, nil
}

type querier interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

func readConfig(ctx context.Context, text func(string) string, db querier, tenant string) (engine.Config, error) {
	c := engine.Config{TenantID: tenant}
	var at looseStamp
	// Overrides count by their own rows, whether or not the tenant has others.
	err := db.QueryRowContext(ctx, text(`SELECT coalesce(t.maturity_tier, 0), coalesce(t.stopped, false), coalesce(t.changed_by, ''), t.changed_at, coalesce(h.epoch, 0)
		FROM (SELECT CAST($1 AS text) AS id) this LEFT JOIN tenant t ON t.tenant_id = this.id LEFT JOIN tenant_head h ON h.tenant_id = this.id`), tenant).
		Scan(&c.MaturityTier, &c.Stopped, &c.ChangedBy, &at, &c.Epoch)
	if err != nil {
		return c, err
	}
	c.ChangedAt = time.Time(at)
	rows, err := db.QueryContext(ctx, text(`SELECT `+overrideColumns+` FROM action_override WHERE tenant_id = $1 ORDER BY action_type, mode`), tenant)
	if err != nil {
		return c, err
	}
	defer rows.Close()
	for rows.Next() {
		o, _, err := scanOverride(rows.Scan)
		if err != nil {
			return c, err
		}
		c.Overrides = append(c.Overrides, o)
	}
	return c, rows.Err()
}

// Config returns the tenant's configuration as the database has it. A tenant
// that was never configured is at tier 0, epoch 0.
func (s *Store) Config(ctx context.Context, tenant string) (engine.Config, error) {
	tx, err := s.db.snapshot(ctx)
	if err != nil {
		return engine.Config{}, s.cannotRead("the configuration", err)
	}
	defer tx.Rollback()
	c, err := readConfig(ctx, s.db.text, tx, tenant)
	if s.matchesNothing(err) {
		return engine.Config{TenantID: tenant}, nil
	}
	if err != nil {
		return engine.Config{}, s.cannotRead("the configuration", err)
	}
	return c, nil
}

func (s *Store) cannotRead(what string, err error) error {
	return fmt.Errorf("read %s from %s: %w: %v", what, s.db.where(), engine.ErrUnavailable, err)
}

// ChangeConfig sets the tier and, with ReplaceOverrides, all overrides, and
// returns the new configuration. SetBy, SetAt and an empty Reason of the
// overrides come from meta and the clock. Returns engine.ErrStale when IfMatch
// names another epoch than the current one.
func (s *Store) ChangeConfig(ctx context.Context, tenant string, change engine.ConfigChange, meta engine.ChangeMeta) (engine.Config, error) {
	if t := change.MaturityTier; t != nil && engine.TierLabel(*t) == "" {
		return engine.Config{}, fmt.Errorf("maturity_tier %d is not one of 0..%d", *t, engine.MaxTier)
	}
	var after engine.Config
	err := s.change(ctx, tenant, engine.KindConfig, meta, func(c *changer) (any, any, error) {
		if change.IfMatch != nil && *change.IfMatch != c.epoch {
			return nil, nil, fmt.Errorf("%w: it is at epoch %d, not %d", engine.ErrStale, c.epoch, *change.IfMatch)
		}
		before, err := c.config()
		if err != nil {
			return nil, nil, err
		}
		after = before
		if change.MaturityTier != nil {
			c.dial.tier = *change.MaturityTier
		}
		if change.ReplaceOverrides {
			if err := c.exec(`DELETE FROM action_override WHERE tenant_id = $1`, tenant); err != nil {
				return nil, nil, err
			}
			after.Overrides = nil
			for _, o := range change.Overrides {
				if o, err = c.putOverride(o); err != nil {
					return nil, nil, err
				}
				after.Overrides = slices.DeleteFunc(after.Overrides, func(p *engine.Override) bool {
					return p.ActionType == o.ActionType && p.Mode == o.Mode
				})
				after.Overrides = append(after.Overrides, o)
			}
			sortOverrides(after.Overrides)
		}
		c.fill(&after)
		return configDocOf(before), configDocOf(after), nil
	})
	if err != nil {
		return engine.Config{}, err
	}
	return after, nil
}

// fill sets in after what the transaction is about to record.
func (c *changer) fill(after *engine.Config) {
	after.TenantID, after.MaturityTier, after.Stopped = c.tenant, c.dial.tier, c.dial.stopped
	after.Epoch, after.ChangedBy, after.ChangedAt = c.epoch+1, c.meta.Actor, c.now
}

// PutOverride puts an override in the place of the one of its action type and
// mode, if any, and returns the new configuration. SetBy, SetAt and Reason are
// taken from meta and the clock.
func (s *Store) PutOverride(ctx context.Context, o *engine.Override, meta engine.ChangeMeta) (engine.Config, error) {
	var after engine.Config
	put := *o
	put.Reason = meta.Reason
	err := s.change(ctx, o.TenantID, engine.KindOverrideSet, meta, func(c *changer) (any, any, error) {
		var before any
		old, err := c.overrides(put.ActionType, put.Mode)
		if err != nil {
			return nil, nil, err
		}
		if len(old) > 0 {
			before = docOf(old[0])
		}
		made, err := c.putOverride(&put)
		if err != nil {
			return nil, nil, err
		}
		if after, err = c.config(); err != nil {
			return nil, nil, err
		}
		c.fill(&after)
		return before, docOf(made), nil
	})
	if err != nil {
		return engine.Config{}, err
	}
	return after, nil
}

// putOverride writes o as set now by whoever makes the change.
func (c *changer) putOverride(in *engine.Override) (*engine.Override, error) {
	o := *in
	o.TenantID, o.SetBy, o.SetAt = c.tenant, c.meta.Actor, c.now
	if o.Reason == "" {
		o.Reason = c.meta.Reason
	}
	if len(o.Constraints) == 0 {
		o.Constraints = []byte("{}")
	}
	var expires any
	if o.ExpiresAt != nil {
		at := o.ExpiresAt.UTC().Truncate(time.Millisecond)
		o.ExpiresAt, expires = &at, engine.FormatTime(at)
	}
	made := engine.NewOverride(o)
	return made, c.exec(`INSERT INTO action_override (`+overrideColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (tenant_id, action_type, mode) DO UPDATE SET constraints = excluded.constraints, expires_at = excluded.expires_at,
			reason = excluded.reason, set_by = excluded.set_by, set_at = excluded.set_at`,
		c.tenant, made.ActionType, string(made.Mode), string(made.Constraints), expires, made.Reason, made.SetBy, engine.FormatTime(made.SetAt))
}

// overrides returns those of one action type, of one mode or ("") all.
func (c *changer) overrides(action string, mode engine.Mode) ([]*engine.Override, error) {
	rows, err := c.tx.QueryContext(c.ctx, c.s.db.text(`SELECT `+overrideColumns+` FROM action_override
		WHERE tenant_id = $1 AND action_type = $2 AND ($3 = '' OR mode = $3) ORDER BY mode`), c.tenant, action, string(mode))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*engine.Override
	for rows.Next() {
		o, _, err := scanOverride(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

// DeleteOverride removes the override of one mode, or with mode "" all of the
// action type. Returns engine.ErrNotFound where none stood.
func (s *Store) DeleteOverride(ctx context.Context, tenant, actionType string, mode engine.Mode, meta engine.ChangeMeta) error {
	return s.change(ctx, tenant, engine.KindOverrideRemove, meta, func(c *changer) (any, any, error) {
		old, err := c.overrides(actionType, mode)
		if err != nil {
			return nil, nil, err
		}
		if len(old) == 0 {
			return nil, nil, fmt.Errorf("override of %s: %w", actionType, engine.ErrNotFound)
		}
		docs := make([]overrideDoc, len(old))
		for i, o := range old {
			docs[i] = docOf(o)
		}
		return docs, nil, c.exec(`DELETE FROM action_override WHERE tenant_id = $1 AND action_type = $2 AND ($3 = '' OR mode = $3)`, tenant, actionType, string(mode))
	})
}

// SetStopped stops or releases the tenant and returns the new configuration.
func (s *Store) SetStopped(ctx context.Context, tenant string, stopped bool, meta engine.ChangeMeta) (engine.Config, error) {
	kind := engine.KindRelease
	if stopped {
		kind = engine.KindStop
	}
	var after engine.Config
	err := s.change(ctx, tenant, kind, meta, func(c *changer) (any, any, error) {
		var err error
		if after, err = c.config(); err != nil {
			return nil, nil, err
		}
		before := stopDoc{c.dial.stopped}
		c.dial.stopped = stopped
		c.fill(&after)
		return before, stopDoc{stopped}, nil
	})
	if err != nil {
		return engine.Config{}, err
	}
	return after, nil
}
