package bundles

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// LoadGit reads the folder at path as it was at a git revision of the repository
// in the working directory. It runs git, which must be installed.
func LoadGit(ctx context.Context, revision, path string) (*Bundle, error) {
	where := "git:" + revision + ":" + path
	// The tree's own id: nothing of what the caller wrote reaches a git command
	// that takes options.
	tree, err := git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: git knows no revision %q here: %w", where, revision, err)
	}
	commit := strings.TrimSpace(string(tree))
	if tree, err = git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", commit+":"+strings.Trim(path, "/")); err != nil {
		return nil, fmt.Errorf("load bundle %s: there is no folder %q at that revision: %w", where, path, err)
	}
	id := strings.TrimSpace(string(tree))
	if kind, err := git(ctx, "cat-file", "-t", id); err != nil || strings.TrimSpace(string(kind)) != "tree" {
		return nil, fmt.Errorf("load bundle %s: %q is no folder at that revision", where, path)
	}
	packed, err := git(ctx, "archive", "--format=zip", "-0", id)
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: %w", where, err)
	}
	files, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: %w", where, err)
	}
	b, err := LoadFS(files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return b, nil
}

func git(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(bytes.TrimSpace(exit.Stderr)) > 0 {
		return nil, errors.New(string(bytes.TrimSpace(exit.Stderr)))
	}
	return out, err
}
