package evidence_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tiergate/tiergate/audit/evidence"
)

// repack writes a file's members again, each changed by edit, with what a zip
// writer has to offer.
func repack(t *testing.T, file []byte, edit func(h *zip.FileHeader, content []byte) (*zip.FileHeader, []byte), more ...string) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	add := func(h *zip.FileHeader, content []byte) {
		if h == nil {
			return
		}
		m, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Write(content); err != nil && !strings.HasSuffix(h.Name, "/") {
			t.Fatal(err)
		}
	}
	for _, name := range more {
		add(&zip.FileHeader{Name: name, Method: zip.Deflate}, []byte("more"))
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		add(edit(&zip.FileHeader{Name: f.Name, Method: f.Method}, content))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func same(h *zip.FileHeader, content []byte) (*zip.FileHeader, []byte) { return h, content }

// What a zip file can have beside what ours have.
func TestContainer(t *testing.T) {
	s := sampleLog(t)
	manifest := func(old, new string) []byte {
		return repack(t, s.file, func(h *zip.FileHeader, content []byte) (*zip.FileHeader, []byte) {
			if h.Name == "manifest.json" {
				content = bytes.Replace(content, []byte(old), []byte(new), 1)
			}
			return h, content
		})
	}
	comment := func() []byte {
		b := bytes.Clone(s.file)
		b[len(b)-2] = 4
		return append(b, "note"...)
	}
	for name, file := range map[string][]byte{
		"bytes before":       append([]byte("MZ"), s.file...),
		"bytes behind":       append(bytes.Clone(s.file), 0),
		"a comment":          comment(),
		"cut off":            s.file[:len(s.file)-30],
		"nothing":            nil,
		"two files":          append(bytes.Clone(s.file), s.file...),
		"other times":        repack(t, s.file, same),
		"a member more":      repack(t, s.file, same, "more.txt"),
		"a folder":           repack(t, s.file, same, "bundles/"),
		"a way out":          repack(t, s.file, same, "../../etc/passwd"),
		"an absolute name":   repack(t, s.file, same, "/etc/passwd"),
		"a name for Windows": repack(t, s.file, same, `..\evil.exe`),
		"a member twice":     repack(t, s.file, same, "leaves.jsonl"),
		"a symbolic link": repack(t, s.file, func(h *zip.FileHeader, c []byte) (*zip.FileHeader, []byte) {
			h.ExternalAttrs = 0o120777 << 16
			return h, c
		}),
		"an extra field": repack(t, s.file, func(h *zip.FileHeader, c []byte) (*zip.FileHeader, []byte) {
			h.Extra = []byte{0xfe, 0xca, 0, 0}
			return h, c
		}),
		"a member's comment":     repack(t, s.file, func(h *zip.FileHeader, c []byte) (*zip.FileHeader, []byte) { h.Comment = "x"; return h, c }),
		"no manifest":            repack(t, s.file, func(h *zip.FileHeader, c []byte) (*zip.FileHeader, []byte) { return keepBut(h, "manifest.json"), c }),
		"no leaves":              repack(t, s.file, func(h *zip.FileHeader, c []byte) (*zip.FileHeader, []byte) { return keepBut(h, "leaves.jsonl"), c }),
		"another version":        manifest(`"version": 1`, `"version": 2`),
		"a member in a manifest": manifest(`"version": 1`, `"version": 1, "more": 1`),
	} {
		f, err := evidence.Open(t.Context(), bytes.NewReader(file), int64(len(file)))
		if err == nil || !errors.Is(err, evidence.ErrFormat) && !errors.Is(err, evidence.ErrChanged) {
			t.Errorf("%s: %v %v", name, f, err)
		}
	}
}

func keepBut(h *zip.FileHeader, name string) *zip.FileHeader {
	if h.Name == name {
		return nil
	}
	return h
}

// A manifest that fits its digest and is of another version, or has a member that
// version 1 does not have; and members that unpack to more than it says.
func TestManifest(t *testing.T) {
	s := sampleLog(t)
	f := open(t, s.file)
	items := itemsOf(t, f)
	for name, c := range map[string]struct {
		edit func(m *evidence.Manifest)
		want error
	}{
		"another version": {func(m *evidence.Manifest) { m.Version = 2 }, evidence.ErrFormat},
		"another format":  {func(m *evidence.Manifest) { m.Format = "x" }, evidence.ErrFormat},
		"no tenant":       {func(m *evidence.Manifest) { m.Tenant = "" }, evidence.ErrFormat},
		"no time":         {func(m *evidence.Manifest) { s := "yesterday"; m.From = &s }, evidence.ErrFormat},
		"a negative leaf": {func(m *evidence.Manifest) { m.FirstLeaf = -1 }, evidence.ErrFormat},
		"a root of noise": {func(m *evidence.Manifest) { m.TreeRoot = "x" }, evidence.ErrFormat},
	} {
		m := *f.Manifest
		c.edit(&m)
		file := evidence.Forge(t, m, items, f.MembersForTest(t))
		if _, err := evidence.Open(t.Context(), bytes.NewReader(file), int64(len(file))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bomb := evidence.Forge(t, *f.Manifest, items, map[string][]byte{"bundles/" + strings.Repeat("0", 64) + ".tar.gz": make([]byte, 65<<20)})
	if _, err := evidence.Open(t.Context(), bytes.NewReader(bomb), int64(len(bomb))); !errors.Is(err, evidence.ErrFormat) {
		t.Errorf("a bundle of 65 MiB: %v", err)
	}
}
