package review

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/policies"
)

func edited(t *testing.T, file, old, new string) *Subject {
	t.Helper()
	m := fstest.MapFS{}
	fs.WalkDir(policies.FS, ".", func(p string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			b, _ := fs.ReadFile(policies.FS, p)
			m[p] = &fstest.MapFile{Data: b}
		}
		return nil
	})
	text := string(m[file].Data)
	if !strings.Contains(text, old) {
		t.Fatalf("no %q", old)
	}
	m[file] = &fstest.MapFile{Data: []byte(strings.Replace(text, old, new, 1))}
	b, err := bundles.LoadFS(m)
	if err != nil {
		t.Fatal(err)
	}
	return subject(t, b)
}

func TestTryDiff(t *testing.T) {
	old := shipped(t)
	for _, c := range [][3]string{
		{"gate/gate.rego", `"force_auto" in modes,`, `"force_auto" in modes, `},
		{"gate/tiers/data.yaml", "HIGH: whitelist", "HIGH: tier_allows"},
		{"gate/actions/data.yaml", "isolate_host:\n  blast_radius: HIGH", "isolate_host:\n  blast_radius: MEDIUM"},
		{"gate/constraints/constraints.rego", "input.request.confidence >= value", "input.request.confidence > value"},
		{"gate/expiry/expiry.rego", "_instant(input.now) < _instant(entry.expires_at)", "_instant(input.now) <= _instant(entry.expires_at)"},
		{"gate/gate.rego", `object.get(input.tenant, "stopped", false)`, `false`},
		{"gate/gate.rego", "	not _whitelist_id\n", ""},
		{"gate/constraints/constraints.rego", `_folded_target != _fold(text)`, `input.request.target != text`},
		{"gate/gate.rego", `tier.governs[radius],`, `_governs(tier.governs[radius]),` + "\n"},
	} {
		if strings.Contains(c[2], "_governs") {
			continue
		}
		start := time.Now()
		new := edited(t, c[0], c[1], c[2])
		d, err := Diff(t.Context(), old, new, [2]string{"main", "pr"}, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("== %s → %s: %v %d/%d %v", c[1], c[2], time.Since(start), d.Changed, d.Situations, d.NotCovered)
		for _, x := range d.Changes {
			t.Log(x.String(), x.Situations)
			t.Log("    e.g. ", x.Example.Situation)
		}
		for _, x := range d.OtherRule {
			t.Log("  rule", x.String(), x.Situations)
		}
		t.Log(d.Tables, d.Texts)
	}
}
