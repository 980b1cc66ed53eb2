package review

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tiergate/tiergate/engine"
)

// views are the ways in which a change may be told, from the simplest: what the
// tree of the design asks about, then with ever more of the raw input. The first
// in which no cell is mixed says exactly the same as the list of all situations.
//
// A view begins with action type and tier, uncut.
func views(s *Space, radii []engine.BlastRadius, cut [engine.Parts]classing) [][]dimension {
	part := func(p engine.Part, say func(*Space, []int) string) dimension {
		c := cut[p]
		if p == engine.PartActionType || p == engine.PartTier {
			return dimension{of: p, classes: apart(s.sizes[p]), at: func(_ *Space, x *Situation) int { return x[p] }, say: say}
		}
		return dimension{of: p, classes: c.members, at: func(_ *Space, x *Situation) int { return c.of[x[p]] }, say: say}
	}
	flag := func(noun string, of engine.Part, at func(*Space, *Situation) bool) dimension {
		return dimension{of: of, noun: noun, classes: apart(2), at: func(s *Space, x *Situation) int {
			if at(s, x) {
				return 1
			}
			return 0
		}}
	}
	actions := part(engine.PartActionType, func(s *Space, v []int) string { return sayActions(s, radii, v) })
	tier := part(engine.PartTier, func(_ *Space, v []int) string { return "at " + sayTiers(v) })
	stopped := dimension{of: engine.PartStopped, classes: apart(2), at: func(_ *Space, x *Situation) int { return x[engine.PartStopped] },
		say: func(_ *Space, v []int) string { return []string{"not stopped", "stopped"}[v[0]] }}
	asked := []dimension{
		actions, tier, stopped,
		flag("block", engine.PartOverrides, func(s *Space, x *Situation) bool { return s.force(x).block }),
		flag("require_approval", engine.PartOverrides, func(s *Space, x *Situation) bool { return s.force(x).ask }),
		flag("force_auto", engine.PartOverrides, func(s *Space, x *Situation) bool { return s.force(x).force }),
		flag(matchingEntry, engine.PartWhitelist, (*Space).listed),
	}
	texts := func(prefix string, list func(*Space) []string) func(*Space, []int) string {
		return func(s *Space, v []int) string { return prefix + sayList(list(s), v) }
	}
	confidence := part(engine.PartConfidence, sayConfidences)
	target := part(engine.PartTarget, texts("on targets like ", func(s *Space) []string { return s.Targets }))
	actor := part(engine.PartActor, texts("asked by actors like ", func(s *Space) []string { return s.Actors }))
	tenant := part(engine.PartTenantID, texts("for tenants like ", func(s *Space) []string { return s.Tenants }))
	overrides := part(engine.PartOverrides, texts("with overrides ", func(s *Space) []string { return labels(s.Overrides) }))
	whitelist := part(engine.PartWhitelist, texts("with whitelist ", func(s *Space) []string { return labels(s.Whitelists) }))

	more := func(d ...dimension) []dimension { return append(slices.Clone(asked), d...) }
	return [][]dimension{
		asked, more(confidence), more(target), more(actor), more(tenant), more(overrides), more(whitelist),
		more(target, confidence), more(overrides, confidence), more(overrides, target), more(whitelist, confidence), more(whitelist, target),
		more(overrides, target, confidence), more(whitelist, target, confidence), more(actor, tenant), more(confidence, actor), more(target, actor),
		more(overrides, whitelist), more(overrides, whitelist, target, confidence),
		{actions, tier, stopped, overrides, whitelist, target, confidence, actor, tenant},
	}
}

// matchingEntry is the one noun that is no mode of an override.
const matchingEntry = "matching whitelist entry"

func labels(states []State) (list []string) {
	for _, s := range states {
		list = append(list, s.Label)
	}
	return list
}

// sayActions names a set of action types, by radius where it is whole radii.
func sayActions(s *Space, radii []engine.BlastRadius, v []int) string {
	var groups, names []string
	for r := engine.Minimal; r <= engine.Critical; r++ {
		var of, in []string
		for i, radius := range radii {
			if radius != r || i >= s.unknown {
				continue
			}
			of = append(of, s.members[i]...)
			if slices.Contains(v, i) {
				in = append(in, s.members[i]...)
			}
		}
		slices.Sort(in)
		if len(of) > 1 && len(of) == len(in) {
			groups = append(groups, r.String())
		} else {
			names = append(names, in...)
		}
	}
	var list []string
	if len(groups) > 0 {
		list = append(list, "all "+strings.Join(groups, ", ")+" action types")
	}
	list = append(list, names...)
	// Behind the unknown one are types that a bundle names and no table knows.
	var in, out []string
	for i := s.unknown + 1; i < len(s.ActionTypes); i++ {
		if slices.Contains(v, i) {
			in = append(in, s.ActionTypes[i])
		} else {
			out = append(out, s.ActionTypes[i])
		}
	}
	switch {
	case !slices.Contains(v, s.unknown):
		list = append(list, in...)
	case len(out) == 0:
		list = append(list, "unknown action types")
	default:
		list = append(list, "unknown action types other than "+strings.Join(out, " or "))
	}
	return and(list)
}

func and(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// sayTiers names tiers, neighbours as a range.
func sayTiers(v []int) string {
	var list []string
	for i := 0; i < len(v); {
		j := i
		for j+1 < len(v) && v[j+1] == v[j]+1 {
			j++
		}
		switch {
		case j == i:
			list = append(list, fmt.Sprintf("L%d", v[i]))
		default:
			list = append(list, fmt.Sprintf("L%d-L%d", v[i], v[j]))
		}
		i = j + 1
	}
	return and(list)
}

// sayList names values, or those that are left out where they are fewer.
func sayList(all []string, v []int) string {
	if len(v) <= len(all)/2+1 {
		var in []string
		for _, i := range v {
			in = append(in, strconv.Quote(all[i]))
		}
		return strings.Join(in, " or ")
	}
	var out []string
	for i, name := range all {
		if !slices.Contains(v, i) {
			out = append(out, strconv.Quote(name))
		}
	}
	return "any other than " + strings.Join(out, " and ")
}

// sayConfidences names confidences as ranges between the boundaries: the values
// of the space are, after none, boundary, between, boundary, …
func sayConfidences(s *Space, v []int) string {
	number := func(i int) string { return strconv.FormatFloat(*s.Confidences[i], 'g', -1, 64) }
	isBoundary := func(i int) bool { return i%2 == 1 }
	last := len(s.Confidences) - 1
	var list []string
	for i := 0; i < len(v); {
		if v[i] == 0 {
			list = append(list, "without confidence")
			i++
			continue
		}
		j := i
		for j+1 < len(v) && v[j+1] == v[j]+1 {
			j++
		}
		from, to := v[i], v[j]
		i = j + 1
		if from == to && isBoundary(from) {
			list = append(list, "at confidence "+number(from))
			continue
		}
		low, high := "from "+number(from), "up to "+number(to)
		if !isBoundary(from) {
			low = "above " + number(from-1)
		}
		if !isBoundary(to) {
			high = "below " + number(to+1)
		}
		switch {
		case from == 1 && to == last:
			list = append(list, "with any confidence")
		case from == 1:
			list = append(list, "at a confidence "+high)
		case to == last:
			list = append(list, "at a confidence "+low)
		default:
			list = append(list, "at a confidence "+low+" and "+high)
		}
	}
	return strings.Join(list, " or ")
}
