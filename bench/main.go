// Command bench measures the gate and prints the tables of docs/performance.md:
//
//	engine     one decision, beside hand-written Go, plain OPA, Cedar, CEL and casbin
//	http       durable decisions per second, beside `opa run --server`
//	log        rows per second through the append, beside INSERT and COPY
//	whitelist  the lookup of candidates as the whitelist grows
//	shadow     durable decisions per second, with and without a shadow
//	outbox     durable decisions per second, each announced and none
//
// What is compared is measured in one run, in turns, so that a noisy machine
// disturbs both sides alike; what counts are the ratios. The databases are
// private and thrown away. It runs in bench/ of the repository:
//
//	go run . -only engine,http -benchtime 2s -markdown
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	benchtime time.Duration // how long one figure is measured, in all rounds together; HTTP and log take twice that
	markdown  bool
	progress  io.Writer // says what is measured now
}

func (o *options) say(format string, args ...any) {
	fmt.Fprintf(o.progress, "bench: "+format+"\n", args...)
}

// part is one table and how it is made.
type part struct {
	name string
	make func(context.Context, *options) (*table, error)
}

var parts = []part{
	{"engine", engineTable},
	{"http", httpTable},
	{"log", logTable},
	{"whitelist", whitelistTable},
	{"shadow", shadowTable},
	{"outbox", outboxTable},
}

func main() {
	var o options
	var only string
	flag.DurationVar(&o.benchtime, "benchtime", time.Second, "how long each figure is measured")
	flag.StringVar(&only, "only", "", "tables to make, separated by commas: engine, http, log, whitelist, shadow, outbox (default all)")
	flag.BoolVar(&o.markdown, "markdown", false, "print Markdown instead of plain text")
	flag.Parse()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // as `tiergate serve` does
	}
	o.progress = io.Discard
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		o.progress = os.Stderr
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o, only); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options, only string) error {
	var wanted []string
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("-only %s: there is no such table; want engine, http, log, whitelist or shadow", name)
		}
	}
	if flag.NArg() > 0 || o.benchtime <= 0 {
		return errors.New("want no arguments and a positive -benchtime; see -help")
	}
	fmt.Print(machine(), "\n\n")
	for _, p := range parts {
		if wanted != nil && !slices.Contains(wanted, p.name) {
			continue
		}
		o.say("%s …", p.name)
		made, err := p.make(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		made.print(os.Stdout, o.markdown)
		// One table's garbage is not the next one's.
		debug.FreeOSMemory()
	}
	return nil
}
