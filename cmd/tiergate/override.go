package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
	"github.com/tiergate/tiergate/engine"
)

func overrideCommand() *cobra.Command {
	return group("override", "List, set or remove overrides of single action types", "override list, set or rm",
		overrideListCommand(), overrideSetCommand(), overrideRemoveCommand())
}

func overrideListCommand() *cobra.Command {
	var f connectionFlags
	c := &cobra.Command{Use: "list", Short: "List the tenant's overrides", Args: cobra.NoArgs,
		Long: "list shows the overrides that stand, also those that have ended.\n--json gives the body of GET /config; they are in action_overrides."}
	f.register(c)
	c.RunE = f.operate(func(ctx context.Context, o *operator, _ []string) error {
		a, err := o.api.Config(ctx)
		return tell(o, a, err, o.listOverrides)
	})
	return c
}

func (o *operator) listOverrides(cfg client.Config) error {
	var rows [][]string
	for _, actionType := range slices.Sorted(maps.Keys(cfg.Overrides)) {
		modes := cfg.Overrides[actionType]
		for _, mode := range slices.Sorted(maps.Keys(modes)) {
			v := modes[mode]
			rows = append(rows, []string{actionType, mode, orDash(v.ExpiresAt), v.SetBy, v.SetAt, constraintsText(v.Constraints), v.Reason})
		}
	}
	return list(o.out, rows, "ACTION TYPE", "MODE", "EXPIRES", "SET BY", "SET AT", "CONSTRAINTS", "REASON")
}

func overrideSetCommand() *cobra.Command {
	var f connectionFlags
	var scope scopeFlags
	var reason string
	c := &cobra.Command{Use: "set <action_type> <block|require_approval|force_auto> --reason WHY", Short: "Set one override of an action type",
		Args: cobra.ExactArgs(2), ValidArgsFunction: f.complete(completeActionType, completeMode),
		Long: `set puts one override in the place of the one of its mode. Without flags it stands for every target, and until it is
removed. A force_auto override widens what runs by itself, and so may a block or require_approval that takes the
place of one that stands: then it shows what would change and asks first, unless --yes is given.`}
	f.register(c)
	f.widens(c)
	scope.register(c)
	registerReason(c, &reason)
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		change := client.OverrideChange{Mode: args[1], Reason: reason}
		if !slices.Contains(modes, change.Mode) {
			return usageError{fmt.Errorf("%q is no mode: want block, require_approval or force_auto", change.Mode)}
		}
		var err error
		if change.Constraints, err = scope.constraints(); err != nil {
			return usageError{err}
		}
		if change.ExpiresAt, err = scope.expiry(time.Now()); err != nil {
			return usageError{err}
		}
		return o.setOverride(ctx, args[0], change)
	})
	return c
}

func (o *operator) setOverride(ctx context.Context, actionType string, change client.OverrideChange) error {
	before, err := o.api.Config(ctx)
	if err != nil {
		return err
	}
	cfg := before.Value
	old, replaces := cfg.Overrides[actionType][change.Mode]
	if !isNarrowing(change.Mode) || replaces && !covers(change, old) {
		show := func(w io.Writer) {
			fmt.Fprintf(w, "%s, %s: %s\n", client.Printable(cfg.TenantID), client.Printable(actionType), scopeText(change.Mode, change.Constraints, change.ExpiresAt))
			if replaces {
				fmt.Fprintf(w, "It takes the place of: %s\n", overrideText(change.Mode, old))
			}
			orUnknown(w, o.showEffect(ctx, w, setProbes(cfg, actionType, change)))
		}
		if err := o.mayWiden(ctx, show, "Set the override?"); err != nil {
			return err
		}
		if err := o.unchanged(ctx, cfg.Epoch); err != nil {
			return err
		}
	}
	a, err := o.api.PutOverride(ctx, actionType, change)
	return tell(o, a, err, func(now client.Config) error {
		o.remind(now)
		return o.sayf("%s: %s on %s is set", now.TenantID, change.Mode, actionType)
	})
}

func overrideRemoveCommand() *cobra.Command {
	var f connectionFlags
	var reason string
	c := &cobra.Command{Use: "rm <action_type> [block|require_approval|force_auto] --reason WHY", Short: "Remove one override of an action type, or all",
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: f.complete(completeActionType, completeMode),
		Long: `rm removes the override of a mode, or all of the action type. Removing a block or require_approval widens what runs
by itself, so it shows what would change and asks first, unless --yes is given. --json prints nothing: the API answers
with no body.`}
	f.register(c)
	f.widens(c)
	registerReason(c, &reason)
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		mode := ""
		if len(args) == 2 {
			mode = args[1]
			if !slices.Contains(modes, mode) {
				return usageError{fmt.Errorf("%q is no mode: want block, require_approval or force_auto", mode)}
			}
		}
		return o.removeOverride(ctx, args[0], mode, reason)
	})
	return c
}

func (o *operator) removeOverride(ctx context.Context, actionType, mode, reason string) error {
	before, err := o.api.Config(ctx)
	if err != nil {
		return err
	}
	cfg := before.Value
	var goes []string
	for _, m := range slices.Sorted(maps.Keys(cfg.Overrides[actionType])) {
		if mode == "" || mode == m {
			goes = append(goes, m)
		}
	}
	if len(goes) == 0 {
		// Asking the gate could remove what somebody sets at this moment.
		return fmt.Errorf("%s has no such override of %s, so nothing was sent", client.Printable(cfg.TenantID), client.Printable(actionType))
	}
	if slices.ContainsFunc(goes, isNarrowing) {
		show := func(w io.Writer) {
			fmt.Fprintf(w, "%s, %s: these go\n", client.Printable(cfg.TenantID), client.Printable(actionType))
			for _, m := range goes {
				fmt.Fprintf(w, "  %s\n", overrideText(m, cfg.Overrides[actionType][m]))
			}
			orUnknown(w, o.showEffect(ctx, w, removeProbes(cfg, actionType, goes)))
		}
		if err := o.mayWiden(ctx, show, "Remove them?"); err != nil {
			return err
		}
		if err := o.unchanged(ctx, cfg.Epoch); err != nil {
			return err
		}
	}
	if len(goes) == 1 {
		mode = goes[0] // and no other that somebody sets at this moment
	}
	if err := o.api.DeleteOverride(ctx, actionType, mode, reason); err != nil {
		return err
	}
	if o.json {
		return nil
	}
	return o.sayf("%s: %s on %s is removed", cfg.TenantID, strings.Join(goes, " and "), actionType)
}

// modes are those of an override.
var modes = []string{string(engine.ModeBlock), string(engine.ModeRequireApproval), string(engine.ModeForceAuto)}

// isNarrowing says whether taking an override away can widen anything. A mode
// that this program does not know is taken for one of those.
func isNarrowing(mode string) bool { return mode != string(engine.ModeForceAuto) }

func overrideText(mode string, v client.Override) string {
	until := ""
	if v.ExpiresAt != nil {
		until = *v.ExpiresAt
	}
	return scopeText(mode, v.Constraints, until) + client.Printable(fmt.Sprintf(", set by %s: %s", v.SetBy, v.Reason))
}

// scopeText says where and how long an override stands.
func scopeText(mode string, constraints jsontext.Value, until string) string {
	where := "on every target"
	if isConstrained(constraints) {
		where = "where " + constraintsText(constraints)
	}
	return client.Printable(fmt.Sprintf("%s %s until %s", mode, where, cmp.Or(until, "it is removed")))
}
