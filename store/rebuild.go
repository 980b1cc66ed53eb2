package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/tiergate/tiergate/engine"
)

// Configuration is a tenant's configuration, rebuilt in memory from its changes
// alone, as it stood after the last one (P6). It goes by the same code as the
// view that decisions read, and needs no database.
type Configuration struct {
	tenant string
	view   *view
	epoch  int64
}

// NewConfiguration is that of a tenant that was never configured.
func NewConfiguration(tenant string) (*Configuration, error) {
	v, err := newView()
	if err != nil {
		return nil, err
	}
	return &Configuration{tenant: tenant, view: v}, nil
}

// Apply makes the next change. It must be the tenant's, and its epoch the next one.
func (c *Configuration) Apply(change engine.Change) error {
	if change.TenantID != c.tenant || change.Epoch != c.epoch+1 {
		return fmt.Errorf("change %d of tenant %s cannot follow change %d of tenant %s", change.Epoch, change.TenantID, c.epoch, c.tenant)
	}
	e := c.view.edit()
	if err := e.apply(change); err != nil {
		e.abort()
		return err
	}
	if err := e.commit(); err != nil {
		return err
	}
	c.epoch = change.Epoch
	return nil
}

// Epoch is that of the last change, 0 for none.
func (c *Configuration) Epoch() int64 { return c.epoch }

// Snapshot is the configuration as it stands now; changes do not reach it.
func (c *Configuration) Snapshot() *ConfigSnapshot {
	return &ConfigSnapshot{c.tenant, c.view.db.Txn(false)}
}

// ConfigSnapshot is a tenant's configuration at one epoch. It is an
// engine.FactSource, safe for concurrent use.
type ConfigSnapshot struct {
	tenant string
	txn    *memdb.Txn
}

// Facts is engine.FactSource's.
func (s *ConfigSnapshot) Facts(tenant, actionType, target string, now time.Time) (engine.Facts, error) {
	if tenant != s.tenant {
		return engine.Facts{}, fmt.Errorf("this is the configuration of tenant %s, not of %s", s.tenant, tenant)
	}
	return factsTxn(s.txn, tenant, actionType, target, now)
}

// Entry returns the whitelist entry of that id, nil where none stands.
func (s *ConfigSnapshot) Entry(id string) (*engine.WhitelistEntry, error) {
	raw, err := s.txn.First("whitelist", "id", key(s.tenant, id))
	if err != nil || raw == nil {
		return nil, err
	}
	return raw.(*entry).get(), nil
}

// Entries are the whitelist entries that stand, also those that have expired, in
// the order of their ids, at most limit, and how many there are.
func (s *ConfigSnapshot) Entries(limit int) (list []*engine.WhitelistEntry, total int, err error) {
	raw, err := all(s.txn.Get("whitelist", "id_prefix", key(s.tenant)))
	if err != nil {
		return nil, 0, err
	}
	for _, e := range raw[:min(limit, len(raw))] {
		list = append(list, e.(*entry).get())
	}
	return list, len(raw), nil
}

// Dial is the tier and whether the tenant is stopped.
func (s *ConfigSnapshot) Dial() (tier int, stopped bool, err error) {
	t, err := tenantTxn(s.txn, s.tenant)
	if err != nil || t == nil {
		return 0, false, err
	}
	return t.tier, t.stopped, nil
}

// Overrides are all that stand, also those that have expired, ordered by action
// type and mode.
func (s *ConfigSnapshot) Overrides() ([]*engine.Override, error) {
	sets, err := all(s.txn.Get("override", "id_prefix", key(s.tenant)))
	if err != nil {
		return nil, err
	}
	var list []*engine.Override
	for _, raw := range sets {
		list = append(list, raw.(*overrideSet).list...)
	}
	sortOverrides(list)
	return slices.Clip(list), nil
}
