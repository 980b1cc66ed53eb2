package tiergate_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tiergate/tiergate/"

// arrows is who may import whom; docs/architecture.md draws it. A folder that
// is not here may not be imported by what ships.
var arrows = map[string][]string{
	"policies":        {},
	"audit":           {},
	"audit/evidence":  {"audit"},
	"audit/replay":    {"audit", "audit/evidence", "engine", "engine/model", "review", "store"},
	"audit/statement": {"audit", "audit/evidence", "audit/replay", "engine", "store"},
	"checkpoint":      {},
	"engine":          {},
	"engine/model":    {},
	"bundles":         {},
	"store":           {"audit", "audit/evidence", "engine"},
	"rollout":         {"engine", "bundles"},
	"receipt":         {},
	"server":          {"engine", "rollout", "announce", "receipt"},
	"review":          {"engine", "engine/model"},
	"announce":        {"engine"},
	"client":          {},
	"notary":          {"checkpoint", "engine"},
	"cmd/tiergate":    {"audit", "audit/evidence", "audit/replay", "audit/statement", "checkpoint", "notary", "receipt", "announce", "client", "policies", "engine", "bundles", "store", "rollout", "server", "review"},
}

// outside is which third-party modules a package may know, where that is part
// of the design: the engine knows OPA but no HTTP, SQL or cache.
var outside = map[string][]string{
	"policies":       {},
	"audit":          {"golang.org/x/mod"},
	"audit/evidence": {"golang.org/x/mod"},
	"checkpoint":     {"golang.org/x/mod"},
	"receipt":        {"github.com/go-json-experiment/json"},
	"engine":         {"github.com/open-policy-agent/opa", "github.com/go-json-experiment/json", "github.com/google/uuid"},
	"bundles":        {"github.com/open-policy-agent/opa", "github.com/go-json-experiment/json"},
	"client":         {"github.com/go-json-experiment/json"},
}

// The arrows between packages point to the core, and test helpers stay out of
// what ships.
func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from := strings.TrimPrefix(p.ImportPath, module)
		allowed, ships := arrows[from]
		if !ships {
			continue
		}
		seen++
		for _, i := range p.Imports {
			if to, ours := strings.CutPrefix(i, module); ours && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s; it may import %v", from, to, allowed)
			}
			thirdParty := strings.Contains(strings.SplitN(i, "/", 2)[0], ".") && !strings.HasPrefix(i, module)
			if known, limited := outside[from]; limited && thirdParty &&
				!slices.ContainsFunc(known, func(m string) bool { return i == m || strings.HasPrefix(i, m+"/") }) {
				t.Errorf("%s imports %s; of other modules it may know %v", from, i, known)
			}
			if limited := from == "engine" || from == "audit" || from == "bundles" || from == "policies"; limited && slices.Contains([]string{"net/http", "database/sql"}, i) {
				t.Errorf("%s imports %s", from, i)
			}
		}
	}
	if seen != len(arrows) {
		t.Errorf("%d of %d packages were found", seen, len(arrows))
	}
}
