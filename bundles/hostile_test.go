package bundles_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/bundles"
)

// Archives that try to leave the bundle, to mean two things, or to be something
// else than policy. The message names the entry.
func TestHostileArchives(t *testing.T) {
	link := func(kind byte, target string) tar.Header { return tar.Header{Typeflag: kind, Linkname: target} }
	for name, c := range map[string]struct {
		add  entry
		want string
	}{
		"up":                  {entry{name: "../x.rego", content: module}, `"../x.rego"`},
		"up in the middle":    {entry{name: "gate/../../x.rego", content: module}, `"gate/../../x.rego"`},
		"up and back":         {entry{name: "gate/../gate/x.rego", content: module}, `"gate/../gate/x.rego"`},
		"absolute and up":     {entry{name: "/../x.rego", content: module}, `"/../x.rego"`},
		"a folder that is up": {entry{name: "../up/", header: tar.Header{Typeflag: tar.TypeDir}}, `"../up/"`},
		"a backslash":         {entry{name: `..\x.rego`, content: module}, "backslash"},
		"a line feed":         {entry{name: "gate/x\n.rego", content: module}, "control character"},
		"not UTF-8":           {entry{name: "gate/\xff.rego", content: module}, "UTF-8"},
		"no name":             {entry{name: "/.", content: module}, "no name"},
		"a symbolic link":     {entry{name: "/gate/x.rego", header: link(tar.TypeSymlink, "/etc/passwd")}, `"/gate/x.rego" is a link to "/etc/passwd"`},
		"a hard link":         {entry{name: "/gate/x.rego", header: link(tar.TypeLink, "/gate/gate.rego")}, `"/gate/x.rego" is a link`},
		"a device":            {entry{name: "/gate/x.rego", header: link(tar.TypeChar, "")}, `"/gate/x.rego" is neither`},
		"a disk":              {entry{name: "/gate/x.rego", header: link(tar.TypeBlock, "")}, `"/gate/x.rego" is neither`},
		"a pipe":              {entry{name: "/gate/x.rego", header: link(tar.TypeFifo, "")}, `"/gate/x.rego" is neither`},
		"twice":               {entry{name: "/gate/gate.rego", content: module}, `"/gate/gate.rego" is there twice`},
		"twice, spelled so":   {entry{name: "./gate//gate.rego", content: module}, `"./gate//gate.rego" is there twice`},
		"a delta":             {entry{name: "/patch.json", content: `{"data":[{"op":"upsert","path":"gate/x","value":2}]}`}, `"/patch.json": a delta`},
		"an empty delta":      {entry{name: "/gate/patch.json", content: `{}`}, "delta"},
		"wasm":                {entry{name: "/gate/policy.wasm", content: "x"}, "compiled"},
		"a plan":              {entry{name: "/plan.json", content: "{}"}, "compiled"},
		"a binary plan":       {entry{name: "/plan.pb", content: "x"}, "compiled"},
		"a nested signature":  {entry{name: "/gate/.signatures.json", content: "{}"}, "root"},
		"two manifests":       {entry{name: "/gate/.manifest", content: manifest}, "manifest"},
		"data of two minds":   {entry{name: "/gate/y/data.json", content: "{\"a\": 1,\n\"a\": 2}"}, "/gate/y/data.json:2: "},
		"data and more":       {entry{name: "/gate/y/data.json", content: "{}\n{}"}, "/gate/y/data.json:"},
		"data in conflict":    {entry{name: "/data.json", content: `{"gate":{"x":[2]}}`}, "data"},
		"Rego of another age": {entry{name: "/gate/y.rego", content: "package gate.y\n\nallow { true }\n"}, "/gate/y.rego:3"},
	} {
		_, err := bundles.Read(bytes.NewReader(pack(t, append(policyEntries(), c.add)...)), nil)
		if !errors.Is(err, bundles.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrInvalid with %s", name, err, c.want)
		}
	}
}

// What other tools write beside the files is fine.
func TestHarmlessArchives(t *testing.T) {
	for name, add := range map[string]entry{
		"a folder":         {name: "gate/", header: tar.Header{Typeflag: tar.TypeDir}},
		"the folder":       {name: "./", header: tar.Header{Typeflag: tar.TypeDir}},
		"git archive":      {name: "pax_global_header", content: "8df968e", header: tar.Header{Typeflag: tar.TypeXGlobalHeader}},
		"something else":   {name: "README.md", content: "# Read me"},
		"a long name":      {name: strings.Repeat("a/", 120) + "README.md", content: "# Read me"},
		"an unsigned name": {name: ".signatures.json", content: "not even JSON, and nobody asked"},
	} {
		b, err := bundles.Read(bytes.NewReader(pack(t, append([]entry{add}, policyEntries()...)...)), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if want, _ := bundles.LoadFS(folder(nil)); b.Hash != want.Hash {
			t.Errorf("%s changes the hash", name)
		}
	}
}

// Cut anywhere, the archive is refused; also within gzip's own last bytes.
func TestTruncated(t *testing.T) {
	good := archive(t, embedded(t))
	step := 7
	for n := 0; n < len(good); n += step {
		if n > len(good)-64 {
			step = 1
		}
		if _, err := bundles.Read(bytes.NewReader(good[:n]), nil); !errors.Is(err, bundles.ErrInvalid) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(good), err)
		}
	}
	if _, err := bundles.Read(io.MultiReader(bytes.NewReader(good), strings.NewReader("more")), nil); !errors.Is(err, bundles.ErrInvalid) {
		t.Errorf("with more behind it: %v", err)
	}
	if _, err := bundles.Read(bytes.NewReader(append(bytes.Clone(good), good...)), nil); !errors.Is(err, bundles.ErrInvalid) {
		t.Errorf("two archives in one: %v", err)
	}
}

// zeros is a reader of n zeros.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Bombs end early, with little memory.
func TestBombs(t *testing.T) {
	const gigabyte = 1 << 30
	gzipped := func(write func(w io.Writer) error) []byte {
		var buf bytes.Buffer
		z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(write(z), z.Close()); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	tarred := func(n int, size int64, name string) []byte {
		return gzipped(func(w io.Writer) error {
			tw := tar.NewWriter(w)
			for i := range n {
				err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf(name, i), Size: size, Mode: 0o644})
				if err == nil {
					_, err = io.Copy(tw, zeros(size))
				}
				if err != nil {
					return err
				}
			}
			return tw.Close()
		})
	}
	cases := map[string]struct {
		content []byte
		want    string
	}{
		"one entry of a GB":        {tarred(1, gigabyte, "/gate/data%d.json"), "16 MiB"},
		"many entries below 16 MB": {tarred(8, 15<<20, "/gate/%d/data.json"), "64 MiB in all"},
		"many empty entries":       {tarred(20_000, 0, "/gate/%d.txt"), "4096 files"},
		"a GB of zeros":            {gzipped(func(w io.Writer) error { _, err := io.Copy(w, zeros(gigabyte)); return err }), "zeros"},
	}
	for name, c := range cases {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := bundles.Read(bytes.NewReader(c.content), nil)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, bundles.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want ErrInvalid with %q", name, err, c.want)
		}
		t.Logf("%s: %s, %d bytes packed: %v", name, took.Round(time.Millisecond), len(c.content), err)
		if raceDetector {
			continue // which takes its own time and memory
		}
		if took > 2*time.Second {
			t.Errorf("%s: %s", name, took)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 4*bundles.MaxBytes {
			t.Errorf("%s: %d MiB allocated", name, grown>>20)
		}
	}
}

// A folder may hold no link that would hide a rule or leave it.
func TestLinksInFolders(t *testing.T) {
	for name, c := range map[string]struct {
		link, target string
		want         string // empty: it loads
	}{
		"policy outside":       {"gate/y.rego", "../../outside.rego", "leaves the bundle"},
		"an absolute link":     {"gate/notes.txt", "/etc/hostname", "leaves the bundle"},
		"policy inside":        {"gate/y.rego", "gate.rego", "links are not read"},
		"a folder inside":      {"other", "gate", "links are not read"},
		"another file inside":  {"gate/notes.txt", "../README.md", ""},
		"a link to nowhere":    {"gate/notes.txt", "nowhere", ""},
		"a link to itself":     {"gate/notes.txt", "notes.txt", "gate/notes.txt"},
		"a folder of a folder": {"gate/up", "..", "links are not read"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, folder(map[string]string{"README.md": "# Read me"})); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(c.target, filepath.Join(dir, c.link)); err != nil {
			t.Fatal(err)
		}
		_, err := bundles.Load(dir)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.link)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A folder is bounded as an archive is.
func TestHugeFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, folder(nil)); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "gate", "data.yaml")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<30); err != nil {
		t.Fatal(err)
	}
	if _, err := bundles.Load(dir); !errors.Is(err, bundles.ErrInvalid) || !strings.Contains(err.Error(), `"gate/data.yaml"`) {
		t.Errorf("%v", err)
	}
}
