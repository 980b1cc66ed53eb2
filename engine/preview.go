package engine

import (
	"context"
	"time"
)

// WhatIf replaces parts of a tenant's configuration for one preview.
type WhatIf struct {
	MaturityTier     *int
	Overrides        []*Override // with ReplaceOverrides
	ReplaceOverrides bool
	Whitelist        []*WhitelistEntry // with ReplaceWhitelist
	ReplaceWhitelist bool
}

// Preview decides as Decide would, with parts of the configuration replaced,
// and writes nothing. The entry has no LogSeq.
func (g *Gate) Preview(ctx context.Context, r *Request, w WhatIf) (*Entry, error) {
	now := g.now().UTC().Truncate(time.Millisecond)
	facts, err := g.facts.Facts(r.TenantID, r.ActionType, r.Target, now)
	if err != nil {
		return nil, err
	}
	if w.MaturityTier != nil {
		facts.MaturityTier = *w.MaturityTier
	}
	if w.ReplaceOverrides {
		facts.Overrides = w.Overrides
	}
	if w.ReplaceWhitelist {
		facts.Whitelist = w.Whitelist
	}
	e, _, err := g.decideOn(ctx, g.active.Load(), r, &facts, now)
	return e, err
}
