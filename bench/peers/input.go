package peers

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// input is a document parsed into the form that hand-written code would keep.
type input struct {
	now            int64 // Unix milliseconds, as expires below
	action, target string
	confidence     *float64
	tier           int
	stopped        bool
	overrides      []override
	whitelist      []entry
}

type override struct {
	mode    engine.Mode
	expires int64
	rule
}

type entry struct {
	id, action string
	expires    int64
	rule
}

// rule is a constraints object; sound says that all of it was understood.
type rule struct {
	engine.Constraints
	sound bool
}

func parseInput(doc []byte) (*input, error) {
	var d struct {
		Now     time.Time
		Request struct {
			ActionType string `json:"action_type"`
			Target     string
			Confidence *float64
		}
		Tenant struct {
			MaturityTier int `json:"maturity_tier"`
			Stopped      bool
		}
		Overrides []struct {
			Mode        engine.Mode
			Constraints json.RawMessage
			ExpiresAt   *time.Time `json:"expires_at"`
		}
		Whitelist []struct {
			ID          string
			ActionType  string `json:"action_type"`
			Constraints json.RawMessage
			ExpiresAt   *time.Time `json:"expires_at"`
		}
	}
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	in := &input{
		now: d.Now.UnixMilli(), action: d.Request.ActionType, target: d.Request.Target, confidence: d.Request.Confidence,
		tier: d.Tenant.MaturityTier, stopped: d.Tenant.Stopped,
	}
	for _, o := range d.Overrides {
		p := override{mode: o.Mode, expires: math.MaxInt64, rule: parseRule(o.Constraints, o.Mode == engine.ModeForceAuto)}
		if o.ExpiresAt != nil {
			p.expires = o.ExpiresAt.UnixMilli()
		}
		in.overrides = append(in.overrides, p)
	}
	for _, w := range d.Whitelist {
		if w.ExpiresAt == nil {
			continue // as if absent
		}
		in.whitelist = append(in.whitelist, entry{w.ID, w.ActionType, w.ExpiresAt.UnixMilli(), parseRule(w.Constraints, true)})
	}
	return in, nil
}

// parseRule drops what is unsound, so that narrowing counts it as met.
func parseRule(raw []byte, widening bool) rule {
	c, faults := engine.ParseConstraints(raw, widening)
	for _, f := range faults {
		switch f.Field {
		case "constraints.target":
			c.Target = nil
		case "constraints.target_prefix":
			c.TargetPrefix = nil
		case "constraints.target_cidr":
			c.TargetCIDR = nil
		}
	}
	return rule{c, len(faults) == 0}
}

// facts is what a peer is given that cannot judge constraints itself: which
// overrides are in force, and which whitelist entry.
type facts struct {
	*input
	block, approve, force bool
	whitelisted           string // the smallest id that matches, or ""
}

const factsGiven = "the tree, over facts given to it: which overrides are in force and which whitelist entry matches are found beforehand, unmeasured"

func parseFacts(doc []byte) (facts, error) {
	in, err := parseInput(doc)
	if err != nil {
		return facts{}, err
	}
	return facts{in, in.inForce(engine.ModeBlock), in.inForce(engine.ModeRequireApproval), in.inForce(engine.ModeForceAuto), in.whitelisted()}, nil
}
