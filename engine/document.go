package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/open-policy-agent/opa/v1/ast"
)

// MaxNumberBytes bounds a number in an input document: exact arithmetic on a
// huge one outruns every deadline.
const MaxNumberBytes = 400

// maxExponent bounds the exponent of a number for the same reason.
const maxExponent = 9999

// ErrDocument: the frame of an input document is wrong, so nothing was decided.
var ErrDocument = errors.New("bad input document")

// DecideDocument decides one stored input document, as CONTRACT's `eval` and
// the gate log hold it. The frame is checked: one JSON object without duplicate
// keys in which now, request and tenant have their types. What is stored in
// overrides and whitelist, whatever it is, is left for the policy to judge. A bad
// frame is ErrDocument, never a decision.
func (p *Policy) DecideDocument(ctx context.Context, doc []byte) (Verdict, error) {
	input, err := ParseDocument(doc)
	if err != nil {
		return Verdict{}, err
	}
	return p.Decide(ctx, input)
}

// ParseDocument reads and checks an input document for Policy.Decide.
func ParseDocument(doc []byte) (ast.Value, error) {
	if err := checkJSON(doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	root, ok := x.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: want an object", ErrDocument)
	}
	if err := checkFrame(root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	v, err := ast.InterfaceToValue(x)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return v, nil
}

// checkJSON refuses what JSON readers disagree about: duplicate keys, trailing
// data, invalid UTF-8; and numbers that are expensive to compute with.
func checkJSON(doc []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(doc))
	for {
		t, err := dec.ReadToken()
		if err == io.EOF {
			return errors.New("it is empty")
		}
		if err != nil {
			return err
		}
		if t.Kind() == '0' {
			if err := checkNumber(t.String()); err != nil {
				return fmt.Errorf("%s: %w", dec.StackPointer(), err)
			}
		}
		if dec.StackDepth() == 0 {
			break
		}
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return errors.New("there is more behind the document")
	}
	return nil
}

func checkNumber(s string) error {
	if len(s) > MaxNumberBytes {
		return fmt.Errorf("a number longer than %d bytes", MaxNumberBytes)
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if e, err := strconv.Atoi(s[i+1:]); err != nil || e > maxExponent || e < -maxExponent {
			return fmt.Errorf("a number with an exponent beyond %d", maxExponent)
		}
	}
	return nil
}

func checkFrame(root map[string]any) error {
	now, ok := root["now"].(string)
	if !ok {
		return errors.New("now: want a time such as 2026-11-23T08:00:00Z")
	}
	if _, err := ParseTime(now); err != nil {
		return fmt.Errorf("now: %w", err)
	}
	request, ok := root["request"].(map[string]any)
	if !ok {
		return errors.New("request: want an object")
	}
	for _, key := range []string{"action_type", "target"} {
		if s, ok := request[key].(string); !ok || s == "" {
			return fmt.Errorf("request.%s: want a string that is not empty", key)
		}
	}
	if v, present := request["actor"]; present {
		if _, ok := v.(string); !ok {
			return errors.New("request.actor: want a string")
		}
	}
	if v, present := request["confidence"]; present {
		if _, ok := v.(json.Number); !ok {
			return errors.New("request.confidence: want a number")
		}
	}
	tenant, ok := root["tenant"].(map[string]any)
	if !ok {
		return errors.New("tenant: want an object")
	}
	if v, present := tenant["id"]; present {
		if _, ok := v.(string); !ok {
			return errors.New("tenant.id: want a string")
		}
	}
	tier, _ := tenant["maturity_tier"].(json.Number)
	if len(tier) != 1 || tier[0] < '0' || tier[0] > '0'+MaxTier {
		return fmt.Errorf("tenant.maturity_tier: want an integer from 0 to %d", MaxTier)
	}
	if v, present := tenant["stopped"]; present {
		if _, ok := v.(bool); !ok {
			return errors.New("tenant.stopped: want true or false")
		}
	}
	return nil
}
