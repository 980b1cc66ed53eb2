package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/review"
)

func diffCommand() *cobra.Command {
	var format, acknowledge, write string
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say exactly which decisions a policy change changes, and which way",
		Long: `diff decides every situation that either bundle can tell apart under both and tells the differences in
few sentences that say exactly which situations they are.

Exit 1: something widens autonomy, and the file given with --acknowledge does not list exactly that.
--write-acknowledgement writes such a file; it is stale as soon as OLD or the widenings change.

` + sourceHelp,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ack *review.Acknowledgement
			if acknowledge != "" {
				var err error
				if ack, err = readAcknowledgement(acknowledge); err != nil {
					return usageError{err}
				}
			}
			older, _, err := loadSubject(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			newer, folder, err := loadSubject(cmd.Context(), args[1])
			if err != nil {
				return err
			}
			bar := &stages{w: cmd.ErrOrStderr()}
			d, err := review.Diff(cmd.Context(), older, newer, [2]string{args[0], args[1]},
				func(done, total int) { bar.Show("deciding every situation under both", done, total) })
			bar.Done()
			if err != nil {
				return reviewError(err)
			}
			open, stale := d.Unacknowledged(ack)
			if write != "" {
				if err := writeFile(write, d.Acknowledge); err != nil {
					return err
				}
			}
			w := cmd.OutOrStdout()
			switch format {
			case "text":
				err = d.Text(w, painter(w))
			case "markdown":
				err = d.Markdown(w, open)
			case "json":
				err = d.JSON(w)
			case "sarif":
				err = d.SARIF(w, open, review.Locate(newer.Modules), folder)
			case "junit":
				err = d.JUnit(w, open)
			default:
				return usageError{fmt.Errorf("--format %s: want text, markdown, json, sarif or junit", format)}
			}
			if err != nil {
				return err
			}
			if stale != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "tiergate: %s is stale: %s\n", acknowledge, stale)
			}
			if len(open) > 0 {
				return fmt.Errorf("%d of %d changes widen autonomy and are not acknowledged: narrow them, or list exactly these in a file for --acknowledge (--write-acknowledgement writes it)", len(open), len(d.Changes))
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text, markdown, json, sarif or junit")
	c.Flags().StringVar(&acknowledge, "acknowledge", "", "file that lists the widenings that are meant")
	c.Flags().StringVar(&write, "write-acknowledgement", "", "write the file that acknowledges all widenings")
	return c
}

func readAcknowledgement(path string) (*review.Acknowledgement, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--acknowledge: %w", err)
	}
	defer f.Close()
	a, err := review.ReadAcknowledgement(f)
	if err != nil {
		return nil, fmt.Errorf("--acknowledge %s: %w", path, err)
	}
	return a, nil
}
