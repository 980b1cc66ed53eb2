package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/announce"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/server"
	"github.com/tiergate/tiergate/store"
)

// shutdownPatience is how long requests in flight may take to end.
const shutdownPatience = 10 * time.Second

// gcPercent trades memory for time: what lives is small beside what each
// decision leaves behind, and collecting at Go's default of 100 takes a fifth of
// the CPU. GOGC in the environment has precedence. See docs/performance.md.
const gcPercent = 400

type serveFlags struct {
	addr, databaseURL, bundle, tokens string
	dev, accept                       bool
	key                               verifierFlags
	announce                          announceFlags
	notary                            notaryFlags
}

func serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer decisions over HTTP",
		Long: `serve answers decisions over HTTP and keeps the gate log. Without --database-url it uses the
SQLite file tiergate.db in the working directory. It needs --tokens, or --dev for a try on loopback.
The active bundle is in the database. --bundle, or else the built-in bundle, becomes active where there is none
yet; after that, bundles are changed over the API. With --signing-key checkpoints of the log and receipts are signed, and with
--checkpoint-dir also kept out of the database's reach (docs/checkpoints.md). With --verification-key every bundle must be signed by that key,
the built-in one aside.

Every flag has an environment variable, TIERGATE_ and its name: TIERGATE_DATABASE_URL.`,
		Args: cobra.NoArgs,
	}
	env := func(name, otherwise string) string {
		if v := os.Getenv("TIERGATE_" + name); v != "" {
			return v
		}
		return otherwise
	}
	dev, devErr := strconv.ParseBool(env("DEV", "false"))
	accept, acceptErr := strconv.ParseBool(env("ACCEPT_NOT_COVERED", "false"))
	c.Flags().StringVar(&f.addr, "addr", env("ADDR", "127.0.0.1:8080"), "address to listen on (TIERGATE_ADDR)")
	c.Flags().StringVar(&f.databaseURL, "database-url", "", "postgres://… or sqlite:FILE (TIERGATE_DATABASE_URL; default sqlite:tiergate.db)")
	c.Flags().StringVar(&f.bundle, "bundle", env("BUNDLE", ""), "policy bundle for an empty database, folder or archive (TIERGATE_BUNDLE; default: the one built in)")
	c.Flags().BoolVar(&f.accept, "accept-not-covered", accept, "let --bundle become active though its proof does not cover all that it does (TIERGATE_ACCEPT_NOT_COVERED)")
	c.Flags().StringVar(&f.tokens, "tokens", env("TOKENS", ""), "file of token hashes, reread on SIGHUP (TIERGATE_TOKENS)")
	c.Flags().BoolVar(&f.dev, "dev", dev, `loopback only, with the built-in token "dev" (TIERGATE_DEV)`)
	f.key.register(c)
	f.announce.register(c)
	f.notary.register(c, env)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if devErr != nil {
			return usageError{fmt.Errorf("TIERGATE_DEV: want true or false: %w", devErr)}
		}
		if acceptErr != nil {
			return usageError{fmt.Errorf("TIERGATE_ACCEPT_NOT_COVERED: want true or false: %w", acceptErr)}
		}
		return serve(cmd, f)
	}
	c.PreRun = func(*cobra.Command, []string) {
		// Not a flag default: --help must not print a password.
		if f.databaseURL == "" {
			f.databaseURL = env("DATABASE_URL", "sqlite:tiergate.db")
		}
	}
	return c
}

func serve(cmd *cobra.Command, f serveFlags) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx := cmd.Context()
	logger := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	tokens, err := f.loadTokens()
	if err != nil {
		return err
	}
	addr, err := net.ResolveTCPAddr("tcp", f.addr)
	if err != nil {
		return usageError{fmt.Errorf("--addr %s: %w", f.addr, err)}
	}
	if f.dev && !addr.IP.IsLoopback() {
		return usageError{fmt.Errorf("--dev listens on loopback only, not on %s", f.addr)}
	}
	allow, err := f.announce.networks(f.dev)
	if err != nil {
		return err
	}
	if _, err := f.announce.public(f.dev, f.addr); err != nil {
		return err
	}
	brought, err := bring(f.bundle, f.accept, f.key)
	if err != nil {
		return err
	}
	signing, err := f.notary.load(logger)
	if err != nil {
		return err
	}
	receipts, err := f.notary.receipts(signing.Signer)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s, err := store.Open(ctx, store.Options{URL: f.databaseURL, Logger: logger, Registerer: registry})
	if err != nil {
		return storeError(err)
	}
	defer func() {
		// The log closes last, when no request can be answered any more.
		closing, cancel := context.WithTimeout(context.Background(), shutdownPatience)
		defer cancel()
		err = errors.Join(err, s.Close(closing))
	}()
	if w := s.Warning(); w != "" {
		logger.Warn(w)
	}
	policies, err := brought.openRollout(ctx, s, logger, registry)
	if err != nil {
		return err
	}
	defer policies.Close()
	policy, epoch := policies.Policy()
	gate := engine.NewGate(engine.GateOptions{Facts: s, Log: s, Approvals: s, Policy: policy, PolicyEpoch: epoch, EngineVersion: engineVersion(), Logger: logger})
	policies.Start(gate)
	// Before anything is answered: a log that was set back stops its tenant.
	signer, stopSigning, err := notarize(ctx, signing, s, logger, registry)
	if err != nil {
		return err
	}
	defer stopSigning()
	listener, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", f.addr, err)
	}
	public, err := f.announce.public(f.dev, listener.Addr().String())
	if err != nil {
		return err
	}
	sender, stopAnnouncing, err := announcing(announce.Options{Outbox: s, PublicURL: public, Allow: allow, Logger: logger, Registerer: registry})
	if err != nil {
		return err
	}
	defer stopAnnouncing()
	options := server.Options{Gate: gate, Store: s, Rollout: policies, Tokens: tokens, Dev: f.dev,
		Allow: allow, Announcer: sender, Exporter: exporter(s), Logger: logger, Registry: registry}
	if signer != nil {
		options.Notary, options.Receipts, options.Keys = signer, receipts, signer.Keys().Public()
	}
	handler := server.New(options)
	stopReload := reloadOnHangup(tokens, logger)
	defer stopReload()
	srv := server.HTTPServer(f.addr, handler)
	srv.RegisterOnShutdown(s.StopWaiting)
	srv.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelWarn)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	id := policy.ID()
	logger.Info("bundle is active", "revision", id.Revision, "bundle_hash", id.BundleHash, "policy_epoch", epoch)
	debug.FreeOSMemory() // what compiling left behind; with gcPercent it would lie for long
	fmt.Fprintf(cmd.ErrOrStderr(), "listening on http://%s\n", listener.Addr())

	if f.dev {
		fmt.Fprintf(cmd.ErrOrStderr(), devHint, listener.Addr())
	}

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	logger.Info("stopping: requests in flight are finished, new ones are refused")
	patience, cancel := context.WithTimeout(context.Background(), shutdownPatience)
	defer cancel()
	if err := srv.Shutdown(patience); err != nil {
		srv.Close()
		return fmt.Errorf("some requests did not end within %s and were cut off: %w", shutdownPatience, err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// devHint is a request to paste into another terminal.
const devHint = `
try it:

  curl -s http://%[1]s/api/v1/remediation/decisions \
    -H 'Authorization: Bearer dev' -H 'Content-Type: application/json' \
    -d '{"action_type": "isolate_host", "target": "host:wks-042", "confidence": 0.97}'

`

// storeError makes an unusable URL a usage error.
func storeError(err error) error {
	if errors.Is(err, store.ErrURL) {
		return usageError{err}
	}
	return err
}

func (f serveFlags) loadTokens() (*server.Tokens, error) {
	switch {
	case f.tokens != "" && f.dev:
		return nil, usageError{errors.New("--tokens and --dev exclude each other: --dev brings its own token")}
	case f.dev:
		return server.DevTokens(), nil
	case f.tokens == "":
		return nil, usageError{errors.New("nobody could ask: give --tokens FILE, or --dev for a try on loopback")}
	}
	t, err := server.LoadTokens(f.tokens)
	if err != nil {
		return nil, usageError{err}
	}
	return t, nil
}

// reloadOnHangup rereads the tokens on SIGHUP; a bad file changes nothing.
func reloadOnHangup(tokens *server.Tokens, logger *slog.Logger) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-hangup:
				if err := tokens.Reload(); err != nil {
					logger.Error("the tokens stay as they were", "error", err)
				} else {
					logger.Info("tokens reread")
				}
			}
		}
	}()
	return func() { signal.Stop(hangup); close(done) }
}
