package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

// typeBase is where the problem types are named. The description in openapi.yaml
// tells what each means and what to do.
const typeBase = "https://tiergate.dev/problems/"

// Problem is an error as RFC 9457 has it.
type Problem struct {
	Type   string              `json:"type"`
	Title  string              `json:"title"`
	Status int                 `json:"status"`
	Detail string              `json:"detail"`
	Errors []engine.FieldError `json:"errors,omitempty"`
	Report jsontext.Value      `json:"report,omitempty"` // of a proof that fails

	retryAfter string // seconds
}

func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

func problem(status int, kind, title, detail string) *Problem {
	return &Problem{Type: typeBase + kind, Title: title, Status: status, Detail: detail}
}

// badFields is a 400 that names the fields at fault.
func badFields(faults ...engine.FieldError) *Problem {
	p := problem(http.StatusBadRequest, "bad_request", "The request is not valid", "")
	p.Errors = faults
	var all []string
	for _, f := range faults {
		if f.Field != "" {
			all = append(all, f.Field+": "+f.Detail)
		} else {
			all = append(all, f.Detail)
		}
	}
	p.Detail = strings.Join(all, "; ")
	return p
}

func badField(field, detail string) *Problem {
	return badFields(engine.FieldError{Field: field, Detail: detail})
}

func notFound(detail string) *Problem {
	return problem(http.StatusNotFound, "not_found", "Nothing is here", detail)
}

// problems is the one table from the engine's errors to answers.
var problems = []struct {
	err     error
	problem Problem
}{
	{engine.ErrNoRelease, Problem{Status: http.StatusInternalServerError, Type: "policy_error", Title: "The active policy cannot release anything",
		Detail: "policy_error: the active bundle is from before approvals and has no data.gate.release, so nothing can be approved and nothing was changed. Activate a bundle that has it, then vote again."}},
	{engine.ErrApprovalMoved, Problem{Status: http.StatusServiceUnavailable, Type: "approval_busy", Title: "Others step on this approval at the same time",
		Detail: "Nothing was changed. Read the approval and vote again.", retryAfter: "1"}},
	{engine.ErrParametersGone, Problem{Status: http.StatusConflict, Type: "parameters_gone", Title: "The action is not known in full any more",
		Detail: "The action's parameters were erased, so it cannot be decided again. Nothing was changed. Ask for the action again."}},
	{engine.ErrNotRequester, Problem{Status: http.StatusForbidden, Type: "not_requester", Title: "Only who asked can take it back",
		Detail: "This person did not ask for the action. An approver can deny it instead."}},
	{engine.ErrTooManyChannels, Problem{Status: http.StatusConflict, Type: "too_many_channels", Title: "The tenant has too many channels",
		Detail: "A tenant has 64 channels at most. Nothing was changed. Remove one that is not needed any more."}},
	{engine.ErrNotLetGo, Problem{Status: http.StatusConflict, Type: "not_let_go", Title: "The action was not let go",
		Detail: "Only what was auto or released can have an outcome. Nothing was written."}},
	{engine.ErrTooManyOutcomes, Problem{Status: http.StatusConflict, Type: "too_many_outcomes", Title: "Too many outcomes were reported",
		Detail: "This decision has all the outcomes that it takes. Nothing was written."}},
	{engine.ErrPolicy, Problem{Status: http.StatusInternalServerError, Type: "policy_error", Title: "The policy gave no usable decision",
		Detail: "policy_error: nothing was decided and nothing may run. The gate's log says which bundle and why."}},
	{engine.ErrQueueFull, Problem{Status: http.StatusServiceUnavailable, Type: "queue_full", Title: "Too many decisions wait for the log",
		Detail: "Nothing was decided. Ask again after the time in Retry-After.", retryAfter: "1"}},
	{engine.ErrStaleEpoch, Problem{Status: http.StatusServiceUnavailable, Type: "configuration_changing", Title: "The configuration keeps changing",
		Detail: "The tenant's configuration changed each time this was decided. Nothing was decided. Ask again.", retryAfter: "1"}},
	{engine.ErrStalePolicy, Problem{Status: http.StatusServiceUnavailable, Type: "policy_changing", Title: "Another bundle is active",
		Detail: "Another bundle was activated, and this gate has not taken it over yet. Nothing was decided. Ask again; /readyz says whether something is wrong.", retryAfter: "1"}},
	{engine.ErrTooManyCandidates, Problem{Status: http.StatusServiceUnavailable, Type: "too_many_candidates", Title: "Too many whitelist entries may match",
		Detail: "too_many_candidates: more than 64 whitelist entries of this action type may match the target. Nothing was decided. Remove or merge entries."}},
	{engine.ErrUnavailable, Problem{Status: http.StatusServiceUnavailable, Type: "log_unavailable", Title: "The database cannot be used",
		Detail: "No decision is given without its row: nothing may run; ask again with the same action_id. Whether a change was made is not known: read before you repeat it.", retryAfter: "1"}},
	{engine.ErrActionConflict, Problem{Status: http.StatusConflict, Type: "action_id_conflict", Title: "The action_id was used for a different request",
		Detail: "One action_id names one request. Use a new action_id."}},
	{engine.ErrSuperseded, Problem{Status: http.StatusConflict, Type: "decision_superseded", Title: "The stored decision no longer holds",
		Detail: "decision_superseded: the stored answer is an auto whose time has passed or whose configuration has changed. Ask again with a new action_id."}},
	{engine.ErrNotFound, Problem{Status: http.StatusNotFound, Type: "not_found", Title: "Nothing is here", Detail: "Nothing stands under this name for this tenant."}},
	{engine.ErrStale, Problem{Status: http.StatusPreconditionFailed, Type: "stale_configuration", Title: "The configuration has changed",
		Detail: "If-Match names another configuration than the current one. Read it again and decide anew."}},
	{context.DeadlineExceeded, Problem{Status: http.StatusServiceUnavailable, Type: "timeout", Title: "It took too long", Detail: "Nothing was decided. Ask again.", retryAfter: "1"}},
	{context.Canceled, Problem{Status: http.StatusServiceUnavailable, Type: "timeout", Title: "It was cancelled", Detail: "Nothing was answered."}},
}

// asProblem maps any error and counts it. What is unknown leaks nothing.
func (s *server) asProblem(err error) *Problem {
	p := s.lookUp(err)
	s.metrics.problems.WithLabelValues(strings.TrimPrefix(p.Type, typeBase)).Inc()
	return p
}

func (s *server) lookUp(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	if p := cmp.Or(refusalProblem(err), approvalProblem(err)); p != nil {
		return p
	}
	if errors.Is(err, engine.ErrPolicy) {
		s.metrics.policy.Inc()
	}
	for i := range problems {
		if errors.Is(err, problems[i].err) {
			p := problems[i].problem
			p.Type = typeBase + p.Type
			return &p
		}
	}
	s.logger.Error("a request failed", "error", err)
	return problem(http.StatusInternalServerError, "internal", "Something went wrong inside the gate", "The gate's log has the cause. Nothing may run.")
}

func (s *server) fail(c *gin.Context, err error) {
	p := s.asProblem(err)
	if p.retryAfter != "" {
		c.Header("Retry-After", p.retryAfter)
	}
	if p.Status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", "Bearer")
	}
	neverKeep(c)
	body, _ := json.Marshal(p)
	c.Data(p.Status, "application/problem+json", body)
	c.Abort()
}

func (s *server) answer(c *gin.Context, status int, v any) {
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		s.fail(c, err)
		return
	}
	neverKeep(c)
	c.Data(status, "application/json", body)
}

var noStore, noSniff = []string{"no-store"}, []string{"nosniff"}

// neverKeep tells caches not to keep an answer: a kept "auto" would be one
// without a row.
func neverKeep(c *gin.Context) {
	h := c.Writer.Header()
	h["Cache-Control"], h["X-Content-Type-Options"] = noStore, noSniff
}
