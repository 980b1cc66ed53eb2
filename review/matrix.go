package review

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tiergate/tiergate/engine"
)

// DecisionMatrix is the decision table for people: what the bundle decides for
// every action type at every tier, plain and with what may stand in between.
type DecisionMatrix struct {
	Revision   string         `json:"revision"`
	BundleHash string         `json:"bundle_hash"`
	Columns    []MatrixColumn `json:"columns"`
	Rows       []MatrixRow    `json:"rows"`
}

// allTiers are the tiers of a column that is the same at each.
const allTiers = "every tier"

// MatrixColumn is a tier, or several tiers at which something decides the same.
type MatrixColumn struct {
	Tiers string `json:"tiers"`          // such as L0 or L0-L4
	With  string `json:"with,omitempty"` // what stands in between; empty: nothing
}

// String is the column's heading.
func (c MatrixColumn) String() string {
	switch {
	case c.With == "":
		return c.Tiers
	case c.Tiers == allTiers:
		return "+ " + c.With
	}
	return c.Tiers + " + " + c.With
}

// MatrixRow is an action type.
type MatrixRow struct {
	ActionType  string   `json:"action_type"`
	BlastRadius string   `json:"blast_radius"`
	Decisions   []string `json:"decisions"` // by column
	Rules       []string `json:"rules"`     // by column
}

// Matrix decides the plainest situations. Of what may stand in between, the
// columns show only what changes a decision somewhere, and tiers at which a
// column would be the same share one.
func Matrix(ctx context.Context, subject *Subject) (*DecisionMatrix, error) {
	s := base(actionGroups([]*Subject{subject}, true))
	if err := s.complete(); err != nil {
		return nil, err
	}
	find := func(states []State, label string) int {
		return slices.IndexFunc(states, func(st State) bool { return st.Label == label })
	}
	between := []struct {
		name string
		x    Situation
	}{
		{"", Situation{}},
		{"whitelist entry", Situation{engine.PartWhitelist: find(s.Whitelists, "entry w1 on target")}},
		{"force_auto", Situation{engine.PartOverrides: find(s.Overrides, "force_auto")}},
		{"require_approval", Situation{engine.PartOverrides: find(s.Overrides, "require_approval")}},
		{"block", Situation{engine.PartOverrides: find(s.Overrides, "block")}},
		{"stop", Situation{engine.PartStopped: 1}},
	}
	m := &DecisionMatrix{Revision: subject.ID.Revision, BundleHash: subject.ID.BundleHash, Rows: make([]MatrixRow, len(s.ActionTypes))}
	radii := map[string]string{}
	for _, a := range subject.policy.Actions() {
		radii[a.ActionType] = a.BlastRadius.String()
	}
	for i, name := range s.ActionTypes {
		m.Rows[i] = MatrixRow{ActionType: name, BlastRadius: radii[name]}
		if i == s.unknown {
			m.Rows[i] = MatrixRow{ActionType: "(any other)", BlastRadius: engine.Critical.String()}
		}
	}
	var plain [tiers][]decided
	for _, b := range between {
		var columns [tiers][]decided
		for tier := range tiers {
			for i := range s.ActionTypes {
				x := b.x
				x[engine.PartActionType], x[engine.PartTier] = i, tier
				o, err := subject.decideOne(ctx, s, x)
				if err != nil {
					return nil, err
				}
				columns[tier] = append(columns[tier], decided{decisionOf(o), o.Rule})
			}
		}
		if b.name == "" {
			plain = columns
		}
		m.add(b.name, columns, plain)
	}
	return m, nil
}

type decided struct{ decision, rule string }

// add appends the columns of one thing that stands in between.
func (m *DecisionMatrix) add(with string, columns, plain [tiers][]decided) {
	same := func(a, b []decided) bool {
		return slices.EqualFunc(a, b, func(x, y decided) bool { return x.decision == y.decision })
	}
	for tier := 0; tier < tiers; {
		last := tier
		for with != "" && last+1 < tiers && same(columns[last+1], columns[tier]) {
			last++
		}
		different := with == ""
		for t := tier; t <= last; t++ {
			different = different || !same(columns[t], plain[t])
		}
		if different {
			name := fmt.Sprintf("L%d", tier)
			switch {
			case tier == 0 && last == tiers-1:
				name = allTiers
			case last > tier:
				name = fmt.Sprintf("L%d-L%d", tier, last)
			}
			m.Columns = append(m.Columns, MatrixColumn{name, with})
			for i, c := range columns[tier] {
				m.Rows[i].Decisions = append(m.Rows[i].Decisions, c.decision)
				m.Rows[i].Rules = append(m.Rows[i].Rules, c.rule)
			}
		}
		tier = last + 1
	}
}

// short is a decision in few letters, for a table.
func short(decision string) string { return strings.TrimSuffix(decision, "_approval") }
