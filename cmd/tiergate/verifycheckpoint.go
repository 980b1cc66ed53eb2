package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/tiergate/tiergate/audit"
	"github.com/tiergate/tiergate/audit/replay"
	"github.com/tiergate/tiergate/checkpoint"
)

// trusted is what was given to verify: keys, and checkpoints that one of them
// has signed.
type trusted struct {
	keys  checkpoint.Keys
	given bool // keys were given
	list  []named
}

// named is the text of a checkpoint and where it came from.
type named struct {
	name string
	text []byte
}

// readKeys reads the files of --key and --checkpoint.
func (v *verification) readKeys() error {
	for _, path := range v.flags.keys {
		text, err := readSmall(path)
		if err != nil {
			return exitError{fmt.Errorf("--key: %w", err), exitUnreadable}
		}
		keys, err := checkpoint.ParseKeys(text)
		if err == nil {
			v.trusted.keys, err = v.trusted.keys.With(keys.Texts()...)
		}
		if err != nil {
			return exitError{fmt.Errorf("--key %s: %w", path, err), exitSignature}
		}
		v.trusted.given = true
	}
	for _, path := range v.flags.checkpoints {
		text, err := readSmall(path)
		if err != nil {
			return exitError{fmt.Errorf("--checkpoint: %w", err), exitUnreadable}
		}
		v.trusted.list = append(v.trusted.list, named{path, text})
	}
	return nil
}

// checkpoints opens those that were given and those that came with a file, and
// returns the trees that they vouch for. What is bad is added to r. own are the
// keys that came with the file, for when none were given.
func (v *verification) checkpoints(r *findings, own []byte, with []named) []replay.Checkpoint {
	kept := v.kept
	keys := v.trusted.keys
	bad := func(name string, err error) { r.Signatures = append(r.Signatures, fmt.Sprintf("%s: %v", name, err)) }
	all := append(append([]named(nil), v.trusted.list...), with...)
	if len(own) > 0 {
		ownKeys, err := checkpoint.ParseKeys(own)
		switch {
		case err != nil:
			bad("keys.txt", err)
		case !v.trusted.given:
			keys = ownKeys
			r.Notes = append(r.Notes, "the keys are those that came with the file: they vouch for nothing that whoever made it could not have made up; give --key")
		}
	}
	if len(with) > 0 && !v.trusted.given && len(own) == 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d checkpoints came with the file, and without --key nobody can tell who signed them: they were not looked at", len(with)))
		all = v.trusted.list
	}
	for _, n := range all {
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
