package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tiergate/tiergate/engine"
)

const channelColumns = `tenant_id, name, format, approvals, origin, url_digest, key_id, set_by, set_at`

func scanChannel(scan func(...any) error, more ...any) (*engine.Channel, error) {
	var c engine.Channel
	var set stamp
	if err := scan(append([]any{&c.TenantID, &c.Name, &c.Format, &c.Approvals, &c.Origin, &c.URLDigest, &c.KeyID, &c.SetBy, &set}, more...)...); err != nil {
		return nil, err
	}
	c.SetAt = time.Time(set)
	return &c, nil
}

// channelDoc is a channel in a change row.
type channelDoc struct {
	Name      string               `json:"name"`
	Format    engine.ChannelFormat `json:"format"`
	Approvals bool                 `json:"approvals"`
	Origin    string               `json:"origin"`
	URLDigest string               `json:"url_digest"`
	KeyID     string               `json:"key_id"`
	SetBy     string               `json:"set_by"`
	SetAt     string               `json:"set_at"`
}

func channelDocOf(c *engine.Channel) channelDoc {
	return channelDoc{c.Name, c.Format, c.Approvals, c.Origin, c.URLDigest, c.KeyID, c.SetBy, engine.FormatTime(c.SetAt)}
}

// secretDoc is what channel_secret keeps.
type secretDoc struct {
	URL  string      `json:"url"`
	Keys []secretKey `json:"keys,omitempty"`
}

type secretKey struct {
	Key   []byte `json:"key"`
	Until string `json:"until,omitempty"` // RFC 3339, "" for ever
}

func secretDocOf(s engine.ChannelSecrets) secretDoc {
	d := secretDoc{URL: s.URL}
	for _, k := range s.Keys {
		sk := secretKey{Key: k.Key}
		if !k.Until.IsZero() {
			sk.Until = engine.FormatTime(k.Until)
		}
		d.Keys = append(d.Keys, sk)
	}
	return d
}

func readSecrets(secret []byte) (engine.ChannelSecrets, error) {
	var d secretDoc
	if err := json.Unmarshal(secret, &d); err != nil {
		return engine.ChannelSecrets{}, errors.New("the channel's secrets cannot be read; set the channel again") // the cause might quote them
	}
	s := engine.ChannelSecrets{URL: d.URL}
	for _, k := range d.Keys {
		key := engine.SigningKey{Key: k.Key}
		if k.Until != "" {
			until, err := parseTime(k.Until)
			if err != nil {
				return engine.ChannelSecrets{}, errors.New("the channel's secrets cannot be read; set the channel again")
			}
			key.Until = until
		}
		s.Keys = append(s.Keys, key)
	}
	return s, nil
}

// SetChannel sets a channel of its tenant as one change. make gets what stands,
// nil where nothing does, and the moment of the change, and returns what is to
// stand; SetBy and SetAt are given here. An error of make, and
// engine.ErrTooManyChannels, come back as they are, and nothing has changed.
func (s *Store) SetChannel(ctx context.Context, key engine.ChannelKey, meta engine.ChangeMeta,
	make func(old *engine.Channel, secrets *engine.ChannelSecrets, now time.Time) (engine.Channel, engine.ChannelSecrets, error)) (*engine.Channel, error) {
	var made engine.Channel
	err := s.change(ctx, key.TenantID, engine.KindChannelSet, meta, func(c *changer) (before, after any, err error) {
		old, oldSecrets, err := c.channel(key)
		if err != nil {
			return nil, nil, err
		}
		if old == nil {
			var n int
			if err := c.row(`SELECT count(*) FROM channel WHERE tenant_id = $1`, key.TenantID).Scan(&n); err != nil {
				return nil, nil, err
			}
			if n >= engine.MaxChannels {
				return nil, nil, passError{engine.ErrTooManyChannels}
			}
		}
		var secrets engine.ChannelSecrets
		if made, secrets, err = make(old, oldSecrets, c.now); err != nil {
			return nil, nil, passError{err}
		}
		made.ChannelKey, made.SetBy, made.SetAt = key, meta.Actor, c.now
		if old != nil {
			before = channelDocOf(old)
		}
		secret, err := json.Marshal(secretDocOf(secrets))
		if err != nil {
			return nil, nil, err
		}
		if err := c.exec(`INSERT INTO channel (`+channelColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (tenant_id, name) DO UPDATE SET format = excluded.format, approvals = excluded.approvals, origin = excluded.origin,
				url_digest = excluded.url_digest, key_id = excluded.key_id, set_by = excluded.set_by, set_at = excluded.set_at`,
			key.TenantID, key.Name, string(made.Format), made.Approvals, made.Origin, made.URLDigest, made.KeyID, made.SetBy, engine.FormatTime(made.SetAt)); err != nil {
			return nil, nil, err
		}
		// What failed on the old way is tried on the new one at once.
		if err := c.exec(`UPDATE announcement SET next_attempt_at = $3 WHERE tenant_id = $1 AND channel = $2 AND status = 'pending' AND last_error <> ''`,
			key.TenantID, key.Name, engine.FormatTime(c.now)); err != nil {
			return nil, nil, err
		}
		return before, channelDocOf(&made), c.exec(`INSERT INTO channel_secret (tenant_id, name, secret) VALUES ($1, $2, $3)
			ON CONFLICT (tenant_id, name) DO UPDATE SET secret = excluded.secret`, key.TenantID, key.Name, secret)
	})
	if err != nil {
		return nil, err
	}
	return &made, nil
}

// channel reads what stands, nil for nothing.
func (c *changer) channel(key engine.ChannelKey) (*engine.Channel, *engine.ChannelSecrets, error) {
	ch, err := scanChannel(c.row(`SELECT `+channelColumns+` FROM channel WHERE tenant_id = $1 AND name = $2 FOR UPDATE`, key.TenantID, key.Name).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var secret []byte
	if err := c.row(`SELECT secret FROM channel_secret WHERE tenant_id = $1 AND name = $2`, key.TenantID, key.Name).Scan(&secret); err != nil {
		return nil, nil, fmt.Errorf("secrets of the channel: %w", err)
	}
	secrets, err := readSecrets(secret)
	if err != nil { // what cannot be read is replaced
		return ch, nil, nil
	}
	return ch, &secrets, nil
}

// RemoveChannel removes a channel as one change. What still waits to go there
// becomes dead, to be replayed once there is a channel of that name again.
// Returns engine.ErrNotFound where none stood.
func (s *Store) RemoveChannel(ctx context.Context, key engine.ChannelKey, meta engine.ChangeMeta) error {
	return s.change(ctx, key.TenantID, engine.KindChannelRemove, meta, func(c *changer) (any, any, error) {
		old, _, err := c.channel(key)
		if err != nil {
			return nil, nil, err
		}
		if old == nil {
			return nil, nil, fmt.Errorf("channel %s: %w", key.Name, engine.ErrNotFound)
		}
		if err := c.exec(`UPDATE announcement SET status = 'dead', closed_at = $3, last_error = 'The channel was removed. Set it again, then replay.'
			WHERE tenant_id = $1 AND channel = $2 AND status = 'pending'`, key.TenantID, key.Name, engine.FormatTime(c.now)); err != nil {
			return nil, nil, err
		}
		return channelDocOf(old), nil, c.exec(`DELETE FROM channel WHERE tenant_id = $1 AND name = $2`, key.TenantID, key.Name)
	})
}

// Channels returns the tenant's channels ordered by name, with names after
// afterName, at most limit.
func (s *Store) Channels(ctx context.Context, tenant, afterName string, limit int) ([]*engine.Channel, error) {
	list := []*engine.Channel{}
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+channelColumns+` FROM channel WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3`), tenant, afterName, limit)
	if err != nil {
		return nil, s.cannotRead("channels", err)
	}
	defer rows.Close()
	for rows.Next() {
		c, err := scanChannel(rows.Scan)
		if err != nil {
			return nil, s.cannotRead("channels", err)
		}
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("channels", err)
	}
	return list, nil
}

// Channel returns one. Returns engine.ErrNotFound where there is none.
func (s *Store) Channel(ctx context.Context, key engine.ChannelKey) (*engine.Channel, error) {
	c, err := scanChannel(s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT `+channelColumns+` FROM channel WHERE tenant_id = $1 AND name = $2`), key.TenantID, key.Name).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("channel %s: %w", key.Name, engine.ErrNotFound)
	}
	if err != nil {
		return nil, s.cannotRead("a channel", err)
	}
	return c, nil
}
