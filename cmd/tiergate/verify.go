package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/replay"
	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/client"
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
	databaseURL, tenant        string
	kept                       []string
	signed                     signedFlags
	noRedecide, treeOnly, json bool
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify (FILE | --database-url URL)",
		Short: "Check that nothing in the gate log was changed since it was written, and that all of it is true",
		Long: `verify makes the leaf of every row of evidence again (decisions, changes, approvals, outcomes) and holds it
against the tenant's Merkle tree. It rebuilds the configuration at every epoch from the changes alone, checks that
each decision saw just that, and decides every row again from its input with the bundle that it names.

FILE is what tiergate export wrote: verify needs no database and no network for it, and trusts nothing that the
file says of itself. With --database-url it reads the database beside the gate, in short queries, and changes
nothing; a role with SELECT is enough. docs/tree.md and docs/evidence.md say what is checked.

What was rewritten or cut off as a whole shows only against something that was kept elsewhere: signed
checkpoints (--checkpoint FILE --key FILE; docs/checkpoints.md says where they come from), or size and root of the
tree as verify prints them (--kept SIZE:ROOT). Keys that come with a file vouch for nothing alone: give --key from a place that whoever made the file cannot
write.

Exit 1: something is not as it was written, or not true; the first places are named.
Exit 2: what is there is as it was written, but something is missing, or older than the tree, or the log is
        shorter than its checkpoint.
Exit 3: a checkpoint has no signature of a key that was given, or is not as it was signed.
Exit 4: the log, the file or a checkpoint could not be read.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent) // as serve does: little lives, much is left behind
			}
			return verify(cmd, &f, first(args))
		},
	}
	c.Flags().StringVar(&f.databaseURL, "database-url", "", "postgres://… or sqlite:FILE (TIERGATE_DATABASE_URL)")
	c.Flags().StringVar(&f.tenant, "tenant", "", "only this tenant")
	c.Flags().StringArrayVar(&f.kept, "kept", nil, "SIZE:ROOT that the tenant's tree once had; may be given more than once")
	f.signed.register(c)
	c.Flags().BoolVar(&f.noRedecide, "no-redecide", false, "do not decide the rows again, which takes most of the time")
	c.Flags().BoolVar(&f.treeOnly, "tree-only", false, "of a database, only hold the rows against the tree, and look at nothing that they say")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object for each tenant")
	return c
}

func verify(cmd *cobra.Command, f *verifyFlags, file string) error {
	if f.databaseURL == "" && file == "" {
		f.databaseURL = os.Getenv("TIERGATE_DATABASE_URL")
	}
	kept, err := parseKept(f.kept)
	switch {
	case err != nil:
		return usageError{err}
	case file != "" && f.databaseURL != "":
		return usageError{errors.New("a file and --database-url exclude each other")}
	case file == "" && f.databaseURL == "":
		return usageError{errors.New("give a file that tiergate export wrote, or --database-url: postgres://… or sqlite:FILE")}
	case file != "" && f.treeOnly:
		return usageError{errors.New("--tree-only is of a database")}
	case file == "" && len(kept) > 0 && f.tenant == "":
		return usageError{errors.New("--kept is of one tenant: give --tenant, too")}
	}
	v := &verification{flags: f, out: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr()}
	for i, k := range kept {
		v.kept = append(v.kept, replay.Checkpoint{Kept: k, Name: "--kept " + f.kept[i]})
	}
	if err := f.signed.check(file); err != nil {
		return err
	}
	if v.keys, v.points, err = f.signed.open(); err != nil {
		return err
	}
	if file != "" {
		err = v.file(cmd.Context(), file)
	} else {
		err = v.database(cmd.Context())
	}
	if err != nil {
		return err
	}
	return v.verdict()
}

// verification is one run of verify.
type verification struct {
	flags       *verifyFlags
	out, stderr io.Writer
	kept        []replay.Checkpoint
	keys        checkpoint.Keys // that were given
	points      []signedPoint
	found       map[int]int // exit code → how many tenants
	tenants     int
}

// say prints what was found out about a tenant, whose name may be anything.
func (v *verification) say(r *findings) error {
	if v.found == nil {
		v.found = map[int]int{}
	}
	v.tenants++
	if code := r.code(); code != 0 {
		v.found[code]++
	}
	if v.flags.json {
		return json.NewEncoder(v.out).Encode(r)
	}
	name := client.Printable(r.Tenant)
	line := func(format string, args ...any) {
		fmt.Fprintf(v.out, "%s: %s\n", name, client.Printable(fmt.Sprintf(format, args...)))
	}
	for _, s := range r.Signatures {
		line("%s", s)
	}
	for _, f := range r.Faults {
		line("%s: %s", f.Class, f)
	}
	if total := r.Found[replay.Tampered] + r.Found[replay.Incomplete]; total > int64(len(r.Faults)) {
		line("and %d more", total-int64(len(r.Faults)))
	}
	for _, n := range r.Notes {
		line("note: %s", n)
	}
	var parts []string
	for _, k := range audit.Kinds[1:] {
		if n := r.Rows[k.Name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k.Name))
		}
	}
	rows := strings.Join(parts, ", ")
	if n := r.Rows[audit.Decision.Name]; n > 0 && r.Replayed {
		rows += fmt.Sprintf("; %d of %d decisions saw what the configuration says", r.Facts, n)
		if !v.flags.noRedecide {
			rows += fmt.Sprintf(", and %d were decided again", r.Redecided)
		}
	}
	if r.Checkpoints > 0 {
		rows += fmt.Sprintf("; checkpoints that agree: %d", r.Checkpoints)
	}
	line("%s: %d:%s", rows, r.Size, r.Root)
	return nil
}

// findings is a tenant's report with what else verify found out.
type findings struct {
	*replay.Report
	TreeRoot   string   `json:"tree_root"`
	Signatures []string `json:"bad_signatures,omitempty"`
	Notes      []string `json:"notes,omitempty"`
}

func (r *findings) code() int {
	switch {
	case r.Found[replay.Tampered] > 0:
		return exitTampered
	case len(r.Signatures) > 0:
		return exitSignature
	case r.Found[replay.Incomplete] > 0:
		return exitIncomplete
	}
	return 0
}

// verdict is the exit code in words, the worst first.
func (v *verification) verdict() error {
	for _, c := range []struct {
		code int
		text string
	}{
		{exitTampered, "have evidence that is not as it was written, or not true"},
		{exitSignature, "have a checkpoint with a bad key or signature"},
		{exitIncomplete, "have evidence of which something is missing, or older than its tree"},
	} {
		if n := v.found[c.code]; n > 0 {
			return exitError{fmt.Errorf("of %d tenants %d %s", v.tenants, n, c.text), c.code}
		}
	}
	return nil
}

// options are what every check begins with.
func (v *verification) options(tenant string, kept []replay.Checkpoint, policies replay.Bundles, bar *progress) replay.Options {
	return replay.Options{Tenant: tenant, End: -1, Kept: kept, Bundles: policies, NoRedecide: v.flags.noRedecide, Progress: bar.Add}
}

// unreadable is an error of reading, which says nothing about the log.
func unreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	return exitError{err, exitUnreadable}
}

// parseKept reads SIZE:ROOT, as verify prints them.
func parseKept(list []string) (kept []audit.Kept, err error) {
	for _, text := range list {
		size, root, ok := strings.Cut(text, ":")
		var k audit.Kept
		if k.Size, err = strconv.ParseInt(size, 10, 64); err != nil || !ok || k.Size < 1 {
			return nil, fmt.Errorf("--kept %q: want SIZE:ROOT, such as verify prints", text)
		}
		if k.Root, err = tlog.ParseHash(root); err != nil {
			return nil, fmt.Errorf("--kept %q: a root is 32 bytes in base64, such as verify prints", text)
		}
		kept = append(kept, k)
	}
	return kept, nil
}

// sortedNames are the keys of a map in order.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
