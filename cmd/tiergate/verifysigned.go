package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/checkpoint"
	"github.com/tiergate/tiergate/store"
)

// signedFlags name checkpoints that somebody kept, and the keys that they trust.
type signedFlags struct {
	checkpoints, keys []string
}

func (f *signedFlags) register(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.checkpoints, "checkpoint", nil, "file of a signed checkpoint that the log must go on from; may be given more than once")
	c.Flags().StringArrayVar(&f.keys, "key", nil, "file of verifier keys, one in each line, as keygen prints them; may be given more than once")
}

// check tells whether the flags go together. An evidence file brings checkpoints of
// its own.
func (f *signedFlags) check(file string) error {
	switch {
	case len(f.checkpoints) > 0 && len(f.keys) == 0:
		return usageError{errors.New("--checkpoint needs --key: a file of the verifier keys that you trust, as keygen prints them")}
	case len(f.checkpoints) == 0 && len(f.keys) > 0 && file == "":
		return usageError{errors.New("--key checks signatures, and there are none without --checkpoint")}
	}
	return nil
}

// open reads the keys, and the checkpoints in the order given.
func (f *signedFlags) open() (keys checkpoint.Keys, points []signedPoint, err error) {
	for _, path := range f.keys {
		text, err := os.ReadFile(path)
		if err != nil {
			return keys, nil, exitError{fmt.Errorf("--key: %w", err), exitUnreadable}
		}
		these, err := checkpoint.ParseKeys(text)
		if err == nil && len(these.Texts()) == 0 {
			err = errors.New("it has no key")
		}
		if err == nil {
			keys, err = keys.With(these.Texts()...)
		}
		if err != nil {
			return keys, nil, exitError{fmt.Errorf("--key %s: %w", path, err), exitSignature}
		}
	}
	for _, path := range f.checkpoints {
		text, err := os.ReadFile(path)
		if err != nil {
			return keys, nil, exitError{fmt.Errorf("--checkpoint: %w", err), exitUnreadable}
		}
		c, err := checkpoint.Open(text, keys)
		switch {
		case errors.Is(err, checkpoint.ErrSignature):
			return keys, nil, exitError{fmt.Errorf("--checkpoint %s: %w", path, err), exitSignature}
		case err != nil:
			return keys, nil, exitError{fmt.Errorf("--checkpoint %s: %w", path, err), exitUnreadable}
		}
		points = append(points, signedPoint{c, path})
	}
	return keys, points, nil
}

// signedPoint is a checkpoint with a good signature, and where it came from.
type signedPoint struct {
	checkpoint.Checkpoint
	path string
}

// tenantsToVerify is the one that was named; or those of the checkpoints; or all.
func tenantsToVerify(ctx context.Context, r *store.Reader, named string, points []signedPoint) ([]string, error) {
	var of []string
	for _, p := range points {
		of = append(of, p.Tenant)
	}
	slices.Sort(of)
	of = slices.Compact(of)
	switch {
	case named == "" && len(of) > 0:
		return of, nil
	case named == "":
		all, err := r.EvidenceTenants(ctx)
		if err != nil {
			return nil, exitError{err, exitUnreadable}
		}
		return all, nil
	}
	for _, t := range of {
		if t != named {
			return nil, usageError{fmt.Errorf("--checkpoint is of tenant %s, and --tenant is %s", t, named)}
		}
	}
	return []string{named}, nil
}
