package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/rollout"
)

// refusalProblem is the answer to what the rollout refuses, or nil.
func refusalProblem(err error) *Problem {
	r, ok := errors.AsType[*rollout.Refusal](err)
	if !ok {
		return nil
	}
	var p *Problem
	switch r.Kind {
	case rollout.BadBundle:
		p = problem(http.StatusBadRequest, "bad_bundle", "The body is no bundle that this gate takes", r.Detail)
	case rollout.StillProving:
		p = problem(http.StatusConflict, "proof_running", "The bundle is still being proved", r.Detail)
		p.retryAfter = "5"
	case rollout.ProofFailed:
		p = problem(http.StatusConflict, "proof_failed", "The bundle does not hold its promises", r.Detail)
		p.Report = jsontext.Value(r.Report)
	case rollout.NotCovered:
		p = problem(http.StatusConflict, "not_covered", "The proof does not cover all that the bundle does", r.Detail)
		p.Report = jsontext.Value(r.Report)
	case rollout.Contended:
		p = problem(http.StatusServiceUnavailable, "policy_busy", "Others change the policy at the same time", r.Detail)
		p.retryAfter = "1"
	default:
		p = problem(http.StatusConflict, "bundle_refused", "The bundle cannot be used like that", r.Detail)
	}
	return p
}

func (s *server) activate(c *gin.Context) error { return s.moveBundle(c, true, Rollout.Activate) }
func (s *server) rollback(c *gin.Context) error { return s.moveBundle(c, false, Rollout.Rollback) }
func (s *server) startShadow(c *gin.Context) error {
	return s.moveBundle(c, false, Rollout.StartShadow)
}

// moveBundle makes a change that takes a reason in the body and, if it accepts
// what a proof does not cover, the word about that.
func (s *server) moveBundle(c *gin.Context, accepts bool, move func(Rollout, context.Context, string, engine.ChangeMeta) (rollout.Bundle, error)) error {
	p, err := s.policies()
	if err != nil {
		return err
	}
	if err := noQuery(c); err != nil {
		return err
	}
	hash, err := bundleParam(c)
	if err != nil {
		return err
	}
	meta, err := readMove(c, accepts)
	if err != nil {
		return err
	}
	moved, err := move(p, c.Request.Context(), hash, meta)
	if err != nil {
		return noBundle(err)
	}
	s.answer(c, http.StatusOK, bundleOf(moved, false))
	return nil
}

func readMove(c *gin.Context, accepts bool) (engine.ChangeMeta, error) {
	meta := engine.ChangeMeta{Actor: who(c).name}
	var err error
	if !accepts {
		meta.Reason, err = readReason(c)
		return meta, err
	}
	body, err := readBody(c, maxBody)
	if err != nil {
		return meta, err
	}
	var b struct {
		Reason           string `json:"reason"`
		AcceptNotCovered bool   `json:"accept_not_covered"`
	}
	if err := decodeStrict(body, &b); err != nil {
		return meta, err
	}
	var f faults
	f.reason("reason", b.Reason, true)
	meta.Reason, meta.AcceptNotCovered = b.Reason, b.AcceptNotCovered
	return meta, f.err()
}

func (s *server) stopShadow(c *gin.Context) error {
	p, err := s.policies()
	if err != nil {
		return err
	}
	hash, err := bundleParam(c)
	if err != nil {
		return err
	}
	q, err := readQuery(c, "reason")
	if err != nil {
		return err
	}
	q.faults.reason("reason", q.text("reason"), true)
	if err := q.err(); err != nil {
		return err
	}
	if _, err := p.StopShadow(c.Request.Context(), hash, engine.ChangeMeta{Actor: who(c).name, Reason: q.text("reason")}); err != nil {
		return noBundle(err)
	}
	c.Status(http.StatusNoContent)
	return nil
}

type divergenceAnswer struct {
	ActionType string `json:"action_type"`
	Active     string `json:"active"`
	Shadow     string `json:"shadow"`
	Count      int64  `json:"count"`
}

type sampleAnswer struct {
	DecisionID string `json:"decision_id"`
	TenantID   string `json:"tenant_id"`
	ActionType string `json:"action_type"`
	Active     string `json:"active"`
	ActiveRule string `json:"active_rule"`
	Shadow     string `json:"shadow"`
	ShadowRule string `json:"shadow_rule"`
	DecidedAt  string `json:"decided_at"`
}

// shadow reports decisions of all tenants, so only who may see all of them may
// see it.
func (s *server) shadow(c *gin.Context) error {
	if !who(c).allTenants {
		return problem(http.StatusForbidden, "forbidden", "The credential is for one tenant", "This shows decisions of all tenants: it takes a credential for *.")
	}
	p, err := s.policies()
	if err != nil {
		return err
	}
	if err := noQuery(c); err != nil {
		return err
	}
	hash, err := bundleParam(c)
	if err != nil {
		return err
	}
	r, err := p.Shadow(c.Request.Context(), hash)
	if err != nil {
		return noBundle(err)
	}
	divergences, samples := []divergenceAnswer{}, []sampleAnswer{}
	for _, d := range r.Divergences {
		divergences = append(divergences, divergenceAnswer{d.ActionType, d.Active.String(), d.Shadow.String(), d.Count})
	}
	for _, d := range r.Samples {
		samples = append(samples, sampleAnswer{d.DecisionID, d.TenantID, d.ActionType, d.Active.String(), d.ActiveRule, d.Shadow.String(), d.ShadowRule, engine.FormatTime(d.DecidedAt)})
	}
	share := 1.0
	if all := r.Evaluated + r.Skipped; all > 0 {
		share = float64(r.Evaluated) / float64(all)
	}
	a := map[string]any{
		"shadow": policyOf(r.Shadow), "active": policyOf(r.Active), "since": engine.FormatTime(r.Since),
		"evaluated": r.Evaluated, "skipped": r.Skipped, "evaluated_share": share,
		"agreed": r.Agreed, "diverged": r.Diverged, "failed": r.Failed, "divergences": divergences, "samples": samples,
	}
	if r.LastError != "" {
		a["last_error"] = r.LastError
	}
	s.answer(c, http.StatusOK, a)
	return nil
}
