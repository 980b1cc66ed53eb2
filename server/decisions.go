package server

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

// Bounds of a request; CONTRACT has them.
const (
	maxTarget          = 512
	maxActor           = 128
	maxIncident        = 128
	maxReadSetField    = 256
	maxParametersBytes = 16 << 10
	maxParametersDepth = 8
	maxBatch           = 1000
)

var (
	actionTypePattern = regexp.MustCompile(`^[a-z][a-z0-9_]{1,63}$`)
	uuidPattern       = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
)

// decisionBody is what POST /decisions takes.
type decisionBody struct {
	ActionID   *string        `json:"action_id"`
	ActionType *string        `json:"action_type"`
	Target     *string        `json:"target"`
	Actor      *string        `json:"actor"`
	Confidence *float64       `json:"confidence"`
	Parameters jsontext.Value `json:"parameters"`
	IncidentID *string        `json:"incident_id"`
	ReadSet    *struct {
		Snapshot *string `json:"snapshot"`
		Digest   *string `json:"digest"`
	} `json:"read_set"`
}

func (s *server) decide(c *gin.Context) error {
	body, err := readBody(c, maxBody)
	if err != nil {
		return err
	}
	r, err := parseDecision(body, who(c))
	if err != nil {
		return err
	}
	e, err := s.gate.Decide(c.Request.Context(), r)
	if err != nil {
		return err
	}
	s.metrics.decided(e)
	s.answer(c, http.StatusOK, answerOf(e))
	return nil
}

// parseDecision reads one request strictly.
func parseDecision(body []byte, w caller) (*engine.Request, error) {
	var b decisionBody
	if err := decodeStrict(body, &b); err != nil {
		return nil, err
	}
	digest, err := digestWithout(body, "action_id")
	if err != nil {
		return nil, err
	}
	return b.request(w, digest)
}

// digestWithout is the SHA-256 of an object's RFC 8785 form without one key.
func digestWithout(body []byte, key string) ([32]byte, error) {
	v := jsontext.Value(bytes.Clone(body))
	if err := v.Canonicalize(); err != nil {
		return [32]byte{}, syntaxProblem(err)
	}
	// In RFC 8785 form the keys are sorted, and action_id is the first of all
	// that are known, with a string that holds no escapes.
	prefix := []byte(`{"` + key + `":"`)
	if rest, ok := bytes.CutPrefix(v, prefix); ok {
		if i := bytes.IndexByte(rest, '"'); i >= 0 {
			rest = bytes.TrimPrefix(rest[i+1:], []byte(","))
			h := sha256.New()
			h.Write([]byte("{"))
			h.Write(rest)
			return [32]byte(h.Sum(nil)), nil
		}
	}
	return sha256.Sum256(v), nil
}

// request checks the bounds of every field and reports all faults at once.
func (b *decisionBody) request(w caller, digest [32]byte) (*engine.Request, error) {
	var f faults
	r := &engine.Request{TenantID: w.tenant, Principal: w.name, Actor: "system", Confidence: b.Confidence, Digest: digest}
	if b.ActionID != nil {
		if !uuidPattern.MatchString(*b.ActionID) {
			f.add("action_id", "must be a UUID")
		}
		r.ActionID = strings.ToLower(*b.ActionID)
	}
	if b.ActionType == nil {
		f.add("action_type", "is required")
	} else if r.ActionType = *b.ActionType; !actionTypePattern.MatchString(r.ActionType) {
		f.add("action_type", "must match %s", actionTypePattern)
	}
	if b.Target == nil {
		f.add("target", "is required")
	} else if r.Target = *b.Target; r.Target == "" || len(r.Target) > maxTarget {
		f.add("target", "must be 1 to %d bytes", maxTarget)
	}
	if b.Actor != nil {
		r.Actor = *b.Actor
		id, isUser := strings.CutPrefix(r.Actor, "user:")
		if len(r.Actor) > maxActor || (r.Actor != "system" && (!isUser || id == "")) {
			f.add("actor", "must be system or user:<id>, at most %d bytes", maxActor)
		}
	}
	if b.Confidence != nil && !(*b.Confidence >= 0 && *b.Confidence <= 1) {
		f.add("confidence", "must be a number from 0 to 1")
	}
	if b.IncidentID != nil {
		if r.IncidentID = *b.IncidentID; r.IncidentID == "" || len(r.IncidentID) > maxIncident {
			f.add("incident_id", "must be 1 to %d bytes", maxIncident)
		}
	}
	r.Parameters = b.parameters(&f)
	r.ReadSet = b.readSet(&f)
	return r, f.err()
}

func (b *decisionBody) parameters(f *faults) []byte {
	if b.Parameters == nil {
		return nil
	}
	switch {
	case b.Parameters.Kind() != '{':
		f.add("parameters", "must be an object")
	case len(b.Parameters) > maxParametersBytes:
		f.add("parameters", "must be at most %d bytes", maxParametersBytes)
	case depthOf(b.Parameters) > maxParametersDepth:
		f.add("parameters", "must nest at most %d deep", maxParametersDepth)
	default:
		v := bytes.Clone(b.Parameters)
		if err := (*jsontext.Value)(&v).Canonicalize(); err != nil {
			f.add("parameters", "has no RFC 8785 form")
		}
		return v
	}
	return nil
}

func depthOf(v jsontext.Value) (deepest int) {
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	for {
		if _, err := dec.ReadToken(); err != nil {
			return deepest
		}
		deepest = max(deepest, dec.StackDepth())
	}
}

func (b *decisionBody) readSet(f *faults) []byte {
	if b.ReadSet == nil {
		return nil
	}
	out := map[string]string{}
	for name, v := range map[string]*string{"snapshot": b.ReadSet.Snapshot, "digest": b.ReadSet.Digest} {
		if v == nil || *v == "" || len(*v) > maxReadSetField {
			f.add("read_set."+name, "must be 1 to %d bytes", maxReadSetField)
			continue
		}
		out[name] = *v
	}
	text, err := json.Marshal(out, json.Deterministic(true))
	if err != nil {
		f.add("read_set", "cannot be kept")
	}
	return text
}

// batchItem is one answer of a batch: a decision, or an error in its place.
type batchItem struct {
	*decisionAnswer `json:",inline"`
	Error           *Problem `json:"error,omitempty"`
}

func (s *server) decideBatch(c *gin.Context) error {
	body, err := readBody(c, maxBatchBody)
	if err != nil {
		return err
	}
	var batch struct {
		Decisions []jsontext.Value `json:"decisions"`
	}
	if err := json.Unmarshal(body, &batch, json.RejectUnknownMembers(true)); err != nil {
		return batchProblem(err)
	}
	if n := len(batch.Decisions); n < 1 || n > maxBatch {
		return badField("decisions", fmt.Sprintf("must hold 1 to %d requests", maxBatch))
	}
	items := make([]batchItem, len(batch.Decisions))
	var asked []*engine.Request
	var at []int
	for i, raw := range batch.Decisions {
		r, err := parseItem(raw, who(c))
		if err != nil {
			items[i].Error = s.asProblem(err)
			continue
		}
		asked, at = append(asked, r), append(at, i)
	}
	if len(asked) > 0 {
		for k, o := range s.gate.DecideBatch(c.Request.Context(), asked) {
			if o.Err == nil {
				s.metrics.decided(o.Entry)
				items[at[k]].decisionAnswer = answerOf(o.Entry)
				continue
			}
			p := s.asProblem(o.Err)
			if p.Status == http.StatusServiceUnavailable && p.Type != typeBase+"too_many_candidates" {
				return o.Err // a commit that fails makes the whole call fail
			}
			items[at[k]].Error = p
		}
	}
	s.answer(c, http.StatusOK, map[string]any{"decisions": items})
	return nil
}

func parseItem(raw jsontext.Value, w caller) (*engine.Request, error) {
	if raw.Kind() != '{' {
		return nil, badField("", "each decision must be an object")
	}
	if len(raw) > maxBody {
		return nil, problem(http.StatusRequestEntityTooLarge, "too_large", "The request is too large", fmt.Sprintf("At most %d bytes are read.", maxBody))
	}
	return parseDecision(raw, w)
}

// batchProblem tells a fault of the frame; a syntax error is one anywhere.
func batchProblem(err error) error {
	var semantic *json.SemanticError
	if ok := asSemantic(err, &semantic); ok {
		return badField(fieldName(semantic.JSONPointer), `want {"decisions": [ … ]} and nothing else`)
	}
	return syntaxProblem(err)
}

func (s *server) decision(c *gin.Context) error {
	id := strings.ToLower(c.Param("decision_id"))
	if !uuidPattern.MatchString(id) {
		return notFound("A decision id is a UUID.")
	}
	if err := noQuery(c); err != nil {
		return err
	}
	e, err := s.store.Entry(c.Request.Context(), who(c).tenant, id)
	if err != nil {
		return err
	}
	s.answer(c, http.StatusOK, rowOf(e, false))
	return nil
}

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
		ActionType  string `json:"action_type"`
		BlastRadius string `json:"blast_radius"`
		Decision    string `json:"decision"`
		Rule        string `json:"rule"`
		Rationale   string `json:"rationale"`
		AutoWhen    string `json:"auto_when"`
	}
	list := []row{}
	for _, r := range rows {
		list = append(list, row{r.ActionType, r.BlastRadius.String(), r.Decision.String(), r.Rule, r.Rationale, r.AutoWhen})
	}
	s.answer(c, http.StatusOK, map[string]any{"tenant_id": who(c).tenant, "matrix": list, "policy": policyOf(s.gate.PolicyID())})
	return nil
}
