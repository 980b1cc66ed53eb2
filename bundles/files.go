package bundles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/loader/filter"
)

// What one bundle may hold. Whatever is larger is refused while it is read, so
// that a small archive cannot fill memory. In bytes, unpacked.
const (
	MaxFileBytes = 16 << 20 // of one file
	MaxBytes     = 64 << 20 // of all files, and of what holds them
	MaxFiles     = 4096
)

const signaturesFile = ".signatures.json"

// file is one file of a bundle. Its path starts with a slash and is clean.
type file struct {
	path    string
	content []byte
}

// cleanPath is the path of an entry inside the bundle, or an error if the name
// could mean a place outside it or two things at once.
func cleanPath(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", errors.New("its name is no UTF-8")
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return "", errors.New("its name holds a control character or a backslash")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errors.New(`its name leaves the bundle with ".."; if "opa build" wrote it, run that from above the folder, not with ../`)
		}
	}
	if clean := path.Clean("/" + name); clean != "/" {
		return clean, nil
	}
	return "", errors.New("it has no name")
}

// checkName refuses what is no policy in source form.
func checkName(name string) error {
	switch path.Base(name) {
	case "patch.json":
		return errors.New("a delta bundle changes another one; give the whole bundle")
	case bundle.WasmFile, bundle.PlanFile, bundle.PlanProtoFile:
		return errors.New("compiled policy cannot be reviewed; build the bundle from Rego without --target")
	case signaturesFile:
		if name != "/"+signaturesFile {
			return errors.New("a signature must be at the root of the bundle")
		}
	}
	return nil
}

// fileSet collects the files of one bundle within the limits.
type fileSet struct {
	files []file
	seen  map[string]bool
	bytes int64
}

// add reads one file; label is its name as the user knows it.
func (s *fileSet) add(label string, size int64, content io.Reader) error {
	name, err := cleanPath(label)
	if err == nil {
		err = checkName(name)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %q: %w", ErrInvalid, label, err)
	case s.seen[name]:
		return fmt.Errorf("%w: %q is there twice", ErrInvalid, label)
	case len(s.files) == MaxFiles:
		return fmt.Errorf("%w: %q: more than %d files", ErrInvalid, label, MaxFiles)
	case size > MaxFileBytes:
		return fmt.Errorf("%w: %q: %d bytes, more than the %d MiB that a file may have", ErrInvalid, label, size, MaxFileBytes>>20)
	case s.bytes+size > MaxBytes:
		return fmt.Errorf("%w: %q: more than %d MiB in all", ErrInvalid, label, MaxBytes>>20)
	}
	var buf bytes.Buffer
	// One byte more than was announced, to notice a file that grew.
	n, err := io.Copy(&buf, io.LimitReader(content, size+1))
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrInvalid, label, err)
	}
	if n != size {
		return fmt.Errorf("%w: %q: %d bytes announced and others read", ErrInvalid, label, size)
	}
	if s.seen == nil {
		s.seen = make(map[string]bool)
	}
	s.seen[name] = true
	s.bytes += size
	s.files = append(s.files, file{name, buf.Bytes()})
	return nil
}

// memoryLoader gives files that were read and checked to OPA's reader.
type memoryLoader struct {
	files []file
	next  int
}

func (l *memoryLoader) NextFile() (*bundle.Descriptor, error) {
	if l.next == len(l.files) {
		return nil, io.EOF
	}
	f := l.files[l.next]
	l.next++
	return bundle.NewDescriptor(f.path, f.path, bytes.NewBuffer(f.content)), nil
}

func (l *memoryLoader) WithFilter(filter.LoaderFilter) bundle.DirectoryLoader   { return l }
func (l *memoryLoader) WithPathFormat(bundle.PathFormat) bundle.DirectoryLoader { return l }
func (l *memoryLoader) WithSizeLimitBytes(int64) bundle.DirectoryLoader         { return l }
func (l *memoryLoader) WithFollowSymlinks(bool) bundle.DirectoryLoader          { return l }
