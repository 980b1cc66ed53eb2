package review

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tiergate/tiergate/engine"
)

// TextChange is a rationale that reads differently where decision and rule are
// the same.
type TextChange struct {
	Rule       string `json:"rule"`
	Before     string `json:"before"`
	After      string `json:"after"`
	Situations int    `json:"situations"`
	Texts      int    `json:"texts"` // how many such pairs of texts the rule has; this is the first
}

// textChanges decides one situation of each pair of outcomes once more: the
// rationale of a table may name another action type of the same radius.
func textChanges(ctx context.Context, older, newer *Table, a, b *Subject) ([]TextChange, error) {
	type pair struct{ first, count int }
	pairs := map[[2]uint16]pair{}
	s := older.Space
	for i := 0; i < s.size; { // neighbours are often the same
		k, first := [2]uint16{older.cells[i], newer.cells[i]}, i
		action := i / s.strides[engine.PartActionType]
		end := (action + 1) * s.strides[engine.PartActionType]
		for i < end && older.cells[i] == k[0] && newer.cells[i] == k[1] {
			i++
		}
		p, ok := pairs[k]
		if !ok {
			p.first = first
		}
		p.count += (i - first) * len(s.members[action])
		pairs[k] = p
	}
	byRule, told := map[string]*TextChange{}, map[[3]string]bool{}
	for _, k := range slices.SortedFunc(maps.Keys(pairs), func(a, b [2]uint16) int { return cmp.Compare(pairs[a].first, pairs[b].first) }) {
		before, after := &older.Outcomes[k[0]], &newer.Outcomes[k[1]]
		if before.Rule != after.Rule || before.Decision != after.Decision || before.Err != after.Err || before.Rationale == after.Rationale {
			continue // told as a change of the decision or the rule, or not at all
		}
		was, err := a.rationale(ctx, older.Space, pairs[k].first)
		if err != nil {
			return nil, err
		}
		is, err := b.rationale(ctx, newer.Space, pairs[k].first)
		if err != nil {
			return nil, err
		}
		if was == is {
			continue
		}
		c, ok := byRule[before.Rule]
		if !ok {
			c = &TextChange{Rule: before.Rule, Before: was, After: is}
			byRule[before.Rule] = c
		}
		// Equal outcomes may name different action types of one radius.
		if pair := [3]string{before.Rule, was, is}; !told[pair] {
			told[pair] = true
			c.Texts++
		}
		c.Situations += pairs[k].count
	}
	list := []TextChange{}
	for _, rule := range slices.Sorted(maps.Keys(byRule)) {
		list = append(list, *byRule[rule])
	}
	return list, nil
}

// rationale decides a situation and returns the text; none where there is no
// decision.
func (s *Subject) rationale(ctx context.Context, space *Space, i int) (string, error) {
	o, err := s.decideOne(ctx, space, space.situation(i))
	if err != nil || o.Err != "" {
		return "", err
	}
	return o.Rationale, nil
}

// decideOne decides one situation as a gate would. The error is ctx's.
func (s *Subject) decideOne(ctx context.Context, space *Space, x Situation) (*Outcome, error) {
	r, f := space.facts(x)
	v, err := s.policy.DecideFacts(ctx, r, f, Now)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	o := &Outcome{Verdict: v}
	if err != nil {
		o.Err = err.Error()
	}
	return o, nil
}

// TableChange is a value of the bundle's data that was added, removed or
// changed. Before or After is empty where there is none; both are JSON.
type TableChange struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

func tableChanges(older, newer map[string]any) []TableChange {
	list := []TableChange{}
	var walk func(path string, a, b any, hasA, hasB bool)
	walk = func(path string, a, b any, hasA, hasB bool) {
		x, isX := a.(map[string]any)
		y, isY := b.(map[string]any)
		if (isX || !hasA) && (isY || !hasB) && (len(x) > 0 || len(y) > 0) {
			keys := map[string]bool{}
			for k := range x {
				keys[k] = true
			}
			for k := range y {
				keys[k] = true
			}
			for _, k := range slices.Sorted(maps.Keys(keys)) {
				av, inA := x[k]
				bv, inB := y[k]
				walk(path+"."+k, av, bv, inA, inB)
			}
			return
		}
		p, isP := a.([]any)
		q, isQ := b.([]any)
		if isP && isQ && len(p) == len(q) {
			for i := range p {
				walk(fmt.Sprintf("%s[%d]", path, i), p[i], q[i], true, true)
			}
			return
		}
		before, after := text(a, hasA), text(b, hasB)
		if before != after {
			list = append(list, TableChange{path, before, after})
		}
	}
	walk("data", older, newer, true, true)
	return list
}

func text(v any, has bool) string {
	if !has {
		return ""
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
