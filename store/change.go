package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/engine"
)

// changer is one change of configuration inside its transaction.
type changer struct {
	s      *Store
	tx     *sql.Tx
	ctx    context.Context // never cancelled
	tenant string
	epoch  int64 // of the configuration that stands
	tree   *growth
	policy policyAt // where the deployment's policy stands
	now    time.Time
	meta   engine.ChangeMeta
	dial   tenantState // as it stands; a mutation may set tier and stopped
}

// change makes one accepted write: it locks the tenant's head, lets mutate
// write the new state, raises the epoch, writes the change row and commits, all
// in one transaction that is not cancelled with ctx. Then it brings the view
// up to it. mutate returns what stood before and what stands after.
//
// An error before COMMIT means that nothing changed. engine.ErrUnavailable may
// also mean that it is unknown.
func (s *Store) change(ctx context.Context, tenant, kind string, meta engine.ChangeMeta, mutate func(*changer) (before, after any, err error)) error {
	wait := s.opts.Patience
	if wait <= 0 {
		wait = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.changeNow(tenant, kind, meta, mutate) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("change %s of tenant %s: %w: no answer from %s in time; whether the change was made is unknown", kind, tenant, engine.ErrUnavailable, s.db.where())
	}
}

func (s *Store) changeNow(tenant, kind string, meta engine.ChangeMeta, mutate func(*changer) (before, after any, err error)) error {
	s.changes.RLock()
	defer s.changes.RUnlock()
	if s.closed {
		return fmt.Errorf("change %s of tenant %s: %w: the store is closed", kind, tenant, engine.ErrUnavailable)
	}
	err := s.changeTx(tenant, kind, meta, mutate)
	if err != nil {
		if errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrStale) {
			return err
		}
		if pass, ok := errors.AsType[passError](err); ok {
			return pass.error
		}
		return fmt.Errorf("change %s of tenant %s: %w: %v", kind, tenant, engine.ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.catchUpTenant(ctx, tenant); err != nil {
		// The change stands, and the fence holds without the view.
		s.log.Warn("a change was made and cannot be read back yet; the poll will try again", "tenant", tenant, "error", err)
	}
	return nil
}

func (s *Store) changeTx(tenant, kind string, meta engine.ChangeMeta, mutate func(*changer) (before, after any, err error)) error {
	turn := s.db.exclusive()
	turn.Lock()
	defer turn.Unlock()
	tx, err := s.db.begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	c := &changer{s: s, tx: tx, ctx: context.Background(), tenant: tenant, meta: meta, now: time.Now().UTC().Truncate(time.Millisecond)}
	if err := c.lock(); err != nil {
		return err
	}
	before, after, err := mutate(c)
	if err != nil {
		return err
	}
	if err := c.record(kind, before, after); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit not confirmed, the change may have been made: %w", err)
	}
	return nil
}

// passError is an error of whoever asked for a change, and not of making it.
type passError struct{ error }

// lock takes the tenant's head and reads the dial under it.
func (c *changer) lock() error {
	if err := c.exec(`INSERT INTO tenant_head (tenant_id) VALUES ($1) ON CONFLICT DO NOTHING`, c.tenant); err != nil {
		return err
	}
	if err := c.takeHead(); err != nil {
		return err
	}
	c.dial = tenantState{id: c.tenant}
	err := c.row(`SELECT maturity_tier, stopped FROM tenant WHERE tenant_id = $1`, c.tenant).Scan(&c.dial.tier, &c.dial.stopped)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// takeHead locks the tenant's head and begins what is added to its tree.
func (c *changer) takeHead() error {
	h, policy, err := scanHead(c.row(`SELECT `+headColumns+` FROM tenant_head WHERE tenant_id = $1 FOR UPDATE`, c.tenant).Scan)
	if err != nil {
		return err
	}
	c.epoch, c.policy = h.epoch, policy
	c.tree = &growth{tenant: c.tenant, head: h, scratch: new([]byte), off: c.s.opts.noTree}
	return nil
}

// addLeaf writes a row with all columns of a kind of leaves and makes it a leaf.
func (c *changer) addLeaf(insert string, kind *audit.Kind, id string, seq int64, values []any) error {
	if len(c.tree.runs) == 0 {
		leaves, err := readPolicyLeaves(c, c.tree.head.change, c.policy.change)
		if err != nil {
			return err
		}
		if err := c.tree.begin(c, leaves, time.Now()); err != nil {
			return err
		}
	}
	if err := c.tree.add(kind, id, seq, values); err != nil {
		return err
	}
	return c.exec(insert, values...)
}

// record writes the dial, the epoch, the change row and the announcement.
func (c *changer) record(kind string, before, after any) error {
	b, err := json.Marshal(before)
	if err != nil {
		return err
	}
	a, err := json.Marshal(after)
	if err != nil {
		return err
	}
	c.epoch++
	now := engine.FormatTime(c.now)
	if err := c.exec(`INSERT INTO tenant (tenant_id, maturity_tier, stopped, changed_by, changed_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (tenant_id) DO UPDATE SET maturity_tier = excluded.maturity_tier, stopped = excluded.stopped,
			changed_by = excluded.changed_by, changed_at = excluded.changed_at`,
		c.tenant, c.dial.tier, c.dial.stopped, c.meta.Actor, now); err != nil {
		return err
	}
	if err := c.addLeaf(insertChange, audit.ConfigChange, "", c.epoch,
		[]any{c.tenant, c.epoch, kind, string(b), string(a), c.meta.Actor, c.meta.Reason, now, nil}); err != nil {
		return err
	}
	c.tree.head.epoch = c.epoch
	if err := c.tree.save(c); err != nil {
		return err
	}
	if _, ok := c.s.db.(*postgres); !ok {
		return nil
	}
	return c.exec(`SELECT pg_notify($1, $2)`, channel, fmt.Sprintf("%s %d", c.tenant, c.epoch))
}

func (c *changer) exec(query string, args ...any) error {
	_, err := c.tx.ExecContext(c.ctx, c.s.db.text(query), args...)
	return err
}

func (c *changer) query(query string, args ...any) (*sql.Rows, error) {
	return c.tx.QueryContext(c.ctx, c.s.db.text(query), args...)
}

func (c *changer) row(query string, args ...any) *sql.Row {
	return c.tx.QueryRowContext(c.ctx, c.s.db.text(query), args...)
}

// config is the tenant's dial as it stands inside the transaction, including
// what it has written.
func (c *changer) config() (engine.Config, error) {
	return readConfig(c.ctx, c.s.db.text, c.tx, c.tenant)
}
