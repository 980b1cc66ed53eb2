package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/review"
)

type backtestFlags struct {
	bundle, databaseURL, log, from, to, format string
	bundleDirs, tenants                        []string
	samples                                    int
	failOnWidening                             bool
}

func backtestCommand() *cobra.Command {
	var f backtestFlags
	c := &cobra.Command{
		Use:   "backtest --bundle NEW (--database-url URL | --log FILE)",
		Short: "Decide the logged requests again under a new policy and show what it would change",
		Long: `backtest decides every row of the gate log twice: by the bundle that the row names, which must say what
the row says, and by NEW. It reads the database beside the gate, in short queries, and changes nothing;
a role with SELECT is enough. --log takes gate-log entries, one a line, as GET /gate-log?input=true gives
them: … | jq -c '.entries[]'.

Exit 1: some row is not what its own bundle says (or, with --fail-on-widening, NEW widens something).
Exit 2: some row could not be read at all.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return backtest(cmd, &f) },
	}
	c.Flags().StringVar(&f.bundle, "bundle", "", "the policy under review, folder or archive")
	c.Flags().StringVar(&f.databaseURL, "database-url", "", "postgres://… or sqlite:FILE (TIERGATE_DATABASE_URL)")
	c.Flags().StringVar(&f.log, "log", "", "gate-log entries with their input, one a line; - for stdin")
	c.Flags().StringArrayVar(&f.tenants, "tenant", nil, "only this tenant; may be given more than once")
	c.Flags().StringVar(&f.from, "from", "", "only rows decided at or after, such as 2026-11-01 or 2026-11-01T08:00:00Z")
	c.Flags().StringVar(&f.to, "to", "", "only rows decided before")
	c.Flags().StringArrayVar(&f.bundleDirs, "bundle-dir", nil, "folder with bundles that rows may name, beside those kept in the database")
	c.Flags().IntVar(&f.samples, "samples", 5, "decision ids that stand for each finding, 1 to 1000")
	c.Flags().StringVar(&f.format, "format", "text", "text, json or markdown")
	c.Flags().BoolVar(&f.failOnWidening, "fail-on-widening", false, "exit 1 where NEW widens a decision")
	return c
}

func backtest(cmd *cobra.Command, f *backtestFlags) (err error) {
	if err := f.check(); err != nil {
		return usageError{err}
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent) // as serve does: little lives, much is left behind
	}
	ctx := cmd.Context()
	from, err := parseDay("--from", f.from)
	if err != nil {
		return usageError{err}
	}
	to, err := parseDay("--to", f.to)
	if err != nil {
		return usageError{err}
	}
	b, err := bundles.Load(f.bundle)
	if err != nil {
		return usageError{err}
	}
	candidate, err := compile(ctx, b)
	if err != nil {
		return usageError{err}
	}
	known, err := newBundleShelf(b, candidate, f.bundleDirs)
	if err != nil {
		return usageError{err}
	}
	var rows logSource
	if f.log != "" {
		rows, err = openLogFile(f.log, cmd.InOrStdin(), logFilter{f.tenants, from, to})
	} else {
		rows, err = openLogTable(ctx, f.databaseURL, f.tenants, from, to, candidate.ReadsParameters(), known)
	}
	if err != nil {
		return err
	}
	bar := newProgress(cmd.ErrOrStderr(), "backtest", rows.size())
	report, err := review.Backtest(ctx, review.BacktestOptions{
		New: candidate, Samples: f.samples, Bundles: known.policy,
		Log: rows.pages(bar),
	})
	bar.Done()
	err = errors.Join(err, rows.close())
	if werr := f.write(cmd.OutOrStdout(), report); werr != nil {
		return werr
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		return fmt.Errorf("%w: this is the result of the first %d rows that were done", err, report.Rows)
	}
	return f.verdict(report)
}

func (f *backtestFlags) check() error {
	if f.databaseURL == "" && f.log == "" {
		f.databaseURL = os.Getenv("TIERGATE_DATABASE_URL")
	}
	switch {
	case f.bundle == "":
		return errors.New("give --bundle: the policy under review")
	case f.databaseURL == "" && f.log == "":
		return errors.New("give --database-url, or --log FILE with gate-log entries")
	case f.databaseURL != "" && f.log != "":
		return errors.New("--database-url and --log exclude each other")
	case f.samples < 1 || f.samples > 1000:
		return errors.New("--samples: want 1 to 1000")
	case f.format != "text" && f.format != "json" && f.format != "markdown":
		return fmt.Errorf("--format %q: want text, json or markdown", f.format)
	}
	return nil
}

func (f *backtestFlags) write(w io.Writer, r *review.BacktestReport) error {
	switch f.format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	case "markdown":
		return r.WriteMarkdown(w)
	default:
		return r.WriteText(w, wantsColour(w))
	}
}

// verdict is the exit code in words.
func (f *backtestFlags) verdict(r *review.BacktestReport) error {
	switch {
	case r.Violated > 0:
		return fmt.Errorf("%d rows are not what their own bundle says about their input (P4): the row, the input, the bundle or the engine was changed", r.Violated)
	case r.Unreadable > 0:
		return usageError{fmt.Errorf("%d rows could not be read", r.Unreadable)}
	case f.failOnWidening && r.Widened > 0:
		return fmt.Errorf("%d decisions would be wider under the new policy", r.Widened)
	}
	return nil
}

// parseDay reads a time, or a day as its first moment in UTC.
func parseDay(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	t, err := engine.ParseTime(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w, and no day such as 2026-11-23", flag, err)
	}
	return t, nil
}
