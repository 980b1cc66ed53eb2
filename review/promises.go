package review

import (
	"fmt"
	"slices"

	"github.com/tiergate/tiergate/engine"
)

// Promise is a property that every bundle must have before it may decide.
// docs/promises has a page for each, under its name.
type Promise struct {
	Name  string
	Title string // the promise as a sentence

	// applies: the promise says something about the situation; holds: and it is
	// kept there. Both see the cell i of situation x.
	applies func(c *checker, x *Situation, i int) bool
	holds   func(c *checker, x *Situation, i int) bool
	// beside is a second situation that a promise about two compares with, and
	// nil for the others. as names what is different there.
	beside func(c *checker, x Situation) (y Situation, as string)
}

func everywhere(*checker, *Situation, int) bool { return true }

// Promises are all of them but those about the radius and the builtins, which
// do not hold situation by situation: see radiusNeverWidens and noClock.
var promises = []Promise{
	{
		Name: "critical_never_auto", Title: "CRITICAL and unknown action types are never auto",
		applies: func(c *checker, x *Situation, _ int) bool { return c.radius(x) == engine.Critical },
		holds:   func(c *checker, _ *Situation, i int) bool { return !c.auto(i) },
	},
	{
		Name: "block_always_blocks", Title: "a block override in force always blocks",
		applies: func(c *checker, x *Situation, _ int) bool { return c.space.force(x).block },
		holds:   func(c *checker, _ *Situation, i int) bool { return c.kinds[c.cells[i]] == engine.Blocked },
	},
	{
		Name: "observe_needs_force_auto", Title: "at L0 nothing is auto without a force_auto override in force",
		applies: func(c *checker, x *Situation, _ int) bool { return x[engine.PartTier] == 0 && !c.space.force(x).force },
		holds:   func(c *checker, _ *Situation, i int) bool { return !c.auto(i) },
	},
	{
		Name: "high_needs_permission", Title: "HIGH is auto only by a force_auto override in force or, at L4, a whitelist entry in force",
		applies: func(c *checker, x *Situation, _ int) bool {
			return c.radius(x) == engine.High && !c.space.force(x).force && (x[engine.PartTier] < engine.MaxTier || !c.space.listed(x))
		},
		holds: func(c *checker, _ *Situation, i int) bool { return !c.auto(i) },
	},
	{
		Name: "stopped_never_auto", Title: "nothing is auto while the tenant is stopped",
		applies: func(_ *checker, x *Situation, _ int) bool { return x[engine.PartStopped] == 1 },
		holds:   func(c *checker, _ *Situation, i int) bool { return !c.auto(i) },
	},
	{
		Name: "tier_never_narrows", Title: "raising the tier never narrows",
		applies: func(_ *checker, x *Situation, _ int) bool { return x[engine.PartTier] < engine.MaxTier },
		holds: func(c *checker, _ *Situation, i int) bool {
			return c.widths[c.cells[i]] <= c.widths[c.cells[i+c.space.strides[engine.PartTier]]]
		},
		beside: func(_ *checker, x Situation) (Situation, string) {
			x[engine.PartTier]++
			return x, "one tier up"
		},
	},
	{
		Name: "absent_unless_in_force", Title: "an expired or unmatched override or whitelist entry is as if absent",
		applies: func(c *checker, x *Situation, _ int) bool { return c.without(*x) != *x },
		holds: func(c *checker, x *Situation, i int) bool {
			return c.same(i, c.space.index(c.without(*x)))
		},
		beside: func(c *checker, x Situation) (Situation, string) {
			return c.without(x), "without what is not in force"
		},
	},
	{
		Name: "actor_never_matters", Title: "the actor never matters",
		// One actor only: no evaluation reads who it is.
		applies: func(c *checker, x *Situation, _ int) bool { return x[engine.PartActor] > 0 || len(c.space.Actors) == 1 },
		holds: func(c *checker, x *Situation, i int) bool {
			return c.same(i, i-x[engine.PartActor]*c.space.strides[engine.PartActor])
		},
		beside: func(_ *checker, x Situation) (Situation, string) {
			x[engine.PartActor] = 0
			return x, "asked by system"
		},
	},
	{
		Name: "one_decision", Title: "there is exactly one decision, by a known rule, with a rationale",
		applies: everywhere,
		holds:   func(c *checker, _ *Situation, i int) bool { return c.table.Outcomes[c.cells[i]].Err == "" },
	},
}

// radiusNeverWidens compares tables of the same bundle in which every action
// type has one radius.
var radiusNeverWidens = Promise{Name: "radius_never_widens", Title: "raising the radius of an action type never widens"}

// noClock looks at the builtins that the bundle calls.
var noClock = Promise{Name: "no_clock_network_or_randomness", Title: "the bundle calls no clock, network or randomness"}

// checker looks at one table.
type checker struct {
	space *Space
	table *Table
	cells []uint16

	kinds  []engine.Decision    // by outcome
	widths []int8               // by outcome; see width
	alike  []int                // by outcome: the first that differs in the rationale alone
	radii  []engine.BlastRadius // by action type
	// weights are, by action type, for how many it stands. Those with none need
	// no look: where nothing tells the types of one radius apart, the first of
	// each stands for all.
	weights []int

	overridesLeft, whitelistLeft []int // see Space.reduced
}

func newChecker(t *Table, actions []engine.Action) *checker {
	c := &checker{space: t.Space, table: t, cells: t.cells, kinds: make([]engine.Decision, len(t.Outcomes))}
	first := map[string]int{}
	for i, o := range t.Outcomes {
		k := fmt.Sprint(o.Decision, o.Rule, o.BlastRadius, o.MaturityTier, o.TierLabel, o.OverridesApplied, o.Err)
		if _, ok := first[k]; !ok {
			first[k] = i
		}
		c.alike = append(c.alike, first[k])
		c.kinds[i] = o.Decision
		c.widths = append(c.widths, int8(width(o.Decision)))
	}
	c.weights = make([]int, len(t.Space.ActionTypes))
	class := map[engine.BlastRadius]int{} // zero: types that the table does not know
	for k, name := range t.Space.ActionTypes {
		radius, of := engine.Critical, engine.BlastRadius(0)
		if i := slices.IndexFunc(actions, func(a engine.Action) bool { return a.ActionType == name }); i >= 0 {
			radius, of = actions[i].BlastRadius, actions[i].BlastRadius
		}
		first, ok := class[of]
		if !ok || t.byName {
			first = k
			class[of] = k
		}
		c.weights[first] += len(t.Space.members[k])
		c.radii = append(c.radii, radius)
	}
	c.overridesLeft, c.whitelistLeft = t.Space.reduced()
	return c
}

func (c *checker) radius(x *Situation) engine.BlastRadius { return c.radii[x[engine.PartActionType]] }

// same: two cells have one outcome. A rationale may name the action type that
// was looked at in another's place, and so does not count.
func (c *checker) same(i, j int) bool { return c.alike[c.cells[i]] == c.alike[c.cells[j]] }

func (c *checker) auto(i int) bool { return c.kinds[c.cells[i]] == engine.Auto }

// width orders decisions from narrow to wide: no decision, blocked,
// queued_approval, auto.
func width(d engine.Decision) int {
	switch d {
	case engine.Auto:
		return 3
	case engine.QueuedApproval:
		return 2
	case engine.Blocked:
		return 1
	}
	return 0
}

// without is x less what is not in force.
func (c *checker) without(x Situation) Situation {
	at := x[engine.PartTarget]*len(c.space.Confidences) + x[engine.PartConfidence]
	n := len(c.space.Targets) * len(c.space.Confidences)
	x[engine.PartOverrides] = c.overridesLeft[x[engine.PartOverrides]*n+at]
	x[engine.PartWhitelist] = c.whitelistLeft[x[engine.PartWhitelist]*n+at]
	return x
}
