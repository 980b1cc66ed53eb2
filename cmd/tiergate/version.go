package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/open-policy-agent/opa/v1/version"
	"github.com/spf13/cobra"
)

// tiergateVersion is the release; see CHANGELOG.md. Proofs are kept under it, so
// it rises whenever the prover looks at more than before.
const tiergateVersion = "0.2.0"

// engineVersion goes into every row: what evaluated the policy.
func engineVersion() string {
	return fmt.Sprintf("tiergate/%s opa/%s", tiergateVersion, version.Version)
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of tiergate, OPA, Go and the built-in bundle",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := loadBundle("")
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "tiergate %s\nopa %s\ngo %s %s/%s\nbundle %s %s\n",
				tiergateVersion, version.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, b.Revision, b.Hash)
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						fmt.Fprintf(cmd.OutOrStdout(), "commit %s\n", s.Value)
					}
				}
			}
			return nil
		},
	}
}
