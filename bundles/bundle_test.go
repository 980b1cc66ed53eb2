package bundles_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/compile"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/policies"
)

func archive(t *testing.T, b *bundles.Bundle) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := b.WriteArchive(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func loadBytes(t *testing.T, content []byte) *bundles.Bundle {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle.tar.gz")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := bundles.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func embedded(t *testing.T) *bundles.Bundle {
	t.Helper()
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The folder, the embedded folder, our archive, an archive of that archive and
// what the stock `opa build -b` makes are one bundle.
func TestOneHash(t *testing.T) {
	want := embedded(t)
	folder, err := bundles.Load("../policies")
	if err != nil {
		t.Fatal(err)
	}
	// From the root: `opa build -b ../policies` names its files "/../policies/…",
	// which is refused as leaving the bundle.
	t.Chdir("..")
	var stock bytes.Buffer
	if err := compile.New().WithAsBundle(true).WithPaths("policies").WithOutput(&stock).Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	ours := loadBytes(t, archive(t, want))
	for name, got := range map[string]*bundles.Bundle{
		"folder": folder, "archive": ours, "archive of the archive": loadBytes(t, archive(t, ours)), "opa build": loadBytes(t, stock.Bytes()),
	} {
		if got.Hash != want.Hash {
			t.Errorf("%s: %s, want %s", name, got.Hash, want.Hash)
		}
	}
}

func TestSameBytes(t *testing.T) {
	a, b := archive(t, embedded(t)), archive(t, embedded(t))
	if !bytes.Equal(a, b) {
		t.Error("two builds of the same sources differ")
	}
}

const module = "package gate\n\ndecision := data.gate.x\n"

func folder(changes map[string]string) fstest.MapFS {
	files := fstest.MapFS{
		".manifest":      {Data: []byte(`{"revision":"1.0.0","roots":["gate"]}`)},
		"gate/gate.rego": {Data: []byte(module)},
		"gate/data.json": {Data: []byte(`{"x":1}`)},
	}
	for name, text := range changes {
		if text == "" {
			delete(files, name)
		} else {
			files[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return files
}

// What the policy says changes the hash; how it is laid out does not.
func TestWhatTheHashDependsOn(t *testing.T) {
	base, err := bundles.LoadFS(folder(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		changes map[string]string
		same    bool
	}{
		"another file name": {map[string]string{"gate/gate.rego": "", "gate/other.rego": module}, true},
		"other white space": {map[string]string{"gate/gate.rego": "package gate\n\n\n\ndecision:=data.gate.x"}, true},
		"data as YAML":      {map[string]string{"gate/data.json": "", "gate/data.yaml": "x: 1\n"}, true},
		"data one level up": {map[string]string{"gate/data.json": "", "data.json": `{"gate": {"x": 1}}`}, true},
		"a test":            {map[string]string{"gate/gate_test.rego": "package gate.gate_test\n\ntest_x if true\n"}, true},
		"a comment":         {map[string]string{"gate/gate.rego": "# now\n" + module}, false},
		"another value":     {map[string]string{"gate/data.json": `{"x":2}`}, false},
		"another revision":  {map[string]string{".manifest": `{"revision":"1.0.1","roots":["gate"]}`}, false},
		"more roots":        {map[string]string{".manifest": `{"revision":"1.0.0","roots":["gate","other"]}`}, false},
		"one more module":   {map[string]string{"gate/y.rego": "package gate.y\n"}, false},
		"a rule":            {map[string]string{"gate/gate.rego": module + "\ny := 1\n"}, false},
	} {
		got, err := bundles.LoadFS(folder(c.changes))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if (got.Hash == base.Hash) != c.same {
			t.Errorf("%s: same hash %v, want %v", name, got.Hash == base.Hash, c.same)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, changes := range map[string]map[string]string{
		"no module":         {"gate/gate.rego": ""},
		"only tests":        {"gate/gate.rego": "", "gate/a_test.rego": "package gate.a_test\n"},
		"a syntax error":    {"gate/gate.rego": "package gate\n\nx :="},
		"outside the roots": {"gate/gate.rego": "package other\n"},
		"data outside":      {"data.json": `{"other":1}`},
		"no revision":       {".manifest": `{"roots":["gate"]}`},
		"no manifest":       {".manifest": ""},
		"revision one":      {".manifest": `{"revision":"one","roots":["gate"]}`},
		"bad manifest":      {".manifest": `{"revision":`},
		"bad data":          {"gate/data.json": `{"x":`},
	} {
		if _, err := bundles.LoadFS(folder(changes)); !errors.Is(err, bundles.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// Archives that are cut off, are a patch, or carry compiled code.
func TestRefusedArchives(t *testing.T) {
	good := archive(t, embedded(t))
	for name, content := range map[string][]byte{
		"cut off":    good[:len(good)/2],
		"no archive": []byte("hello"),
		"empty":      {},
		"a patch":    pack(t, entry{name: "/patch.json", content: `{"data":[{"op":"upsert","path":"gate","value":{}}]}`}),
		"wasm":       pack(t, append(policyEntries(), entry{name: "/policy.wasm", content: "x"})...),
	} {
		path := filepath.Join(t.TempDir(), "bundle.tar.gz")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := bundles.Load(path); !errors.Is(err, bundles.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if _, err := bundles.Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
