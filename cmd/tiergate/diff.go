package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/review"
)

type diffFlags struct {
	format, acknowledge, write string
	outputs                    []string
}

func diffCommand() *cobra.Command {
	var f diffFlags
	c := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say exactly which decisions a policy change changes, and which way",
		Long: `diff decides every situation that either bundle can tell apart under both and tells the differences in
few sentences that say exactly which situations they are.

Exit 1: something widens autonomy, and the file given with --acknowledge does not list exactly that.
--write-acknowledgement writes such a file; it is stale as soon as OLD or the widenings change.

` + sourceHelp,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return diff(cmd, args[0], args[1], &f) },
	}
	c.Flags().StringVar(&f.format, "format", "text", diffFormats)
	c.Flags().StringArrayVarP(&f.outputs, "output", "o", nil, "also write it to a file, as FORMAT=FILE; may be given more than once")
	c.Flags().StringVar(&f.acknowledge, "acknowledge", "", "file that lists the widenings that are meant")
	c.Flags().StringVar(&f.write, "write-acknowledgement", "", "write the file that acknowledges all widenings")
	return c
}

const diffFormats = "text, markdown, json, sarif or junit"

func diff(cmd *cobra.Command, oldName, newName string, f *diffFlags) error {
	// What is wrong with the flags is said before the long work.
	if diffWriter(f.format, nil) == nil {
		return usageError{fmt.Errorf("--format %s: want %s", f.format, diffFormats)}
	}
	for _, o := range f.outputs {
		if format, file, _ := strings.Cut(o, "="); diffWriter(format, nil) == nil || file == "" {
			return usageError{fmt.Errorf("--output %s: want FORMAT=FILE, the format being %s", o, diffFormats)}
		}
	}
	var ack *review.Acknowledgement
	if f.acknowledge != "" {
		var err error
		if ack, err = readAcknowledgement(f.acknowledge); err != nil {
			return usageError{err}
		}
	}
	older, _, err := loadSubject(cmd.Context(), oldName)
	if err != nil {
		return err
	}
	newer, folder, err := loadSubject(cmd.Context(), newName)
	if err != nil {
		return err
	}
	bar := &stages{w: cmd.ErrOrStderr()}
	d, err := review.Diff(cmd.Context(), older, newer, [2]string{oldName, newName},
		func(done, total int) { bar.Show("deciding every situation under both", done, total) })
	bar.Done()
	if err != nil {
		return reviewError(err)
	}
	open, lines, stale := d.Unacknowledged(ack)
	if f.write != "" {
		if err := writeFile(f.write, d.Acknowledge); err != nil {
			return err
		}
	}
	r := &difference{d, open, review.Locate(newer.Modules), folder}
	for _, o := range f.outputs {
		format, file, _ := strings.Cut(o, "=")
		if err := writeFile(file, diffWriter(format, r)); err != nil {
			return err
		}
	}
	if err := diffWriter(f.format, r)(cmd.OutOrStdout()); err != nil {
		return err
	}
	if stale != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "tiergate: %s is stale: %s\n", f.acknowledge, stale)
	}
	switch {
	case len(open) > 0:
		return fmt.Errorf("%d of %d changes widen autonomy and are not acknowledged: narrow them, or list exactly these in a file for --acknowledge (--write-acknowledgement writes it)", len(open), len(d.Changes))
	case lines > 0:
		return fmt.Errorf("%d things are not covered, so that it is not known what they change, and nobody acknowledged them: list exactly these in a file for --acknowledge (--write-acknowledgement writes it)", lines)
	}
	return nil
}

// difference is what the formats are written from.
type difference struct {
	*review.Comparison
	open   []review.Change
	at     map[string]review.Location
	folder string // of the new bundle's files
}

// diffWriter writes r in a format; it is nil for one that is not known.
func diffWriter(format string, r *difference) func(io.Writer) error {
	switch format {
	case "text":
		return func(w io.Writer) error { return r.Text(w, painter(w)) }
	case "markdown":
		return func(w io.Writer) error { return r.Markdown(w, r.open) }
	case "json":
		return func(w io.Writer) error { return r.JSON(w) }
	case "sarif":
		return func(w io.Writer) error { return r.SARIF(w, r.open, r.at, r.folder) }
	case "junit":
		return func(w io.Writer) error { return r.JUnit(w, r.open) }
	}
	return nil
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
