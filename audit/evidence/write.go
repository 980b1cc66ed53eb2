package evidence

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tiergate/tiergate/audit"
)

// Options is what a file is made of beside the database.
type Options struct {
	Window
	Generator string // names the program and its version
	// Checkpoints are signed notes beside the newest one that the database keeps, by
	// the names that they get: NAME.txt. Keys are verifier keys, one a line.
	Checkpoints map[string][]byte
	Keys        []byte
	// Statement makes the member statement.html; nil: there is none.
	Statement func(source *Kept) (Statement, error)
	// Progress is told how many leaves more are done; nil: nobody is.
	Progress func(leaves int64)
}

// Statement says to a person what a file says to a program. It is made while the
// items go by.
type Statement interface {
	Add(*Item) error
	// Write writes the whole of it, once.
	Write(ctx context.Context, w io.Writer, m *Manifest) error
	Close() error
}

// Kept gives what else a statement needs.
type Kept struct {
	Bundle func(ctx context.Context, hash string) ([]byte, error) // engine.ErrNotFound-like where none is kept
}

// ErrNoTree: there is nothing that could be shown to be as it was.
var ErrNoTree = errors.New("the tenant has no tree yet: it has neither decided nor changed anything")

// Write writes a tenant's evidence as a zip file. It needs the same memory however
// long the log is, and the same database state gives the same bytes. What was
// written is only of use if the error is nil.
func Write(ctx context.Context, w io.Writer, source Source, o Options) (*Manifest, error) {
	f := newWriter(w)
	m := &Manifest{Format: formatName, Version: Version, Generator: o.Generator, Tenant: o.Tenant, From: timeText(o.From), To: timeText(o.To)}
	kept := &Kept{Bundle: func(ctx context.Context, hash string) ([]byte, error) {
		list, err := source.BundleArchives(ctx, hash)
		if err != nil {
			return nil, err
		}
		return list[len(list)-1], nil // as it first came
	}}
	var statement Statement
	var err error
	if o.Statement != nil {
		if statement, err = o.Statement(kept); err != nil {
			return nil, err
		}
		defer statement.Close()
	}
	bundles := bundleNames{}
	err = f.member(leavesName, zip.Deflate, func(out io.Writer) error {
		var line []byte
		extent, err := Collect(ctx, source, o.Window, func(i *Item) error {
			bundles.see(i)
			line = append(i.append(line[:0]), '\n')
			if len(line) > MaxLineBytes {
				return fmt.Errorf("leaf %d has more than %d MiB", i.First, MaxLineBytes>>20)
			}
			if o.Progress != nil {
				o.Progress(i.Leaves())
			}
			if statement != nil {
				if err := statement.Add(i); err != nil {
					return err
				}
			}
			_, err := out.Write(line)
			return err
		})
		if err != nil {
			return err
		}
		if extent.Size == 0 {
			return fmt.Errorf("tenant %s: %w", o.Tenant, ErrNoTree)
		}
		edge, err := audit.ParseEdge(extent.Size, extent.Edge)
		if err != nil {
			return fmt.Errorf("tenant_head of tenant %s: %w", o.Tenant, err)
		}
		m.FirstLeaf, m.EndLeaf, m.TreeSize, m.TreeRoot = extent.First, extent.End, extent.Size, edge.Root().String()
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, hash := range bundles.sorted() {
		archive, err := kept.Bundle(ctx, hash)
		if err != nil {
			continue // the verifier says which rows cannot be decided again for it
		}
		if err := f.bytes(bundleMember(hash), archive); err != nil {
			return nil, err
		}
	}
	checkpoints := maps.Clone(o.Checkpoints)
	newest, err := source.Checkpoint(ctx, o.Tenant, m.TreeSize)
	if err != nil {
		return nil, err
	}
	if newest != nil {
		if checkpoints == nil {
			checkpoints = map[string][]byte{}
		}
		checkpoints["newest.txt"] = newest
	}
	for _, name := range sortedKeys(checkpoints) {
		if err := f.bytes(checkFolder+name, checkpoints[name]); err != nil {
			return nil, err
		}
	}
	if len(o.Keys) > 0 {
		if err := f.bytes(keysName, o.Keys); err != nil {
			return nil, err
		}
	}
	if statement != nil {
		if err := f.member(statementName, zip.Deflate, func(out io.Writer) error { return statement.Write(ctx, out, m) }); err != nil {
			return nil, err
		}
	}
	return m, f.finish(m)
}

func timeText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	if cut := t.Truncate(time.Millisecond); cut.Before(t) {
		t = cut.Add(time.Millisecond)
	}
	s := t.UTC().Format(timeLayout)
	return &s
}

func sortedKeys[V any](m map[string]V) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// bundleNames are the bundles that rows name.
type bundleNames map[string]bool

func (b bundleNames) see(i *Item) {
	rest := i.Leaf
	for {
		// A quote inside a string would be escaped, so this is a member or, in the
		// after of a change of the policy, text that looks like one.
		_, after, ok := bytes.Cut(rest, []byte(`"sha256:`))
		if !ok {
			break
		}
		if len(after) > 64 && after[64] == '"' && bytes.HasSuffix(rest[:len(rest)-len(after)-len(`"sha256:`)], []byte(`"bundle_hash":`)) {
			b["sha256:"+string(after[:64])] = true
		}
		rest = after
	}
}

func (b bundleNames) sorted() []string {
	var list []string
	for h := range b {
		if audit.IsDigest(h) {
			list = append(list, h)
		}
	}
	slices.Sort(list)
	return list
}

func bundleMember(hash string) string {
	return bundleFolder + strings.TrimPrefix(hash, "sha256:") + ".tar.gz"
}

// writer writes members one behind the other, and what the manifest says of them.
type writer struct {
	zip     *zip.Writer
	latest  *measure   // of the member that is being written
	packed  []*measure // what members are in the zip; whole once the next one has begun
	members []Member
}

func newWriter(w io.Writer) *writer {
	f := &writer{zip: zip.NewWriter(w)}
	f.zip.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(f.measured(out), flate.BestSpeed)
	})
	f.zip.RegisterCompressor(zip.Store, func(out io.Writer) (io.WriteCloser, error) { return nopCloser{f.measured(out)}, nil })
	return f
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// measure counts and hashes what is written.
type measure struct {
	hash.Hash
	n int64
}

func (m *measure) Write(b []byte) (int, error) {
	m.n += int64(len(b))
	return m.Hash.Write(b)
}

func (m *measure) sum() string { return hex.EncodeToString(m.Sum(nil)) }

func newMeasure() *measure { return &measure{Hash: sha256.New()} }

func (f *writer) measured(out io.Writer) io.Writer {
	f.latest = newMeasure()
	return io.MultiWriter(out, f.latest)
}

// header is a member's: no times, no rights, nothing of the machine.
func header(name string, method uint16) *zip.FileHeader {
	//lint:ignore SA1019 Modified would add an extra field to every header
	return &zip.FileHeader{Name: name, Method: method, ModifiedDate: 1<<5 | 1} // 1980-01-01, the first day that zip knows
}

func (f *writer) member(name string, method uint16, write func(io.Writer) error) error {
	out, err := f.zip.CreateHeader(header(name, method))
	if err != nil {
		return err
	}
	content := newMeasure()
	if err := write(io.MultiWriter(out, content)); err != nil {
		return err
	}
	f.members = append(f.members, Member{Name: name, Bytes: content.n, SHA256: content.sum()})
	f.packed = append(f.packed, f.latest)
	return nil
}

// finish writes the manifest, which says what the others are, and its digest.
func (f *writer) finish(m *Manifest) error {
	out, err := f.zip.CreateHeader(header(manifestName, zip.Store)) // closes the member before
	if err != nil {
		return err
	}
	for i, p := range f.packed {
		f.members[i].PackedBytes, f.members[i].PackedSHA256 = p.n, p.sum()
	}
	m.Members = f.members
	b, err := m.encode()
	if err != nil {
		return err
	}
	if _, err := out.Write(b); err != nil {
		return err
	}
	if out, err = f.zip.CreateHeader(header(sumName, zip.Store)); err != nil {
		return err
	}
	if _, err := out.Write(sumOf(b)); err != nil {
		return err
	}
	return f.zip.Close()
}

// sumOf is what sha256sum says of the manifest.
func sumOf(manifest []byte) []byte {
	return fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(manifest), manifestName)
}

func (f *writer) bytes(name string, content []byte) error {
	return f.member(name, zip.Store, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}
