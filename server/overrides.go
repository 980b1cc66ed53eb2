package server

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

func (s *server) putOverride(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	actionType, err := pathActionType(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	var b struct {
		Mode        string         `json:"mode"`
		Constraints jsontext.Value `json:"constraints"`
		ExpiresAt   *string        `json:"expires_at"`
		Reason      string         `json:"reason"`
	}
	if err := decodeStrict(body, &b); err != nil {
		return err
	}
	var f faults
	mode := engine.Mode(b.Mode)
	if !validMode(mode) {
		f.add("mode", "must be block, require_approval or force_auto")
	}
	f.reason("reason", b.Reason, true)
	o := engine.Override{
		TenantID: who(c).tenant, ActionType: actionType, Mode: mode,
		Constraints: f.constraints("", b.Constraints, mode == engine.ModeForceAuto),
		ExpiresAt:   f.expiry("expires_at", b.ExpiresAt, s.now()),
		Reason:      b.Reason, SetBy: who(c).name, SetAt: s.now().UTC(),
	}
	if err := f.err(); err != nil {
		return err
	}
	cfg, err := s.store.PutOverride(c.Request.Context(), engine.NewOverride(o), engine.ChangeMeta{Actor: who(c).name, Reason: b.Reason})
	if err != nil {
		return err
	}
	return s.answerConfig(c, cfg, true)
}

func (s *server) deleteOverride(c *gin.Context) error {
	actionType, err := pathActionType(c)
	if err != nil {
		return err
	}
	q, err := readQuery(c, "mode", "reason")
	if err != nil {
		return err
	}
	mode := engine.Mode(q.text("mode"))
	if mode != "" && !validMode(mode) {
		q.faults.add("mode", "must be block, require_approval or force_auto")
	}
	q.faults.reason("reason", q.text("reason"), true)
	if err := q.err(); err != nil {
		return err
	}
	meta := engine.ChangeMeta{Actor: who(c).name, Reason: q.text("reason")}
	if err := s.store.DeleteOverride(c.Request.Context(), who(c).tenant, actionType, mode, meta); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func pathActionType(c *gin.Context) (string, error) {
	actionType := c.Param("action_type")
	if !isActionType(actionType) {
		return "", notFound("An action type matches " + actionTypeText + ".")
	}
	return actionType, nil
}
