package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/bundles"
)

func bundleCommand() *cobra.Command {
	c := &cobra.Command{Use: "bundle", Short: "Build, inspect, sign or verify a policy bundle",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{errors.New("name a command: bundle build, inspect, sign, verify or keygen")}
		}}
	c.AddCommand(bundleBuildCommand(), bundleInspectCommand(), bundleSignCommand(), bundleVerifyCommand(), bundleKeygenCommand())
	return c
}

func bundleBuildCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "build DIR|FILE",
		Short: "Check a bundle and pack it; the same sources make the same bytes",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			b, err := bundles.Load(args[0])
			if err != nil {
				return usageError{err}
			}
			if _, err := loadPolicy(cmd.Context(), args[0]); err != nil {
				return err
			}
			if err := writeFile(output, b.WriteArchive); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b.Hash)
			fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s, revision %s\n", output, b.Revision)
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "bundle.tar.gz", "the archive to write")
	return c
}

// writeFile writes a file as a whole or not at all.
func writeFile(path string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func bundleInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect DIR|FILE|git:REV[:PATH]",
		Short: "Print a bundle's revision, hash and content as JSON",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, _, err := loadSource(cmd.Context(), args[0])
			if err != nil {
				return usageError{err}
			}
			var packages []string
			for _, m := range b.Modules {
				packages = append(packages, m.Package.Path.String())
			}
			slices.Sort(packages)
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(map[string]any{
				"revision":    b.Revision,
				"bundle_hash": b.Hash,
				"roots":       b.Roots,
				"packages":    packages,
				"modules":     slices.Sorted(maps.Keys(b.Modules)),
			})
		},
	}
}
