package store

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/tiergate/tiergate/engine"
)

// entry is a whitelist entry in the view: small, since there may be a million.
// What the policy reads is made from it when it is first a candidate.
type entry struct {
	tenant, action, id string
	constraints        string
	expires            int64 // Unix milliseconds
	notify             []string
	made               atomic.Pointer[engine.WhitelistEntry]
}

func newEntry(w *engine.WhitelistEntry) *entry {
	return &entry{
		tenant: w.TenantID, action: w.ActionType, id: w.ID,
		constraints: string(w.Constraints), expires: w.ExpiresAt.UnixMilli(), notify: w.Notify,
	}
}

func (e *entry) get() *engine.WhitelistEntry {
	if w := e.made.Load(); w != nil {
		return w
	}
	w := engine.NewWhitelistEntry(engine.WhitelistEntry{
		TenantID: e.tenant, ID: e.id, ActionType: e.action,
		Constraints: []byte(e.constraints), ExpiresAt: time.UnixMilli(e.expires).UTC(), Notify: e.notify,
	})
	if !e.made.CompareAndSwap(nil, w) {
		return e.made.Load() // always the same one, so that pointers compare
	}
	return w
}

// The kinds of target constraint. An entry is indexed under one of them, the
// first that it has in this order, which is the narrowest: all must hold, so
// one of them tells where the entry can match at all.
const (
	byTarget = "t"
	byPrefix = "p"
	byCIDR   = "c"
)

// parts returns where the entry is indexed. Empty: it is unsound, and
// therefore as if absent.
func (e *entry) parts() (kind string, values []string, nets []netip.Prefix) {
	c, faults := engine.ParseConstraints([]byte(e.constraints), true)
	switch {
	case len(faults) > 0:
		return "", nil, nil
	case len(c.Target) > 0:
		return byTarget, c.Target, nil
	case len(c.TargetPrefix) > 0:
		return byPrefix, c.TargetPrefix, nil
	case len(c.TargetCIDR) > 0:
		return byCIDR, nil, c.TargetCIDR
	}
	return "", nil, nil
}

func (e *entry) targetKeys() [][]byte {
	kind, values, nets := e.parts()
	keys := make([][]byte, 0, len(values)+len(nets))
	base := key(e.tenant, e.action, kind)
	for _, v := range values {
		keys = append(keys, appendField(slices.Clip(base), v))
	}
	for _, n := range nets {
		keys = append(keys, appendNet(slices.Clip(base), n))
	}
	slices.SortFunc(keys, bytes.Compare) // one value given twice is one key
	return slices.CompactFunc(keys, bytes.Equal)
}

func appendNet(b []byte, n netip.Prefix) []byte {
	addr := n.Masked().Addr().AsSlice()
	b = append(b, byte(len(addr)), byte(n.Bits()))
	return append(b, addr...)
}

// shape says which lookups can find anything for one action type of a tenant:
// how many indexed values there are by kind, and by length for prefixes and
// networks. Immutable in the view.
type shape struct {
	key     []byte
	targets int
	prefix  lengths // by length in bytes
	v4, v6  lengths // by prefix length in bits
}

// lengths counts values by their length, ordered.
type lengths []lengthCount

type lengthCount struct{ length, n int }

func (l *lengths) add(length, n int) {
	i, ok := slices.BinarySearchFunc(*l, length, func(c lengthCount, length int) int { return c.length - length })
	if !ok {
		*l = slices.Insert(*l, i, lengthCount{length: length})
	}
	if (*l)[i].n += n; (*l)[i].n == 0 {
		*l = slices.Delete(*l, i, i+1)
	}
}

func (s *shape) clone() *shape {
	c := *s
	c.prefix, c.v4, c.v6 = slices.Clone(s.prefix), slices.Clone(s.v4), slices.Clone(s.v6)
	return &c
}

func (s *shape) empty() bool { return s.targets+len(s.prefix)+len(s.v4)+len(s.v6) == 0 }

// count adds n times the entry to its shape, or to the unsound ones.
func (e *edit) count(w *entry, n int) error {
	kind, values, nets := w.parts()
	if kind == "" {
		e.unsound += int64(n)
		return nil
	}
	k := key(w.tenant, w.action)
	s := e.shapes[string(k)]
	if s == nil {
		raw, err := e.txn.First("shape", "id", k)
		if err != nil {
			return err
		}
		if raw == nil {
			s = &shape{key: k}
		} else {
			s = raw.(*shape).clone()
		}
		e.shapes[string(k)] = s
	}
	switch kind {
	case byTarget:
		s.targets += n * len(values)
	case byPrefix:
		for _, v := range values {
			s.prefix.add(len(v), n)
		}
	case byCIDR:
		for _, p := range nets {
			if p.Addr().Is4() {
				s.v4.add(p.Bits(), n)
			} else {
				s.v6.add(p.Bits(), n)
			}
		}
	}
	return nil
}

func (e *edit) putShapes() error {
	for _, s := range e.shapes {
		if !s.empty() {
			if err := e.txn.Insert("shape", s); err != nil {
				return err
			}
			continue
		}
		if old, err := e.txn.First("shape", "id", s.key); err != nil {
			return err
		} else if old != nil {
			if err := e.txn.Delete("shape", old); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *edit) addEntry(w *entry) error {
	raw, err := e.txn.First("whitelist", "id", key(w.tenant, w.id))
	if err != nil {
		return err
	}
	if raw != nil {
		if err := e.count(raw.(*entry), -1); err != nil {
			return err
		}
	}
	if err := e.count(w, 1); err != nil {
		return err
	}
	return e.txn.Insert("whitelist", w)
}

func (e *edit) removeEntry(w *entry) error {
	raw, err := e.txn.First("whitelist", "id", key(w.tenant, w.id))
	if err != nil || raw == nil {
		return err
	}
	if err := e.count(raw.(*entry), -1); err != nil {
		return err
	}
	return e.txn.Delete("whitelist", raw)
}

// candidatesTxn returns the entries in force that may match, ordered by id: a
// superset of those that do. Its cost depends on how many different lengths
// are in use and how many entries match, not on how many entries there are.
func candidatesTxn(txn *memdb.Txn, tenant, action, target string, now time.Time) ([]*engine.WhitelistEntry, error) {
	raw, err := txn.First("shape", "id", key(tenant, action))
	if err != nil || raw == nil {
		return nil, err
	}
	s := raw.(*shape)
	c := collector{txn: txn, now: now.UnixMilli()}
	base := slices.Clip(key(tenant, action))
	if s.targets > 0 {
		c.collect(appendField(appendField(base, byTarget), target))
	}
	for _, l := range s.prefix {
		if l.length > len(target) {
			break
		}
		if strings.IndexByte(".:/-_@", target[l.length-1]) >= 0 {
			c.collect(appendField(appendField(base, byPrefix), target[:l.length]))
		}
	}
	if len(s.v4)+len(s.v6) > 0 {
		if p, ok := engine.ParseTarget(target); ok {
			inUse := s.v6
			if p.Addr().Is4() {
				inUse = s.v4
			}
			for _, l := range inUse {
				if l.length > p.Bits() {
					break
				}
				c.collect(appendNet(appendField(base, byCIDR), netip.PrefixFrom(p.Addr(), l.length)))
			}
		}
	}
	return c.done()
}

type collector struct {
	txn   *memdb.Txn
	now   int64
	found []*engine.WhitelistEntry
	err   error
}

func (c *collector) collect(k []byte) {
	if c.err != nil {
		return
	}
	it, err := c.txn.Get("whitelist", "target", k)
	if err != nil {
		c.err = err
		return
	}
	for raw := it.Next(); raw != nil; raw = it.Next() {
		e := raw.(*entry)
		if c.now >= e.expires {
			continue
		}
		w := e.get()
		if slices.Contains(c.found, w) {
			continue // under another of its values
		}
		if len(c.found) == engine.MaxCandidates {
			c.err = engine.ErrTooManyCandidates
			return
		}
		c.found = append(c.found, w)
	}
}

func (c *collector) done() ([]*engine.WhitelistEntry, error) {
	if c.err != nil {
		return nil, c.err
	}
	slices.SortFunc(c.found, func(a, b *engine.WhitelistEntry) int { return strings.Compare(a.ID, b.ID) })
	return c.found, nil
}
