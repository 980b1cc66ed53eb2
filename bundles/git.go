package bundles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// LoadGit reads the folder at path, from the top of the repository, as it was at
// a git revision of the repository in the working directory. It runs git, which
// must be installed. What the repository says in .gitattributes changes nothing:
// the files are read as they were committed. Links and submodules are refused.
func LoadGit(ctx context.Context, revision, path string) (*Bundle, error) {
	where := "git:" + revision + ":" + path
	// The objects' own ids: nothing of what the caller wrote reaches a git
	// command that takes options.
	commit, err := git(ctx, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: git finds no revision %q here%w; a shallow clone has to fetch it first", where, revision, err)
	}
	tree, err := git(ctx, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", line(commit)+":"+strings.Trim(path, "/"))
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: there is no folder %q at that revision%w; its path begins at the top of the repository", where, path, err)
	}
	if kind, err := git(ctx, nil, "cat-file", "-t", line(tree)); err != nil || line(kind) != "tree" {
		return nil, fmt.Errorf("load bundle %s: %q is no folder at that revision", where, path)
	}
	files, err := readTree(ctx, line(tree))
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: %w", where, bounded(err))
	}
	b, err := judge(files, nil)
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: %w", where, err)
	}
	return b, nil
}

// readTree reads the policy files of a tree.
func readTree(ctx context.Context, tree string) ([]file, error) {
	list, err := git(ctx, nil, "ls-tree", "-r", "-z", "--full-tree", "--long", tree)
	if err != nil {
		return nil, fmt.Errorf("list its files%w", err)
	}
	var names []string
	var sizes []int64
	var ids bytes.Buffer
	total := int64(0)
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		about, name, _ := strings.Cut(entry, "\t")
		fields := strings.Fields(about) // mode, type, id and size
		switch {
		case len(fields) != 4:
			continue // an empty tree
		case fields[0] == "120000":
			return nil, fmt.Errorf("%w: %q is a link, and links are not read; copy the file", ErrInvalid, name)
		case fields[1] != "blob":
			return nil, fmt.Errorf("%w: %q is a submodule, which is not read; copy its files", ErrInvalid, name)
		case !isPolicyFile(name):
			continue
		}
		size, err := strconv.ParseInt(fields[3], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the size of %q: %w", name, err)
		}
		if total += size; size > MaxFileBytes || total > MaxBytes || len(names) == MaxFiles {
			return nil, fmt.Errorf("%w: %q is too large, or the files up to it are: at most %d files of %d bytes each and %d bytes together", ErrInvalid, name, MaxFiles, MaxFileBytes, MaxBytes)
		}
		names, sizes = append(names, name), append(sizes, size)
		ids.WriteString(fields[2] + "\n")
	}
	blobs, err := git(ctx, &ids, "cat-file", "--batch=")
	if err != nil {
		return nil, fmt.Errorf("read its files%w", err)
	}
	var set fileSet
	rest := bytes.NewReader(blobs)
	for i, name := range names {
		// An empty line in place of what --batch says about each, then the bytes
		// and the end of the line.
		if b, err := rest.ReadByte(); err != nil || b != '\n' {
			return nil, fmt.Errorf("git cat-file: %q does not begin where it should", name)
		}
		if err := set.add(name, sizes[i], io.LimitReader(rest, sizes[i])); err != nil {
			return nil, err
		}
		if b, err := rest.ReadByte(); err != nil || b != '\n' {
			return nil, fmt.Errorf("git cat-file: %q does not end where it should", name)
		}
	}
	return set.files, nil
}

func line(out []byte) string { return strings.TrimSpace(string(out)) }

// git runs one git command. The text of its error begins with ": ", or is empty
// where git said nothing.
func git(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Stdin = stdin
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf(": %w", ctx.Err())
	case !errors.As(err, &exit):
		return nil, fmt.Errorf(": run git: %w", err)
	}
	if said := line(exit.Stderr); said != "" {
		return nil, errors.New(": " + said)
	}
	return nil, errors.New("")
}
