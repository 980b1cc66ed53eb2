package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/audit/evidence"
	"github.com/tiergate/tiergate/audit/statement"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/server"
	"github.com/tiergate/tiergate/store"
)

type exportFlags struct {
	databaseURL, tenant, from, to, out, keys string
	checkpoints                              []string
}

func exportCommand() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export --tenant TENANT -o FILE --database-url URL",
		Short: "Write a tenant's evidence into one file that can be checked offline",
		Long: `export writes what a gate decided for a tenant in a window of time, and all that is needed to check it: the rows,
the inputs, every change of the configuration and the policy, the bundles, and the hashes of the tenant's
whole tree. It reads the database beside the gate, in short queries, and changes nothing; a role with
SELECT is enough. The same database state gives the same bytes.

tiergate verify FILE checks the file, without a database and without a network. docs/evidence.md has the
format, enough to write another verifier.

--checkpoint and --keys put signed checkpoints and verifier keys into the file, for whoever has none of
their own. The line at the end has the SHA-256 of the file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return export(cmd, &f) },
	}
	c.Flags().StringVar(&f.databaseURL, "database-url", "", "postgres://… or sqlite:FILE (TIERGATE_DATABASE_URL)")
	c.Flags().StringVar(&f.tenant, "tenant", "", "whose evidence")
	c.Flags().StringVar(&f.from, "from", "", "rows decided at or after, such as 2026-11-01 or 2026-11-01T08:00:00Z; left out: from the beginning")
	c.Flags().StringVar(&f.to, "to", "", "rows decided before; left out: until now")
	c.Flags().StringVarP(&f.out, "output", "o", "", "the file; it is there whole or not at all")
	c.Flags().StringArrayVar(&f.checkpoints, "checkpoint", nil, "file with a signed checkpoint; may be given more than once")
	c.Flags().StringVar(&f.keys, "keys", "", "file with verifier keys, one a line")
	return c
}

func (f *exportFlags) options() (o evidence.Options, err error) {
	if f.databaseURL == "" {
		f.databaseURL = os.Getenv("TIERGATE_DATABASE_URL")
	}
	switch {
	case f.databaseURL == "":
		return o, errors.New("give --database-url: postgres://… or sqlite:FILE")
	case f.tenant == "":
		return o, errors.New("give --tenant: whose evidence is to be exported")
	case f.out == "":
		return o, errors.New("give -o: the file to write, such as evidence.zip")
	}
	o = evidence.Options{Window: evidence.Window{Tenant: f.tenant}, Generator: engineVersion()}
	if o.From, err = parseDay("--from", f.from); err != nil {
		return o, err
	}
	if o.To, err = parseDay("--to", f.to); err != nil {
		return o, err
	}
	if !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To) {
		return o, errors.New("--from must be before --to")
	}
	if len(f.checkpoints) > 0 {
		o.Checkpoints = map[string][]byte{}
	}
	for i, path := range f.checkpoints {
		if o.Checkpoints[fmt.Sprintf("%04d.txt", i+1)], err = readSmall(path); err != nil {
			return o, fmt.Errorf("--checkpoint: %w", err)
		}
	}
	if f.keys != "" {
		if o.Keys, err = readSmall(f.keys); err != nil {
			return o, fmt.Errorf("--keys: %w", err)
		}
	}
	return o, nil
}

// exporter writes evidence files over HTTP, through the gate's own connections.
func exporter(s *store.Store) server.Exporter {
	return func(ctx context.Context, w io.Writer, tenant string, from, to time.Time) error {
		o := evidence.Options{Window: evidence.Window{Tenant: tenant, From: from, To: to}, Generator: engineVersion()}
		o.Statement = statementOf(ctx, o.Window)
		_, err := evidence.Write(ctx, w, s.Reader(ctx), o)
		if errors.Is(err, evidence.ErrNoTree) {
			return server.ErrNothing
		}
		if err != nil {
			return fmt.Errorf("%w: export: %w", engine.ErrUnavailable, err)
		}
		return nil
	}
}

// statementOf makes the page for people.
func statementOf(ctx context.Context, w evidence.Window) func(*evidence.Kept) (evidence.Statement, error) {
	return func(kept *evidence.Kept) (evidence.Statement, error) {
		return statement.New(ctx, w, keptPolicies(kept.Bundle))
	}
}

// maxSmallFile bounds checkpoints and lists of keys.
const maxSmallFile = 1 << 20

func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxSmallFile+1))
	if err == nil && len(b) > maxSmallFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxSmallFile)
	}
	return b, err
}

func export(cmd *cobra.Command, f *exportFlags) error {
	o, err := f.options()
	if err != nil {
		return usageError{err}
	}
	ctx := cmd.Context()
	r, err := store.OpenReader(ctx, f.databaseURL)
	if err != nil {
		return storeError(err)
	}
	defer r.Close()
	head, err := r.Head(ctx, f.tenant)
	if err != nil {
		return err
	}
	bar := newProgress(cmd.ErrOrStderr(), "export", head.Size)
	defer bar.Done()
	o.Progress, o.Statement = bar.Add, statementOf(ctx, o.Window)
	sum := sha256.New()
	var m *evidence.Manifest
	err = writeWhole(f.out, func(w io.Writer) error {
		m, err = evidence.Write(ctx, io.MultiWriter(w, sum), r, o)
		return err
	})
	bar.Done()
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted; no file was written")
	case errors.Is(err, evidence.ErrNoTree):
		return usageError{err}
	case err != nil:
		return fmt.Errorf("export: %w", err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%x  %s\ntree of %s: %d:%s\n", sum.Sum(nil), f.out, m.Tenant, m.TreeSize, m.TreeRoot)
	return nil
}

// writeWhole writes a file that is there whole or not at all: beside its place,
// made durable, then renamed.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, temp.Close(), os.Remove(temp.Name()))
		}
	}()
	if err := write(temp); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
