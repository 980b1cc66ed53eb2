package bundles

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Read reads an archive made by `tiergate bundle` or `opa build`. If v is not
// nil, the archive must be signed by that key, and nothing of its policy is
// parsed before that is known. It stops reading at the first thing it refuses
// and holds at most [MaxBytes].
//
// The error is an [ErrInvalid] if it is no bundle, or an [ErrSignature].
func Read(r io.Reader, v *Verifier) (*Bundle, error) {
	files, err := readArchive(r)
	if err != nil {
		return nil, bounded(err)
	}
	return judge(files, v)
}

// judge verifies what was read, if that is asked for, and then parses it.
func judge(files []file, v *Verifier) (*Bundle, error) {
	if v != nil {
		if err := v.verify(files); err != nil {
			return nil, bounded(err)
		}
	}
	b, err := parse(files)
	return b, bounded(err)
}

// Load reads a folder, or an archive made by `tiergate bundle build` or
// `opa build`. A signature is not looked at.
func Load(path string) (*Bundle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("load bundle: %w", err)
	}
	if info.IsDir() {
		b, err := loadFS(os.DirFS(path), nil)
		if err != nil {
			return nil, fmt.Errorf("load bundle %s: %w", path, err)
		}
		return b, nil
	}
	return loadArchive(path, nil)
}

// LoadVerified is [Load] of a bundle that must be signed by v's key: an archive
// that holds a .signatures.json, or a folder that `opa sign` put one into. In a
// folder every file must be signed, also those that are no policy.
func LoadVerified(path string, v *Verifier) (*Bundle, error) {
	if v == nil {
		return nil, fmt.Errorf("load bundle %s: %w: there is no key to verify it with", path, ErrSignature)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("load bundle: %w", err)
	}
	if !info.IsDir() {
		return loadArchive(path, v)
	}
	b, err := loadFS(os.DirFS(path), v)
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: %w", path, err)
	}
	return b, nil
}

// LoadFS reads the folder at the root of fsys. A signature is not looked at.
func LoadFS(fsys fs.FS) (*Bundle, error) {
	b, err := loadFS(fsys, nil)
	if err != nil {
		return nil, fmt.Errorf("load bundle: %w", err)
	}
	return b, nil
}

func loadFS(fsys fs.FS, v *Verifier) (*Bundle, error) {
	files, err := readFolder(fsys, v != nil)
	if err != nil {
		return nil, bounded(err)
	}
	return judge(files, v)
}

func loadArchive(path string, v *Verifier) (*Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load bundle: %w", err)
	}
	defer f.Close()
	b, err := Read(f, v)
	if err != nil {
		return nil, fmt.Errorf("load bundle %s: %w", path, err)
	}
	return b, nil
}
