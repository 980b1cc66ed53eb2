package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
)

func stopCommand() *cobra.Command {
	var f connectionFlags
	var reason string
	c := &cobra.Command{Use: "stop --reason WHY", Short: "Stop a tenant: nothing is auto until it is released", Args: cobra.NoArgs,
		Long: "stop is for emergencies: it asks nothing, sends one request, and once that is answered nothing is auto any more."}
	f.register(c)
	registerReason(c, &reason)
	c.RunE = f.operate(func(ctx context.Context, o *operator, _ []string) error {
		a, err := o.api.Stop(ctx, reason)
		return tell(o, a, err, func(cfg client.Config) error {
			return o.sayf("%s is stopped: nothing is auto until it is released", cfg.TenantID)
		})
	})
	return c
}

func releaseCommand() *cobra.Command {
	var f connectionFlags
	var reason string
	c := &cobra.Command{Use: "release --reason WHY", Short: "Release a stopped tenant", Args: cobra.NoArgs,
		Long: `release ends a stop, so that tier, overrides and whitelist decide again. That widens what runs by itself, so it
asks first, unless --yes is given. A tenant that is not stopped is left alone.`}
	f.register(c)
	f.widens(c)
	registerReason(c, &reason)
	c.RunE = f.operate(func(ctx context.Context, o *operator, _ []string) error { return o.release(ctx, reason) })
	return c
}

func (o *operator) release(ctx context.Context, reason string) error {
	before, err := o.api.Config(ctx)
	if err != nil {
		return err
	}
	cfg := before.Value
	if !*cfg.Stopped {
		return tell(o, before, nil, func(client.Config) error {
			return o.sayf("%s is not stopped, so nothing was sent", cfg.TenantID)
		})
	}
	show := func(w io.Writer) {
		fmt.Fprintf(w, "%s: stopped → %s decides again\n", client.Printable(cfg.TenantID), client.Printable(cfg.TierLabel))
		printConfig(w, cfg)
	}
	if err := o.mayWiden(ctx, show, "Release it?"); err != nil {
		return err
	}
	if err := o.unchanged(ctx, cfg.Epoch); err != nil {
		return err
	}
	a, err := o.api.Release(ctx, reason)
	return tell(o, a, err, func(now client.Config) error {
		o.remind(now)
		return o.sayf("%s is released: %s decides again", now.TenantID, now.TierLabel)
	})
}
