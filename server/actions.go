package server

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tiergate/tiergate/engine"
)

func (s *server) actions(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	type action struct {
		engine.Action `json:",inline"`
		BlastRadius   string `json:"blast_radius"`
	}
	list := []action{}
	for _, a := range s.gate.Actions() {
		list = append(list, action{a, a.BlastRadius.String()})
	}
	s.answer(c, http.StatusOK, map[string]any{"actions": list, "policy": policyOf(s.gate.PolicyID())})
	return nil
}

func (s *server) matrix(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	rows, err := s.gate.Matrix(c.Request.Context(), who(c).tenant)
	if err != nil {
		return err
	}
	type row struct {
		ActionType  string        `json:"action_type"`
		BlastRadius string        `json:"blast_radius"`
		Decision    string        `json:"decision"`
		Rule        string        `json:"rule"`
		Rationale   string        `json:"rationale"`
		AutoWhen    string        `json:"auto_when"`
		Constrained []engine.Mode `json:"constrained_overrides"`
	}
	list := []row{}
	for _, r := range rows {
		list = append(list, row{r.ActionType, r.BlastRadius.String(), r.Decision.String(), r.Rule, r.Rationale, r.AutoWhen, r.Constrained})
	}
	s.answer(c, http.StatusOK, map[string]any{"tenant_id": who(c).tenant, "matrix": list, "policy": policyOf(s.gate.PolicyID())})
	return nil
}
