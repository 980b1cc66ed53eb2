// Package rollouttest makes bundles for tests out of the shipped one.
package rollouttest

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/policies"
)

// Cautious are edits after which search_siem, MINIMAL in the shipped policy,
// counts as HIGH and waits for approval at every tier.
var Cautious = []string{"search_siem:\n  blast_radius: MINIMAL", "search_siem:\n  blast_radius: HIGH"}

// Reckless are edits after which HIGH actions run by themselves at L4, which
// breaks a promise that only a proof finds out about.
var Reckless = []string{"HIGH: whitelist", "HIGH: tier_allows"}

// Crowded are edits after which an action waits for approval where it has more
// than two overrides, a number that no proof looks at.
var Crowded = []string{`"require_approval" in modes,`, "_asks(modes),", `# Overrides that narrow are in force`, `_asks(modes) := "require_approval" in modes if count(input.overrides) <= 2

_asks(_) if count(input.overrides) > 2

# Overrides that narrow are in force`}

// Broken are edits after which a block override gives no usable decision.
var Broken = []string{"block_override", "other_override"}

// Revised is the shipped bundle as another revision. edits are pairs of old and
// new text, made in every file that has the old.
func Revised(t testing.TB, revision string, edits ...string) *bundles.Bundle {
	t.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(policies.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(policies.FS, path)
		text := string(content)
		if path == ".manifest" {
			text = `{"revision": "` + revision + `", "roots": ["gate"]}`
		}
		for i := 0; i < len(edits); i += 2 {
			text = strings.ReplaceAll(text, edits[i], edits[i+1])
		}
		files[path] = &fstest.MapFile{Data: []byte(text)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundles.LoadFS(files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Pack returns a bundle's archive.
func Pack(t testing.TB, b *bundles.Bundle) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := b.WriteArchive(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
