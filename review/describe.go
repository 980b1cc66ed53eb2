package review

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tiergate/tiergate/engine"
)

// Describe says in words what a situation is; what is as plain as can be is
// left out.
func (s *Space) Describe(x Situation) string {
	b := strings.Builder{}
	fmt.Fprintf(&b, "%s at %s", s.ActionTypes[x[engine.PartActionType]], engine.TierLabel(x[engine.PartTier]))
	if x[engine.PartStopped] == 1 {
		b.WriteString(", stopped")
	}
	overrides, whitelist := x[engine.PartOverrides], x[engine.PartWhitelist]
	if overrides > 0 {
		b.WriteString(", overrides: " + s.Overrides[overrides].Label)
	}
	if whitelist > 0 {
		b.WriteString(", whitelist: " + s.Whitelists[whitelist].Label)
	}
	if overrides+whitelist+x[engine.PartTarget] > 0 {
		b.WriteString(", target " + s.Targets[x[engine.PartTarget]])
	}
	if c := s.Confidences[x[engine.PartConfidence]]; c != nil {
		b.WriteString(", confidence " + strconv.FormatFloat(*c, 'g', -1, 64))
	}
	if x[engine.PartActor] > 0 {
		b.WriteString(", actor " + s.Actors[x[engine.PartActor]])
	}
	if x[engine.PartTenantID] > 0 {
		b.WriteString(", tenant " + s.Tenants[x[engine.PartTenantID]])
	}
	return clean(b.String())
}

// String says what was decided.
func (o *Outcome) String() string { return clean(o.text()) }

func (o *Outcome) text() string {
	switch {
	case o.Err != "" && o.Decision != 0:
		return fmt.Sprintf("%s by %s, which the gate refuses (%s)", o.Decision, o.Rule, o.Err)
	case o.Err != "":
		return "no decision (" + o.Err + ")"
	}
	return fmt.Sprintf("%s by %s", o.Decision, o.Rule)
}

// plainer orders situations by how much there is to say about them.
func (s *Space) plainer(x, y Situation) bool {
	if a, b := s.complexity(x), s.complexity(y); a != b {
		return a < b
	}
	for p := range x {
		if x[p] != y[p] {
			return x[p] < y[p]
		}
	}
	return false
}

func (s *Space) complexity(x Situation) (n int) {
	n = 3 * (len(s.Overrides[x[engine.PartOverrides]].parts) + len(s.Whitelists[x[engine.PartWhitelist]].parts))
	for _, p := range []engine.Part{engine.PartStopped, engine.PartTarget, engine.PartConfidence, engine.PartActor, engine.PartTenantID} {
		if x[p] > 0 {
			n += 2
		}
	}
	return n
}
