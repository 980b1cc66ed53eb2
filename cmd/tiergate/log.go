package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
	"github.com/tiergate/tiergate/engine"
)

type logFlags struct {
	connectionFlags
	page     pageFlags
	query    client.LogQuery
	from, to string
	follow   bool
}

func logCommand() *cobra.Command {
	var f logFlags
	c := &cobra.Command{Use: "log", Short: "Read the gate log, or follow it", Args: cobra.NoArgs,
		Long: `log shows one page of the gate log, newest first. With --follow it shows rows as they come, oldest first, until it is
interrupted (exit 0); --limit then is how many of those before come first, none without it. A gate that goes away is
asked again until it is back, and no row is left out or shown twice.

--json gives the body of GET /gate-log; with --follow, one row a line.`}
	f.register(c)
	f.page.register(c)
	flags, q := c.Flags(), &f.query
	flags.StringVar(&f.from, "from", "", "only rows decided at or after, such as 2026-11-01 or 2026-11-01T08:00:00Z")
	flags.StringVar(&f.to, "to", "", "only rows decided before")
	flags.StringVar(&q.Decision, "decision", "", "only auto, queued_approval or blocked")
	flags.StringVar(&q.ActionType, "action-type", "", "only this action type")
	flags.StringVar(&q.BlastRadius, "blast-radius", "", "only this radius")
	flags.StringVar(&q.Actor, "actor", "", "only this actor, such as system")
	flags.StringVar(&q.TargetPrefix, "target-prefix", "", "only targets that begin so")
	flags.StringVar(&q.IncidentID, "incident-id", "", "only this incident")
	flags.StringVar(&q.Rule, "rule", "", "only what this rule decided")
	flags.StringVar(&q.Outcome, "outcome", "", "only what was let go and whose newest report is executed, failed or rolled_back, or none")
	flags.BoolVar(&q.Input, "input", false, "with --json: each row has what the policy saw")
	flags.BoolVarP(&f.follow, "follow", "f", false, "show rows as they come")
	c.MarkFlagsMutuallyExclusive("follow", "to")
	c.MarkFlagsMutuallyExclusive("follow", "cursor")
	f.completeFlag(c, "decision", words("auto", "queued_approval", "blocked"))
	f.completeFlag(c, "blast-radius", words("MINIMAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"))
	f.completeFlag(c, "rule", words(engine.RuleBlockOverride, engine.RuleStopped, engine.RuleCriticalNeverAuto, engine.RuleApprovalOverride,
		engine.RuleForceAutoOverride, engine.RuleWhitelistMatch, engine.RuleNoWhitelistMatch, engine.RuleTierAllows, engine.RuleTierRequiresApproval))
	f.completeFlag(c, "action-type", completeActionType)
	f.completeFlag(c, "outcome", words("executed", "failed", "rolled_back", "none"))
	recent := 0
	c.PreRun = func(cmd *cobra.Command, _ []string) {
		if cmd.Flags().Changed("limit") {
			recent = f.page.limit
		}
	}
	c.RunE = f.operate(func(ctx context.Context, o *operator, _ []string) error {
		if err := f.read(); err != nil {
			return usageError{err}
		}
		if f.follow {
			return o.followLog(ctx, f.query, recent)
		}
		return o.readLog(ctx, f.query)
	})
	return c
}

// read checks the flags that the gate does not see as they are.
func (f *logFlags) read() error {
	if err := f.page.check(); err != nil {
		return err
	}
	if f.query.Input && !f.json {
		return errors.New("--input goes with --json: there is no room for it in a table")
	}
	f.query.Limit, f.query.Cursor = f.page.limit, f.page.cursor
	for _, day := range []struct {
		flag, text string
		into       *string
	}{{"--from", f.from, &f.query.From}, {"--to", f.to, &f.query.To}} {
		at, err := parseDay(day.flag, day.text)
		if err != nil {
			return err
		}
		if !at.IsZero() {
			*day.into = engine.FormatTime(at.Truncate(time.Millisecond))
		}
	}
	return nil
}

// logColumns are as wide as what a gate usually says, because rows that are
// followed are not known before.
var logColumns = []column{{"SEQ", 6}, {"DECIDED AT", 24}, {"DECISION", 15}, {"RULE", 22}, {"TIER", 12}, {"RADIUS", 8}, {"ACTION TYPE", 20}, {"ACTOR", 6}, {"TARGET", 0}}

func logCells(r client.Row) []string {
	return []string{fmt.Sprint(r.LogSeq), r.DecidedAt, r.Decision, r.Rule, r.TierLabel, r.BlastRadius, r.ActionType, r.Actor, r.Target}
}

func (o *operator) readLog(ctx context.Context, q client.LogQuery) error {
	a, err := o.api.Log(ctx, q)
	return tell(o, a, err, func(p client.Page[client.Row]) error {
		var rows [][]string
		for _, r := range p.Entries {
			rows = append(rows, logCells(r))
		}
		o.more(p.Next)
		_, err := newTable(o.out, logColumns, rows)
		return err
	})
}

func (o *operator) followLog(ctx context.Context, q client.LogQuery, recent int) error {
	show := func(r client.Row) error { return line(o.out, r.JSON) }
	if !o.json {
		t, err := newTable(o.out, logColumns, nil)
		if err != nil {
			return err
		}
		show = func(r client.Row) error { return t.row(logCells(r)) }
	}
	return o.api.Follow(ctx, client.Following{Query: q, Recent: recent, Row: show,
		Lost: func(err error) { fmt.Fprintf(o.err, "%v; asking again until it answers\n", err) },
		Back: func() { fmt.Fprintln(o.err, "the gate answers again") },
	})
}
