package server

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tiergate/tiergate/engine"
)

type announcementAnswer struct {
	ID            string `json:"id"`
	TenantID      string `json:"tenant_id"`
	Kind          string `json:"kind"`
	Channel       string `json:"channel"`
	Notify        string `json:"notify,omitempty"`
	DecisionID    string `json:"decision_id,omitempty"`
	ApprovalID    string `json:"approval_id,omitempty"`
	Status        string `json:"status"`
	Attempts      int    `json:"attempts"`
	NextAttemptAt string `json:"next_attempt_at,omitempty"`
	LastError     string `json:"last_error,omitempty"`
	CreatedAt     string `json:"created_at"`
	ClosedAt      string `json:"closed_at,omitempty"`
	ReplayedBy    string `json:"replayed_by,omitempty"`
	ReplayedAt    string `json:"replayed_at,omitempty"`
}

func announcementOf(a *engine.Announcement) announcementAnswer {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return engine.FormatTime(t)
	}
	out := announcementAnswer{
		a.ID, a.TenantID, string(a.Kind), a.Channel, a.Notify, a.DecisionID, a.ApprovalID, string(a.Status), a.Attempts, "",
		a.LastError, at(a.CreatedAt), at(a.ClosedAt), a.ReplayedBy, at(a.ReplayedAt),
	}
	if a.Status == engine.AnnouncementPending {
		out.NextAttemptAt = at(a.NextAttemptAt)
	}
	return out
}

func (s *server) announcements(c *gin.Context) error {
	q, err := readQuery(c, "status", "channel", "limit", "cursor")
	if err != nil {
		return err
	}
	limit := q.limit()
	l := engine.AnnouncementQuery{Status: engine.AnnouncementStatus(q.text("status")), Channel: q.text("channel"), BeforeID: q.cursor(), Limit: limit + 1}
	if l.Status != "" && !slices.Contains(engine.AnnouncementStatuses, l.Status) {
		q.faults.add("status", "must be one of %v", engine.AnnouncementStatuses)
	}
	if l.BeforeID != "" && !isUUID(l.BeforeID) {
		q.faults.add("cursor", "is none that this query gave")
	}
	if err := q.err(); err != nil {
		return err
	}
	found, err := s.store.Announcements(c.Request.Context(), who(c).tenant, l)
	if err != nil {
		return err
	}
	list := []announcementAnswer{}
	var next *string
	for i, a := range found {
		if i == limit {
			next = q.next(list[i-1].ID)
			break
		}
		list = append(list, announcementOf(a))
	}
	s.answer(c, http.StatusOK, map[string]any{"entries": list, "next_cursor": next})
	return nil
}

// pathAnnouncement reads the announcement that the path names.
func (s *server) pathAnnouncement(c *gin.Context) (*engine.Announcement, error) {
	id := strings.ToLower(c.Param("announcement_id"))
	if !isUUID(id) {
		return nil, notFound("An announcement's id is a UUID.")
	}
	if err := noQuery(c); err != nil {
		return nil, err
	}
	return s.store.Announcement(c.Request.Context(), who(c).tenant, id)
}

func (s *server) announcement(c *gin.Context) error {
	a, err := s.pathAnnouncement(c)
	if err != nil {
		return err
	}
	s.answer(c, http.StatusOK, announcementOf(a))
	return nil
}

func (s *server) replayAnnouncement(c *gin.Context) error {
	if err := noBody(c); err != nil {
		return err
	}
	a, err := s.pathAnnouncement(c)
	if err != nil {
		return err
	}
	n, err := s.store.ReplayAnnouncements(c.Request.Context(), a.TenantID, a.Channel, a.ID, who(c).name)
	if errors.Is(err, engine.ErrNotFound) {
		return problem(http.StatusConflict, "no_channel", "There is no channel to send it to",
			"The announcement names the channel "+strconv.Quote(a.Channel)+", and the tenant has none of that name. Set it, then replay; or discard the announcement. Nothing was changed.")
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return problem(http.StatusConflict, "not_dead", "The announcement has not been given up",
			"Only one that was given up, or has failed, can be replayed. This one is "+string(a.Status)+". Nothing was changed.")
	}
	s.wake(engine.ChannelKey{TenantID: a.TenantID, Name: a.Channel})
	if a, err = s.store.Announcement(c.Request.Context(), a.TenantID, a.ID); err != nil {
		return err
	}
	s.answer(c, http.StatusAccepted, announcementOf(a))
	return nil
}

// discardAnnouncement removes one that was given up, from the list of those.
func (s *server) discardAnnouncement(c *gin.Context) error {
	a, err := s.pathAnnouncement(c)
	if err != nil {
		return err
	}
	gone, err := s.store.DiscardAnnouncement(c.Request.Context(), a.TenantID, a.ID)
	if err != nil {
		return err
	}
	if !gone {
		return problem(http.StatusConflict, "not_dead", "The announcement has not been given up",
			"Only a dead announcement can be discarded. This one is "+string(a.Status)+". Nothing was changed.")
	}
	s.logger.Info("an announcement was discarded", "tenant", a.TenantID, "id", a.ID, "kind", a.Kind, "channel", a.Channel, "decision_id", a.DecisionID, "by", who(c).name)
	c.Status(http.StatusNoContent)
	return nil
}
