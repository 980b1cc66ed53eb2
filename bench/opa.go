// Package bench runs the gate's engine beside its peers on one corpus.
package bench

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/policies"
)

//go:embed corpus.jsonl
var corpusFile []byte

//go:embed naive/gate.rego
var naiveModule string

// Corpus returns the documents of corpus.jsonl.
func Corpus() [][]byte {
	var docs [][]byte
	for lines := bufio.NewScanner(bytes.NewReader(corpusFile)); lines.Scan(); {
		docs = append(docs, bytes.Clone(lines.Bytes()))
	}
	return docs
}

// Answer is what every engine here says about a document.
type Answer struct {
	Decision  string `json:"decision"`
	Rule      string `json:"rule"`
	Rationale string `json:"rationale"`
}

// Plain is OPA as its documentation shows it: a prepared query, the input as a
// map, the result as JSON.
type Plain struct{ query rego.PreparedEvalQuery }

// NewNaive prepares plain OPA on the naive policy.
func NewNaive(ctx context.Context) (*Plain, error) {
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		return nil, err
	}
	gate := b.Data["gate"].(map[string]any)
	store := inmem.NewFromObject(map[string]any{"actions": gate["actions"], "tiers": gate["tiers"].(map[string]any)["levels"]})
	q, err := rego.New(rego.Query("data.naive.decision"), rego.Module("gate.rego", naiveModule), rego.Store(store)).PrepareForEval(ctx)
	return &Plain{q}, err
}

// NewPlainShipped prepares plain OPA on the shipped bundle.
func NewPlainShipped(ctx context.Context) (*Plain, error) {
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		return nil, err
	}
	options := []func(*rego.Rego){rego.Query("data.gate.decision"), rego.Store(inmem.NewFromObject(b.Data))}
	for _, m := range b.Modules {
		options = append(options, rego.ParsedModule(m))
	}
	q, err := rego.New(options...).PrepareForEval(ctx)
	return &Plain{q}, err
}

// Decide evaluates a document that was decoded with encoding/json.
func (p *Plain) Decide(ctx context.Context, input map[string]any) (Answer, error) {
	rs, err := p.query.Eval(ctx, rego.EvalInput(input))
	if err != nil || len(rs) != 1 {
		return Answer{}, fmt.Errorf("%d results: %w", len(rs), err)
	}
	v := rs[0].Expressions[0].Value.(map[string]any)
	a := Answer{}
	a.Decision, _ = v["decision"].(string)
	a.Rule, _ = v["rule"].(string)
	a.Rationale, _ = v["rationale"].(string)
	return a, nil
}

// decode reads a document as a map.
func decode(doc []byte) map[string]any {
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		panic(err)
	}
	return m
}
