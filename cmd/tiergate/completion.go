package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
	"github.com/tiergate/tiergate/engine"
)

// completionPatience is how long the shell waits for a gate.
const completionPatience = 500 * time.Millisecond

// addCompletion adds cobra's command with the usage errors of the others. It wants
// root's output to be set.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Short = "Print the completion script for a shell"
		c.Long += `
Action types are completed from the gate at TIERGATE_URL, where it answers within half a second.
`
		c.RunE = func(*cobra.Command, []string) error {
			return usageError{errors.New("name a shell: completion bash, zsh, fish or powershell")}
		}
		wrapArgs(c)
	}
}

// completer gives what may stand at a place of the command line.
type completer func(ctx context.Context, f *connectionFlags) []cobra.Completion

// complete completes arguments, a completer for each place.
func (f *connectionFlags) complete(places ...completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(places) || places[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return places[len(args)](cmd.Context(), f), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes the value of a flag.
func (f *connectionFlags) completeFlag(c *cobra.Command, flag string, values completer) {
	err := c.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return values(cmd.Context(), f), cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // no such flag
	}
}

// words completes one of a few words.
func words(list ...string) completer {
	return func(context.Context, *connectionFlags) []cobra.Completion { return list }
}

func completeMode(context.Context, *connectionFlags) []cobra.Completion { return modes }

func completeTier(context.Context, *connectionFlags) []cobra.Completion {
	var list []cobra.Completion
	for tier := range engine.MaxTier + 1 {
		list = append(list, cobra.CompletionWithDesc(fmt.Sprintf("L%d", tier), engine.TierLabel(tier)))
	}
	return list
}

// actionType is what the API calls one; another word would break the shell's
// list, which is one a line.
var actionType = regexp.MustCompile(`^[a-z][a-z0-9_]{1,63}$`)

// completeActionType asks the gate. Where it does not answer at once, or there is
// no token, nothing is completed and nothing is said.
func completeActionType(ctx context.Context, f *connectionFlags) []cobra.Completion {
	api, err := f.connect(completionPatience)
	if err != nil {
		return nil
	}
	a, err := api.Actions(ctx)
	if err != nil {
		return nil
	}
	var list []cobra.Completion
	for _, row := range a.Value.Actions {
		if actionType.MatchString(row.ActionType) {
			list = append(list, cobra.CompletionWithDesc(row.ActionType, client.Printable(row.BlastRadius+": "+row.Description)))
		}
	}
	return list
}
