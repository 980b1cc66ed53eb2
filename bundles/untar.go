package bundles

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// archivePadding bounds the zeros that tar writers leave at the end.
const archivePadding = 1 << 20

// readArchive reads a gzipped tar to its last byte. Nothing of the content is
// parsed, and it stops at the first entry that is not a plain file or folder.
func readArchive(r io.Reader) ([]file, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("%w: no gzipped tar archive: %w", ErrInvalid, unexpectedEnd(err))
	}
	// Headers count too: a million empty entries are a bomb as well.
	limited := &io.LimitedReader{R: z, N: MaxBytes + MaxFiles*1024 + archivePadding}
	t := tar.NewReader(limited)
	var set fileSet
	for entries := 0; ; entries++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if limited.N <= 0 {
				return nil, fmt.Errorf("%w: more than %d MiB unpacked", ErrInvalid, MaxBytes>>20)
			}
			return nil, fmt.Errorf("%w: the archive is damaged after %d entries: %w", ErrInvalid, entries, unexpectedEnd(err))
		}
		if entries == 2*MaxFiles {
			return nil, fmt.Errorf("%w: more than %d entries", ErrInvalid, 2*MaxFiles)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			if err := set.add(h.Name, h.Size, t); err != nil {
				return nil, err
			}
		case tar.TypeDir:
			if _, err := cleanPath(h.Name + "/."); err != nil && h.Name != "/" && h.Name != "./" && h.Name != "." {
				return nil, fmt.Errorf("%w: %q: %w", ErrInvalid, h.Name, err)
			}
		case tar.TypeXGlobalHeader: // a comment, as git archive writes
		case tar.TypeSymlink, tar.TypeLink:
			return nil, fmt.Errorf("%w: %q is a link to %q; pack the file itself", ErrInvalid, h.Name, h.Linkname)
		default:
			return nil, fmt.Errorf("%w: %q is neither a file nor a folder (tar type %q)", ErrInvalid, h.Name, h.Typeflag)
		}
	}
	if err := padding(limited); err != nil {
		return nil, fmt.Errorf("%w: after the last entry: %w", ErrInvalid, err)
	}
	return set.files, nil
}

// padding reads to the end, where gzip checks its sums, and wants zeros only.
func padding(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for total := 0; ; {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return errors.New("there is more in the archive")
			}
		}
		if total += n; total > archivePadding {
			return fmt.Errorf("more than %d MiB of zeros", archivePadding>>20)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unexpectedEnd(err)
		}
	}
}

// unexpectedEnd says in words what io.ErrUnexpectedEOF means to a reader.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is cut off")
	}
	return err
}
