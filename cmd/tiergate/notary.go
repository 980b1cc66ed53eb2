package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/notary"
)

// notaryFlags say who signs, and where checkpoints go.
type notaryFlags struct {
	key, retired, dir, push string
}

func (f *notaryFlags) register(c *cobra.Command, env func(name, otherwise string) string) {
	c.Flags().StringVar(&f.key, "signing-key", env("SIGNING_KEY", ""), "file of the key that signs checkpoints, as keygen makes it (TIERGATE_SIGNING_KEY)")
	c.Flags().StringVar(&f.retired, "retired-keys", env("RETIRED_KEYS", ""), "file of verifier keys that signed before, one in each line (TIERGATE_RETIRED_KEYS)")
	c.Flags().StringVar(&f.dir, "checkpoint-dir", env("CHECKPOINT_DIR", ""), "folder out of the database's reach for checkpoints; at start each log is compared with the last one (TIERGATE_CHECKPOINT_DIR)")
	c.Flags().StringVar(&f.push, "checkpoint-push", "", "URL that each checkpoint is posted to (TIERGATE_CHECKPOINT_PUSH)")
}

// load reads the keys and opens what is outside. Without --signing-key signer is nil.
func (f notaryFlags) load() (o notary.Options, err error) {
	push := f.push
	if push == "" { // no default of the flag: --help must not print a password
		push = os.Getenv("TIERGATE_CHECKPOINT_PUSH")
	}
	if f.key == "" {
		if f.dir != "" || push != "" || f.retired != "" {
			return o, usageError{errors.New("--checkpoint-dir, --checkpoint-push and --retired-keys need --signing-key: make a key with tiergate keygen")}
		}
		return o, nil
	}
	text, err := os.ReadFile(f.key)
	if err != nil {
		return o, usageError{fmt.Errorf("--signing-key: %w. tiergate keygen makes one", err)}
	}
	if o.Signer, err = checkpoint.ParseSigner(string(text)); err != nil {
		return o, usageError{fmt.Errorf("--signing-key %s: %w", f.key, err)}
	}
	if f.retired != "" {
		text, err := os.ReadFile(f.retired)
		if err == nil {
			o.Retired, err = checkpoint.ParseKeys(text)
		}
		if err != nil {
			return o, usageError{fmt.Errorf("--retired-keys %s: %w", f.retired, err)}
		}
	}
	if push != "" {
		if o.Push, err = notary.NewPush(push); err != nil {
			return o, usageError{fmt.Errorf("--checkpoint-push: %w", err)}
		}
	}
	if f.dir != "" {
		if o.Folder, err = notary.OpenFolder(f.dir); err != nil {
			return o, usageError{fmt.Errorf("--checkpoint-dir %s cannot be written: %w", f.dir, err)}
		}
	}
	return o, nil
}

// notarize compares what is outside with the log, and signs until stop is called.
// Without a key it returns nil and says so.
func notarize(ctx context.Context, o notary.Options, log notary.Log, logger *slog.Logger, registry prometheus.Registerer) (n *notary.Notary, stop func(), err error) {
	if o.Signer == nil {
		logger.Info("no checkpoints are signed: make a key with tiergate keygen and give it with --signing-key")
		return nil, func() {}, nil
	}
	o.Log, o.Logger, o.Registerer = log, logger, registry
	if n, err = notary.New(o); err != nil {
		return nil, nil, err
	}
	if err := n.Compare(ctx); err != nil {
		return nil, nil, fmt.Errorf("compare the log with the last checkpoints outside: %w", err)
	}
	logger.Info("checkpoints are signed", "key", o.Signer.Verifier(), "tenants_held", n.Held())
	running, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Run(running)
	}()
	return n, func() {
		cancel()
		<-done
		if o.Folder != nil {
			o.Folder.Close()
		}
	}, nil
}
