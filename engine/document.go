package engine

import (
	"bytes"
	"context"
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
	v, err := parseJSON(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	root, ok := v.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("%w: want an object", ErrDocument)
	}
	if err := checkFrame(root); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return v, nil
}

// parseJSON reads one JSON value. It refuses what JSON readers disagree about:
// duplicate keys, trailing data, invalid UTF-8; and numbers that are expensive
// to compute with.
func parseJSON(doc []byte) (ast.Value, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(doc))
	t, err := parseValue(dec)
	if err == io.EOF {
		return nil, errors.New("it is empty")
	}
	if err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, errors.New("there is more behind the document")
	}
	return t.Value, nil
}

func parseValue(dec *jsontext.Decoder) (*ast.Term, error) {
	t, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case 'n':
		return ast.InternedNullTerm, nil
	case 't', 'f':
		return ast.InternedTerm(t.Bool()), nil
	case '"':
		return ast.InternedTerm(t.String()), nil
	case '0':
		text := t.String()
		if err := checkNumber(text); err != nil {
			return nil, fmt.Errorf("%s: %w", dec.StackPointer(), err)
		}
		return ast.NewTerm(ast.Number(text)), nil
	case '[':
		var list []*ast.Term
		for dec.PeekKind() != ']' {
			v, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.ReadToken()
		return ast.ArrayTerm(list...), err
	default: // '{'; any other token would have been an error
		var list [][2]*ast.Term
		for dec.PeekKind() != '}' {
			key, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			v, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, [2]*ast.Term{key, v})
		}
		_, err = dec.ReadToken()
		return ast.ObjectTerm(list...), err
	}
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

func checkFrame(root ast.Object) error {
	now, ok := valueOf(root, keyNow).(ast.String)
	if !ok {
		return errors.New("now: want a time such as 2026-11-23T08:00:00Z")
	}
	if _, err := ParseTime(string(now)); err != nil {
		return fmt.Errorf("now: %w", err)
	}
	request, ok := valueOf(root, keyRequest).(ast.Object)
	if !ok {
		return errors.New("request: want an object")
	}
	for _, key := range []*ast.Term{keyActionType, keyTarget} {
		if s, ok := valueOf(request, key).(ast.String); !ok || s == "" {
			return fmt.Errorf("request.%s: want a string that is not empty", string(key.Value.(ast.String)))
		}
	}
	if v := valueOf(request, keyActor); v != nil {
		if _, ok := v.(ast.String); !ok {
			return errors.New("request.actor: want a string")
		}
	}
	if v := valueOf(request, keyConfidence); v != nil {
		if _, ok := v.(ast.Number); !ok {
			return errors.New("request.confidence: want a number")
		}
	}
	tenant, ok := valueOf(root, keyTenant).(ast.Object)
	if !ok {
		return errors.New("tenant: want an object")
	}
	if v := valueOf(tenant, keyID); v != nil {
		if _, ok := v.(ast.String); !ok {
			return errors.New("tenant.id: want a string")
		}
	}
	tier, _ := valueOf(tenant, keyTier).(ast.Number)
	if len(tier) != 1 || tier[0] < '0' || tier[0] > '0'+MaxTier {
		return fmt.Errorf("tenant.maturity_tier: want an integer from 0 to %d", MaxTier)
	}
	if v := valueOf(tenant, keyStopped); v != nil {
		if _, ok := v.(ast.Boolean); !ok {
			return errors.New("tenant.stopped: want true or false")
		}
	}
	return nil
}
