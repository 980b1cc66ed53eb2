package bundles

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// WriteArchive packs the bundle as a gzipped tar that `opa` takes as well. The
// same sources always make the same bytes: modules are formatted, data is
// merged and canonical, entries are sorted, and no time or owner is written.
func (b *Bundle) WriteArchive(w io.Writer) error {
	manifest, err := canonical(map[string]any{
		"revision":     b.Revision,
		"roots":        b.Roots,
		"rego_version": 1,
	})
	if err != nil {
		return fmt.Errorf("write bundle: manifest: %w", err)
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	add := func(name string, content []byte) error {
		err := t.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)),
			Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
		})
		if err == nil {
			_, err = t.Write(content)
		}
		if err != nil {
			return fmt.Errorf("write bundle: %s: %w", name, err)
		}
		return nil
	}
	if err := add("/.manifest", manifest); err != nil {
		return err
	}
	if err := add("/data.json", b.data); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(b.formatted)) {
		if err := add(path, b.formatted[path]); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}
