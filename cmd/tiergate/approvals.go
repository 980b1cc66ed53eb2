package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
)

func approvalsCommand() *cobra.Command {
	return group("approvals", "List queued actions, or say yes or no to one", "approvals list, show, approve or deny",
		approvalsListCommand(), approvalsShowCommand(), approveCommand(), denyCommand())
}

func approvalsListCommand() *cobra.Command {
	var f connectionFlags
	var page pageFlags
	var filter client.ApprovalFilter
	c := &cobra.Command{Use: "list", Short: "List approvals, the newest first", Args: cobra.NoArgs,
		Long: "list shows one page of the approvals that wait, or of those with another --status.\n--json gives the body of GET /approvals."}
	f.register(c)
	page.register(c)
	c.Flags().StringVar(&filter.Status, "status", "pending", "pending, released, refused, denied, expired or cancelled")
	c.Flags().StringVar(&filter.ActionType, "action-type", "", "only of this action type")
	c.Flags().StringVar(&filter.BlastRadius, "blast-radius", "", "only of this blast radius")
	f.completeFlag(c, "action-type", completeActionType)
	c.RunE = f.operate(func(ctx context.Context, o *operator, _ []string) error {
		if err := page.check(); err != nil {
			return usageError{err}
		}
		a, err := o.api.Approvals(ctx, filter, page.limit, page.cursor)
		return tell(o, a, err, func(p client.Page[client.Approval]) error {
			var rows [][]string
			for _, e := range p.Entries {
				rows = append(rows, []string{e.ID, e.Status, e.BlastRadius, e.ActionType, e.Requester, votes(e), e.ExpiresAt, e.Target})
			}
			o.more(p.Next)
			return list(o.out, rows, "ID", "STATUS", "RADIUS", "ACTION TYPE", "REQUESTER", "APPROVED", "EXPIRES", "TARGET")
		})
	})
	return c
}

func approvalsShowCommand() *cobra.Command {
	var f connectionFlags
	c := &cobra.Command{Use: "show <id>", Short: "Show what exactly an approval is about", Args: cobra.ExactArgs(1),
		Long: "show tells what is to be done, to what, with which parameters, and how it would be undone.\n--json gives the body of GET /approvals/{id}, with every step."}
	f.register(c)
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		a, err := o.api.Approval(ctx, args[0])
		return tell(o, a, err, func(v client.Approval) error {
			printApproval(o.out, v)
			return nil
		})
	})
	return c
}

func printApproval(w io.Writer, a client.Approval) {
	facts(w, "id", a.ID, "status", a.Status, "action", a.ActionType, "target", a.Target, "radius", a.BlastRadius,
		"parameters", string(a.Parameters), "asked by", a.Requester, "opened", a.OpenedAt, "expires", a.ExpiresAt,
		"approved", strings.TrimSpace(votes(a)+" "+strings.Join(a.Approvers, ", ")), "start until", a.ValidUntil,
		"waits because", a.Decision.Rationale, "undone by", a.Decision.Rollback)
}

// votes is how many have approved, of how many that must.
func votes(a client.Approval) string { return fmt.Sprintf("%d of %d", len(a.Approvers), a.Needed) }

func approveCommand() *cobra.Command {
	var f connectionFlags
	var comment string
	c := &cobra.Command{Use: "approve <id> --comment WHY", Short: "Say yes to exactly this action", Args: cobra.ExactArgs(1),
		Long: `approve says yes, in the name of the token's person. With the last yes that it takes the gate decides again, and the
action is released or refused. It shows what is approved and asks first, unless --yes is given. Exit 1 where it is not
released afterwards and nobody else is waited for.`}
	f.register(c)
	f.widens(c)
	registerComment(c, &comment)
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		before, err := o.api.Approval(ctx, args[0])
		if err != nil {
			return err
		}
		show := func(w io.Writer) { printApproval(w, before.Value) }
		if err := o.mayWiden(ctx, show, "Approve it?"); err != nil {
			return err
		}
		a, err := o.api.Approve(ctx, args[0], comment)
		if err := tell(o, a, err, func(v client.Approval) error { return o.sayVote(v) }); err != nil {
			return err
		}
		if a.Value.Status != "released" && a.Value.Status != "pending" {
			return fmt.Errorf("it is %s, so it must not run", client.Printable(a.Value.Status))
		}
		return nil
	})
	return c
}

func denyCommand() *cobra.Command {
	var f connectionFlags
	var comment string
	c := &cobra.Command{Use: "deny <id> --comment WHY", Short: "Say no to exactly this action", Args: cobra.ExactArgs(1),
		Long: "deny says no, which ends the approval: one no outweighs every yes. It narrows, so it asks nothing."}
	f.register(c)
	registerComment(c, &comment)
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		a, err := o.api.Deny(ctx, args[0], comment)
		return tell(o, a, err, func(v client.Approval) error { return o.sayVote(v) })
	})
	return c
}

func registerComment(c *cobra.Command, comment *string) {
	c.Flags().StringVar(comment, "comment", "", "why; it is kept with the vote (required)")
	if err := c.MarkFlagRequired("comment"); err != nil {
		panic(err) // it was added above
	}
}

// sayVote says where the approval stands after a vote.
func (o *operator) sayVote(a client.Approval) error {
	switch a.Status {
	case "released":
		return o.sayf("%s on %s is released: it may be started until %s", a.ActionType, a.Target, a.ValidUntil)
	case "pending":
		return o.sayf("%s on %s waits for more people: "+votes(a)+" have approved, until %s", a.ActionType, a.Target, a.ExpiresAt)
	}
	return o.sayf("%s on %s is %s", a.ActionType, a.Target, a.Status)
}
