package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
)

// maxTokenFile bounds what is read of a token file.
const maxTokenFile = 64 << 10

// connectionHelp ends the help of every command that speaks to a gate.
const connectionHelp = `
It speaks to the gate at TIERGATE_URL (default ` + client.DefaultURL + `) with the token in TIERGATE_TOKEN or --token-file.`

// connectionFlags say how to reach the gate, and how to speak to the operator.
type connectionFlags struct {
	tokenFile, tenant string
	plaintext         bool
	json              bool
	yes               bool // only where widens registered it
}

// register adds the flags. There is none for the token itself: ps would show it.
func (f *connectionFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the token, instead of TIERGATE_TOKEN")
	flags.StringVar(&f.tenant, "tenant", os.Getenv("TIERGATE_TENANT"), "tenant, for a token that is good for all of them (TIERGATE_TENANT)")
	flags.BoolVar(&f.plaintext, "allow-plain-http", false, "send the token over plain http to another machine, where everybody on the way can read it")
	flags.BoolVar(&f.json, "json", false, "print what the API answered, for machines")
	c.Long += "\n" + connectionHelp
}

// widens adds the flag that answers the question before something is widened.
func (f *connectionFlags) widens(c *cobra.Command) {
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask before what runs by itself is widened")
}

// connect reads the environment and the flags; every error is one of usage.
func (f *connectionFlags) connect(timeout time.Duration) (*client.Client, error) {
	token, err := f.token()
	if err != nil {
		return nil, usageError{err}
	}
	api, err := client.New(client.Options{
		URL: os.Getenv("TIERGATE_URL"), Token: token, Tenant: f.tenant, AllowPlaintext: f.plaintext,
		Timeout: timeout, UserAgent: "tiergate/" + tiergateVersion,
	})
	switch {
	case errors.Is(err, client.ErrPlaintext):
		return nil, usageError{fmt.Errorf("%w; name it with https in TIERGATE_URL, or give --allow-plain-http", err)}
	case err != nil:
		return nil, usageError{fmt.Errorf("%w; see TIERGATE_URL, TIERGATE_TOKEN, --token-file and --tenant", err)}
	}
	return api, nil
}

// token reads the token. Errors name where it should be and never what is there.
func (f *connectionFlags) token() (string, error) {
	if f.tokenFile == "" {
		token := os.Getenv("TIERGATE_TOKEN")
		if token == "" {
			return "", errors.New("who asks? Put a token into TIERGATE_TOKEN, or give --token-file; the token of serve --dev is dev")
		}
		return token, nil
	}
	file, err := os.Open(f.tokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	if content = bytes.TrimSpace(content); len(content) == 0 {
		return "", fmt.Errorf("--token-file %s is empty", f.tokenFile)
	}
	return string(content), nil
}

// operator is one command of an operator under way.
type operator struct {
	*connectionFlags
	api      *client.Client
	in       io.Reader
	out, err io.Writer
}

// operate makes what a command runs of what it does with a gate.
func (f *connectionFlags) operate(do func(ctx context.Context, o *operator, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		api, err := f.connect(0)
		if err != nil {
			return err
		}
		o := &operator{f, api, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()}
		err = do(cmd.Context(), o, args)
		var problem *client.Problem
		if o.json && errors.As(err, &problem) {
			err = errors.Join(err, refusal(o.out, problem))
		}
		return explain(err)
	}
}

// group is a command that only has others below it.
func group(use, short, name string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usageError{errors.New("name a command: " + name)} }}
	c.AddCommand(below...)
	return c
}
