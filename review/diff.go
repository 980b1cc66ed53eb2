package review

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// Direction is which way a change moves autonomy.
type Direction string

// The directions, from narrow to wide: no decision, blocked, queued_approval,
// auto.
const (
	Widens   Direction = "WIDENS"
	Narrows  Direction = "NARROWS"
	SameWide Direction = "SAME"
)

// Comparison is what two bundles decide differently.
type Comparison struct {
	Old        BundleName `json:"old"`
	New        BundleName `json:"new"`
	Situations int        `json:"situations"` // in the common space
	Seconds    float64    `json:"seconds"`
	Changed    int        `json:"changed"` // whose decision differs
	Changes    []Change   `json:"changes"` // that say exactly which
	// OtherRule are situations with the same decision by another rule.
	OtherRule []Change `json:"other_rule"`
	// ChangesAtLeast and OtherRuleAtLeast are how many of them any way of saying
	// the same needs: where they are as many as there are, these are the fewest.
	ChangesAtLeast   int           `json:"changes_at_least"`
	OtherRuleAtLeast int           `json:"other_rule_at_least"`
	Texts            []TextChange  `json:"texts"`
	Tables           []TableChange `json:"tables"`
	// NotCovered and ByExample are as in Space.
	NotCovered []string `json:"not_covered"`
	ByExample  []string `json:"by_example"`
}

// BundleName names a side of a Comparison.
type BundleName struct {
	Name       string `json:"name"` // as the caller knows it
	Revision   string `json:"revision"`
	BundleHash string `json:"bundle_hash"`
}

// Change is a set of situations that all move the same way.
type Change struct {
	// Situation says which they are, exactly.
	Situation  string    `json:"situation"`
	Before     string    `json:"before"` // a decision, a rule, or "no decision"
	After      string    `json:"after"`
	Direction  Direction `json:"direction"`
	Situations int       `json:"situations"`
	Example    Example   `json:"example"`
}

// Example is the plainest situation of a Change.
type Example struct {
	Situation string          `json:"situation"`
	Before    string          `json:"before"`
	After     string          `json:"after"`
	RuleAfter string          `json:"rule_after,omitempty"`
	Input     json.RawMessage `json:"input"`
}

// String is the change as one line.
func (c Change) String() string {
	s := fmt.Sprintf("%s: %s → %s", c.Situation, c.Before, c.After)
	if c.Direction != SameWide {
		s += ", " + string(c.Direction)
	}
	return s
}

// Widenings are the changes that widen.
func (d *Comparison) Widenings() []Change {
	return slices.DeleteFunc(slices.Clone(d.Changes), func(c Change) bool { return c.Direction != Widens })
}

// Diff decides everything that either bundle can tell apart under both, and says
// what differs. names are how the caller knows the two.
func Diff(ctx context.Context, older, newer *Subject, names [2]string, progress Progress) (*Comparison, error) {
	started := time.Now()
	tables, err := Explore(ctx, 0, progress, older, newer)
	if err != nil {
		return nil, err
	}
	d, err := compare(ctx, tables, older, newer, names)
	if err != nil {
		return nil, err
	}
	d.Seconds = time.Since(started).Seconds()
	return d, nil
}

func compare(ctx context.Context, tables []*Table, older, newer *Subject, names [2]string) (d *Comparison, err error) {
	s := tables[0].Space
	d = &Comparison{
		Old:        BundleName{names[0], older.ID.Revision, older.ID.BundleHash},
		New:        BundleName{names[1], newer.ID.Revision, newer.ID.BundleHash},
		Situations: s.Size(), Changes: []Change{}, OtherRule: []Change{},
		NotCovered: append([]string{}, s.NotCovered...), ByExample: append([]string{}, s.ByExample...),
		Tables: tableChanges(older.Data, newer.Data),
	}
	if d.Texts, err = textChanges(ctx, tables[0], tables[1], older, newer); err != nil {
		return nil, err
	}
	radii := newChecker(tables[1], newer.policy.Actions()).radii
	decisions := newTransitions(tables[0], tables[1], func(a, b *Outcome) (string, string, bool) {
		return decisionOf(a), decisionOf(b), decisionOf(a) != decisionOf(b)
	})
	said, err := decisions.tell(ctx, radii)
	if err != nil {
		return nil, err
	}
	d.Changes, d.ChangesAtLeast, d.Changed = said.changes, said.least, said.total
	rules := newTransitions(tables[0], tables[1], func(a, b *Outcome) (string, string, bool) {
		if decisionOf(a) != decisionOf(b) || a.Rule == b.Rule && slices.Equal(a.OverridesApplied, b.OverridesApplied) {
			return "", "", false
		}
		if a.Rule != b.Rule {
			return a.Rule, b.Rule, true
		}
		return a.applied(), b.applied(), true
	})
	if said, err = rules.tell(ctx, radii); err != nil {
		return nil, err
	}
	d.OtherRule, d.OtherRuleAtLeast = said.changes, said.least
	for i := range d.Changes {
		c := &d.Changes[i]
		if c.Direction = Narrows; widthOf(c.After) > widthOf(c.Before) {
			c.Direction = Widens
		}
	}
	for i := range d.OtherRule {
		d.OtherRule[i].Direction = SameWide
	}
	slices.SortStableFunc(d.Changes, func(a, b Change) int {
		return cmp.Or(-cmp.Compare(a.Direction, b.Direction), -cmp.Compare(a.Situations, b.Situations), strings.Compare(a.Situation, b.Situation))
	})
	return d, nil
}

// applied is the rule with what it names in overrides_applied.
func (o *Outcome) applied() string {
	return fmt.Sprintf("%s [%s]", o.Rule, strings.Join(o.OverridesApplied, ", "))
}

const noDecision = "no decision"

// decisionOf is the decision as the gate would give it.
func decisionOf(o *Outcome) string {
	if o.Err != "" {
		return noDecision
	}
	return o.Decision.String()
}

func widthOf(decision string) int {
	d, err := engine.ParseDecision(decision)
	if err != nil {
		return 0
	}
	return width(d)
}
