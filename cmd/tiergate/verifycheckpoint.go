package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/replay"
	"github.com/tiergate/tiergate/checkpoint"
)

// named is the text of a checkpoint that came with a file.
type named struct {
	name string
	text []byte
}

// given are the heads of a tenant's tree that were given to verify.
func (v *verification) given(tenant string) (kept []replay.Checkpoint) {
	kept = append(kept, v.kept...)
	for _, p := range v.points {
		if p.Tenant == tenant {
			kept = append(kept, replay.Checkpoint{Kept: audit.Kept{Size: p.Size, Root: p.Root}, Name: "the checkpoint " + p.path})
		}
	}
	return kept
}

// checkpoints are those that were given and those that came with a file, opened
// with the keys that were given; or, where none were, with own, those of the file.
// What is bad, and what the reader should know, is added to r.
func (v *verification) checkpoints(r *findings, own []byte, with []named) []replay.Checkpoint {
	kept, keys := v.given(r.Tenant), v.keys
	bad := func(name string, err error) { r.Signatures = append(r.Signatures, fmt.Sprintf("%s: %v", name, err)) }
	ownKeys, err := checkpoint.ParseKeys(own)
	switch given := len(v.flags.signed.keys) > 0; {
	case err != nil:
		bad("keys.txt", err)
		return kept
	case len(with) == 0 || given:
	case len(ownKeys.Texts()) == 0:
		r.Notes = append(r.Notes, fmt.Sprintf("%d checkpoints came with the file, and without --key nobody can tell who signed them: they were not looked at", len(with)))
		return kept
	default:
		keys = ownKeys
		r.Notes = append(r.Notes, "the keys are those that came with the file: they vouch for nothing that whoever made it could not have made up; give --key")
	}
	for _, n := range with {
		c, err := checkpoint.Open(n.text, keys)
		switch {
		case err != nil:
			bad(n.name, err)
		case c.Tenant != r.Tenant:
			bad(n.name, fmt.Errorf("it is of tenant %s", c.Tenant))
		default:
			kept = append(kept, replay.Checkpoint{Kept: audit.Kept{Size: c.Size, Root: c.Root}, Name: "the checkpoint " + n.name})
		}
	}
	return kept
}

var errNoFile = errors.New("there is no such file")

func openFile(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, fmt.Errorf("%s: %w", path, errNoFile)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file: a zip file is read from its end", path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}
