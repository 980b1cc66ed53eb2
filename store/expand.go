package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tiergate/tiergate/engine"
)

// How much one Expand does: few tenants' and few rows' worth, so that it
// neither keeps the database from the decisions nor lets one busy tenant keep
// the others waiting. The rest stays in the outbox, in its compact form.
const (
	expandTenants = 50
	expandRows    = 4  // of the outbox, of one tenant
	expandItems   = 64 // of one tenant; one row more than that may be begun
	// expandPause is how long a tenant that has more than that waits for its next
	// share: no channel is sent to faster anyway, and a tenant on which thousands
	// of decisions a second are announced must not cost the others theirs.
	expandPause = time.Second
)

// outboxTenants lists tenants that have left something, by jumping from one to
// the next in the primary key.
const outboxTenants = `WITH RECURSIVE t (tenant_id) AS (
		SELECT min(tenant_id) FROM announcement_outbox WHERE tenant_id > $1
		UNION ALL SELECT (SELECT min(o.tenant_id) FROM announcement_outbox o WHERE o.tenant_id > t.tenant_id) FROM t WHERE t.tenant_id IS NOT NULL)
	SELECT tenant_id FROM t WHERE tenant_id IS NOT NULL LIMIT $2`

// Expand makes announcements of what decisions have left in the outbox, a
// bounded number at a time, and reports whether there may be more, perhaps of
// tenants that have had their share of this second. What names
// no channel becomes a dead announcement that says so: nothing is lost.
// Several gates may expand at the same time; one goroutine of each.
func (s *Store) Expand(ctx context.Context) (more bool, err error) {
	tenants, err := s.outboxTenants(ctx)
	if err != nil {
		return false, s.cannotRead("the outbox", err)
	}
	now := time.Now()
	for _, t := range tenants {
		if now.Before(s.pausing[t]) {
			more = true
			continue
		}
		left, err := s.expandTenant(t)
		if err != nil {
			return false, fmt.Errorf("%w: announcements of tenant %s: %v", engine.ErrUnavailable, t, err)
		}
		if delete(s.pausing, t); left {
			s.pausing[t] = now.Add(expandPause)
			more = true
		}
	}
	if len(tenants) < expandTenants {
		s.expanded = ""
	} else {
		s.expanded, more = tenants[len(tenants)-1], true
	}
	return more, nil
}

// outboxTenants goes on behind the tenant where the last one stopped.
func (s *Store) outboxTenants(ctx context.Context) ([]string, error) {
	rows, err := s.db.reads().QueryContext(ctx, s.db.text(outboxTenants), s.expanded, expandTenants)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var t string
		if err := rows.Scan(&t); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

func (s *Store) expandTenant(tenant string) (more bool, err error) {
	turn := s.db.exclusive()
	turn.Lock()
	defer turn.Unlock()
	tx, err := s.db.begin()
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	c := &changer{s: s, tx: tx, ctx: context.Background(), tenant: tenant, now: time.Now().UTC().Truncate(time.Millisecond)}
	seqs, items, more, err := c.takeOutbox()
	if err != nil || len(seqs) == 0 {
		return false, err
	}
	channels, err := c.channels()
	if err != nil {
		return false, err
	}
	if err := c.insertAnnouncements(announcementsOf(tenant, items, channels, c.now)); err != nil {
		return false, err
	}
	for _, seq := range seqs {
		if err := c.exec(`DELETE FROM announcement_outbox WHERE tenant_id = $1 AND log_seq = $2`, tenant, seq); err != nil {
			return false, err
		}
	}
	return more, tx.Commit()
}

// takeOutbox locks the oldest rows that no other gate has taken.
func (c *changer) takeOutbox() (seqs []int64, items []outboxItem, more bool, err error) {
	rows, err := c.tx.QueryContext(c.ctx, c.s.db.text(`SELECT log_seq, items FROM announcement_outbox WHERE tenant_id = $1 ORDER BY log_seq LIMIT $2 FOR UPDATE SKIP LOCKED`), c.tenant, expandRows)
	if err != nil {
		return nil, nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var text string
		if err := rows.Scan(&seq, &text); err != nil {
			return nil, nil, false, err
		}
		if len(items) >= expandItems {
			more = true
			continue
		}
		var these []outboxItem
		if err := json.Unmarshal([]byte(text), &these); err != nil {
			return nil, nil, false, fmt.Errorf("row %d of the outbox: %w", seq, err)
		}
		seqs, items = append(seqs, seq), append(items, these...)
	}
	return seqs, items, more || len(seqs) == expandRows, rows.Err()
}

// channels reads the tenant's channels and keeps them from being removed until
// the transaction ends.
func (c *changer) channels() ([]*engine.Channel, error) {
	rows, err := c.tx.QueryContext(c.ctx, c.s.db.text(`SELECT `+channelColumns+` FROM channel WHERE tenant_id = $1 ORDER BY name FOR SHARE`), c.tenant)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*engine.Channel
	for rows.Next() {
		ch, err := scanChannel(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, ch)
	}
	return list, rows.Err()
}

// announcementsOf says who is told what.
func announcementsOf(tenant string, items []outboxItem, channels []*engine.Channel, now time.Time) (list []*engine.Announcement) {
	add := func(a engine.Announcement) {
		a.TenantID, a.CreatedAt, a.NextAttemptAt = tenant, now, now
		a.ID = uuid.Must(uuid.NewV7()).String()
		if a.Status == engine.AnnouncementDead {
			a.ClosedAt = now
		}
		list = append(list, &a)
	}
	for _, it := range items {
		if it.ApprovalID != "" {
			for _, c := range channels {
				if c.Approvals {
					add(engine.Announcement{Kind: engine.AnnounceApproval, Channel: c.Name, DecisionID: it.DecisionID, ApprovalID: it.ApprovalID, Status: engine.AnnouncementPending})
				}
			}
			continue
		}
		var told []string
		for _, target := range it.Notify {
			a := engine.Announcement{Kind: engine.AnnounceAuto, Notify: target, DecisionID: it.DecisionID, Status: engine.AnnouncementPending}
			if a.Channel, a.LastError = engine.NotifyChannel(target, channels); a.LastError != "" {
				a.Status = engine.AnnouncementDead
			} else if slices.Contains(told, a.Channel) {
				continue // named twice
			}
			told = append(told, a.Channel)
			add(a)
		}
	}
	return list
}

// insertAnnouncements writes new announcements, many with one statement.
func (c *changer) insertAnnouncements(list []*engine.Announcement) error {
	columns := []string{"tenant_id", "announcement_id", "kind", "channel", "notify", "decision_id", "approval_id",
		"status", "next_attempt_at", "last_error", "created_at", "closed_at"}
	for part := range slices.Chunk(list, 100) {
		var tuples []string
		var args []any
		for _, a := range part {
			var closed any
			if !a.ClosedAt.IsZero() {
				closed = engine.FormatTime(a.ClosedAt)
			}
			marks := make([]string, len(columns))
			for k := range marks {
				marks[k] = param(len(args) + k + 1)
			}
			tuples = append(tuples, "("+strings.Join(marks, ", ")+")")
			args = append(args, a.TenantID, a.ID, string(a.Kind), a.Channel, a.Notify, orNull(a.DecisionID), orNull(a.ApprovalID),
				string(a.Status), engine.FormatTime(a.NextAttemptAt), a.LastError, engine.FormatTime(a.CreatedAt), closed)
		}
		if err := c.exec(`INSERT INTO announcement (`+strings.Join(columns, ", ")+`) VALUES `+strings.Join(tuples, ", "), args...); err != nil {
			return err
		}
	}
	return nil
}
