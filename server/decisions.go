package server

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
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
	ReadSet    *readSet       `json:"read_set"`
}

// readSet is the view that an agent read before it asked.
type readSet struct {
	Snapshot *string `json:"snapshot"`
	Digest   *string `json:"digest"`
}

func (s *server) decide(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
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
	a, err := s.answerWithReceipt(e)
	if err != nil {
		return err
	}
	s.answer(c, http.StatusOK, a)
	return nil
}

// parseDecision reads one request strictly. It decodes the RFC 8785 form, so
// that the parts which are kept as bytes are canonical without more work.
func parseDecision(body []byte, w caller) (*engine.Request, error) {
	if err := checkTokens(body); err != nil {
		return nil, err
	}
	canonical := jsontext.Value(bytes.Clone(body))
	if err := canonical.Canonicalize(); err != nil {
		return nil, syntaxProblem(err)
	}
	var b decisionBody
	if err := unmarshalStrict(canonical, &b); err != nil {
		return nil, err
	}
	return b.request(w, digestOf(canonical))
}

// digestOf is the SHA-256 of a request in RFC 8785 form without its action_id.
// There the keys are sorted, action_id is the first of all that are known, and
// an id that passes as a UUID holds no escapes.
func digestOf(canonical []byte) [32]byte {
	rest, found := bytes.CutPrefix(canonical, []byte(`{"action_id":"`))
	end := bytes.IndexByte(rest, '"')
	if !found || end < 0 {
		return sha256.Sum256(canonical)
	}
	h := sha256.New()
	h.Write([]byte("{"))
	h.Write(bytes.TrimPrefix(rest[end+1:], []byte(",")))
	return [32]byte(h.Sum(nil))
}

// request checks the bounds of every field and reports all faults at once.
func (b *decisionBody) request(w caller, digest [32]byte) (*engine.Request, error) {
	var f faults
	r := &engine.Request{TenantID: w.tenant, Principal: w.name, Person: w.person, Actor: "system", Confidence: b.Confidence, Digest: digest}
	if b.ActionID != nil {
		if !isUUID(*b.ActionID) {
			f.add("action_id", "must be a UUID")
		}
		r.ActionID = strings.ToLower(*b.ActionID)
	}
	if b.ActionType == nil {
		f.add("action_type", "is required")
	} else if r.ActionType = *b.ActionType; !isActionType(r.ActionType) {
		f.add("action_type", "must match %s", actionTypeText)
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

// parameters returns the object's canonical bytes, when b was decoded from them.
func (b *decisionBody) parameters(f *faults) []byte {
	if b.Parameters == nil {
		return nil
	}
	switch {
	case b.Parameters.Kind() != '{':
		f.add("parameters", "must be an object")
	case len(b.Parameters) > maxParametersBytes:
		f.add("parameters", "must be at most %d bytes in RFC 8785 form", maxParametersBytes)
	default:
		return b.Parameters
	}
	return nil
}

// readSet returns the view's RFC 8785 form.
func (b *decisionBody) readSet(f *faults) []byte {
	if b.ReadSet == nil {
		return nil
	}
	out := []byte(`{"digest":`)
	out = f.appendText(out, "read_set.digest", b.ReadSet.Digest)
	out = append(out, `,"snapshot":`...)
	out = f.appendText(out, "read_set.snapshot", b.ReadSet.Snapshot)
	return append(out, '}')
}

func (f *faults) appendText(out []byte, field string, s *string) []byte {
	if s == nil || *s == "" || len(*s) > maxReadSetField {
		f.add(field, "must be 1 to %d bytes", maxReadSetField)
		return out
	}
	out, _ = jsontext.AppendQuote(out, *s) // its UTF-8 was checked
	return out
}
