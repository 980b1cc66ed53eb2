package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/engine"
	"github.com/tiergate/tiergate/notary"
	"github.com/tiergate/tiergate/receipt"
)

// notaryFlags say who signs, and where checkpoints go.
type notaryFlags struct {
	key, retired, dir, push string
	receiptTTL              time.Duration
}

func (f *notaryFlags) register(c *cobra.Command, env func(name, otherwise string) string) {
	c.Flags().StringVar(&f.key, "signing-key", env("SIGNING_KEY", ""), "file of the key that signs checkpoints, as keygen makes it (TIERGATE_SIGNING_KEY)")
	c.Flags().StringVar(&f.retired, "retired-keys", env("RETIRED_KEYS", ""), "file of verifier keys that signed before, one in each line (TIERGATE_RETIRED_KEYS)")
	c.Flags().StringVar(&f.dir, "checkpoint-dir", env("CHECKPOINT_DIR", ""), "folder out of the database's reach for checkpoints; at start each log is compared with the last one (TIERGATE_CHECKPOINT_DIR)")
	c.Flags().StringVar(&f.push, "checkpoint-push", "", "URL that each checkpoint is posted to (TIERGATE_CHECKPOINT_PUSH)")
	c.Flags().DurationVar(&f.receiptTTL, "receipt-ttl", 0, "how long a receipt of what is let go is good, 1s to 60s (TIERGATE_RECEIPT_TTL; default 30s)")
}

// load reads the keys and opens what is outside. Without --signing-key signer is nil.
func (f notaryFlags) load(logger *slog.Logger) (o notary.Options, err error) {
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
	if info, err := os.Stat(f.key); err == nil && info.Mode().Perm()&0o077 != 0 {
		logger.Warn("others than its owner may read the signing key, and whoever can is the gate to those who check: chmod 600", "file", f.key)
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

// receipts gives receipts with the signing key; nil where there is none.
func (f notaryFlags) receipts(key *checkpoint.Signer) (*receipt.Signer, error) {
	ttl := f.receiptTTL
	if text := os.Getenv("TIERGATE_RECEIPT_TTL"); ttl == 0 && text != "" {
		var err error
		if ttl, err = time.ParseDuration(text); err != nil {
			return nil, usageError{fmt.Errorf("TIERGATE_RECEIPT_TTL: want a time such as 30s: %w", err)}
		}
	}
	ttl = cmp.Or(ttl, 30*time.Second)
	switch {
	case ttl < time.Second || ttl > engine.AutoValidFor || ttl%time.Second != 0:
		return nil, usageError{fmt.Errorf("--receipt-ttl %s: want whole seconds from 1s to %s, which is as long as an answer is valid", ttl, engine.AutoValidFor)}
	case key == nil:
		return nil, nil
	}
	return receipt.NewSigner(key.Name(), key.Private(), ttl), nil
}

// notarize compares what is outside with the log, and signs until stop is called.
// Without a key it returns nil and says so.
func notarize(ctx context.Context, o notary.Options, log notary.Log, logger *slog.Logger, registry prometheus.Registerer) (n *notary.Notary, stop func(), err error) {
	if o.Signer == nil {
		logger.Info("no checkpoints and receipts are signed: make a key with tiergate keygen and give it with --signing-key")
		return nil, func() {}, nil
	}
	o.Log, o.Logger, o.Registerer = log, logger, registry
	if n, err = notary.New(o); err != nil {
		return nil, nil, err
	}
	if err := n.Compare(ctx); err != nil {
		return nil, nil, fmt.Errorf("compare the log with the last checkpoints outside: %w", err)
	}
	logger.Info("checkpoints and receipts are signed", "key", o.Signer.Verifier(), "tenants_held", n.Held())
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
