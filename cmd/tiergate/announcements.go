package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/client"
)

func announcementsCommand() *cobra.Command {
	return group("announcements", "See what was announced, and send again what was given up", "announcements list or replay",
		announcementsListCommand(), announcementsReplayCommand())
}

func announcementsListCommand() *cobra.Command {
	var f connectionFlags
	var page pageFlags
	var status, channel string
	c := &cobra.Command{Use: "list", Short: "List announcements, the newest first", Args: cobra.NoArgs,
		Long: "list shows one page of announcements. --status dead are those that were given up, or that name no channel.\n--json gives the body of GET /announcements."}
	f.register(c)
	page.register(c)
	c.Flags().StringVar(&status, "status", "", "pending, delivered or dead")
	c.Flags().StringVar(&channel, "channel", "", "only of this channel")
	c.RunE = f.operate(func(ctx context.Context, o *operator, _ []string) error {
		if err := page.check(); err != nil {
			return usageError{err}
		}
		a, err := o.api.Announcements(ctx, status, channel, page.limit, page.cursor)
		return tell(o, a, err, func(p client.Page[client.Announcement]) error {
			var rows [][]string
			for _, e := range p.Entries {
				rows = append(rows, []string{e.ID, e.Status, e.Kind, e.Channel, fmt.Sprint(e.Attempts), e.CreatedAt, e.LastError})
			}
			o.more(p.Next)
			return list(o.out, rows, "ID", "STATUS", "KIND", "CHANNEL", "ATTEMPTS", "CREATED", "LAST ERROR")
		})
	})
	return c
}

func announcementsReplayCommand() *cobra.Command {
	var f connectionFlags
	var channel string
	c := &cobra.Command{Use: "replay [<id>] [--channel NAME]", Short: "Send again what was given up", Args: cobra.MaximumNArgs(1),
		Long: "replay sends one dead announcement again, or all of a channel."}
	f.register(c)
	c.Flags().StringVar(&channel, "channel", "", "all that are dead of this channel")
	c.RunE = f.operate(func(ctx context.Context, o *operator, args []string) error {
		switch {
		case (len(args) == 1) == (channel != ""):
			return usageError{errors.New("name an announcement, or a channel with --channel")}
		case channel != "":
			a, err := o.api.ReplayChannel(ctx, channel)
			return tell(o, a, err, func(r client.Replayed) error { return o.sayf("%s are sent again", fmt.Sprint(*r.Replayed)) })
		}
		a, err := o.api.Replay(ctx, args[0])
		return tell(o, a, err, func(v client.Announcement) error { return o.sayf("%s is sent again to %s", v.ID, v.Channel) })
	})
	return c
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
