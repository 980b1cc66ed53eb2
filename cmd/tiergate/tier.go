package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
	"github.com/tiergate/tiergate/engine"
)

func tierCommand() *cobra.Command {
	return group("tier", "Read or turn a tenant's dial", "tier get or set", tierGetCommand(), tierSetCommand())
}

func tierGetCommand() *cobra.Command {
	var f connectionFlags
	c := &cobra.Command{Use: "get", Short: "Show the tenant's tier, and whether it is stopped", Args: cobra.NoArgs,
		Long: "get shows how far the tenant lets its agent go, and who changed that last.\n--json gives the body of GET /config."}
	f.register(c)
	c.RunE = f.operate(func(ctx context.Context, o *operator, _ []string) error {
		a, err := o.api.Config(ctx)
		return tell(o, a, err, func(cfg client.Config) error { printConfig(o.out, cfg); return nil })
	})
	return c
}

func printConfig(w io.Writer, cfg client.Config) {
	overrides := 0
	for _, modes := range cfg.Overrides {
		overrides += len(modes)
	}
	changed := "never"
	if cfg.ChangedAt != nil {
		changed = *cfg.ChangedAt + " by " + orDash(cfg.ChangedBy)
	}
	stopped := "no"
	if *cfg.Stopped {
		stopped = "yes: nothing is auto until it is released"
	}
	facts(w, "tenant", cfg.TenantID, "tier", cfg.TierLabel, "stopped", stopped, "overrides", fmt.Sprint(overrides),
		"changed", changed, "epoch", fmt.Sprint(cfg.Epoch))
}

func tierSetCommand() *cobra.Command {
	var f connectionFlags
	var reason string
	c := &cobra.Command{Use: "set <0..4|L0..L4> --reason WHY", Short: "Set the tenant's tier", Args: cobra.ExactArgs(1),
		ValidArgsFunction: f.complete(completeTier),
		Long: `set turns the dial: in force for every decision once it is answered. Raising it widens what runs by itself, so it
shows what becomes auto and asks first, unless --yes is given. The change is made on the configuration that was
shown, or not at all.

Exit 1: it was not done. Exit 2: wrong usage, or nobody could be asked.`}
	f.register(c)
	f.widens(c)
	registerReason(c, &reason)
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		tier, err := parseTier(args[0])
		if err != nil {
			return usageError{err}
		}
		return o.setTier(ctx, tier, reason)
	})
	return c
}

// parseTier reads 3, L3 or l3.
func parseTier(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(strings.ToUpper(s), "L"))
	if err != nil || n < 0 || n > engine.MaxTier || len(s) > 2 {
		return 0, fmt.Errorf("%q is no tier: want 0 to %d or L0 to L%d", s, engine.MaxTier, engine.MaxTier)
	}
	return n, nil
}

// loweringTries is how often lowering the tier is tried while others change the
// configuration: who turns down in a hurry must not lose a race.
const loweringTries = 5

func (o *operator) setTier(ctx context.Context, tier int, reason string) error {
	for try := 1; ; try++ {
		before, err := o.api.Config(ctx)
		if err != nil {
			return err
		}
		cfg := before.Value
		raises := tier > *cfg.MaturityTier
		if raises {
			if err := o.mayWiden(ctx, o.tierRaise(ctx, cfg, tier), "Raise the tier?"); err != nil {
				return err
			}
		}
		after, err := o.api.SetTier(ctx, tier, reason, before.ETag)
		var problem *client.Problem
		if errors.As(err, &problem) && problem.Status == http.StatusPreconditionFailed && !raises && try < loweringTries {
			continue
		}
		return tell(o, after, err, func(now client.Config) error {
			o.remind(now)
			return o.sayf("%s: %s → %s", cfg.TenantID, cfg.TierLabel, now.TierLabel)
		})
	}
}

// tierRaise shows what a higher tier changes.
func (o *operator) tierRaise(ctx context.Context, cfg client.Config, tier int) func(io.Writer) {
	return func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s → %s\n", client.Printable(cfg.TenantID), client.Printable(cfg.TierLabel), engine.TierLabel(tier))
		if *cfg.Stopped {
			fmt.Fprintln(w, "The tenant is stopped: nothing becomes auto before it is released.")
		}
		orUnknown(w, o.tierEffect(ctx, w, cfg, tier))
	}
}

// remind says what is easily overlooked after a change.
func (o *operator) remind(cfg client.Config) {
	if *cfg.Stopped {
		fmt.Fprintln(o.err, "The tenant is stopped: nothing is auto until it is released.")
	}
	if len(cfg.StillAuto) > 0 {
		fmt.Fprintf(o.err, "A force_auto override keeps auto, above what the tier allows: %s\n", client.Printable(strings.Join(cfg.StillAuto, ", ")))
	}
}

// registerReason adds the flag that every change needs.
func registerReason(c *cobra.Command, reason *string) {
	c.Flags().StringVar(reason, "reason", "", "why; it is kept with the change (required)")
	if err := c.MarkFlagRequired("reason"); err != nil {
		panic(err) // it was added above
	}
}
