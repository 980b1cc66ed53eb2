package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tiergate/tiergate/audit"
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

// open reads the checkpoints, by tenant, in the order given.
func (f *signedFlags) open() (map[string][]checkpoint.Checkpoint, error) {
	switch {
	case len(f.checkpoints) > 0 && len(f.keys) == 0:
		return nil, usageError{errors.New("--checkpoint needs --key: a file of the verifier keys that you trust, as keygen prints them")}
	case len(f.checkpoints) == 0 && len(f.keys) > 0:
		return nil, usageError{errors.New("--key checks signatures, and there are none without --checkpoint")}
	}
	var keys checkpoint.Keys
	for _, path := range f.keys {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, exitError{fmt.Errorf("--key: %w", err), exitUnreadable}
		}
		these, err := checkpoint.ParseKeys(text)
		if err == nil && len(these.Texts()) == 0 {
			err = errors.New("it has no key")
		}
		if err == nil {
			keys, err = keys.With(these.Texts()...)
		}
		if err != nil {
			return nil, exitError{fmt.Errorf("--key %s: %w", path, err), exitSignature}
		}
	}
	points := map[string][]checkpoint.Checkpoint{}
	for _, path := range f.checkpoints {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, exitError{fmt.Errorf("--checkpoint: %w", err), exitUnreadable}
		}
		c, err := checkpoint.Open(text, keys)
		switch {
		case errors.Is(err, checkpoint.ErrSignature):
			return nil, exitError{fmt.Errorf("--checkpoint %s: %w", path, err), exitSignature}
		case err != nil:
			return nil, exitError{fmt.Errorf("--checkpoint %s: %w", path, err), exitUnreadable}
		}
		points[c.Tenant] = append(points[c.Tenant], c)
	}
	return points, nil
}

// tenantsToVerify is the one that was named; or those of the checkpoints; or all.
func tenantsToVerify(ctx context.Context, r *store.Reader, named string, points map[string][]checkpoint.Checkpoint) ([]string, error) {
	of := slices.Sorted(maps.Keys(points))
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

// compareLength returns those checkpoints that the log is long enough for, and
// says by how much it is too short for the longest. It need not be right to the
// leaf: a log that grows meanwhile only gets longer.
func compareLength(ctx context.Context, r *store.Reader, tenant string, points []checkpoint.Checkpoint) (known []audit.Kept, short string, err error) {
	if len(points) == 0 {
		return nil, "", nil
	}
	head, err := r.Head(ctx, tenant)
	if err != nil {
		return nil, "", err
	}
	var most int64
	for _, c := range points {
		if c.Size <= head.Size {
			known = append(known, audit.Kept{Size: c.Size, Root: c.Root})
		}
		most = max(most, c.Size)
	}
	if most > head.Size {
		short = fmt.Sprintf("missing: the log had %d leaves when its checkpoint was signed, and has %d: its end was cut off, or an older copy was restored", most, head.Size)
	}
	return known, short, nil
}
