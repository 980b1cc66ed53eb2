package audit_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tiergate/tiergate/audit"
)

// example is the tree of docs/tree.md: a tenant that stops itself and then asks.
var example = []struct {
	kind   *audit.Kind
	values []any
}{
	{audit.Genesis, []any{"acme", int64(0), int64(0), int64(0), int64(0), "2026-11-23T08:00:00.000Z"}},
	{audit.ConfigChange, []any{"acme", int64(1), "config", `{"maturity_tier":0}`, `{"maturity_tier":3}`, "olga", "the pilot went well", "2026-11-23T08:00:00.000Z", int64(1)}},
	{audit.Decision, []any{
		"acme", int64(1), "0193f3d2-7b1c-7abc-8def-0123456789ab", "0193f3d2-7b1c-7abc-8def-0123456789ac", "block_ip", "203.0.113.9", "MEDIUM", int64(3),
		"auto", "tier_allows", "L3-Remediate lets MEDIUM actions run by themselves.", "[]", "Allow the address again with allow_ip.", "system", "agent-1", nil, 0.97,
		nil, nil, []byte(`{"now":"2026-11-23T08:00:01.500Z"}`), "1.1.0", "sha256:5f2b7d9c1f0e4a8b93c6d1e2f30415263748596a7b8c9d0e1f2a3b4c5d6e7f80", "tiergate/1 opa/1.22.2", int64(1),
		"2026-11-23T08:00:01.500Z", make([]byte, 32), int64(0), nil, nil, int64(2),
	}},
}

// docs/tree.md has the leaves, hashes and fields that this package makes.
func TestThePage(t *testing.T) {
	b, err := os.ReadFile("../docs/tree.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	says := func(what, text string) {
		t.Helper()
		if !strings.Contains(page, text) {
			t.Errorf("docs/tree.md lacks %s:\n%s", what, text)
		}
	}
	var edge audit.Edge
	for i, e := range example {
		leaf, err := e.kind.AppendLeaf(nil, e.values)
		if err != nil {
			t.Fatal(err)
		}
		hash := tlog.RecordHash(leaf)
		edge.Add(hash, nil)
		says("the bytes of a leaf", "\n"+string(leaf)+"\n")
		says("the hash of a leaf", hex.EncodeToString(hash[:]))
		if i == 1 {
			left := edge.Root()
			says("the node above leaves 0 and 1", hex.EncodeToString(left[:]))
			says("the edge of the whole tree", hex.EncodeToString(left[:]))
		}
	}
	root := edge.Root()
	says("the root", hex.EncodeToString(root[:]))
	says("the root as a checkpoint spells it", root.String())
	for _, k := range audit.Kinds {
		says("the fields of "+k.Name, "\n"+strings.Join(k.Fields(), " ")+"\n")
	}
}
