package main

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tiergate/tiergate/client"
	"github.com/tiergate/tiergate/engine"
)

// Where a change speaks of some targets only, its effect is asked about as if it
// and what it takes the place of stood for every target, and as if what stands
// for some other targets did not.

const onItsTargets = "on the targets that it names"

// unconstrained is what stands for every target, as it stands.
func unconstrained(stands map[string]client.Override) []client.WhatOverride {
	list := []client.WhatOverride{}
	for _, mode := range modes {
		if v, ok := stands[mode]; ok && !isConstrained(v.Constraints) {
			list = append(list, client.WhatOverride{Mode: mode, ExpiresAt: v.ExpiresAt})
		}
	}
	return list
}

func isConstrained(raw jsontext.Value) bool { return len(raw) > 0 && constraintsText(raw) != "-" }

func withoutMode(list []client.WhatOverride, mode string) []client.WhatOverride {
	return slices.DeleteFunc(slices.Clone(list), func(w client.WhatOverride) bool { return w.Mode == mode })
}

// setProbes asks what an override does that is set. One that narrows is asked
// about where the one before it stood and it does not.
func setProbes(cfg client.Config, actionType string, change client.OverrideChange) []*probe {
	if isNarrowing(change.Mode) {
		return removeProbes(cfg, actionType, []string{change.Mode})
	}
	before := unconstrained(cfg.Overrides[actionType])
	after := append(withoutMode(before, change.Mode), client.WhatOverride{Mode: change.Mode})
	p := &probe{actionType: actionType, before: client.WhatIf{Overrides: before}, after: client.WhatIf{Overrides: after}}
	if isConstrained(change.Constraints) {
		p.of = onItsTargets
	}
	return []*probe{p}
}

// removeProbes asks what is decided where overrides stood that go.
func removeProbes(cfg client.Config, actionType string, goes []string) []*probe {
	stands := cfg.Overrides[actionType]
	after := unconstrained(stands)
	of := ""
	for _, mode := range goes {
		after = withoutMode(after, mode)
		if isConstrained(stands[mode].Constraints) {
			of = onItsTargets
		}
	}
	before := slices.Clone(after)
	for _, mode := range goes {
		if isNarrowing(mode) || !isConstrained(stands[mode].Constraints) {
			before = append(before, client.WhatOverride{Mode: mode, ExpiresAt: stands[mode].ExpiresAt})
		}
	}
	probes := []*probe{{actionType: actionType, of: of, before: client.WhatIf{Overrides: before}, after: client.WhatIf{Overrides: after}}}
	force := string(engine.ModeForceAuto)
	if v, ok := stands[force]; ok && isConstrained(v.Constraints) && !slices.Contains(goes, force) {
		forced := client.WhatOverride{Mode: force, ExpiresAt: v.ExpiresAt}
		probes = append(probes, &probe{actionType: actionType, of: "where its force_auto override holds",
			before: client.WhatIf{Overrides: append(slices.Clone(before), forced)}, after: client.WhatIf{Overrides: append(slices.Clone(after), forced)}})
	}
	listed := []client.WhatWhitelist{{Constraints: forAnyTarget, ExpiresAt: forEver}}
	return append(probes, &probe{actionType: actionType, of: onWhitelist,
		before: client.WhatIf{Overrides: before, Whitelist: listed}, after: client.WhatIf{Overrides: after, Whitelist: listed}})
}

// covers says whether a narrowing override holds wherever and as long as the one
// that it takes the place of.
func covers(change client.OverrideChange, old client.Override) bool {
	return (!isConstrained(change.Constraints) || sameConstraints(change.Constraints, old.Constraints)) && lastsAsLong(change.ExpiresAt, old.ExpiresAt)
}

func sameConstraints(a, b jsontext.Value) bool {
	return isConstrained(b) && constraintsText(a) == constraintsText(b)
}

func lastsAsLong(change string, old *string) bool {
	if change == "" {
		return true
	}
	if old == nil {
		return false
	}
	a, errA := time.Parse(time.RFC3339, change)
	b, errB := time.Parse(time.RFC3339, *old)
	return errA == nil && errB == nil && !a.Before(b)
}
