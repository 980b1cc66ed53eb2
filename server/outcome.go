package server

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tiergate/tiergate/engine"
)

const maxDetail = 4096

type outcomeAnswer struct {
	DecisionID string `json:"decision_id"`
	Seq        int64  `json:"seq"`
	Status     string `json:"status"`
	Detail     string `json:"detail,omitempty"`
	ReportedBy string `json:"reported_by"`
	Principal  string `json:"principal"`
	At         string `json:"at"`
}

func outcomeOf(o *engine.DecisionOutcome) outcomeAnswer {
	return outcomeAnswer{o.DecisionID, o.Seq, string(o.Status), o.Detail, o.Person, o.Principal, engine.FormatTime(o.At)}
}

// reportOutcome appends what came of an action that was let go.
func (s *server) reportOutcome(c *gin.Context) error {
	id := strings.ToLower(c.Param("decision_id"))
	if !isUUID(id) {
		return notFound("A decision id is a UUID.")
	}
	if err := noQuery(c); err != nil {
		return err
	}
	body, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	var b struct {
		Status string `json:"status"`
		Detail string `json:"detail"`
	}
	if err := decodeStrict(body, &b); err != nil {
		return err
	}
	var f faults
	status := engine.OutcomeStatus(b.Status)
	if status != engine.OutcomeExecuted && status != engine.OutcomeFailed && status != engine.OutcomeRolledBack {
		f.add("status", "must be executed, failed or rolled_back")
	}
	if len(b.Detail) > maxDetail {
		f.add("detail", "must be at most %d bytes", maxDetail)
	}
	if err := f.err(); err != nil {
		return err
	}
	w := who(c)
	o, added, err := s.store.AddOutcome(c.Request.Context(), engine.DecisionOutcome{
		TenantID: w.tenant, DecisionID: id, Status: status, Detail: b.Detail, Person: w.person, Principal: w.name,
	})
	if err != nil {
		return err
	}
	answer := http.StatusOK
	if added {
		answer = http.StatusCreated
	}
	s.answer(c, answer, outcomeOf(o))
	return nil
}
