package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
)

func channelsCommand() *cobra.Command {
	return group("channels", "Say where announcements go", "channels list, set, rm or test",
		channelsListCommand(), channelsSetCommand(), channelsRemoveCommand(), channelsTestCommand())
}

func channelsListCommand() *cobra.Command {
	var f connectionFlags
	var page pageFlags
	c := &cobra.Command{Use: "list", Short: "List the tenant's channels", Args: cobra.NoArgs,
		Long: "list shows one page of channels. URLs and keys are never shown, only where they lead.\n--json gives the body of GET /channels."}
	f.register(c)
	page.register(c)
	c.RunE = f.operate(func(ctx context.Context, o *operator, _ []string) error {
		if err := page.check(); err != nil {
			return usageError{err}
		}
		a, err := o.api.Channels(ctx, page.limit, page.cursor)
		return tell(o, a, err, func(p client.Page[client.Channel]) error {
			var rows [][]string
			for _, ch := range p.Entries {
				rows = append(rows, []string{ch.Name, ch.Format, yesNo(ch.Approvals), ch.KeyID, ch.SetBy, ch.SetAt, ch.Origin})
			}
			o.more(p.Next)
			return list(o.out, rows, "NAME", "FORMAT", "APPROVALS", "KEY", "SET BY", "SET AT", "ORIGIN")
		})
	})
	return c
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func channelsSetCommand() *cobra.Command {
	var f connectionFlags
	var s client.ChannelSetting
	var url, urlFile, secretFile string
	var approvals bool
	c := &cobra.Command{Use: "set <name> --format FORMAT --reason WHY", Short: "Set where a channel leads", Args: cobra.ExactArgs(1),
		Long: `set makes a channel or changes it; what is left out stays as it is. A webhook is signed: without --secret-file the gate
makes a key for a new one, and prints it this once. A URL may be a password: --url-file keeps it out of the list of
processes and of the shell's history.`}
	f.register(c)
	registerReason(c, &s.Reason)
	c.Flags().StringVar(&s.Format, "format", "", "webhook, slack or teams (required)")
	c.Flags().StringVar(&url, "url", "", "where it leads")
	c.Flags().StringVar(&urlFile, "url-file", "", "file that holds the URL, - for standard input")
	c.Flags().StringVar(&secretFile, "secret-file", "", "file that holds the signing key, whsec_…, - for standard input")
	c.Flags().BoolVar(&s.NewSecret, "new-secret", false, "have another signing key made")
	c.Flags().BoolVar(&approvals, "approvals", false, "announce every opened approval here; --approvals=false no longer")
	if err := c.MarkFlagRequired("format"); err != nil {
		panic(err) // it was added above
	}
	c.MarkFlagsMutuallyExclusive("url", "url-file")
	c.MarkFlagsMutuallyExclusive("new-secret", "secret-file")
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		var err error
		if s.URL, err = textOf(c.InOrStdin(), "--url", url, urlFile); err != nil {
			return usageError{err}
		}
		if s.Secret, err = textOf(c.InOrStdin(), "--secret-file", "", secretFile); err != nil {
			return usageError{err}
		}
		if c.Flags().Changed("approvals") {
			s.Approvals = &approvals
		}
		a, err := o.api.SetChannel(ctx, args[0], s)
		return tell(o, a, err, func(ch client.Channel) error {
			if err := o.sayf("%s is a channel of format %s at %s", ch.Name, ch.Format, ch.Origin); err != nil || ch.Secret == "" {
				return err
			}
			return o.sayf("its signing key, shown this once: %s", ch.Secret)
		})
	})
	return c
}

// textOf is a flag's value or what a file holds; nil where neither is given.
func textOf(in io.Reader, flag, value, file string) (*string, error) {
	if file != "" {
		var b []byte
		var err error
		if file == "-" {
			b, err = io.ReadAll(io.LimitReader(in, 4096))
		} else {
			b, err = os.ReadFile(file)
		}
		if err != nil {
			return nil, fmt.Errorf("read what %s is to be: %w", flag, err)
		}
		value = strings.TrimSpace(string(b))
		if value == "" {
			return nil, errors.New("the file for " + flag + " is empty")
		}
	}
	if value == "" {
		return nil, nil
	}
	return &value, nil
}

func channelsRemoveCommand() *cobra.Command {
	var f connectionFlags
	var reason string
	c := &cobra.Command{Use: "rm <name> --reason WHY", Short: "Remove a channel", Args: cobra.ExactArgs(1),
		Long: "rm removes a channel. What still waits to go there can be replayed once it is set again."}
	f.register(c)
	registerReason(c, &reason)
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		if err := o.api.RemoveChannel(ctx, args[0], reason); err != nil || o.json {
			return err
		}
		return o.sayf("%s is removed", args[0])
	})
	return c
}

func channelsTestCommand() *cobra.Command {
	var f connectionFlags
	c := &cobra.Command{Use: "test <name>", Short: "Send a test through a channel", Args: cobra.ExactArgs(1),
		Long: "test sends a message that says only that it is a test, and tells what became of the first attempt.\nExit 1 where the receiver did not take it."}
	f.register(c)
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		a, err := o.api.TestChannel(ctx, args[0])
		for err == nil && a.Value.Status == "pending" && a.Value.LastError == "" {
			if err = sleep(ctx, 200*time.Millisecond); err == nil {
				a, err = o.api.Announcement(ctx, a.Value.ID)
			}
		}
		if err := tell(o, a, err, func(v client.Announcement) error {
			if v.Status == "delivered" {
				return o.sayf("%s took it", args[0])
			}
			return o.sayf("%s did not take it: %s", args[0], v.LastError)
		}); err != nil {
			return err
		}
		if a.Value.Status != "delivered" {
			return errors.New("the receiver did not take the test; it is tried again until it does, or is given up")
		}
		return nil
	})
	return c
}
