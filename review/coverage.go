package review

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// report writes NotCovered and ByExample: everything that the bundles do with the
// input and that the space does not show from all sides.
func (s *Space) report(f *findings, rules map[string]bool) {
	s.NotCovered, s.ByExample = nil, nil
	for _, path := range slices.Sorted(maps.Keys(f.paths)) {
		if slices.ContainsFunc(slices.Collect(maps.Keys(f.paths)), func(p string) bool { return strings.HasPrefix(p, path+".") }) {
			continue // the longer one says it
		}
		s.NotCovered = append(s.NotCovered, fmt.Sprintf("this policy also depends on %s: not covered", path))
	}
	functions := map[engine.Part][]string{}
	for _, sight := range slices.SortedFunc(maps.Keys(f.seen), compareSights) {
		p := sight.Part
		switch {
		case sight.Kind == engine.SightTransform:
		case p == engine.PartNow:
			if sight.Kind != engine.SightPattern || !always(sight.Text) {
				s.NotCovered = append(s.NotCovered, fmt.Sprintf("this policy also looks at the time in input.now (%s %q): not covered, every situation is at one moment", sight.Kind, sight.Text))
			}
		case sight.Kind == engine.SightRelation:
			s.NotCovered = append(s.NotCovered, fmt.Sprintf("this policy holds %s against %s: not covered, they are varied apart", p, sight.Text))
		case sight.Kind == engine.SightFunction:
			if !slices.Contains(functions[p], sight.Text) {
				functions[p] = append(functions[p], sight.Text)
			}
		case sight.Kind == engine.SightPattern && (p == engine.PartOverrides || p == engine.PartWhitelist) && !always(sight.Text):
			s.NotCovered = append(s.NotCovered, fmt.Sprintf("this policy matches %s against a pattern that times of some months, days or hours match and others do not (%s): not covered", p, sight.Text))
		case (p == engine.PartOverrides || p == engine.PartWhitelist) && sight.Kind == engine.SightNumber && !stateNumbers[sight.Text]:
			s.NotCovered = append(s.NotCovered, fmt.Sprintf("this policy compares something of %s with %s: not covered", p, sight.Text))
		case sight.Kind == engine.SightPattern:
			if !slices.Contains(functions[p], "regex.match") {
				functions[p] = append(functions[p], "regex.match")
			}
		case sight.Kind == engine.SightMember && f.seen[sight]&engine.Equal != 0:
		case !bothSides(f.seen[sight]):
			s.NotCovered = append(s.NotCovered, fmt.Sprintf("this policy holds %s against %q (%s), and every situation is on one side of it: not covered", p, sight.Text, sight.Kind))
		}
	}
	for _, place := range slices.Sorted(maps.Keys(rules)) {
		if !f.held[place] {
			s.NotCovered = append(s.NotCovered, fmt.Sprintf("the rule at %s holds in no situation: not covered", place))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(functions)) {
		s.ByExample = append(s.ByExample, fmt.Sprintf("%s is given to %s: covered by the %d values of the space, which may not show every boundary",
			p, strings.Join(functions[p], ", "), s.sizes[p]))
	}
	for i := range s.NotCovered {
		s.NotCovered[i] = clean(s.NotCovered[i])
	}
}

// compare adds to NotCovered what the first of two bundles does with a part of the
// input and the second does not, or the other way round, where nothing tells at
// which values that begins to matter.
func (s *Space) compare(each []*findings) {
	if len(each) != 2 {
		return
	}
	for i, which := range []string{"old", "new"} {
		does := map[engine.Part][]string{}
		for _, sight := range slices.SortedFunc(maps.Keys(each[i].seen), compareSights) {
			if _, both := each[1-i].seen[sight]; both || !unreadable(sight) {
				continue
			}
			what := sight.Text
			switch {
			case sight.Kind == engine.SightPattern:
				what = "the pattern " + what[:min(len(what), 40)]
			case sight.With != "":
				what += " with " + sight.With[:min(len(sight.With), 40)]
			}
			does[sight.Part] = append(does[sight.Part], what)
		}
		for _, p := range slices.Sorted(maps.Keys(does)) {
			s.NotCovered = append(s.NotCovered, clean(fmt.Sprintf("only the %s policy gives %s to %s: not covered, that may matter at values which are not shown",
				which, p, strings.Join(does[p], ", "))))
		}
	}
}

// unreadable: the sight does not tell at which values it matters.
func unreadable(s engine.Sight) bool {
	switch s.Kind {
	case engine.SightFunction, engine.SightTransform, engine.SightPattern:
		return true
	}
	return false
}

// stateNumbers are the numbers around which the states of overrides and
// whitelist lie: how many values a constraint lists (64), what a min_confidence
// may be (0, 1), parts of a network (2), its length (95).
var stateNumbers = map[string]bool{"0": true, "1": true, "2": true, "64": true, "95": true}

// bothSides: some values were on one side of the constant and some on another.
func bothSides(s engine.Sides) bool { return s&(s-1) != 0 }

// always reports whether every time that a gate writes matches the pattern, or
// none does, as far as a few thousand of them tell.
func always(pattern string) bool {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return false
	}
	first := re.MatchString(engine.FormatTime(Now))
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for at.Year() < 2262 { // a step that meets every hour, weekday and day of a month
		if re.MatchString(engine.FormatTime(at)) != first {
			return false
		}
		at = at.Add(599*time.Hour + 47*time.Minute + 31*time.Second + 123*time.Millisecond)
	}
	return true
}
