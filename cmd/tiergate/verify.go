package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/client"
	"github.com/tiergate/tiergate/store"
)

// What verify exits with besides 0.
const (
	exitTampered   = 1
	exitIncomplete = 2
	exitSignature  = 3
	exitUnreadable = 4
)

// exitError ends the program with a code of its own.
type exitError struct {
	error
	code int
}

func (e exitError) Unwrap() error { return e.error }

type verifyFlags struct {
	databaseURL, tenant string
	kept                []string
	signed              signedFlags
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify --database-url URL",
		Short: "Check that nothing in the gate log was changed since it was written",
		Long: `verify makes the leaf of every row of evidence again (decisions, changes, approvals, outcomes) and holds it
against the tenant's Merkle tree. It reads the database beside the gate, in short queries, and changes
nothing; a role with SELECT is enough. docs/tree.md says what is checked.

The last line of each tenant has the tree's size and root. Keep it where nobody who runs the database can
write, and give it back with --kept SIZE:ROOT: a log that was rewritten or cut off as a whole shows only
so. Better, give a checkpoint that the gate has signed, with the verifier keys that you trust:
--checkpoint FILE --key FILE. docs/checkpoints.md says where checkpoints come from.

Exit 1: something is not as it was written; the first places are named.
Exit 2: what is there is as it was written, but some of the log is older than its tree, or the log is shorter
        than its checkpoint.
Exit 3: a checkpoint has no signature of a key that was given, or is not as it was signed.
Exit 4: the log or a checkpoint could not be read.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return verify(cmd, &f) },
	}
	c.Flags().StringVar(&f.databaseURL, "database-url", "", "postgres://… or sqlite:FILE (TIERGATE_DATABASE_URL)")
	c.Flags().StringVar(&f.tenant, "tenant", "", "only this tenant")
	c.Flags().StringArrayVar(&f.kept, "kept", nil, "SIZE:ROOT that the tenant's tree once had; may be given more than once")
	f.signed.register(c)
	return c
}

func verify(cmd *cobra.Command, f *verifyFlags) error {
	if f.databaseURL == "" {
		f.databaseURL = os.Getenv("TIERGATE_DATABASE_URL")
	}
	kept, err := parseKept(f.kept)
	switch {
	case err != nil:
		return usageError{err}
	case f.databaseURL == "":
		return usageError{errors.New("give --database-url: postgres://… or sqlite:FILE")}
	case len(kept) > 0 && f.tenant == "":
		return usageError{errors.New("--kept is of one tenant: give --tenant, too")}
	}
	points, err := f.signed.open()
	if err != nil {
		return err
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	r, err := store.OpenReader(ctx, f.databaseURL)
	if err != nil {
		return exitError{err, exitUnreadable}
	}
	defer r.Close()
	tenants, err := tenantsToVerify(ctx, r, f.tenant, points)
	if err != nil {
		return err
	}
	tampered, incomplete := 0, 0
	for _, t := range tenants {
		known, short, err := compareLength(ctx, r, t, points[t])
		if err != nil {
			return exitError{err, exitUnreadable}
		}
		report, err := audit.Verify(ctx, r, t, append(known, kept...)...)
		if err != nil {
			return exitError{fmt.Errorf("tenant %s: %w", t, err), exitUnreadable}
		}
		writeReport(out, report)
		if short != "" {
			fmt.Fprintf(out, "%s: %s\n", client.Printable(t), short)
		}
		if len(report.Faults) > 0 {
			tampered++
		} else if report.NotCovered != "" || short != "" {
			incomplete++
		}
	}
	switch {
	case tampered > 0:
		return exitError{fmt.Errorf("of %d tenants %d have evidence that is not as it was written", len(tenants), tampered), exitTampered}
	case incomplete > 0:
		return exitError{fmt.Errorf("of %d tenants %d have evidence that is older than its tree, or that is missing", len(tenants), incomplete), exitIncomplete}
	}
	return nil
}

// parseKept reads SIZE:ROOT, as verify prints them.
func parseKept(list []string) (kept []audit.Kept, err error) {
	for _, text := range list {
		size, root, ok := strings.Cut(text, ":")
		var k audit.Kept
		if k.Size, err = strconv.ParseInt(size, 10, 64); err != nil || !ok || k.Size < 0 {
			return nil, fmt.Errorf("--kept %q: want SIZE:ROOT, such as verify prints", text)
		}
		if k.Root, err = tlog.ParseHash(root); err != nil {
			return nil, fmt.Errorf("--kept %q: a root is 32 bytes in base64, such as verify prints", text)
		}
		kept = append(kept, k)
	}
	return kept, nil
}

// writeReport prints a tenant's name, which may be anything, its faults and its head.
func writeReport(w io.Writer, r *audit.Report) {
	name := client.Printable(r.Tenant)
	for _, f := range r.Faults {
		fmt.Fprintf(w, "%s: %s\n", name, client.Printable(f.String()))
	}
	if r.More {
		fmt.Fprintf(w, "%s: and more\n", name)
	}
	if r.NotCovered != "" {
		fmt.Fprintf(w, "%s: not covered: %s\n", name, r.NotCovered)
	}
	var parts []string
	for _, k := range audit.Kinds[1:] {
		if n := r.Leaves[k.Name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k.Name))
		}
	}
	fmt.Fprintf(w, "%s: %s: %d:%s\n", name, strings.Join(parts, ", "), r.Size, r.Root)
}
