package review

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/engine/model"
)

// What the constraints of the states name. baseTargets lie around it.
const (
	constraintTarget     = "host:wks-042"
	constraintPrefix     = "host:wks-"
	constraintNetwork    = "10.1.0.0/16"
	constraintConfidence = 0.9
)

// terms are the constraints that a state may have, by the label that follows
// its mode or the entry.
var terms = map[string]string{
	"":                                    `{}`,
	"on target":                           `{"target":"host:wks-042"}`,
	"on target_prefix":                    `{"target_prefix":"host:wks-"}`,
	"on target_prefixes":                  `{"target_prefix":["zone.","host:","net/","host:wks-","z_","anna@"]}`, // each separator
	"on target_cidr":                      `{"target_cidr":"10.1.0.0/16"}`,
	"on target_cidrs":                     `{"target_cidr":["11.0.0.0/8","10.1.0.0/16"]}`,
	"on target_cidr of one address":       `{"target_cidr":"10.1.0.1"}`,
	"on target_cidr of one IPv6 address":  `{"target_cidr":"2001:db8::2"}`,
	"on target_cidr twice":                `{"target_cidr":["10.1.0.0/16","10.1.0.0/16"]}`,
	"on target_cidr of IPv6":              `{"target_cidr":"2001:db8::/32"}`,
	"on target_cidr of mapped IPv6":       `{"target_cidr":"::ffff:10.1.0.0/112"}`,
	"on target_cidr ::/0":                 `{"target_cidr":"::/0"}`,
	"on target_cidr beside mapped IPv6":   `{"target_cidr":"::fffe:0:0/96"}`,
	"on target of every letter":           `{"target":"host:sphinx-of-black-quartz-judge-my-vow"}`,
	"on target and target_cidr":           `{"target":"host:wks-042","target_cidr":"10.1.0.0/16"}`,
	"off not_target_cidr":                 `{"not_target_cidr":"10.1.0.0/16"}`,
	"off not_target_cidrs":                `{"not_target_cidr":["11.0.0.0/8","10.1.0.0/16"]}`,
	"off not_target_cidr ::/0":            `{"not_target_cidr":"::/0"}`,
	"from min_confidence":                 `{"min_confidence":0.9}`,
	"on target and min_confidence":        `{"min_confidence":0.9,"target":"host:wks-042"}`,
	"on target_prefix and min_confidence": `{"min_confidence":0.9,"target_prefix":"host:wks-"}`,
	"on target_cidr off not_target_cidr":  `{"not_target_cidr":"10.1.0.0/16","target_cidr":"10.0.0.0/8"}`,
	"without a target (min_confidence)":   `{"min_confidence":0}`,

	// What could not be written today, and may be stored all the same.
	"with an unknown constraint":              `{"colour":"red"}`,
	"with a network that has host bits":       `{"target_cidr":"10.1.0.1/16"}`,
	"with an IPv6 network that has host bits": `{"target_cidr":"2001:db8::1/32"}`,
	"with a network and one with host bits":   `{"target_cidr":["10.1.0.0/16","10.1.0.1/16"]}`,
	"with prefixes of which one ends in none": `{"target_prefix":["zone.","host:wks-04"]}`,
	"with constraints that are a list":        `[]`,
	"with a network of three parts":           `{"target_cidr":"10.1.0.0/16/8"}`,
	"with a prefix that ends in no separator": `{"target_prefix":"host:wks-04"}`,
	"with no target in its list":              `{"target":[]}`,
	"with a number among its targets":         `{"target":["host:wks-042",7]}`,
	"with a min_confidence below 0":           `{"min_confidence":-1}`,
	"with a min_confidence above 1":           `{"min_confidence":1.5}`,
	"with a min_confidence of null":           `{"min_confidence":null}`,
	"with constraints that are no object":     `null`,
}

// unsound are the constraints of them that any mode may be stored with, sound
// those that any mode takes.
var (
	sound = []string{"on target", "on target_prefix", "on target_prefixes", "on target_cidr", "on target_cidrs", "on target_cidr of one address", "on target_cidr of one IPv6 address", "on target_cidr twice",
		"on target_cidr of IPv6", "on target_cidr of mapped IPv6", "on target_cidr ::/0", "on target_cidr beside mapped IPv6", "on target and target_cidr"}
	unsound = []string{"with an unknown constraint", "with a network that has host bits", "with a network of three parts",
		"with a prefix that ends in no separator", "with no target in its list", "with a number among its targets",
		"with an IPv6 network that has host bits", "with a network and one with host bits", "with prefixes of which one ends in none", "with constraints that are a list",
		"on 65 targets", "on one target 65 times", "with constraints that are no object"}
	confident = []string{"from min_confidence", "on target and min_confidence", "off not_target_cidr", "off not_target_cidrs", "off not_target_cidr ::/0",
		"with a min_confidence below 0", "with a min_confidence above 1", "with a min_confidence of null"}
)

// besides are constraints that a whitelist entry has beside a target.
var besides = []string{"with an unknown constraint", "with a min_confidence below 0", "with a min_confidence above 1"}

const besideTarget = " beside target"

func init() {
	for _, c := range besides {
		terms[c+besideTarget] = strings.Replace(terms[c], "{", `{"target":"`+constraintTarget+`",`, 1)
	}
	terms["on one target 65 times"] = `{"target":[` + strings.Repeat(`"`+constraintTarget+`",`, 64) + `"` + constraintTarget + `"]}`
	for _, n := range []int{64, 65} { // as many as a constraint may list, and one more
		list := ""
		for i := 1; i < n; i++ {
			list += fmt.Sprintf(`"host:other-%d",`, i)
		}
		terms[fmt.Sprintf("on %d targets", n)] = `{"target":[` + list + `"` + constraintTarget + `"]}`
	}
}

// The expiries by label. For each field of the time there is one before Now in
// which that field is smaller and all smaller fields are larger, so that a policy
// that leaves a field out, or looks at one alone, is seen; and some behind it.
const (
	later   = "that expires in 1 ms"
	atEnd   = "that expires now"
	expired = "expired"
)

var expiries = map[string]time.Time{
	later: Now.Add(time.Millisecond), atEnd: Now, expired: Now.Add(-time.Millisecond),

	"that expired in 1999":          time.Date(1999, 12, 31, 23, 59, 59, 999_000_000, time.UTC),
	"that expired last year":        time.Date(2025, 12, 31, 23, 59, 59, 999_000_000, time.UTC),
	"that expired last month":       time.Date(2026, 5, 31, 23, 59, 59, 999_000_000, time.UTC),
	"that expired yesterday":        time.Date(2026, 6, 14, 23, 59, 59, 999_000_000, time.UTC),
	"that expired in the last hour": time.Date(2026, 6, 15, 11, 59, 59, 999_000_000, time.UTC),
	"that expired a minute ago":     time.Date(2026, 6, 15, 12, 29, 59, 999_000_000, time.UTC),
	"that expired a second ago":     time.Date(2026, 6, 15, 12, 30, 29, 999_000_000, time.UTC),
	"that expires next year":        time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	"that expires tomorrow":         time.Date(2026, 6, 16, 0, 0, 0, 0, time.UTC),
}

// byExpiry are the labels of expiries, the plainest first.
func byExpiry() []string {
	rest := slices.Sorted(maps.Keys(expiries))
	rest = slices.DeleteFunc(rest, func(l string) bool { return l == later || l == atEnd || l == expired })
	return slices.Concat([]string{"", later, atEnd, expired}, rest)
}

func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// override makes one override; its name says all about it.
func override(mode engine.Mode, constraints, expiry string) (name string, o *engine.Override) {
	made := engine.Override{Mode: mode, Constraints: []byte(terms[constraints])}
	if at, ok := expiries[expiry]; ok {
		made.ExpiresAt = &at
	}
	return join(string(mode), constraints, expiry), engine.NewOverride(made)
}

// overrideStates lists none; every mode alone in every variant; every pair of
// modes with both in force and with either expired; and all three.
func overrideStates() []State {
	states := []State{{Label: "none"}}
	add := func(list ...[3]string) {
		var s State
		for _, o := range list {
			name, made := override(engine.Mode(o[0]), o[1], o[2])
			s.parts = append(s.parts, name)
			s.overrides = append(s.overrides, made)
		}
		s.Label = strings.Join(s.parts, " + ")
		states = append(states, s)
	}
	const block, ask, force = string(engine.ModeBlock), string(engine.ModeRequireApproval), string(engine.ModeForceAuto)
	for _, mode := range []string{block, ask, force} {
		// block and require_approval are judged alike, so one of them in every
		// variant will do.
		ends := byExpiry()
		if mode == ask {
			ends = ends[:4]
		}
		for _, expiry := range ends {
			add([3]string{mode, "", expiry})
		}
		constraints := []string{"on target", "on target_prefix", "on target_cidr", "with an unknown constraint", "with no target in its list"}
		switch mode {
		case block:
			constraints = slices.Concat(sound, unsound, []string{"on 64 targets", "on target of every letter", "from min_confidence"})
		case force:
			constraints = slices.Concat(sound, unsound, []string{"on 64 targets"}, confident)
		}
		for _, c := range constraints {
			add([3]string{mode, c})
		}
	}
	for _, pair := range [][2]string{{block, ask}, {block, force}, {ask, force}} {
		a, b := [3]string{pair[0]}, [3]string{pair[1]}
		add(a, b)
		add(a, [3]string{pair[1], "", expired})
		add([3]string{pair[0], "", expired}, b)
	}
	add([3]string{ask, "on target_cidr"}, [3]string{force})
	add([3]string{block, "on target"}, [3]string{ask}, [3]string{force})
	add([3]string{block}, [3]string{ask}, [3]string{force})
	return withoutSome(states)
}

// withoutSome adds the states that are left of others when what is not in force
// is taken away, where they are not there already.
func withoutSome(states []State) []State {
	have := map[string]bool{}
	for _, s := range states {
		have[key(s.parts)] = true
	}
	for _, s := range states[:len(states):len(states)] {
		for mask := range 1 << len(s.parts) {
			left := s.only(func(i int) bool { return mask&(1<<i) != 0 })
			if !have[key(left.parts)] {
				have[key(left.parts)] = true
				states = append(states, left)
			}
		}
	}
	return states
}

// only is the state with some of what stands.
func (s State) only(keep func(int) bool) (left State) {
	for i, name := range s.parts {
		if !keep(i) {
			continue
		}
		left.parts = append(left.parts, name)
		if s.overrides != nil {
			left.overrides = append(left.overrides, s.overrides[i])
		} else {
			left.entries = append(left.entries, s.entries[i])
		}
	}
	if left.Label = strings.Join(left.parts, " + "); left.Label == "" {
		left.Label = "none"
	}
	return left
}

func key(parts []string) string { return strings.Join(parts, "\x00") }

// entry is a whitelist entry before it is known which action type is asked about.
type entry struct {
	id, constraints string
	expiresAt       time.Time
	of              string // which action type: ofAnother, ofUnknown, or the one asked about
}

// The action types of entries that are not for the one asked about.
const (
	ofAnother = "of another action type"
	ofUnknown = "of an unknown action type"
	ofShorter = "of an action type that is its beginning"
	ofLonger  = "of an action type that begins with it"
)

func (e entry) make(actionType string) *engine.WhitelistEntry {
	return engine.NewWhitelistEntry(engine.WhitelistEntry{
		ID: e.id, ActionType: actionType, Constraints: []byte(e.constraints), ExpiresAt: e.expiresAt,
	})
}

// whitelistStates lists none; an entry in every variant; and two entries.
func whitelistStates() []State {
	states := []State{{Label: "none"}}
	add := func(list ...[2]string) {
		var s State
		for i, w := range list {
			constraints, rest := w[0], w[1]
			e := entry{id: fmt.Sprintf("w%d", i+1), constraints: terms[constraints], expiresAt: Now.Add(24 * time.Hour)}
			if strings.HasPrefix(rest, "of an") {
				e.of = rest
			}
			if at, ok := expiries[rest]; ok {
				e.expiresAt = at
			}
			s.parts = append(s.parts, join("entry", e.id, constraints, rest))
			s.entries = append(s.entries, e)
		}
		s.Label = strings.Join(s.parts, " + ")
		states = append(states, s)
	}
	for _, rest := range append(byExpiry(), ofAnother, ofUnknown, ofShorter, ofLonger) {
		add([2]string{"on target", rest})
	}
	for _, constraints := range []string{"on target_prefix", "on target_prefixes", "on target_cidr", "on target_cidr of IPv6", "on target_cidr of one address", "on 65 targets", "with a network of three parts", "on target_prefix and min_confidence",
		"on target_cidr off not_target_cidr", "without a target (min_confidence)", "off not_target_cidr", "on target_cidr twice", "with prefixes of which one ends in none", "with a network and one with host bits", "with no target in its list", "with constraints that are no object"} {
		add([2]string{constraints})
	}
	for _, constraints := range besides {
		add([2]string{constraints + besideTarget})
	}
	add([2]string{"on target"}, [2]string{"on target_prefix"})
	add([2]string{"on target", expired}, [2]string{"on target_cidr"})
	return withoutSome(states)
}

// judge asks the model what is in force in every state on every target with
// every confidence.
func (s *Space) judge() {
	targets, confidences := len(s.Targets), len(s.Confidences)
	s.inForce = make([]modes, len(s.Overrides)*targets*confidences)
	s.whitelisted = make([]bool, len(s.Whitelists)*targets*confidences)
	for t := range targets {
		for c := range confidences {
			x := Situation{engine.PartTarget: t, engine.PartConfidence: c}
			for o := range s.Overrides {
				x[engine.PartOverrides] = o
				m := model.Read(s.Input(x))
				s.inForce[(o*targets+t)*confidences+c] = modes{m.InForce("block"), m.InForce("require_approval"), m.InForce("force_auto")}
			}
			x[engine.PartOverrides] = 0
			for w := range s.Whitelists {
				x[engine.PartWhitelist] = w
				_, s.whitelisted[(w*targets+t)*confidences+c] = model.Read(s.Input(x)).Whitelisted()
			}
		}
	}
}

// force returns which modes are in force in x, by the model.
func (s *Space) force(x *Situation) modes {
	return s.inForce[(x[engine.PartOverrides]*len(s.Targets)+x[engine.PartTarget])*len(s.Confidences)+x[engine.PartConfidence]]
}

// listed returns whether a whitelist entry is in force in x, by the model.
func (s *Space) listed(x *Situation) bool {
	return s.whitelisted[(x[engine.PartWhitelist]*len(s.Targets)+x[engine.PartTarget])*len(s.Confidences)+x[engine.PartConfidence]]
}

// reduced returns, by overrides × target × confidence and by whitelist × target
// × confidence, the state that is left when what the model says is not in force
// is taken away.
func (s *Space) reduced() (overrides, whitelists []int) {
	return s.reduce(s.Overrides, engine.PartOverrides, func(x *Situation) bool { return s.force(x) != modes{} }),
		s.reduce(s.Whitelists, engine.PartWhitelist, s.listed)
}

func (s *Space) reduce(states []State, part engine.Part, inForce func(*Situation) bool) (list []int) {
	by := map[string]int{}
	for i, st := range states {
		by[key(st.parts)] = i
	}
	for _, st := range states {
		for t := range s.Targets {
			for c := range s.Confidences {
				left := st.only(func(i int) bool {
					// The model is asked about each part alone.
					x := Situation{engine.PartTarget: t, engine.PartConfidence: c}
					x[part] = by[key(st.parts[i:i+1])]
					return inForce(&x)
				})
				list = append(list, by[key(left.parts)])
			}
		}
	}
	return list
}
