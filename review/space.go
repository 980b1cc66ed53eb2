package review

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// MaxSituations bounds a space; one situation takes two bytes of a Table.
const MaxSituations = 500_000_000

// ErrTooLarge: the bundle names so many boundaries that its space is larger
// than MaxSituations, or says more different things than a Table holds.
var ErrTooLarge = errors.New("the decision space is too large")

// Now is the clock of every situation. Expiries lie around it, in each field of
// the time.
var Now = time.Date(2026, 6, 15, 12, 30, 30, 500_000_000, time.UTC)

// Situation is one point of a Space: for each part of the input, which of the
// part's values it has. The zero value is the plainest situation: the first
// action type at tier 0, not stopped, nothing configured.
type Situation [engine.Parts]int

// Space is every situation that one or two bundles can tell apart. Explore makes it.
type Space struct {
	// ActionTypes are those of the action tables by radius, then unknown ones.
	// Until an evaluation tells types of one radius apart, the first of them
	// stands for all: see Members.
	ActionTypes []string
	Targets     []string
	Confidences []*float64 // the first is nil: no confidence
	Actors      []string
	Tenants     []string
	Overrides   []State
	Whitelists  []State

	// NotCovered are sentences about what a bundle reads and the space does not
	// vary. A proof says nothing about it.
	NotCovered []string
	// ByExample are sentences about parts that a bundle gives to a function
	// whose boundaries cannot be read; the space holds the listed values only.
	ByExample []string

	// members are, by action type, the types that it stands for, itself first.
	members [][]string
	unknown int // the action type that stands for all that no table knows

	sizes   [engine.Parts]int
	strides [engine.Parts]int
	size    int

	entries [][]*engine.WhitelistEntry // by whitelist × action type

	// What the model says is in force, by overrides × target × confidence and
	// by whitelist × target × confidence.
	inForce     []modes
	whitelisted []bool
}

// modes are the override modes in force.
type modes struct{ block, ask, force bool }

// State is one state of a tenant's overrides, or of its whitelist, for the
// action type that is asked about.
type State struct {
	Label string // "none", or such as "force_auto, expired"

	parts     []string // names of what stands, for finding the state without some of it
	overrides []*engine.Override
	entries   []entry
}

const tiers = engine.MaxTier + 1

// base makes the space of the given groups of action types, of which the last
// is the unknown one, before any boundary is read from a bundle.
func base(groups [][]string) *Space {
	s := &Space{
		members:    groups,
		unknown:    len(groups) - 1,
		Targets:    slices.Clone(baseTargets),
		Actors:     []string{"system"},
		Tenants:    []string{"acme"},
		Overrides:  overrideStates(),
		Whitelists: whitelistStates(),
	}
	for _, g := range groups {
		s.ActionTypes = append(s.ActionTypes, g[0])
	}
	s.setNumbers([]float64{0, constraintConfidence, 1})
	return s
}

// baseTargets are the targets that the states' constraints tell apart, in the
// spellings that targets come in.
var baseTargets = []string{
	constraintTarget, // named by target and by target_prefix
	"host:wks-043",   // by target_prefix only
	"host:wks-0421",  // begins with the target
	"host:wks-04",    // is the beginning of it
	"x-host:wks-042", // ends with it, and holds the prefix
	"HOST:WKS-042",   // another case: only what narrows ignores it
	"host:dc-01",     // by none
	"HOST:SPHINX-OF-BLACK-QUARTZ-JUDGE-MY-VOW",
	"10.1.0.1",  // inside the constraints' network
	"10.1.0.12", // begins with that one's text
	"ip:10.1.0.1",
	"ip:ip:10.1.0.1", // no address
	"10.1.0.0",       // neighbours, as the next two are
	"::ffff:10.1.0.1",
	constraintNetwork,
	"10.0.0.0/8", // overlaps it
	"::/0",       // holds all of IPv4
	"10.2.0.1",   // outside
	"2001:db8::1",
	"2001:db8::2",
	"2001:db8::3",
	"2001:db8::/32",
	"::fffe:0:0",  // neighbour of the IPv4-mapped addresses
	"10.1.0.1/16", // host bits: no network
}

// setNumbers cuts the confidence at numbers: each of them, and a value between
// any two neighbours, and none at all.
func (s *Space) setNumbers(numbers []float64) {
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	s.Confidences = []*float64{nil}
	for i, n := range numbers {
		if i > 0 {
			between := (numbers[i-1] + n) / 2
			s.Confidences = append(s.Confidences, &between)
		}
		s.Confidences = append(s.Confidences, &n)
	}
}

// complete computes sizes and what is in force.
func (s *Space) complete() error {
	s.sizes = [engine.Parts]int{
		engine.PartActionType: len(s.ActionTypes), engine.PartTier: tiers, engine.PartStopped: 2,
		engine.PartOverrides: len(s.Overrides), engine.PartWhitelist: len(s.Whitelists),
		engine.PartTarget: len(s.Targets), engine.PartConfidence: len(s.Confidences),
		engine.PartActor: len(s.Actors), engine.PartTenantID: len(s.Tenants), engine.PartNow: 1,
	}
	s.size = 1
	for p := engine.Parts - 1; p >= 0; p-- {
		s.strides[p] = s.size
		if s.size *= s.sizes[p]; s.size > MaxSituations {
			return fmt.Errorf("%w: %d action types, %d targets, %d confidences, %d actors and %d tenants are more than %d situations",
				ErrTooLarge, len(s.ActionTypes), len(s.Targets), len(s.Confidences), len(s.Actors), len(s.Tenants), MaxSituations)
		}
	}
	s.entries = nil
	for _, state := range s.Whitelists {
		for i := range s.ActionTypes {
			var list []*engine.WhitelistEntry
			for _, e := range state.entries {
				list = append(list, e.make(s.entryType(e, i)))
			}
			s.entries = append(s.entries, list)
		}
	}
	s.judge()
	return nil
}

// same reports whether two spaces list the same values in the same order.
func (s *Space) same(t *Space) bool {
	return slices.EqualFunc(s.members, t.members, slices.Equal[[]string]) && slices.Equal(s.Targets, t.Targets) && slices.Equal(s.Actors, t.Actors) &&
		slices.Equal(s.Tenants, t.Tenants) && slices.EqualFunc(s.Confidences, t.Confidences, func(a, b *float64) bool {
		return a == b || a != nil && b != nil && *a == *b
	})
}

// Size is how many situations there are, of all action types.
func (s *Space) Size() int { return s.known() * s.strides[engine.PartActionType] }

// known is how many action types there are.
func (s *Space) known() (n int) {
	for _, m := range s.members {
		n += len(m)
	}
	return n
}

// index is the situation's place in a Table.
func (s *Space) index(x Situation) (i int) {
	for p, v := range x {
		i += v * s.strides[p]
	}
	return i
}

// situation is the inverse of index.
func (s *Space) situation(i int) (x Situation) {
	for p := range x {
		x[p] = i / s.strides[p] % s.sizes[p]
	}
	return x
}

// facts makes what the gate would know in the situation.
func (s *Space) facts(x Situation) (*engine.Request, *engine.Facts) {
	actionType := s.ActionTypes[x[engine.PartActionType]]
	tenant := s.Tenants[x[engine.PartTenantID]]
	r := &engine.Request{
		TenantID: tenant, ActionType: actionType, Target: s.Targets[x[engine.PartTarget]],
		Actor: s.Actors[x[engine.PartActor]], Confidence: s.Confidences[x[engine.PartConfidence]],
	}
	f := &engine.Facts{
		TenantID: tenant, MaturityTier: x[engine.PartTier], Stopped: x[engine.PartStopped] == 1,
		Overrides: s.Overrides[x[engine.PartOverrides]].overrides,
	}
	f.Whitelist = s.entries[x[engine.PartWhitelist]*len(s.ActionTypes)+x[engine.PartActionType]]
	return r, f
}

// entryType is the action type of a whitelist entry when action type i is asked
// about: the same, another of the same radius if there is one, one of another
// radius, or one of which the one is the beginning of the other.
func (s *Space) entryType(e entry, i int) string {
	switch {
	case e.of == ofAnother && len(s.members[i]) > 1:
		return s.members[i][1]
	case e.of == ofAnother:
		return s.ActionTypes[(i+1)%len(s.ActionTypes)]
	case e.of == ofUnknown && i != s.unknown:
		return s.ActionTypes[s.unknown]
	case e.of == ofUnknown:
		return s.ActionTypes[0]
	case e.of == ofShorter:
		name := s.ActionTypes[i]
		if cut := strings.LastIndexByte(name, '_'); cut > 0 {
			return name[:cut]
		}
		return name[:len(name)-1]
	case e.of == ofLonger:
		return s.ActionTypes[i] + "_now"
	}
	return s.ActionTypes[i]
}

// Input is the input document of a situation, as `tiergate eval` takes it.
func (s *Space) Input(x Situation) []byte {
	r, f := s.facts(x)
	return engine.Input(r, f, Now)
}
