package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/engine/model"
)

// facts checks that what the decision saw is true: that its input is the one
// that follows from the row and from the configuration of its epoch.
func (d *decision) facts(s *seen, p *engine.Policy) error {
	if s.broken != "" {
		return missing{fmt.Errorf("what it saw cannot be checked: %s", s.broken)}
	}
	if d.configEpoch != s.epoch {
		return nil // said already
	}
	now, err := engine.ParseTime(d.decidedAt)
	if err != nil {
		return fmt.Errorf("decided_at: %w", err)
	}
	f, err := s.snapshot.Facts(d.request.TenantID, d.request.ActionType, d.request.Target, now)
	if err != nil {
		return fmt.Errorf("by the configuration of epoch %d nothing could be decided: %w", s.epoch, err)
	}
	if d.tier != int64(f.MaturityTier) {
		return fmt.Errorf("it says tier %d, and at epoch %d the tenant was at tier %d", d.tier, s.epoch, f.MaturityTier)
	}
	if p != nil && bytes.Equal(p.InputDocument(&d.request, &f, now), d.input) {
		return nil // byte for byte what a gate makes of these facts
	}
	return d.compare(&f, s)
}

// document is an input document by its parts.
type document struct {
	Now       string            `json:"now"`
	Overrides []json.RawMessage `json:"overrides"`
	Request   struct {
		ActionType string          `json:"action_type"`
		Actor      string          `json:"actor"`
		Confidence *float64        `json:"confidence"`
		Parameters json.RawMessage `json:"parameters"`
		Target     string          `json:"target"`
	} `json:"request"`
	Tenant struct {
		ID      string `json:"id"`
		Tier    *int   `json:"maturity_tier"`
		Stopped *bool  `json:"stopped"`
	} `json:"tenant"`
	Whitelist []json.RawMessage `json:"whitelist"`
}

// compare looks part by part, for an input that is not the one that this program
// would make: one of another version may list other whitelist entries that might
// match, as long as all that do match are there.
func (d *decision) compare(f *engine.Facts, s *seen) error {
	if _, err := engine.ParseDocument(d.input); err != nil { // duplicate members, trailing bytes
		return fmt.Errorf("the input is none that could be decided: %w", err)
	}
	var in document
	dec := json.NewDecoder(bytes.NewReader(d.input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return fmt.Errorf("the input is none that a gate makes: %w", err)
	}
	r := &d.request
	switch {
	case in.Now != d.decidedAt:
		return fmt.Errorf("the input's now is %.40q, and decided_at %s", in.Now, d.decidedAt)
	case in.Request.ActionType != r.ActionType, in.Request.Target != r.Target, in.Request.Actor != r.Actor, !equalNumber(in.Request.Confidence, r.Confidence):
		return errors.New("action_type, target, actor or confidence of the input is not the row's")
	case in.Request.Parameters != nil && digestOf(in.Request.Parameters) != d.parametersDigest:
		return errors.New("the parameters in the input are not those that were asked with")
	case in.Tenant.ID != r.TenantID:
		return fmt.Errorf("the input is of tenant %.80q", in.Tenant.ID)
	case in.Tenant.Tier == nil || *in.Tenant.Tier != f.MaturityTier:
		return fmt.Errorf("the input says another tier than %d, which the tenant was at at epoch %d", f.MaturityTier, s.epoch)
	case in.Tenant.Stopped == nil || *in.Tenant.Stopped != f.Stopped:
		return fmt.Errorf("by the input the tenant was stopped or not otherwise than at epoch %d: %v", s.epoch, f.Stopped)
	}
	if !slices.EqualFunc(in.Overrides, f.Overrides, func(a json.RawMessage, o *engine.Override) bool { return bytes.Equal(a, o.Document()) }) {
		return fmt.Errorf("the overrides in the input are not those that stood at epoch %d", s.epoch)
	}
	return d.whitelist(&in, f, s)
}

func (d *decision) whitelist(in *document, f *engine.Facts, s *seen) error {
	last, have := "", map[string]bool{}
	for _, raw := range in.Whitelist {
		var e struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(raw, &e); err != nil || e.ID <= last {
			return errors.New("the whitelist entries in the input are not in the order of their ids")
		}
		last, have[e.ID] = e.ID, true
		w, err := s.snapshot.Entry(e.ID)
		if err != nil {
			return err
		}
		if w == nil || w.ActionType != d.request.ActionType || !bytes.Equal(w.Document(), raw) {
			return fmt.Errorf("the whitelist entry %.80q in the input did not stand so at epoch %d", e.ID, s.epoch)
		}
	}
	for _, w := range f.Whitelist {
		if !have[w.ID] && d.matches(in, w) {
			return fmt.Errorf("the whitelist entry %s matched, and is not in the input", w.ID)
		}
	}
	return nil
}

// matches asks the second reading of the design whether an entry lets the action
// go, where it is the only one.
func (d *decision) matches(in *document, w *engine.WhitelistEntry) bool {
	one := *in
	one.Whitelist = []json.RawMessage{w.Document()}
	b, err := json.Marshal(one)
	if err != nil {
		return true
	}
	_, found := model.Read(b).Whitelisted()
	return found
}

func equalNumber(a, b *float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
