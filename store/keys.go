package store

import (
	"encoding/binary"
	"fmt"
)

// key joins fields so that no two lists of fields make the same bytes, nor one
// the beginning of another with as many fields: each field is preceded by its
// length. A NUL or separator inside a field cannot pass for the next one.
func key(fields ...string) []byte {
	n := 0
	for _, f := range fields {
		n += len(f) + 2
	}
	b := make([]byte, 0, n)
	for _, f := range fields {
		b = appendField(b, f)
	}
	return b
}

func appendField(b []byte, f string) []byte {
	b = binary.AppendUvarint(b, uint64(len(f)))
	return append(b, f...)
}

// byKey is the part of an indexer that takes a ready key, whole or as a prefix
// by whole fields.
type byKey struct{}

// FromArgs returns the key that was given.
func (byKey) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 1 {
		if b, ok := args[0].([]byte); ok {
			return b, nil
		}
	}
	return nil, fmt.Errorf("view: wants one key, got %d arguments", len(args))
}

// PrefixFromArgs returns the key that was given.
func (k byKey) PrefixFromArgs(args ...any) ([]byte, error) { return k.FromArgs(args...) }

type (
	tenantKey   struct{ byKey }
	overrideKey struct{ byKey }
	shapeKey    struct{ byKey }
	entryKey    struct{ byKey }
	// entryTargets indexes a whitelist entry under every value of one of its
	// target constraints.
	entryTargets struct{ byKey }
)

func (tenantKey) FromObject(o any) (bool, []byte, error) { return true, key(o.(*tenantState).id), nil }

func (overrideKey) FromObject(o any) (bool, []byte, error) {
	s := o.(*overrideSet)
	return true, key(s.tenant, s.action), nil
}

func (shapeKey) FromObject(o any) (bool, []byte, error) { return true, o.(*shape).key, nil }

func (entryKey) FromObject(o any) (bool, []byte, error) {
	e := o.(*entry)
	return true, key(e.tenant, e.id), nil
}

func (entryTargets) FromObject(o any) (bool, [][]byte, error) {
	keys := o.(*entry).targetKeys()
	return len(keys) > 0, keys, nil
}
