package review

import (
	"cmp"
	"slices"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// maxGroups bounds each kind of finding: who asks chooses the action type, so
// there can be any number. What is beyond is counted together.
const maxGroups = 10_000

const otherGroup = "(others)"

type transitionKey struct{ tenant, action, from, to string }
type ruleKey struct{ decision, from, to string }
type skipKey struct {
	reason SkipReason
	hash   string
}

// sampled is a count with the earliest rows of it.
type sampled struct {
	count   int64
	samples []Sample
}

// tally is what one worker found.
type tally struct {
	keep                                                int
	rows, replayed, compared, otherText, unread, differ int64
	violations                                          []Violation
	transitions                                         map[transitionKey]*sampled
	rules                                               map[ruleKey]*sampled
	skipped                                             map[skipKey]*sampled
}

func newTally(keep int) *tally {
	return &tally{keep: keep, transitions: map[transitionKey]*sampled{}, rules: map[ruleKey]*sampled{}, skipped: map[skipKey]*sampled{}}
}

func sampleOf(row *engine.LoggedDecision, detail string) Sample {
	const most = 300
	if len(detail) > most {
		detail = detail[:most] + "…"
	}
	return Sample{row.TenantID, row.LogSeq, row.DecisionID, row.Place, detail}
}

func compareSamples(a, b Sample) int {
	return cmp.Or(cmp.Compare(a.TenantID, b.TenantID), cmp.Compare(a.LogSeq, b.LogSeq), cmp.Compare(a.DecisionID, b.DecisionID),
		cmp.Compare(len(a.Place), len(b.Place)), cmp.Compare(a.Place, b.Place))
}

// earliest inserts s into list, sorted, and keeps no more than n.
func earliest[T any](list []T, s T, n int, compare func(a, b T) int) []T {
	if len(list) == n && compare(s, list[n-1]) >= 0 {
		return list
	}
	at, _ := slices.BinarySearchFunc(list, s, compare)
	list = slices.Insert(list, at, s)
	return list[:min(n, len(list))]
}

func (s *sampled) add(sample Sample, keep int) {
	s.count++
	s.samples = earliest(s.samples, sample, keep, compareSamples)
}

// group finds or makes the group of a key, or that of the others.
func group[K comparable](m map[K]*sampled, key, other K) *sampled {
	s := m[key]
	if s == nil {
		if len(m) >= maxGroups {
			key = other
		}
		if s = m[key]; s == nil {
			s = &sampled{}
			m[key] = s
		}
	}
	return s
}

// read counts a row that could not even be decided.
func (t *tally) read(row *engine.LoggedDecision, reason SkipReason, hash, detail string) {
	t.rows++
	t.skip(row, reason, hash, detail)
}

func (t *tally) skip(row *engine.LoggedDecision, reason SkipReason, hash, detail string) {
	if reason.unreadable() {
		t.unread++
	}
	group(t.skipped, skipKey{reason, hash}, skipKey{reason, otherGroup}).add(sampleOf(row, detail), t.keep)
}

func (t *tally) violate(row *engine.LoggedDecision, d []Difference) {
	t.differ++
	t.violations = earliest(t.violations, Violation{sampleOf(row, ""), row.BundleHash, row.EngineVersion, d}, t.keep, compareViolations)
}

func compareViolations(a, b Violation) int { return compareSamples(a.Sample, b.Sample) }

// compare counts what New makes of a row.
func (t *tally) compare(row *engine.LoggedDecision, before, after *engine.Verdict) {
	t.compared++
	from, to := before.Decision.String(), after.Decision.String()
	switch {
	case from != to:
		group(t.transitions, transitionKey{row.TenantID, row.ActionType, from, to}, transitionKey{otherGroup, otherGroup, from, to}).
			add(sampleOf(row, ""), t.keep)
	case before.Rule != after.Rule:
		group(t.rules, ruleKey{from, before.Rule, after.Rule}, ruleKey{from, otherGroup, otherGroup}).add(sampleOf(row, ""), t.keep)
	case before.Rationale != after.Rationale || before.BlastRadius != after.BlastRadius || !slices.Equal(before.OverridesApplied, after.OverridesApplied):
		t.otherText++
	}
}

// merge adds what another worker found.
func (t *tally) merge(o *tally) {
	t.rows += o.rows
	t.replayed += o.replayed
	t.compared += o.compared
	t.otherText += o.otherText
	t.unread += o.unread
	t.differ += o.differ
	for _, v := range o.violations {
		t.violations = earliest(t.violations, v, t.keep, compareViolations)
	}
	mergeGroups(t.transitions, o.transitions, t.keep)
	mergeGroups(t.rules, o.rules, t.keep)
	mergeGroups(t.skipped, o.skipped, t.keep)
}

func mergeGroups[K comparable](into, from map[K]*sampled, keep int) {
	for key, s := range from {
		if have := into[key]; have == nil {
			into[key] = s
		} else {
			have.count += s.count
			for _, sample := range s.samples {
				have.samples = earliest(have.samples, sample, keep, compareSamples)
			}
		}
	}
}

// report puts the findings in order: what widens first, then by count.
func (t *tally) report(id engine.PolicyID, took time.Duration, workers int) *BacktestReport {
	r := &BacktestReport{
		Revision: id.Revision, BundleHash: id.BundleHash, Rows: t.rows, Replayed: t.replayed, Compared: t.compared,
		Violated: t.differ, OtherText: t.otherText, Unreadable: t.unread, Violations: t.violations,
		Totals: []Total{}, Transitions: []Transition{}, RuleChanges: []RuleChange{}, Skipped: []Skipped{},
		Seconds: took.Seconds(), Workers: workers,
	}
	if r.Violations == nil {
		r.Violations = []Violation{}
	}
	totals := map[[2]string]int64{}
	for key, s := range t.transitions {
		w := widens(key.from, key.to)
		r.Transitions = append(r.Transitions, Transition{key.tenant, key.action, key.from, key.to, w, s.count, s.samples})
		if r.Changed += s.count; w {
			r.Widened += s.count
		}
		totals[[2]string{key.from, key.to}] += s.count
	}
	slices.SortFunc(r.Transitions, func(a, b Transition) int {
		return cmp.Or(-cmp.Compare(b2i(a.Widens), b2i(b.Widens)), -cmp.Compare(a.Count, b.Count), cmp.Compare(a.TenantID, b.TenantID), cmp.Compare(a.ActionType, b.ActionType),
			cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	for key, n := range totals {
		r.Totals = append(r.Totals, Total{key[0], key[1], widens(key[0], key[1]), n})
	}
	slices.SortFunc(r.Totals, func(a, b Total) int {
		return cmp.Or(-cmp.Compare(b2i(a.Widens), b2i(b.Widens)), -cmp.Compare(a.Count, b.Count), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	for key, s := range t.rules {
		r.RuleChanges = append(r.RuleChanges, RuleChange{key.decision, key.from, key.to, s.count, s.samples})
	}
	slices.SortFunc(r.RuleChanges, func(a, b RuleChange) int {
		return cmp.Or(-cmp.Compare(a.Count, b.Count), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Decision, b.Decision))
	})
	for key, s := range t.skipped {
		r.Skipped = append(r.Skipped, Skipped{key.reason, key.hash, key.reason.unreadable(), s.count, s.samples})
	}
	slices.SortFunc(r.Skipped, func(a, b Skipped) int {
		return cmp.Or(-cmp.Compare(b2i(a.Unreadable), b2i(b.Unreadable)), -cmp.Compare(a.Count, b.Count), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.BundleHash, b.BundleHash))
	})
	return r
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// widens tells whether a decision moves to more autonomy.
func widens(from, to string) bool {
	a, _ := engine.ParseDecision(from)
	b, _ := engine.ParseDecision(to)
	return b > a
}
