package server

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

const maxNotify = 8

// notifyPattern is scheme:rest, as RFC 3986 spells a scheme.
var notifyPattern = regexp.MustCompile(`^[a-z][a-z0-9+.-]{0,31}:[^\s]{1,512}$`)

// badNotify says why nothing could ever be sent to a target, "" if something
// could. It does not repeat the target: a URL may be a password.
func badNotify(target string) string {
	scheme, name, _ := strings.Cut(target, ":")
	switch {
	case scheme == "http" || scheme == "https":
		return "names a channel, such as channel:soc: what is written here is shown to others. Put the URL into the channel"
	case (scheme == "channel" || slices.Contains(engine.ChannelFormats, engine.ChannelFormat(scheme))) && !channelName.MatchString(strings.TrimPrefix(name, "#")):
		return "a channel's name matches " + channelNameText
	}
	return ""
}

type whitelistAnswer struct {
	ID          string         `json:"id"`
	TenantID    string         `json:"tenant_id"`
	ActionType  string         `json:"action_type"`
	Constraints jsontext.Value `json:"constraints"`
	ExpiresAt   string         `json:"expires_at"`
	Reason      string         `json:"reason"`
	Notify      []string       `json:"notify"`
	SetBy       string         `json:"set_by"`
	SetAt       string         `json:"set_at"`
	// Unresolved are those of Notify that name no channel now.
	Unresolved []unresolved `json:"unresolved_notify,omitempty"`
}

type unresolved struct {
	Notify string `json:"notify"`
	Detail string `json:"detail"`
}

// unresolvedOf says which targets would be told of nothing.
func (s *server) unresolvedOf(ctx context.Context, w *engine.WhitelistEntry) (list []unresolved, err error) {
	if len(w.Notify) == 0 {
		return nil, nil
	}
	channels, err := s.store.Channels(ctx, w.TenantID, "", engine.MaxChannels)
	if err != nil {
		return nil, err
	}
	for _, target := range w.Notify {
		if _, fault := engine.NotifyChannel(target, channels); fault != "" {
			list = append(list, unresolved{target, fault})
		}
	}
	return list, nil
}

func whitelistOf(w *engine.WhitelistEntry) whitelistAnswer {
	notify := w.Notify
	if notify == nil {
		notify = []string{}
	}
	return whitelistAnswer{w.ID, w.TenantID, w.ActionType, w.Constraints, engine.FormatTime(w.ExpiresAt), w.Reason, notify, w.SetBy, engine.FormatTime(w.SetAt), nil}
}

func (s *server) whitelist(c *gin.Context) error {
	q, err := readQuery(c, "action_type", "limit", "cursor")
	if err != nil {
		return err
	}
	actionType := q.text("action_type")
	if actionType != "" && !isActionType(actionType) {
		q.faults.add("action_type", "must match %s", actionTypeText)
	}
	limit, after := q.limit(), q.cursor()
	if err := q.err(); err != nil {
		return err
	}
	entries, err := s.store.Whitelist(c.Request.Context(), who(c).tenant, actionType, after, limit+1)
	if err != nil {
		return err
	}
	list := []whitelistAnswer{}
	var next *string
	for i, w := range entries {
		if i == limit {
			next = q.next(list[i-1].ID)
			break
		}
		list = append(list, whitelistOf(w))
	}
	s.answer(c, http.StatusOK, map[string]any{"entries": list, "next_cursor": next})
	return nil
}

func (s *server) addWhitelist(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	body, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	var b struct {
		ActionType  string         `json:"action_type"`
		Constraints jsontext.Value `json:"constraints"`
		ExpiresAt   *string        `json:"expires_at"`
		Reason      string         `json:"reason"`
		Notify      []string       `json:"notify"`
	}
	if err := decodeStrict(body, &b); err != nil {
		return err
	}
	var f faults
	if !isActionType(b.ActionType) {
		f.add("action_type", "must match %s", actionTypeText)
	}
	w := engine.WhitelistEntry{
		TenantID: who(c).tenant, ActionType: b.ActionType, Reason: b.Reason, Notify: b.Notify,
		Constraints: f.whitelistConstraints("", b.Constraints), SetBy: who(c).name, SetAt: s.now().UTC(),
	}
	if b.ExpiresAt == nil {
		f.add("expires_at", "is required: every whitelist entry ends")
	} else if at := f.expiry("expires_at", b.ExpiresAt, s.now()); at != nil {
		w.ExpiresAt = *at
	}
	f.reason("reason", b.Reason, true)
	if len(b.Notify) > maxNotify {
		f.add("notify", "must hold at most %d targets", maxNotify)
	}
	for i, n := range b.Notify {
		if !notifyPattern.MatchString(n) {
			f.add(indexed("notify", i), "must be scheme:rest, such as slack:#soc")
		} else if fault := badNotify(n); fault != "" {
			f.add(indexed("notify", i), "%s", fault)
		}
	}
	if err := f.err(); err != nil {
		return err
	}
	added, err := s.store.AddWhitelist(c.Request.Context(), w, engine.ChangeMeta{Actor: who(c).name, Reason: b.Reason})
	if err != nil {
		return err
	}
	answer := whitelistOf(added)
	if answer.Unresolved, err = s.unresolvedOf(c.Request.Context(), added); err != nil {
		s.logger.Warn("a whitelist entry was added; whether its targets name channels is not known", "tenant", added.TenantID, "id", added.ID, "error", err)
	}
	s.answer(c, http.StatusCreated, answer)
	return nil
}

func (s *server) deleteWhitelist(c *gin.Context) error {
	id := strings.ToLower(c.Param("id"))
	if !isUUID(id) {
		return notFound("A whitelist id is a UUID.")
	}
	q, err := readQuery(c, "reason")
	if err != nil {
		return err
	}
	q.faults.reason("reason", q.text("reason"), true)
	if err := q.err(); err != nil {
		return err
	}
	meta := engine.ChangeMeta{Actor: who(c).name, Reason: q.text("reason")}
	if err := s.store.DeleteWhitelist(c.Request.Context(), who(c).tenant, id, meta); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}
