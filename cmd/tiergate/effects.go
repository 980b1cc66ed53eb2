package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/tiergate/tiergate/client"
)

const (
	// anyTarget stands for a target that no constraint names, as in GET /matrix.
	anyTarget = "any-target"
	// forEver is an expiry that no gate refuses.
	forEver = "2261-12-31T23:59:59.000Z"
	// previewsAtOnce keeps a question fast from far away and the gate calm.
	previewsAtOnce = 8
)

// forAnyTarget are constraints that anyTarget meets.
var forAnyTarget = jsontext.Value(`{"target":"` + anyTarget + `"}`)

// probe is one question asked under two configurations.
type probe struct {
	actionType    string
	of            string // the targets that it is about, "" for all
	before, after client.WhatIf
	from, to      client.Decision
}

// probe asks every probe. The gate decides, by its policy; nothing is known here.
func (o *operator) probe(ctx context.Context, probes []*probe) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(previewsAtOnce)
	for _, p := range probes {
		for _, ask := range []struct {
			what client.WhatIf
			into *client.Decision
		}{{p.before, &p.from}, {p.after, &p.to}} {
			g.Go(func() error {
				ask.what.Question = client.Question{ActionType: p.actionType, Target: anyTarget}
				a, err := o.api.Preview(ctx, ask.what)
				*ask.into = a.Value
				return err
			})
		}
	}
	return g.Wait()
}

// tierEffect shows what becomes auto where the tier is raised: for a target that
// no constraint names, for those that a narrowing override does not name, and for
// those that whitelist entries name.
func (o *operator) tierEffect(ctx context.Context, w io.Writer, cfg client.Config, tier int) error {
	matrix, err := o.api.Matrix(ctx)
	if err != nil {
		return err
	}
	var probes []*probe
	add := func(row client.MatrixRow, of string, what client.WhatIf) {
		before, after := what, what
		before.MaturityTier, after.MaturityTier = cfg.MaturityTier, &tier
		probes = append(probes, &probe{actionType: row.ActionType, of: of, before: before, after: after})
	}
	for _, row := range matrix.Value.Rows {
		if row.Decision == client.Auto {
			continue
		}
		of, what := "", client.WhatIf{}
		if slices.ContainsFunc(row.Constrained, isNarrowing) {
			// Otherwise anyTarget, which is no address, would count as in their networks.
			of, what.Overrides = "on targets that its overrides do not name", unconstrained(cfg.Overrides[row.ActionType])
		}
		add(row, of, what)
		what.Whitelist = []client.WhatWhitelist{{Constraints: forAnyTarget, ExpiresAt: forEver}}
		add(row, onWhitelist, what)
	}
	return o.showEffect(ctx, w, probes)
}

const onWhitelist = "on targets of its whitelist entries"

// showEffect asks the probes and prints what is decided otherwise. What changes
// on every target needs no second line for some.
func (o *operator) showEffect(ctx context.Context, w io.Writer, probes []*probe) error {
	if err := o.probe(ctx, probes); err != nil {
		return err
	}
	everywhere := map[string]bool{}
	var rows [][]string
	for _, p := range probes {
		if p.from.Decision == p.to.Decision || everywhere[p.actionType] {
			continue
		}
		of := cmp.Or(p.of, "on every target")
		if p.of == onWhitelist {
			n, err := o.whitelisted(ctx, p.actionType, p.to.DecidedAt)
			if err != nil {
				return err
			}
			if n == "" {
				continue
			}
			of += " (" + n + ")"
		}
		everywhere[p.actionType] = p.of == ""
		rows = append(rows, []string{p.actionType, p.to.BlastRadius, p.from.Decision, p.to.Decision, of})
	}
	if len(rows) > 0 {
		return list(w, rows, "ACTION TYPE", "RADIUS", "NOW", "THEN", "WHERE")
	}
	fmt.Fprintln(w, "No decision changes by that alone.")
	if len(probes) == 1 {
		fmt.Fprintln(w, client.Printable(probes[0].to.Rationale))
	}
	return nil
}

// whitelisted counts the entries of an action type that have not ended by the
// gate's clock; empty for none.
func (o *operator) whitelisted(ctx context.Context, actionType, now string) (string, error) {
	const most = 500
	page, err := o.api.Whitelist(ctx, actionType, most, "")
	if err != nil {
		return "", err
	}
	at, err := time.Parse(time.RFC3339, now)
	if err != nil {
		return "", err
	}
	n := 0
	for _, e := range page.Value.Entries {
		if end, err := time.Parse(time.RFC3339, e.ExpiresAt); err != nil || at.Before(end) {
			n++
		}
	}
	switch {
	case page.Value.Next != nil:
		return fmt.Sprintf("more than %d", most), nil
	case n == 0:
		return "", nil
	}
	return fmt.Sprint(n), nil
}

// orUnknown says that an effect could not be found out; the question is asked all
// the same.
func orUnknown(w io.Writer, err error) {
	if err != nil {
		fmt.Fprintf(w, "What it changes could not be found out: %v\n", explain(err))
	}
}
