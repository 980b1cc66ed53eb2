package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/engine"
)

const maxBatch = 1000

// batchItem is one answer of a batch: a decision, or an error in its place.
type batchItem struct {
	*decisionAnswer `json:",inline"`
	Error           *Problem `json:"error,omitempty"`
}

func (s *server) decideBatch(c *gin.Context) error {
	if err := noQuery(c); err != nil {
		return err
	}
	body, err := readBody(c, maxBatchBody)
	if err != nil {
		return err
	}
	raw, err := splitBatch(body)
	if err != nil {
		return err
	}
	items := make([]batchItem, len(raw))
	var asked []*engine.Request
	var at []int // where in items each of asked belongs
	for i := range raw {
		r, err := parseItem(raw[i], i, who(c))
		if err != nil {
			items[i].Error = s.asProblem(err)
			continue
		}
		asked, at = append(asked, r), append(at, i)
	}
	if err := s.askAll(c, asked, at, items); err != nil {
		return err
	}
	s.answer(c, http.StatusOK, map[string]any{"decisions": items})
	return nil
}

// askAll decides what could be read. Where the log failed one item it failed
// the call: then nothing is answered, and all may be asked again by action_id.
func (s *server) askAll(c *gin.Context, asked []*engine.Request, at []int, items []batchItem) error {
	if len(asked) == 0 {
		return nil
	}
	outcomes := s.gate.DecideBatch(c.Request.Context(), asked)
	for k, o := range outcomes {
		if o.Err == nil {
			a, err := s.answerWithReceipt(o.Entry)
			if err != nil {
				return err
			}
			items[at[k]].decisionAnswer = a
			continue
		}
		p := s.lookUp(o.Err)
		if p.Status == http.StatusServiceUnavailable && !errors.Is(o.Err, engine.ErrTooManyCandidates) {
			return p
		}
		items[at[k]].Error = s.asProblem(p)
	}
	for _, o := range outcomes {
		if o.Err == nil {
			s.metrics.decided(o.Entry)
		}
	}
	return nil
}

// splitBatch takes {"decisions": [ … ]} apart. A syntax error anywhere is one of
// all; what is wrong inside an item, a duplicate key too, is that item's own.
func splitBatch(body []byte) ([]jsontext.Value, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true))
	frame := badField("decisions", fmt.Sprintf(`want {"decisions": [1 to %d requests]} and nothing else`, maxBatch))
	for _, want := range []string{"{", "decisions", "["} {
		t, err := dec.ReadToken()
		switch {
		case err != nil:
			return nil, syntaxProblem(err)
		case want == "decisions" && t.Kind() == '"' && t.String() != want:
			return nil, badField(fieldName(dec.StackPointer()), "unknown key")
		case t.String() != want:
			return nil, frame
		}
	}
	var items []jsontext.Value
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return nil, syntaxProblem(err)
		}
		if len(items) == maxBatch {
			return nil, frame
		}
		items = append(items, bytes.Clone(v))
	}
	for range 2 { // the list's end, and the object's
		t, err := dec.ReadToken()
		if err != nil {
			return nil, syntaxProblem(err)
		}
		if t.Kind() == '"' {
			detail := "unknown key"
			if t.String() == "decisions" {
				detail = "duplicate key"
			}
			return nil, badField(fieldName(dec.StackPointer()), detail)
		}
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, badField("", "there is more behind the JSON value")
	}
	if len(items) == 0 {
		return nil, frame
	}
	return items, nil
}

// parseItem reads one request of a batch; faults name decisions[i].
func parseItem(raw jsontext.Value, i int, w caller) (*engine.Request, error) {
	item := indexed("decisions", i)
	if raw.Kind() != '{' {
		return nil, badField(item, "must be an object")
	}
	if len(raw) > maxBody {
		return nil, tooLarge(maxBody)
	}
	r, err := parseDecision(raw, w)
	if err != nil {
		var f faults
		f.nest(item, err)
		return nil, f.err()
	}
	return r, nil
}
