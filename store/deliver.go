package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// DueChannels lists channels for which something is due at now.
func (s *Store) DueChannels(ctx context.Context, now time.Time) ([]engine.ChannelKey, error) {
	// The subquery is one step into the index for each channel, however much is
	// pending; a join might read it all.
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT c.tenant_id, c.name FROM channel c
		WHERE (SELECT min(a.next_attempt_at) FROM announcement a WHERE a.tenant_id = c.tenant_id AND a.channel = c.name AND a.status = 'pending') <= $1`), engine.FormatTime(now))
	if err != nil {
		return nil, s.cannotRead("announcements", err)
	}
	defer rows.Close()
	var list []engine.ChannelKey
	for rows.Next() {
		var k engine.ChannelKey
		if err := rows.Scan(&k.TenantID, &k.Name); err != nil {
			return nil, s.cannotRead("announcements", err)
		}
		list = append(list, k)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("announcements", err)
	}
	return list, nil
}

// Claim counts an attempt of at most n due announcements of the channel, the
// longest due first, keeps them from every other gate until lease, and returns
// them with what is needed to send them.
func (s *Store) Claim(ctx context.Context, key engine.ChannelKey, n int, now, lease time.Time) (w engine.ChannelWork, err error) {
	err = s.announce(key.TenantID, func(c *changer) error {
		var secret []byte
		ch, err := scanChannel(c.row(`SELECT c.tenant_id, c.name, c.format, c.approvals, c.origin, c.url_digest, c.key_id, c.set_by, c.set_at, s.secret
			FROM channel c JOIN channel_secret s ON s.tenant_id = c.tenant_id AND s.name = c.name WHERE c.tenant_id = $1 AND c.name = $2`, key.TenantID, key.Name).Scan, &secret)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // removed meanwhile, and what was pending with it
		}
		if err != nil {
			return err
		}
		w.Channel = *ch
		if w.Secrets, err = readSecrets(secret); err != nil {
			return err
		}
		rows, err := c.tx.QueryContext(c.ctx, c.s.db.text(`WITH due AS MATERIALIZED (
				SELECT announcement_id FROM announcement WHERE tenant_id = $1 AND channel = $2 AND status = 'pending' AND next_attempt_at <= $3
				ORDER BY next_attempt_at LIMIT $4 FOR UPDATE SKIP LOCKED)
			UPDATE announcement SET attempts = attempts + 1, next_attempt_at = $5 WHERE tenant_id = $1 AND announcement_id IN (SELECT announcement_id FROM due)
			RETURNING `+announcementColumns), key.TenantID, key.Name, engine.FormatTime(now), n, engine.FormatTime(lease))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			a, err := scanAnnouncement(rows.Scan)
			if err != nil {
				return err
			}
			w.Due = append(w.Due, engine.DueAnnouncement{Announcement: a})
		}
		return rows.Err()
	})
	if err != nil {
		return w, fmt.Errorf("%w: claim announcements of %s in %s: %v", engine.ErrUnavailable, key.Name, s.db.where(), err)
	}
	slices.SortFunc(w.Due, func(a, b engine.DueAnnouncement) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return w, s.withEvidence(ctx, key.TenantID, w.Due)
}

// withEvidence adds the rows and approvals that the announcements are about.
func (s *Store) withEvidence(ctx context.Context, tenant string, due []engine.DueAnnouncement) error {
	var decisions, approvals []string
	for _, d := range due {
		if d.DecisionID != "" {
			decisions = append(decisions, d.DecisionID)
		}
		if d.ApprovalID != "" {
			approvals = append(approvals, d.ApprovalID)
		}
	}
	entries, err := s.announcedEntries(ctx, tenant, decisions)
	if err != nil {
		return s.cannotRead("decisions to announce", err)
	}
	opened, err := s.announcedApprovals(ctx, tenant, approvals)
	if err != nil {
		return s.cannotRead("approvals to announce", err)
	}
	for i := range due {
		due[i].Entry, due[i].Approval = entries[due[i].DecisionID], opened[due[i].ApprovalID]
	}
	return nil
}

// Settle writes down what came of attempts, in one transaction. What somebody
// gave up meanwhile stays as it is.
func (s *Store) Settle(_ context.Context, results []engine.AnnouncementResult) error {
	delivered := map[string][]engine.AnnouncementResult{}
	err := s.announce("", func(c *changer) error {
		for _, r := range results {
			var err error
			switch r.Status {
			case engine.AnnouncementDelivered:
				delivered[r.TenantID] = append(delivered[r.TenantID], r)
			case engine.AnnouncementDead:
				err = c.exec(`UPDATE announcement SET status = 'dead', closed_at = $3, last_error = $4 WHERE tenant_id = $1 AND announcement_id = $2 AND status = 'pending'`,
					r.TenantID, r.ID, engine.FormatTime(r.At), r.Error)
			default:
				err = c.exec(`UPDATE announcement SET next_attempt_at = $3, last_error = $4 WHERE tenant_id = $1 AND announcement_id = $2 AND status = 'pending'`,
					r.TenantID, r.ID, engine.FormatTime(r.Next), r.Error)
			}
			if err != nil {
				return err
			}
		}
		for tenant, list := range delivered {
			for part := range slices.Chunk(list, 100) {
				ids := make([]string, len(part))
				for i, r := range part {
					ids[i] = r.ID
				}
				marks, args := inList([]any{tenant, engine.FormatTime(part[0].At)}, ids)
				if err := c.exec(`UPDATE announcement SET status = 'delivered', closed_at = $2, last_error = '' WHERE tenant_id = $1 AND status = 'pending' AND announcement_id IN (`+marks+`)`, args...); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: write down what became of announcements in %s: %v", engine.ErrUnavailable, s.db.where(), err)
	}
	return nil
}

// deadFor is how much longer than delivered ones those stay that were given up.
const deadFor = 60 * 24 * time.Hour

// Purge removes at most a page of the announcements delivered before a time, or
// given up deadFor before that.
func (s *Store) Purge(_ context.Context, before time.Time) (n int, err error) {
	err = s.announce("", func(c *changer) error {
		res, err := c.tx.ExecContext(c.ctx, c.s.db.text(`DELETE FROM announcement WHERE (tenant_id, announcement_id) IN (
			SELECT tenant_id, announcement_id FROM announcement WHERE (status = 'delivered' AND closed_at < $1) OR (status = 'dead' AND closed_at < $2) LIMIT $3)`),
			engine.FormatTime(before), engine.FormatTime(before.Add(-deadFor)), page)
		if err != nil {
			return err
		}
		gone, err := res.RowsAffected()
		n = int(gone)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%w: remove old announcements from %s: %v", engine.ErrUnavailable, s.db.where(), err)
	}
	return n, nil
}

// Backlog counts what is not delivered. Oldest is when the oldest pending one
// was made, zero where none is.
func (s *Store) Backlog(ctx context.Context) (pending, dead int, oldest time.Time, err error) {
	var at stamp
	err = s.db.reads().QueryRowContext(ctx, `SELECT (SELECT count(*) FROM announcement WHERE status = 'pending'),
		(SELECT count(*) FROM announcement WHERE status = 'dead'), (SELECT min(created_at) FROM announcement WHERE status = 'pending')`).Scan(&pending, &dead, &at)
	if err != nil {
		return 0, 0, time.Time{}, s.cannotRead("announcements", err)
	}
	return pending, dead, time.Time(at), nil
}
