package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/engine"
)

const entryColumns = `tenant_id, id, action_type, constraints, expires_at, reason, notify, set_by, set_at`

// scanWhitelist reads an entry. fault says why a row cannot be read as what it
// must be; the entry then shows as one that was never in force, so that it can
// be seen and removed.
func scanWhitelist(scan func(...any) error) (_ *engine.WhitelistEntry, fault, err error) {
	var w engine.WhitelistEntry
	var constraints, notify string
	var expires expiry
	var set looseStamp
	if err := scan(&w.TenantID, &w.ID, &w.ActionType, &constraints, &expires, &w.Reason, &notify, &w.SetBy, &set); err != nil {
		return nil, nil, err
	}
	w.Constraints, w.ExpiresAt, w.SetAt = []byte(constraints), expires.at, time.Time(set)
	fault = expires.fault
	if err := json.Unmarshal([]byte(notify), &w.Notify); err != nil {
		w.Notify, fault = nil, errors.Join(fault, fmt.Errorf("notify: %w", err))
	}
	if fault != nil {
		w.ExpiresAt = time.Time{}
	}
	if len(w.Notify) == 0 {
		w.Notify = nil
	}
	return &w, fault, nil
}

// Whitelist returns the tenant's entries ordered by id, expired ones too: of
// one action type or ("") all, with ids above afterID, at most limit.
func (s *Store) Whitelist(ctx context.Context, tenant, actionType, afterID string, limit int) ([]*engine.WhitelistEntry, error) {
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+entryColumns+` FROM whitelist_entry
		WHERE tenant_id = $1 AND ($2 = '' OR action_type = $2) AND id > $3 ORDER BY id LIMIT $4`), tenant, actionType, afterID, limit)
	if s.matchesNothing(err) {
		return []*engine.WhitelistEntry{}, nil
	}
	if err != nil {
		return nil, s.cannotRead("the whitelist", err)
	}
	defer rows.Close()
	list := []*engine.WhitelistEntry{}
	for rows.Next() {
		w, _, err := scanWhitelist(rows.Scan)
		if err != nil {
			return nil, s.cannotRead("the whitelist", err)
		}
		list = append(list, engine.NewWhitelistEntry(*w))
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("the whitelist", err)
	}
	return list, nil
}

// AddWhitelist adds an entry under a new id and returns it as it stands. ID,
// SetBy, SetAt and Reason are taken from the clock and meta.
func (s *Store) AddWhitelist(ctx context.Context, w engine.WhitelistEntry, meta engine.ChangeMeta) (*engine.WhitelistEntry, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an id for a whitelist entry: %w", err)
	}
	w.ID, w.Reason, w.SetBy = id.String(), meta.Reason, meta.Actor
	w.ExpiresAt = w.ExpiresAt.UTC().Truncate(time.Millisecond)
	if len(w.Constraints) == 0 {
		w.Constraints = []byte("{}")
	}
	var made *engine.WhitelistEntry
	err = s.change(ctx, w.TenantID, engine.KindWhitelistAdd, meta, func(c *changer) (any, any, error) {
		w.SetAt = c.now
		made = engine.NewWhitelistEntry(w)
		doc := entryDocOf(made)
		notify, err := json.Marshal(doc.Notify)
		if err != nil {
			return nil, nil, err
		}
		return nil, doc, c.exec(`INSERT INTO whitelist_entry (`+entryColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			c.tenant, made.ID, made.ActionType, string(made.Constraints), doc.ExpiresAt, made.Reason, string(notify), made.SetBy, doc.SetAt)
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// DeleteWhitelist removes the tenant's entry. Returns engine.ErrNotFound where
// none stood.
func (s *Store) DeleteWhitelist(ctx context.Context, tenant, id string, meta engine.ChangeMeta) error {
	return s.change(ctx, tenant, engine.KindWhitelistRemove, meta, func(c *changer) (any, any, error) {
		w, _, err := scanWhitelist(c.row(`SELECT `+entryColumns+` FROM whitelist_entry WHERE tenant_id = $1 AND id = $2`, tenant, id).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil, fmt.Errorf("whitelist entry %s: %w", id, engine.ErrNotFound)
		}
		if err != nil {
			return nil, nil, err
		}
		return entryDocOf(w), nil, c.exec(`DELETE FROM whitelist_entry WHERE tenant_id = $1 AND id = $2`, tenant, id)
	})
}
