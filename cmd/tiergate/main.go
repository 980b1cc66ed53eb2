// Command tiergate is the gate that SOC automation passes through before it
// acts: a server, and the tools to look at what it would decide.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
)

// Exit codes. Every subcommand keeps to them.
const (
	exitOK    = 0
	exitNo    = 1 // the answer is "no", or it could not be done
	exitUsage = 2 // usage, or input that is wrong
)

// usageError is wrong usage or wrong input: exit 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	addCompletion(root)
	err := root.ExecuteContext(ctx)
	var usage usageError
	var exit exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		say(stderr, err)
		return exitUsage
	case errors.As(err, &exit):
		say(stderr, err)
		return exit.code
	default:
		say(stderr, err)
		return exitNo
	}
}

// say prints an error, which may quote anything that somebody else wrote.
func say(w io.Writer, err error) {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		parts := strings.Split(line, "\t")
		for k, part := range parts {
			parts[k] = client.Printable(part)
		}
		lines[i] = strings.Join(parts, "\t")
	}
	fmt.Fprintf(w, "tiergate: %s\n", strings.Join(lines, "\n"))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tiergate",
		Short: "Decides which SOC actions may run by themselves, and keeps the evidence",
		Long: `tiergate answers for every action of a security agent: auto, queued_approval or blocked.
An answer exists only once it is durably in the gate log.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprint(cmd.ErrOrStderr(), cmd.UsageString(), "\n")
			return usageError{errors.New("name a command")}
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(serveCommand(), migrateCommand(), evalCommand(), bundleCommand(), matrixCommand(), proveCommand(), diffCommand(), backtestCommand(), verifyCommand(), exportCommand(), keygenCommand(), versionCommand())
	root.AddCommand(askCommand(), tierCommand(), overrideCommand(), whitelistCommand(), stopCommand(), releaseCommand(), approvalsCommand(), channelsCommand(), announcementsCommand(), logCommand())
	wrapArgs(root)
	return root
}

// wrapArgs makes wrong arguments a usage error, and flags that are missing or
// exclude each other.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(check(cmd, args), cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()); err != nil {
				return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}
