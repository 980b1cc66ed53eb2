package review

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tiergate/tiergate/engine"
)

// maxRounds bounds how often boundaries that were found lead to situations in
// which more are found. Two suffice for every bundle seen so far.
const maxRounds = 8

// Explore makes the space of everything that the subjects can tell apart, and
// decides all of it under each. It starts from the action tables and the
// numbers that the compiled Rego compares, and cuts the space further at every
// constant that an evaluation holds a part of the input against, until no more
// are found. It works on all cores but leave. progress, which may be nil, begins
// anew for every subject and round.
//
// Action types of one radius, in each of the bundles, are one for as long as no
// evaluation tells them apart.
func Explore(ctx context.Context, leave int, progress Progress, subjects ...*Subject) ([]*Table, error) {
	return explore(ctx, leave, progress, false, subjects...)
}

// explore is Explore, with action types apart from the start if so wanted.
func explore(ctx context.Context, leave int, progress Progress, apart bool, subjects ...*Subject) ([]*Table, error) {
	s := base(actionGroups(subjects, apart))
	cuts := newCuts()
	for _, sub := range subjects {
		for _, n := range sub.policy.ComparedNumbers() {
			cuts.number(n)
		}
	}
	for range maxRounds {
		cuts.apply(s)
		if err := s.complete(); err != nil {
			return nil, err
		}
		tables := make([]*Table, len(subjects))
		found := newFindings() // of all of them
		each := make([]*findings, len(subjects))
		rules := map[string]bool{}
		for i, sub := range subjects {
			each[i] = newFindings()
			var err error
			if tables[i], err = s.decide(ctx, sub, leave, progress, each[i]); err != nil {
				return nil, err
			}
			found.add(each[i])
			for _, path := range sub.policy.InputPaths() {
				found.paths[path] = true
			}
			for _, place := range sub.tracer.Rules() {
				rules[place] = true
			}
		}
		more := cuts.add(s, found)
		if groups := s.finer(found); groups != nil {
			s.regroup(groups)
			more = true
		}
		if more {
			continue
		}
		s.report(found, rules)
		s.compare(each)
		return tables, nil
	}
	return nil, fmt.Errorf("new boundaries were found in each of %d rounds: the policy computes what it compares with, so its space cannot be listed", maxRounds)
}

// actionGroups lists every action type of the subjects by radius, and last one
// that none of them knows. Types to which each of the subjects gives the same
// radius are one group, unless they are to be apart.
func actionGroups(subjects []*Subject, apart bool) (groups [][]string) {
	radii := map[string][]engine.BlastRadius{} // by subject, the last one first
	for i, s := range slices.Backward(subjects) {
		for _, a := range s.policy.Actions() {
			if radii[a.ActionType] == nil {
				radii[a.ActionType] = make([]engine.BlastRadius, len(subjects))
			}
			radii[a.ActionType][len(subjects)-1-i] = a.BlastRadius
		}
	}
	types := slices.SortedFunc(maps.Keys(radii), func(a, b string) int {
		return cmp.Or(slices.Compare(radii[a], radii[b]), cmp.Compare(a, b))
	})
	for i, name := range types {
		if i > 0 && !apart && slices.Equal(radii[name], radii[types[i-1]]) {
			groups[len(groups)-1] = append(groups[len(groups)-1], name)
		} else {
			groups = append(groups, []string{name})
		}
	}
	unknown := "unknown_action"
	for radii[unknown] != nil {
		unknown += "_"
	}
	return append(groups, []string{unknown})
}

// finer splits the groups of action types into those that the findings do not
// tell apart; nil where they tell none apart that are in one group.
func (s *Space) finer(f *findings) (groups [][]string) {
	for _, members := range s.members {
		sides := map[string]int{}
		first := len(groups)
		for _, name := range members {
			k := name
			if !f.loose {
				k = f.sides(name)
			}
			i, ok := sides[k]
			if !ok {
				i = len(groups) - first
				sides[k] = i
				groups = append(groups, nil)
			}
			groups[first+i] = append(groups[first+i], name)
		}
	}
	if len(groups) == len(s.members) {
		return nil
	}
	return groups
}

// sides says on which side of all that the action type was held against a name
// is.
func (f *findings) sides(name string) string {
	var b strings.Builder
	for _, sight := range slices.SortedFunc(maps.Keys(f.seen), compareSights) {
		if sight.Part != engine.PartActionType {
			continue
		}
		met := false
		switch sight.Kind {
		case engine.SightEqual:
			met = name == sight.Text
		case engine.SightPrefix:
			met = strings.HasPrefix(name, sight.Text)
		case engine.SightSuffix:
			met = strings.HasSuffix(name, sight.Text)
		case engine.SightContains:
			met = strings.Contains(name, sight.Text)
		}
		fmt.Fprintf(&b, "%t ", met)
	}
	return b.String()
}

// regroup makes these the groups of action types.
func (s *Space) regroup(groups [][]string) {
	unknown := s.ActionTypes[s.unknown]
	s.members, s.ActionTypes = groups, nil
	for i, g := range groups {
		s.ActionTypes = append(s.ActionTypes, g[0])
		if g[0] == unknown {
			s.unknown = i
		}
	}
}

// cuts are the values that the bundles' own constants add to the space.
type cuts struct {
	numbers []float64
	values  map[engine.Part][]string
}

func newCuts() *cuts {
	return &cuts{numbers: []float64{0, constraintConfidence, 1}, values: map[engine.Part][]string{}}
}

func (c *cuts) number(text string) bool {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 || n > 1 || slices.Contains(c.numbers, n) {
		return false
	}
	c.numbers = append(c.numbers, n)
	return true
}

// apply puts the values into the space.
func (c *cuts) apply(s *Space) {
	s.setNumbers(c.numbers)
	for p, list := range c.values {
		have := s.values(p)
		for _, v := range list {
			if slices.Contains(have, v) {
				continue
			}
			switch p {
			case engine.PartActionType:
				s.ActionTypes = append(s.ActionTypes, v)
				s.members = append(s.members, []string{v})
			case engine.PartTarget:
				s.Targets = append(s.Targets, v)
			case engine.PartActor:
				s.Actors = append(s.Actors, v)
			case engine.PartTenantID:
				s.Tenants = append(s.Tenants, v)
			}
		}
	}
}

// values are the part's texts; nil where the space lists none.
func (s *Space) values(p engine.Part) []string {
	switch p {
	case engine.PartActionType:
		return slices.Concat(s.members...)
	case engine.PartTarget:
		return s.Targets
	case engine.PartActor:
		return s.Actors
	case engine.PartTenantID:
		return s.Tenants
	}
	return nil
}

// add reports whether the findings tell of values that the space lacks. Where a
// part is read at all, the space has two values of it.
func (c *cuts) add(s *Space, f *findings) (more bool) {
	for p, another := range map[engine.Part]string{engine.PartActor: "user:anna", engine.PartTenantID: "another"} {
		if have := s.values(p); f.reads[p] && len(have) < 2 && !slices.Contains(c.values[p], another) {
			c.values[p] = append(c.values[p], another)
			more = true
		}
	}
	for _, sight := range slices.SortedFunc(maps.Keys(f.seen), compareSights) {
		if sight.Part == engine.PartConfidence && sight.Kind == engine.SightNumber {
			more = c.number(sight.Text) || more
			continue
		}
		have := s.values(sight.Part)
		if have == nil {
			continue
		}
		for _, v := range examples(sight, have) {
			if !slices.Contains(have, v) && !slices.Contains(c.values[sight.Part], v) && usable(sight.Part, v) {
				c.values[sight.Part] = append(c.values[sight.Part], v)
				more = true
			}
		}
	}
	return more
}

func compareSights(a, b engine.Sight) int {
	return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Text, b.Text), cmp.Compare(a.With, b.With))
}

// usable: a gate would take the value in a request.
func usable(p engine.Part, v string) bool {
	return v != "" && (p != engine.PartActionType || strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789_") == "")
}

// examples are values of a part on the inner side of the boundary that a sight
// tells of, where none of those at hand lies there. The other side is always
// inhabited.
func examples(sight engine.Sight, have []string) []string {
	holds := func(test func(v, text string) bool) bool {
		return slices.ContainsFunc(have, func(v string) bool { return test(v, sight.Text) })
	}
	switch sight.Kind {
	case engine.SightEqual:
		return []string{sight.Text}
	case engine.SightOrder:
		return []string{sight.Text, sight.Text + "0"}
	case engine.SightPrefix:
		if !holds(strings.HasPrefix) {
			return []string{sight.Text + "x", sight.Text + constraintTarget}
		}
	case engine.SightSuffix:
		if !holds(strings.HasSuffix) {
			return []string{"x" + sight.Text, constraintTarget + sight.Text}
		}
	case engine.SightContains:
		if !holds(strings.Contains) {
			return []string{"x" + sight.Text + "x"}
		}
	case engine.SightNetwork:
		if n, ok := engine.ParseNetwork(sight.Text); ok {
			return aroundNetwork(n)
		}
	}
	return nil
}

// aroundNetwork lists an address inside, the network, the next larger one and
// the address before and after it.
func aroundNetwork(n netip.Prefix) []string {
	if n.IsSingleIP() {
		return []string{n.Addr().String()}
	}
	list := []string{n.Addr().String(), n.String()}
	if before := n.Addr().Prev(); before.IsValid() {
		list = append(list, before.String())
	}
	if n.Bits() > 0 {
		list = append(list, netip.PrefixFrom(n.Addr(), n.Bits()-1).Masked().String())
	}
	return list
}
