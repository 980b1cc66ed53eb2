package store

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/tiergate/tiergate/engine"
)

// view is the configuration in memory, as decisions read it. What is in it is
// immutable: a change puts new objects in the old ones' place, in one
// transaction per step from epoch to epoch, so that a reader sees all of one
// epoch.
type view struct {
	db       *memdb.MemDB
	epochs   atomic.Int64 // sum of all tenants' epochs
	unsound  atomic.Int64 // whitelist entries that are kept but cannot match
	unsoundO atomic.Int64 // overrides with an unsound constraint
}

// tenantState is a configured tenant.
type tenantState struct {
	id      string
	tier    int
	stopped bool
	epoch   int64
}

// overrideSet is what stands for one action type of a tenant, ordered by mode.
type overrideSet struct {
	tenant, action string
	list           []*engine.Override
}

// The tables. Keys are made by key, so no text can reach into another's field.
var viewSchema = &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
	"tenant":   {Name: "tenant", Indexes: map[string]*memdb.IndexSchema{"id": {Name: "id", Unique: true, Indexer: tenantKey{}}}},
	"override": {Name: "override", Indexes: map[string]*memdb.IndexSchema{"id": {Name: "id", Unique: true, Indexer: overrideKey{}}}},
	"shape":    {Name: "shape", Indexes: map[string]*memdb.IndexSchema{"id": {Name: "id", Unique: true, Indexer: shapeKey{}}}},
	"whitelist": {Name: "whitelist", Indexes: map[string]*memdb.IndexSchema{
		"id":     {Name: "id", Unique: true, Indexer: entryKey{}},
		"target": {Name: "target", AllowMissing: true, Indexer: entryTargets{}},
	}},
}}

func newView() (*view, error) {
	db, err := memdb.NewMemDB(viewSchema)
	if err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	return &view{db: db}, nil
}

// Facts returns the tenant's configuration as far as a decision about the
// action type on the target at now can depend on it, all of one epoch, from
// memory. A tenant that was never configured is at tier 0, epoch 0; overrides
// and whitelist entries that the database has for it count all the same. The
// whitelist entries hold what a decision reads: Reason, SetBy and SetAt stay in
// the database. Returns engine.ErrTooManyCandidates when more than
// engine.MaxCandidates entries may match.
func (s *Store) Facts(tenant, actionType, target string, now time.Time) (engine.Facts, error) {
	return factsTxn(s.view.db.Txn(false), tenant, actionType, target, now)
}

func factsTxn(txn *memdb.Txn, tenant, actionType, target string, now time.Time) (engine.Facts, error) {
	f := engine.Facts{TenantID: tenant}
	t, err := tenantTxn(txn, tenant)
	if err != nil {
		return f, err
	}
	if t != nil {
		f.MaturityTier, f.Stopped, f.Epoch = t.tier, t.stopped, t.epoch
	}
	o, err := overridesTxn(txn, tenant, actionType)
	if err != nil {
		return engine.Facts{}, err
	}
	f.Overrides = o
	if f.Whitelist, err = candidatesTxn(txn, tenant, actionType, target, now); err != nil {
		return engine.Facts{}, err
	}
	return f, nil
}

func tenantTxn(txn *memdb.Txn, tenant string) (*tenantState, error) {
	raw, err := txn.First("tenant", "id", key(tenant))
	if err != nil || raw == nil {
		return nil, err
	}
	return raw.(*tenantState), nil
}

func overridesTxn(txn *memdb.Txn, tenant, action string) ([]*engine.Override, error) {
	raw, err := txn.First("override", "id", key(tenant, action))
	if err != nil || raw == nil {
		return nil, err
	}
	return raw.(*overrideSet).list, nil
}

// epoch returns how far the view knows the tenant.
func (v *view) epoch(tenant string) int64 {
	t, err := tenantTxn(v.db.Txn(false), tenant)
	if err != nil || t == nil {
		return 0
	}
	return t.epoch
}

// edit is a write transaction on the view with the sums that go with it.
type edit struct {
	v                         *view
	txn                       *memdb.Txn
	epochs, unsound, unsoundO int64
	shapes                    map[string]*shape // loaded and changed, written at commit
}

func (v *view) edit() *edit { return &edit{v: v, txn: v.db.Txn(true), shapes: map[string]*shape{}} }

func (e *edit) abort() { e.txn.Abort() }

func (e *edit) commit() error {
	if err := e.putShapes(); err != nil {
		e.abort()
		return err
	}
	e.txn.Commit()
	e.v.epochs.Add(e.epochs)
	e.v.unsound.Add(e.unsound)
	e.v.unsoundO.Add(e.unsoundO)
	return nil
}

func (e *edit) putTenant(t *tenantState) error {
	old, err := tenantTxn(e.txn, t.id)
	if err != nil {
		return err
	}
	if old != nil {
		e.epochs -= old.epoch
	}
	e.epochs += t.epoch
	return e.txn.Insert("tenant", t)
}

// putOverrides makes list all that stands for one action type.
func (e *edit) putOverrides(tenant, action string, list []*engine.Override) error {
	old, err := overridesTxn(e.txn, tenant, action)
	if err != nil {
		return err
	}
	e.unsoundO += countUnsound(list) - countUnsound(old)
	set := &overrideSet{tenant, action, list}
	if len(list) > 0 {
		return e.txn.Insert("override", set)
	}
	if old == nil {
		return nil
	}
	return e.txn.Delete("override", set)
}

func countUnsound(list []*engine.Override) (n int64) {
	for _, o := range list {
		if _, faults := engine.ParseConstraints(o.Constraints, o.Mode == engine.ModeForceAuto); len(faults) > 0 {
			n++
		}
	}
	return n
}

// clearTenant removes everything that is known about a tenant.
func (e *edit) clearTenant(tenant string) error {
	if old, err := tenantTxn(e.txn, tenant); err != nil {
		return err
	} else if old != nil {
		e.epochs -= old.epoch
		if err := e.txn.Delete("tenant", old); err != nil {
			return err
		}
	}
	sets, err := all(e.txn.Get("override", "id_prefix", key(tenant)))
	if err != nil {
		return err
	}
	for _, raw := range sets {
		o := raw.(*overrideSet)
		if err := e.putOverrides(o.tenant, o.action, nil); err != nil {
			return err
		}
	}
	entries, err := all(e.txn.Get("whitelist", "id_prefix", key(tenant)))
	if err != nil {
		return err
	}
	for _, raw := range entries {
		if err := e.removeEntry(raw.(*entry)); err != nil {
			return err
		}
	}
	return nil
}

// all reads to the end, so that what was read may be deleted.
func all(it memdb.ResultIterator, err error) (list []any, _ error) {
	if err != nil {
		return nil, err
	}
	for raw := it.Next(); raw != nil; raw = it.Next() {
		list = append(list, raw)
	}
	return list, nil
}
