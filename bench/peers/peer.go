// Package peers is what the gate's engine is measured beside: each peer
// answers the documents of the corpus, as much of the decision tree as it can
// express. A test holds every peer against an independent model, since the
// speed of a wrong answer says nothing.
//
// A document is prepared first (parsed, and put into the form that the peer
// reads), which is not measured; to ask about it is.
package peers

import (
	"context"
	"encoding/json"
	"fmt"
)

// Answer is what a peer says about a document.
type Answer struct {
	Decision  string
	Rule      string
	Rationale string   // empty from a peer that makes none
	Applied   []string // overrides_applied; nil from a peer that cannot tell
}

// Ask decides one prepared document. It may be called any number of times.
type Ask func() (Answer, error)

// Peer is one engine with its form of the policy.
type Peer struct {
	Name string
	// Part says which part of the policy it expresses; empty: all of it, the
	// judging of constraints and the rationale included.
	Part    string
	Prepare func(doc []byte) (Ask, error)
}

// All makes every peer: the floor first, then the gate, then the others.
func All(ctx context.Context) ([]Peer, error) {
	all := []Peer{Handwritten()}
	for _, make := range []func(context.Context) (Peer, error){Tiergate, PlainNaive, PlainShipped, Cedar, CEL, Casbin} {
		p, err := make(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// decode reads a document as a map.
func decode(doc []byte) (map[string]any, error) {
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	return m, nil
}
