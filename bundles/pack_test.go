package bundles_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"testing"
)

const manifest = `{"revision":"1.0.0","roots":["gate"]}`

// entry is one entry of an archive; a plain file unless header says otherwise.
type entry struct {
	name, content string
	header        tar.Header
}

// policyEntries are a small bundle.
func policyEntries() []entry {
	return []entry{{name: "/.manifest", content: manifest}, {name: "/gate/gate.rego", content: module}, {name: "/gate/data.json", content: `{"x":1}`}}
}

// pack writes the entries as they are, however wrong.
func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := e.header
		h.Name, h.Mode = e.name, 0o644
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(e.content))
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			h = tar.Header{Typeflag: h.Typeflag, PAXRecords: map[string]string{"comment": e.content}}
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(e.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// unpack returns the files of an archive by name.
func unpack(t testing.TB, content []byte) []entry {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var out []entry
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return out
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		out = append(out, entry{name: h.Name, content: b.String()})
	}
}
