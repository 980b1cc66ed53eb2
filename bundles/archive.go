package bundles

import (
	"archive/tar"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// WriteArchive packs the bundle as a gzipped tar that `opa` takes as well. The
// same sources always make the same bytes: modules are formatted, data is
// merged and canonical, entries are sorted, and no time or owner is written.
func (b *Bundle) WriteArchive(w io.Writer) error {
	files, err := b.files()
	if err != nil {
		return err
	}
	return writeArchive(w, files)
}

// files are what an archive of the bundle holds, in order.
func (b *Bundle) files() ([]file, error) {
	manifest, err := canonical(map[string]any{
		"revision":     b.Revision,
		"roots":        b.Roots,
		"rego_version": 1,
	})
	if err != nil {
		return nil, fmt.Errorf("write bundle: manifest: %w", err)
	}
	files := []file{{"/.manifest", manifest}, {"/data.json", b.data}}
	for _, path := range slices.Sorted(maps.Keys(b.formatted)) {
		files = append(files, file{path, b.formatted[path]})
	}
	return files, nil
}

func writeArchive(w io.Writer, files []file) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, f := range files {
		err := t.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: f.path, Size: int64(len(f.content)),
			Mode: 0o644, ModTime: time.Unix(0, 0),
		})
		if err == nil {
			_, err = t.Write(f.content)
		}
		if err != nil {
			return fmt.Errorf("write bundle: %s: %w", f.path, err)
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

// fileDigest is the SHA-256 that OPA's signatures hold for a file, in hex: over
// the bytes, or over the value if the file is data or the manifest.
func fileDigest(f file) (string, error) {
	hasher, err := bundle.NewSignatureHasher(bundle.SHA256)
	if err != nil {
		return "", err
	}
	var value any = f.content
	if bundle.IsStructuredDoc(f.path) {
		if err := util.Unmarshal(f.content, &value); err != nil {
			return "", err
		}
	}
	digest, err := hasher.HashFile(value)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(digest), nil
}
