package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/engine"
)

const announcementColumns = `tenant_id, announcement_id, kind, channel, notify, decision_id, approval_id, status, attempts, next_attempt_at,
	last_error, created_at, closed_at, replayed_by, replayed_at`

func scanAnnouncement(scan func(...any) error) (*engine.Announcement, error) {
	var a engine.Announcement
	var decision, approval, by sql.NullString
	var next, created, closed, replayed stamp
	if err := scan(&a.TenantID, &a.ID, &a.Kind, &a.Channel, &a.Notify, &decision, &approval, &a.Status, &a.Attempts, &next,
		&a.LastError, &created, &closed, &by, &replayed); err != nil {
		return nil, err
	}
	a.DecisionID, a.ApprovalID, a.ReplayedBy = decision.String, approval.String, by.String
	a.NextAttemptAt, a.CreatedAt, a.ClosedAt, a.ReplayedAt = time.Time(next), time.Time(created), time.Time(closed), time.Time(replayed)
	return &a, nil
}

// Announcements returns the tenant's announcements that q selects, newest first.
func (s *Store) Announcements(ctx context.Context, tenant string, q engine.AnnouncementQuery) ([]*engine.Announcement, error) {
	before := q.BeforeID
	if before == "" {
		before = uuid.Max.String()
	}
	list := []*engine.Announcement{}
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+announcementColumns+` FROM announcement
		WHERE tenant_id = $1 AND announcement_id < $2 AND ($3 = '' OR status = $3) AND ($4 = '' OR channel = $4) ORDER BY announcement_id DESC LIMIT $5`),
		tenant, before, string(q.Status), q.Channel, q.Limit)
	if s.matchesNothing(err) {
		return list, nil
	}
	if err != nil {
		return nil, s.cannotRead("announcements", err)
	}
	defer rows.Close()
	for rows.Next() {
		a, err := scanAnnouncement(rows.Scan)
		if err != nil {
			return nil, s.cannotRead("announcements", err)
		}
		list = append(list, a)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cannotRead("announcements", err)
	}
	return list, nil
}

// Announcement returns one. Returns engine.ErrNotFound where there is none.
func (s *Store) Announcement(ctx context.Context, tenant, id string) (*engine.Announcement, error) {
	a, err := scanAnnouncement(s.db.reads().QueryRowContext(ctx, s.db.text(`SELECT `+announcementColumns+` FROM announcement WHERE tenant_id = $1 AND announcement_id = $2`), tenant, id).Scan)
	if errors.Is(err, sql.ErrNoRows) || s.matchesNothing(err) {
		return nil, fmt.Errorf("announcement: %w", engine.ErrNotFound)
	}
	if err != nil {
		return nil, s.cannotRead("an announcement", err)
	}
	return a, nil
}

// ReplayAnnouncements makes dead announcements pending again, and those that have
// failed due at once: all of a channel or the one with the id, in one transaction.
// It returns how many there were.
// Returns engine.ErrNotFound where there is no channel to send them to.
func (s *Store) ReplayAnnouncements(ctx context.Context, tenant, channel, id, actor string) (n int64, err error) {
	err = s.announcementTx(ctx, tenant, "a replay of announcements", func(c *changer) error {
		var known string
		if err := c.row(`SELECT name FROM channel WHERE tenant_id = $1 AND name = $2 FOR SHARE`, tenant, channel).Scan(&known); errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("channel %s: %w", channel, engine.ErrNotFound)
		} else if err != nil {
			return err
		}
		query, args := `UPDATE announcement SET status = 'pending', attempts = 0, last_error = '', next_attempt_at = $3, closed_at = NULL, replayed_by = $4, replayed_at = $3
			WHERE tenant_id = $1 AND channel = $2 AND (status = 'dead' OR (status = 'pending' AND last_error <> ''))`, []any{tenant, channel, engine.FormatTime(c.now), actor}
		if id != "" {
			query, args = query+` AND announcement_id = $5`, append(args, id)
		}
		res, err := c.tx.ExecContext(c.ctx, c.s.db.text(query), args...)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

// DiscardAnnouncement removes a dead announcement, and reports whether it was one.
func (s *Store) DiscardAnnouncement(ctx context.Context, tenant, id string) (gone bool, err error) {
	err = s.announcementTx(ctx, tenant, "the end of an announcement", func(c *changer) error {
		res, err := c.tx.ExecContext(c.ctx, c.s.db.text(`DELETE FROM announcement WHERE tenant_id = $1 AND announcement_id = $2 AND status = 'dead'`), tenant, id)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		gone = n > 0
		return err
	})
	return gone, err
}

// TestChannel makes an announcement that says only that it is one, and returns it.
// Returns engine.ErrNotFound where there is no such channel.
func (s *Store) TestChannel(ctx context.Context, key engine.ChannelKey) (a *engine.Announcement, err error) {
	err = s.announcementTx(ctx, key.TenantID, "a test of a channel", func(c *changer) error {
		var known string
		if err := c.row(`SELECT name FROM channel WHERE tenant_id = $1 AND name = $2 FOR SHARE`, key.TenantID, key.Name).Scan(&known); errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("channel %s: %w", key.Name, engine.ErrNotFound)
		} else if err != nil {
			return err
		}
		a = &engine.Announcement{
			TenantID: key.TenantID, ID: uuid.Must(uuid.NewV7()).String(), Kind: engine.AnnounceTest, Channel: key.Name,
			Status: engine.AnnouncementPending, NextAttemptAt: c.now, CreatedAt: c.now,
		}
		return c.insertAnnouncements([]*engine.Announcement{a})
	})
	return a, err
}

// announcementTx runs one transaction about announcements that a person asked
// for, and wakes whoever sends them.
func (s *Store) announcementTx(ctx context.Context, tenant, what string, do func(*changer) error) error {
	err := s.withPatience(ctx, what, func() error {
		return s.announce(tenant, do)
	})
	if err == nil {
		s.outboxNews()
	}
	return err
}

// announce runs one transaction in the tables of announcements.
func (s *Store) announce(tenant string, do func(*changer) error) error {
	turn := s.db.exclusive()
	turn.Lock()
	defer turn.Unlock()
	tx, err := s.db.begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	c := &changer{s: s, tx: tx, ctx: context.Background(), tenant: tenant, now: time.Now().UTC().Truncate(time.Millisecond)}
	if err := do(c); err != nil {
		return err
	}
	return tx.Commit()
}

// inList makes "$n, $n+1, …" of values and adds them to args.
func inList[T any](args []any, values []T) (string, []any) {
	marks := make([]string, len(values))
	for i, v := range values {
		args = append(args, v)
		marks[i] = param(len(args))
	}
	return strings.Join(marks, ", "), args
}

// announcedEntries reads the decisions that announcements are about, by id,
// without their parameters.
func (s *Store) announcedEntries(ctx context.Context, tenant string, ids []string) (map[string]*engine.Entry, error) {
	found := map[string]*engine.Entry{}
	for part := range slices.Chunk(ids, 100) {
		list, args := inList([]any{tenant}, part)
		rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+logColumnList+` FROM remediation_gate_log WHERE tenant_id = $1 AND decision_id IN (`+list+`)`), args...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			e, err := scanEntry(rows.Scan)
			if err != nil {
				rows.Close()
				return nil, err
			}
			found[e.DecisionID] = e
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// announcedApprovals reads the approvals that announcements are about, by id.
func (s *Store) announcedApprovals(ctx context.Context, tenant string, ids []string) (map[string]*engine.Approval, error) {
	found := map[string]*engine.Approval{}
	for part := range slices.Chunk(ids, 100) {
		list, args := inList([]any{tenant}, part)
		rows, err := s.db.reads().QueryContext(ctx, s.db.text(`SELECT `+approvalColumns+` FROM approval WHERE tenant_id = $1 AND approval_id IN (`+list+`)`), args...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			a, err := scanApproval(rows.Scan)
			if err != nil {
				rows.Close()
				return nil, err
			}
			found[a.ID] = a
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	return found, nil
}
