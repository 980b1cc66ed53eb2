package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tiergate/tiergate/engine"
)

// What stands in the before and after of a change, by kind:
//
//	config            configDoc, all of it
//	override_set      overrideDoc, or null
//	override_remove   before: [overrideDoc…], after: null
//	whitelist_add     after: entryDoc
//	whitelist_remove  before: entryDoc
//	stop, release     {"stopped": …}
//	channel_set       channelDoc, or null
//	channel_remove    before: channelDoc, after: null
type configDoc struct {
	MaturityTier int                                   `json:"maturity_tier"`
	TierLabel    string                                `json:"tier_label"`
	Overrides    map[string]map[engine.Mode]overrideIn `json:"action_overrides"`
}

// overrideIn is an override inside a map that names its action type and mode.
type overrideIn struct {
	Constraints json.RawMessage `json:"constraints"`
	ExpiresAt   *string         `json:"expires_at"`
	Reason      string          `json:"reason"`
	SetBy       string          `json:"set_by"`
	SetAt       string          `json:"set_at"`
}

type overrideDoc struct {
	ActionType string      `json:"action_type"`
	Mode       engine.Mode `json:"mode"`
	overrideIn
}

type entryDoc struct {
	ID          string          `json:"id"`
	ActionType  string          `json:"action_type"`
	Constraints json.RawMessage `json:"constraints"`
	ExpiresAt   string          `json:"expires_at"`
	Reason      string          `json:"reason"`
	Notify      []string        `json:"notify"`
	SetBy       string          `json:"set_by"`
	SetAt       string          `json:"set_at"`
}

type stopDoc struct {
	Stopped bool `json:"stopped"`
}

func docOf(o *engine.Override) overrideDoc {
	d := overrideDoc{ActionType: o.ActionType, Mode: o.Mode, overrideIn: overrideIn{
		Constraints: o.Constraints, Reason: o.Reason, SetBy: o.SetBy, SetAt: engine.FormatTime(o.SetAt),
	}}
	if o.ExpiresAt != nil {
		at := engine.FormatTime(*o.ExpiresAt)
		d.ExpiresAt = &at
	}
	return d
}

func (d overrideDoc) override(tenant string) (*engine.Override, error) {
	o := engine.Override{TenantID: tenant, ActionType: d.ActionType, Mode: d.Mode, Constraints: d.Constraints, Reason: d.Reason, SetBy: d.SetBy}
	var err error
	if o.SetAt, err = parseTime(d.SetAt); err != nil {
		return nil, err
	}
	if d.ExpiresAt != nil {
		at, err := parseTime(*d.ExpiresAt)
		if err != nil {
			return nil, err
		}
		o.ExpiresAt = &at
	}
	return engine.NewOverride(o), nil
}

func entryDocOf(w *engine.WhitelistEntry) entryDoc {
	notify := w.Notify
	if notify == nil {
		notify = []string{}
	}
	return entryDoc{
		ID: w.ID, ActionType: w.ActionType, Constraints: w.Constraints, ExpiresAt: engine.FormatTime(w.ExpiresAt),
		Reason: w.Reason, Notify: notify, SetBy: w.SetBy, SetAt: engine.FormatTime(w.SetAt),
	}
}

func (d entryDoc) entry(tenant string) (*entry, error) {
	at, err := parseTime(d.ExpiresAt)
	if err != nil {
		return nil, err
	}
	return newEntry(&engine.WhitelistEntry{
		TenantID: tenant, ID: d.ID, ActionType: d.ActionType, Constraints: d.Constraints, ExpiresAt: at, Notify: d.Notify,
	}), nil
}

func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err
}

func configDocOf(c engine.Config) configDoc {
	d := configDoc{MaturityTier: c.MaturityTier, TierLabel: engine.TierLabel(c.MaturityTier), Overrides: map[string]map[engine.Mode]overrideIn{}}
	for _, o := range c.Overrides {
		if d.Overrides[o.ActionType] == nil {
			d.Overrides[o.ActionType] = map[engine.Mode]overrideIn{}
		}
		d.Overrides[o.ActionType][o.Mode] = docOf(o).overrideIn
	}
	return d
}

// apply makes the change in the view. The view must be at the epoch before it.
func (e *edit) apply(c engine.Change) error {
	old, err := tenantTxn(e.txn, c.TenantID)
	if err != nil {
		return err
	}
	t := tenantState{id: c.TenantID}
	if old != nil {
		t = *old
	}
	t.epoch = c.Epoch
	if err := e.applyKind(&t, c); err != nil {
		return fmt.Errorf("apply change %d of tenant %s (%s): %w", c.Epoch, c.TenantID, c.Kind, err)
	}
	return e.putTenant(&t)
}

func (e *edit) applyKind(t *tenantState, c engine.Change) error {
	switch c.Kind {
	case engine.KindConfig:
		var before, after configDoc
		if err := decode(c, &before, &after); err != nil {
			return err
		}
		t.tier = after.MaturityTier
		return e.replaceOverrides(c.TenantID, after)
	case engine.KindStop, engine.KindRelease:
		var after stopDoc
		if err := decode(c, nil, &after); err != nil {
			return err
		}
		t.stopped = after.Stopped
		return nil
	case engine.KindChannelSet, engine.KindChannelRemove:
		return nil // no decision depends on it
	case engine.KindOverrideSet:
		var after overrideDoc
		if err := decode(c, nil, &after); err != nil {
			return err
		}
		o, err := after.override(c.TenantID)
		if err != nil {
			return err
		}
		return e.changeOverrides(c.TenantID, o.ActionType, []engine.Mode{o.Mode}, o)
	case engine.KindOverrideRemove:
		var before []overrideDoc
		if err := decode(c, &before, nil); err != nil {
			return err
		}
		for _, d := range before {
			if err := e.changeOverrides(c.TenantID, d.ActionType, []engine.Mode{d.Mode}, nil); err != nil {
				return err
			}
		}
		return nil
	case engine.KindWhitelistAdd:
		var after entryDoc
		if err := decode(c, nil, &after); err != nil {
			return err
		}
		w, err := after.entry(c.TenantID)
		if err != nil {
			return err
		}
		return e.addEntry(w)
	case engine.KindWhitelistRemove:
		var before entryDoc
		if err := decode(c, &before, nil); err != nil {
			return err
		}
		return e.removeEntry(&entry{tenant: c.TenantID, id: before.ID})
	}
	return fmt.Errorf("unknown kind: this gate is older than the one that made the change")
}

func decode(c engine.Change, before, after any) error {
	if before != nil {
		if err := json.Unmarshal(c.Before, before); err != nil {
			return err
		}
	}
	if after != nil {
		return json.Unmarshal(c.After, after)
	}
	return nil
}

// changeOverrides takes the modes away and puts o, if any, in their place.
func (e *edit) changeOverrides(tenant, action string, without []engine.Mode, o *engine.Override) error {
	old, err := overridesTxn(e.txn, tenant, action)
	if err != nil {
		return err
	}
	list := make([]*engine.Override, 0, 3)
	for _, p := range old {
		if !slices.Contains(without, p.Mode) {
			list = append(list, p)
		}
	}
	if o != nil {
		list = append(list, o)
	}
	sortOverrides(list)
	return e.putOverrides(tenant, action, list)
}

func (e *edit) replaceOverrides(tenant string, doc configDoc) error {
	sets, err := all(e.txn.Get("override", "id_prefix", key(tenant)))
	if err != nil {
		return err
	}
	for _, raw := range sets {
		if err := e.putOverrides(tenant, raw.(*overrideSet).action, nil); err != nil {
			return err
		}
	}
	for action, modes := range doc.Overrides {
		var list []*engine.Override
		for mode, in := range modes {
			o, err := overrideDoc{action, mode, in}.override(tenant)
			if err != nil {
				return err
			}
			list = append(list, o)
		}
		sortOverrides(list)
		if err := e.putOverrides(tenant, action, list); err != nil {
			return err
		}
	}
	return nil
}

func sortOverrides(list []*engine.Override) {
	slices.SortFunc(list, func(a, b *engine.Override) int {
		if c := strings.Compare(a.ActionType, b.ActionType); c != 0 {
			return c
		}
		return strings.Compare(string(a.Mode), string(b.Mode))
	})
}
