package evidence

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

var (
	// ErrFormat is of what is no evidence file of this version.
	ErrFormat = errors.New("not a file that can be read")
	// ErrChanged is of a file whose bytes are not those that it says it has.
	ErrChanged = errors.New("the file was changed")
)

// File is an evidence file whose container has been checked: every byte of it is
// one that Write would have written, and those of each member have the digests
// that the manifest says. What the members say is for others to check.
type File struct {
	*Manifest
	members map[string]*zip.File
}

// Open checks a file of that size. It reads all of it once and holds none of it.
// The error is ErrFormat, ErrChanged or one of r.
func Open(ctx context.Context, r io.ReaderAt, size int64) (*File, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	n := len(z.File)
	if n < 3 || z.File[n-2].Name != manifestName || z.File[n-1].Name != sumName {
		return nil, fmt.Errorf("%w: it does not end with %s and %s", ErrFormat, manifestName, sumName)
	}
	packed, err := checkContainer(ctx, r, size, z.File)
	if err != nil {
		return nil, err
	}
	manifest, err := readMember(z.File[n-2], maxManifest)
	if err != nil {
		return nil, err
	}
	sum, err := readMember(z.File[n-1], 1<<10)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(sum, sumOf(manifest)) {
		return nil, fmt.Errorf("%w: %s is not what %s says", ErrChanged, manifestName, sumName)
	}
	m, err := parseManifest(manifest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(m.Members) != n-2 {
		return nil, fmt.Errorf("%w: the manifest names %d members, the file has %d", ErrFormat, len(m.Members), n-2)
	}
	f := &File{m, map[string]*zip.File{}}
	for i, e := range m.Members {
		switch z := z.File[i]; {
		case z.Name != e.Name:
			return nil, fmt.Errorf("%w: member %d is %.100q, the manifest says %s", ErrFormat, i+1, z.Name, e.Name)
		case packed[i] != e.PackedSHA256 || int64(z.CompressedSize64) != e.PackedBytes || int64(z.UncompressedSize64) != e.Bytes:
			return nil, fmt.Errorf("%w: %s is not what %s says", ErrChanged, e.Name, manifestName)
		default:
			f.members[e.Name] = z
		}
	}
	return f, nil
}

// checkContainer writes the container again around the members' bytes and holds
// it against the file: so there is nothing before, between or behind them, they
// do not overlap, and no header says more than ours do. It returns the digests
// of the members as they are packed.
func checkContainer(ctx context.Context, r io.ReaderAt, size int64, list []*zip.File) (packed []string, err error) {
	same := &comparer{ctx: ctx, with: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16)}
	w := zip.NewWriter(same)
	for _, f := range list {
		h := header(f.Name, f.Method)
		h.CreatorVersion, h.ReaderVersion, h.Flags = zipVersion, zipVersion, dataDescriptor
		h.CRC32, h.CompressedSize64, h.UncompressedSize64 = f.CRC32, f.CompressedSize64, f.UncompressedSize64
		if f.Method != zip.Store && f.Method != zip.Deflate || strings.HasSuffix(f.Name, "/") || f.CompressedSize64 > uint64(size) {
			return nil, fmt.Errorf("%w: member %.100q", ErrFormat, f.Name)
		}
		raw, err := f.OpenRaw()
		if err != nil {
			return nil, fmt.Errorf("%w: member %.100q: %w", ErrFormat, f.Name, err)
		}
		out, err := w.CreateRaw(h)
		if err != nil {
			return nil, fmt.Errorf("%w: member %.100q: %w", ErrFormat, f.Name, err)
		}
		if f.CompressedSize64 >= 1<<32-1 || f.UncompressedSize64 >= 1<<32-1 {
			h.ReaderVersion = zip64Version // in the directory, as a Writer has it that learns the size while it writes
		}
		sum := sha256.New()
		if _, err := io.Copy(io.MultiWriter(out, sum), raw); err != nil {
			return nil, fmt.Errorf("member %.100q: %w", f.Name, err)
		}
		packed = append(packed, hex.EncodeToString(sum.Sum(nil)))
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if _, err := same.with.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("%w: there are bytes behind the end of the zip", ErrFormat)
	}
	return packed, nil
}

// What archive/zip's Writer puts into headers.
const (
	zipVersion     = 20
	zip64Version   = 45
	dataDescriptor = 0x8
)

// comparer fails where what is written is not what can be read.
type comparer struct {
	ctx  context.Context
	with *bufio.Reader
	at   int64
	have [4096]byte
}

func (c *comparer) Write(b []byte) (n int, err error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	for n < len(b) {
		part := b[n:min(len(b), n+len(c.have))]
		if _, err := io.ReadFull(c.with, c.have[:len(part)]); err != nil || !bytes.Equal(c.have[:len(part)], part) {
			return n, fmt.Errorf("%w: it is a zip file, but none that tiergate has written: see about byte %d", ErrFormat, c.at)
		}
		n += len(part)
		c.at += int64(len(part))
	}
	return n, nil
}

// readMember reads a small member whole.
func readMember(z *zip.File, most int64) ([]byte, error) {
	r, err := z.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %.100q: %w", ErrFormat, z.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %.100q: %w", ErrFormat, z.Name, err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%w: %.100q has more than %d bytes", ErrFormat, z.Name, most)
	}
	return b, nil
}

// member returns what the manifest says of a member.
func (f *File) member(name string) (Member, bool) {
	i := slices.IndexFunc(f.Members, func(m Member) bool { return m.Name == name })
	if i < 0 {
		return Member{}, false
	}
	return f.Members[i], true
}

// small reads a member that fits in memory; the manifest has bounded it.
func (f *File) small(name string) ([]byte, error) {
	m, ok := f.member(name)
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrNoMember)
	}
	b, err := readMember(f.members[name], m.Bytes)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != m.SHA256 {
		return nil, fmt.Errorf("%w: %s is not what %s says", ErrChanged, name, manifestName)
	}
	return b, nil
}

// ErrNoMember: the file has no such member.
var ErrNoMember = errors.New("the file has no such member")

// Bundle returns the archive of a bundle, or ErrNoMember.
func (f *File) Bundle(_ context.Context, hash string) ([]byte, error) {
	return f.small(bundleMember(hash))
}

// Bundles are the hashes of the bundles that are in the file.
func (f *File) Bundles() (list []string) {
	for _, m := range f.Members {
		if isIn(m.Name, bundleFolder) {
			list = append(list, "sha256:"+strings.TrimSuffix(strings.TrimPrefix(m.Name, bundleFolder), ".tar.gz"))
		}
	}
	return list
}

// Keys are the verifier keys that came with the file: whoever made the file has
// put them there, so they vouch for nothing alone.
func (f *File) Keys() ([]byte, error) {
	b, err := f.small(keysName)
	if errors.Is(err, ErrNoMember) {
		return nil, nil
	}
	return b, err
}

// Checkpoints are the signed notes in the file by their names.
func (f *File) Checkpoints() (map[string][]byte, error) {
	list := map[string][]byte{}
	for name := range f.members {
		if isIn(name, checkFolder) {
			b, err := f.small(name)
			if err != nil {
				return nil, err
			}
			list[name] = b
		}
	}
	return list, nil
}

// Items calls each for the lines of leaves.jsonl, in order. An item is its own:
// it stays as it is. The error is one of each, of ctx, ErrFormat or ErrChanged.
func (f *File) Items(ctx context.Context, each func(*Item) error) error {
	m, _ := f.member(leavesName)
	r, err := f.members[leavesName].Open()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, leavesName, err)
	}
	defer r.Close()
	content := newMeasure()
	lines := bufio.NewReaderSize(io.TeeReader(io.LimitReader(r, m.Bytes), content), 1<<18)
	at := int64(0)
	for number := 1; ; number++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			break
		}
		item := &Item{}
		if err == nil {
			err = item.parse(line)
		}
		if err != nil {
			return fmt.Errorf("%w: %s, line %d: %w", ErrFormat, leavesName, number, err)
		}
		if item.First = at; item.Hashes == nil {
			item.First = -1
		}
		if at += item.Leaves(); at > f.TreeSize {
			return fmt.Errorf("%w: %s has more leaves than the %d of the manifest", ErrChanged, leavesName, f.TreeSize)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(item); err != nil {
			return err
		}
	}
	if content.n != m.Bytes || content.sum() != m.SHA256 {
		return fmt.Errorf("%w: %s is not what %s says", ErrChanged, leavesName, manifestName)
	}
	return nil
}

// readLine reads a line without its break, into memory of its own. A last line
// without one is an error.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > MaxLineBytes {
			return nil, fmt.Errorf("it has more than %d MiB", MaxLineBytes>>20)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// HasStatement reports whether the file has the page for people.
func (f *File) HasStatement() bool { return f.members[statementName] != nil }

// Statement copies statement.html to w, or returns ErrNoMember.
func (f *File) Statement(w io.Writer) error {
	m, ok := f.member(statementName)
	if !ok {
		return fmt.Errorf("%s: %w", statementName, ErrNoMember)
	}
	r, err := f.members[statementName].Open()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, statementName, err)
	}
	defer r.Close()
	content := newMeasure()
	if _, err := io.Copy(io.MultiWriter(w, content), io.LimitReader(r, m.Bytes)); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, statementName, err)
	}
	if content.n != m.Bytes || content.sum() != m.SHA256 {
		return fmt.Errorf("%w: %s is not what %s says", ErrChanged, statementName, manifestName)
	}
	return nil
}
