package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tiergate/tiergate/engine"
)

// rules are all that can have decided.
var rules = []string{
	engine.RuleBlockOverride, engine.RuleStopped, engine.RuleCriticalNeverAuto, engine.RuleApprovalOverride, engine.RuleForceAutoOverride,
	engine.RuleWhitelistMatch, engine.RuleNoWhitelistMatch, engine.RuleTierAllows, engine.RuleTierRequiresApproval,
}

// outcomes are all that can be asked for: what was reported last, or none where
// an action was let go and nothing was reported.
var outcomes = []engine.OutcomeStatus{engine.OutcomeExecuted, engine.OutcomeFailed, engine.OutcomeRolledBack, engine.OutcomeNone}

func (s *server) gateLog(c *gin.Context) error {
	q, err := readQuery(c, "from", "to", "decision", "action_type", "blast_radius", "actor", "target_prefix", "incident_id", "rule", "outcome", "input", "limit", "cursor")
	if err != nil {
		return err
	}
	limit := q.limit()
	l := engine.LogQuery{
		From: q.time("from"), To: q.time("to"), ActionType: q.text("action_type"), Actor: q.text("actor"),
		TargetPrefix: q.text("target_prefix"), IncidentID: q.text("incident_id"), Rule: q.text("rule"),
		BeforeSeq: q.cursorInt(), Limit: limit + 1,
	}
	if v := q.text("decision"); v != "" {
		if l.Decision, err = engine.ParseDecision(v); err != nil {
			q.faults.add("decision", "%s", err)
		}
	}
	if v := q.text("blast_radius"); v != "" {
		if l.BlastRadius, err = engine.ParseBlastRadius(v); err != nil {
			q.faults.add("blast_radius", "%s", err)
		}
	}
	if l.ActionType != "" && !isActionType(l.ActionType) {
		q.faults.add("action_type", "must match %s", actionTypeText)
	}
	if l.Rule != "" && !slices.Contains(rules, l.Rule) {
		q.faults.add("rule", "must be one of %s", strings.Join(rules, ", "))
	}
	if l.Outcome = engine.OutcomeStatus(q.text("outcome")); l.Outcome != "" && !slices.Contains(outcomes, l.Outcome) {
		q.faults.add("outcome", "must be one of %v", outcomes)
	}
	withInput := q.text("input")
	if withInput != "" && withInput != "true" && withInput != "false" {
		q.faults.add("input", "must be true or false")
	}
	if err := q.err(); err != nil {
		return err
	}
	entries, err := s.store.Entries(c.Request.Context(), who(c).tenant, l)
	if err != nil {
		return err
	}
	list := []rowAnswer{}
	var next *string
	for i, e := range entries {
		if i == limit {
			next = q.next(strconv.FormatInt(list[i-1].LogSeq, 10))
			break
		}
		list = append(list, s.rowOf(e, withInput == "true"))
	}
	s.answer(c, http.StatusOK, map[string]any{"entries": list, "next_cursor": next})
	return nil
}

func (s *server) summary(c *gin.Context) error {
	q, err := readQuery(c, "from", "to")
	if err != nil {
		return err
	}
	from, to := q.time("from"), q.time("to")
	if err := q.err(); err != nil {
		return err
	}
	rows, err := s.store.Summary(c.Request.Context(), who(c).tenant, from, to)
	if err != nil {
		return err
	}
	type count struct {
		Decision    string `json:"decision"`
		BlastRadius string `json:"blast_radius"`
		Rule        string `json:"rule"`
		Count       int64  `json:"count"`
	}
	list := []count{}
	var total int64
	for _, r := range rows {
		list = append(list, count{r.Decision.String(), r.BlastRadius.String(), r.Rule, r.Count})
		total += r.Count
	}
	s.answer(c, http.StatusOK, map[string]any{"counts": list, "total": total})
	return nil
}
