package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
)

func whitelistCommand() *cobra.Command {
	return group("whitelist", "List, add or remove whitelist entries", "whitelist list, add or rm",
		whitelistListCommand(), whitelistAddCommand(), whitelistRemoveCommand())
}

// pageFlags select one page of a list.
type pageFlags struct {
	limit  int
	cursor string
}

const maxLimit = 500

func (f *pageFlags) register(c *cobra.Command) {
	c.Flags().IntVar(&f.limit, "limit", 50, fmt.Sprintf("how many at the most, 1 to %d", maxLimit))
	c.Flags().StringVar(&f.cursor, "cursor", "", "the next page: what the page before named")
}

func (f *pageFlags) check() error {
	if f.limit < 1 || f.limit > maxLimit {
		return fmt.Errorf("--limit %d: want 1 to %d", f.limit, maxLimit)
	}
	return nil
}

// more says that there are more than one page has.
func (o *operator) more(next *string) {
	if next != nil {
		fmt.Fprintf(o.err, "there are more: add --cursor=%s\n", client.Printable(*next))
	}
}

func whitelistListCommand() *cobra.Command {
	var f connectionFlags
	var page pageFlags
	var actionType string
	c := &cobra.Command{Use: "list", Short: "List the tenant's whitelist entries", Args: cobra.NoArgs,
		Long: "list shows one page of entries, also those that have ended.\n--json gives the body of GET /whitelist."}
	f.register(c)
	page.register(c)
	c.Flags().StringVar(&actionType, "action-type", "", "only entries of this action type")
	f.completeFlag(c, "action-type", completeActionType)
	c.RunE = f.operate(func(ctx context.Context, o *operator, _ []string) error {
		if err := page.check(); err != nil {
			return usageError{err}
		}
		a, err := o.api.Whitelist(ctx, actionType, page.limit, page.cursor)
		return tell(o, a, err, func(p client.Page[client.WhitelistEntry]) error {
			var rows [][]string
			for _, e := range p.Entries {
				rows = append(rows, []string{e.ID, e.ActionType, e.ExpiresAt, e.SetBy, strings.Join(e.Notify, " "), constraintsText(e.Constraints), e.Reason})
			}
			o.more(p.Next)
			return list(o.out, rows, "ID", "ACTION TYPE", "EXPIRES", "SET BY", "NOTIFY", "CONSTRAINTS", "REASON")
		})
	})
	return c
}

func whitelistAddCommand() *cobra.Command {
	var f connectionFlags
	var scope scopeFlags
	var entry client.WhitelistAddition
	c := &cobra.Command{Use: "add <action_type> --target… --for TIME --reason WHY", Short: "Let an action run by itself on named targets, for a time",
		Args: cobra.ExactArgs(1), ValidArgsFunction: f.complete(completeActionType),
		Long: `add names targets on which a HIGH action runs by itself at L4. It must name targets and an end. It widens what runs
by itself, so it shows what would change and asks first, unless --yes is given.`}
	f.register(c)
	f.widens(c)
	scope.register(c)
	registerReason(c, &entry.Reason)
	c.Flags().StringArrayVar(&entry.Notify, "notify", nil, "where each use is announced, such as slack:#soc; up to 8 times")
	c.MarkFlagsOneRequired("expires-at", "for")
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		entry.ActionType = args[0]
		var err error
		if entry.Constraints, err = scope.constraints(); err != nil {
			return usageError{err}
		}
		if len(scope.target)+len(scope.prefix)+len(scope.cidr) == 0 {
			return usageError{errors.New("name the targets: --target, --target-prefix or --target-cidr")}
		}
		if entry.ExpiresAt, err = scope.expiry(time.Now()); err != nil {
			return usageError{err}
		}
		return o.addWhitelist(ctx, entry)
	})
	return c
}

func (o *operator) addWhitelist(ctx context.Context, entry client.WhitelistAddition) error {
	before, err := o.api.Config(ctx)
	if err != nil {
		return err
	}
	cfg := before.Value
	show := func(w io.Writer) {
		fmt.Fprintf(w, "%s, %s: a whitelist entry for %s, until %s\n", client.Printable(cfg.TenantID), client.Printable(entry.ActionType), constraintsText(entry.Constraints), entry.ExpiresAt)
		orUnknown(w, o.showEffect(ctx, w, []*probe{{actionType: entry.ActionType, of: onItsTargets,
			before: client.WhatIf{Whitelist: []client.WhatWhitelist{}},
			after:  client.WhatIf{Whitelist: []client.WhatWhitelist{{Constraints: forAnyTarget, ExpiresAt: entry.ExpiresAt}}}}}))
	}
	if err := o.mayWiden(ctx, show, "Add it?"); err != nil {
		return err
	}
	if err := o.unchanged(ctx, cfg.Epoch); err != nil {
		return err
	}
	a, err := o.api.AddWhitelist(ctx, entry)
	return tell(o, a, err, func(e client.WhitelistEntry) error {
		for _, u := range e.Unresolved {
			fmt.Fprintf(o.err, "nobody is told through %s: %s\n", client.Printable(u.Notify), client.Printable(u.Detail))
		}
		return o.sayf("%s: %s is on the whitelist until %s, as %s", cfg.TenantID, e.ActionType, e.ExpiresAt, e.ID)
	})
}

func whitelistRemoveCommand() *cobra.Command {
	var f connectionFlags
	var reason string
	c := &cobra.Command{Use: "rm <id> --reason WHY", Short: "Remove a whitelist entry", Args: cobra.ExactArgs(1),
		Long: "rm removes an entry; its id is in whitelist list. --json prints nothing: the API answers with no body."}
	f.register(c)
	registerReason(c, &reason)
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		if err := o.api.DeleteWhitelist(ctx, args[0], reason); err != nil {
			return err
		}
		if o.json {
			return nil
		}
		return o.sayf("%s is removed", args[0])
	})
	return c
}
