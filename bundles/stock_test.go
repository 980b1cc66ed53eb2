package bundles_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/version"

	"github.com/tiergate/tiergate/bundles"
)

var stock struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if stock.dir != "" {
		os.RemoveAll(stock.dir)
	}
	os.Exit(code)
}

// opa runs the stock opa of the version that go.mod pins, in dir. It is built
// from the module of the benchmarks, whose go.sum has what its command needs.
func opa(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	stock.once.Do(func() {
		if stock.dir, stock.err = os.MkdirTemp("", "stock-opa-"); stock.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", filepath.Join(stock.dir, "opa"), "github.com/open-policy-agent/opa")
		build.Dir = filepath.Join("..", "bench")
		out, err := build.CombinedOutput()
		if err != nil {
			stock.err = errors.New(string(out))
			return
		}
		out, stock.err = exec.Command(filepath.Join(stock.dir, "opa"), "version").CombinedOutput()
		if stock.err == nil && !strings.Contains(string(out), "Version: "+version.Version+"\n") {
			stock.err = errors.New("bench/go.mod has another opa than go.mod: " + string(out))
		}
	})
	if stock.err != nil {
		t.Fatal(stock.err)
	}
	cmd := exec.Command(filepath.Join(stock.dir, "opa"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// workshop is a folder with the shipped policy in "policy" and a key pair.
func workshop(t *testing.T, algorithm string) (dir string, private, public []byte) {
	t.Helper()
	dir = t.TempDir()
	private, public = keyPair(t, algorithm)
	err := errors.Join(
		os.CopyFS(filepath.Join(dir, "policy"), os.DirFS("../policies")),
		os.WriteFile(filepath.Join(dir, "key.pem"), private, 0o600),
		os.WriteFile(filepath.Join(dir, "pub.pem"), public, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return dir, private, public
}

// What we sign, stock opa verifies, and it refuses what was changed.
func TestStockVerifiesOurs(t *testing.T) {
	for _, algorithm := range []string{"ES256", "ES512", "RS256", "PS256", "HS256"} {
		dir, private, _ := workshop(t, algorithm)
		signed := sign(t, embedded(t), private, "release", algorithm, "production")
		write := func(name string, content []byte) {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("good.tar.gz", signed)
		changed := unpack(t, signed)
		changed[len(changed)-1].content += "\n# now\n"
		write("changed.tar.gz", pack(t, changed...))
		build := func(archive, scope string) (string, error) {
			return opa(t, dir, "build", "--bundle", "--verification-key", "pub.pem", "--verification-key-id", "release",
				"--signing-alg", algorithm, "--scope", scope, "-o", "out.tar.gz", archive)
		}
		if out, err := build("good.tar.gz", "production"); err != nil {
			t.Errorf("%s: stock opa refuses what we signed: %v %s", algorithm, err, out)
			continue
		}
		b, err := bundles.Load(filepath.Join(dir, "out.tar.gz"))
		if err != nil || b.Hash != embedded(t).Hash {
			t.Errorf("%s: what opa made of it has another hash: %v", algorithm, err)
		}
		if out, err := build("changed.tar.gz", "production"); err == nil || !strings.Contains(out, "digest mismatch") {
			t.Errorf("%s: stock opa takes what was changed: %s", algorithm, out)
		}
		if out, err := build("good.tar.gz", "staging"); err == nil || !strings.Contains(out, "scope") {
			t.Errorf("%s: stock opa takes another scope: %s", algorithm, out)
		}
	}
}

// What stock opa signs we verify: `opa build`, and `opa sign` in a folder and
// packed with tar. It is the same bundle by its hash.
func TestWeVerifyStock(t *testing.T) {
	dir, _, public := workshop(t, "ES256")
	claims := `{"keyid": "release", "scope": "production"}`
	if err := os.WriteFile(filepath.Join(dir, "claims.json"), []byte(claims), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		run          []string
		keyID, scope string
		otherKeyID   string
	}{
		"opa build":             {[]string{"build", "--bundle", "--signing-key", "key.pem", "--signing-alg", "ES256", "-o", "signed.tar.gz", "policy"}, "", "", "release"},
		"opa build with claims": {[]string{"build", "--bundle", "--signing-key", "key.pem", "--signing-alg", "ES256", "--claims-file", "claims.json", "-o", "signed.tar.gz", "policy"}, "release", "production", ""},
	} {
		if out, err := opa(t, dir, c.run...); err != nil {
			t.Fatalf("%s: %v %s", name, err, out)
		}
		path := filepath.Join(dir, "signed.tar.gz")
		b, err := bundles.LoadVerified(path, verifier(t, public, c.keyID, "", c.scope))
		if err != nil || b.Hash != embedded(t).Hash {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := bundles.LoadVerified(path, verifier(t, public, c.otherKeyID, "", c.scope)); !errors.Is(err, bundles.ErrSignature) {
			t.Errorf("%s, other key id: %v", name, err)
		}
	}

	policy := filepath.Join(dir, "policy")
	if out, err := opa(t, policy, "sign", "--bundle", ".", "--signing-key", "../key.pem", "--signing-alg", "ES256"); err != nil {
		t.Fatal(err, out)
	}
	// `opa sign` names no key: fine unless a name is asked for.
	for keyID, want := range map[string]error{"": nil, "default": bundles.ErrSignature} {
		b, err := bundles.LoadVerified(policy, verifier(t, public, keyID, "", ""))
		if !errors.Is(err, want) || err == nil && b.Hash != embedded(t).Hash {
			t.Errorf("opa sign, key id %q: %v, want %v", keyID, err, want)
		}
	}
	tarball := exec.Command("tar", "-C", policy, "-czf", filepath.Join(dir, "packed.tar.gz"), ".")
	if out, err := tarball.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	content, err := os.ReadFile(filepath.Join(dir, "packed.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundles.Read(bytes.NewReader(content), verifier(t, public, "", "", ""))
	if err != nil || b.Hash != embedded(t).Hash {
		t.Errorf("opa sign and tar: %v", err)
	}
}
