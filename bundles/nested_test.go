package bundles_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tiergate/tiergate/bundles"
)

// Files that would cost far more than their size are refused in time, and
// nothing ends the process.
func TestNestedWithoutEnd(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 12 {
		refs := strings.Repeat("*a"+string(rune('a'+i-1))+", ", 9)
		if i == 0 {
			refs = strings.Repeat("*a0, ", 9)
		}
		laughs.WriteString("a" + string(rune('a'+i)) + ": &a" + string(rune('a'+i)) + " [" + refs + "x]\n")
	}
	const deep = 2_000_000
	for name, add := range map[string]entry{
		"YAML that expands":    {name: "/gate/y/data.yaml", content: laughs.String()},
		"deep YAML":            {name: "/gate/y/data.yaml", content: "a: " + strings.Repeat("[", deep)},
		"deep JSON":            {name: "/gate/y/data.json", content: strings.Repeat("[", deep) + strings.Repeat("]", deep)},
		"deep Rego":            {name: "/gate/y.rego", content: "package gate.y\n\nx := " + strings.Repeat("[", deep) + strings.Repeat("]", deep) + "\n"},
		"deep Rego parens":     {name: "/gate/y.rego", content: "package gate.y\n\nx := " + strings.Repeat("(", deep) + "1" + strings.Repeat(")", deep) + "\n"},
		"a long sum":           {name: "/gate/y.rego", content: "package gate.y\n\nx := 1" + strings.Repeat(" + 1", 200_000) + "\n"},
		"a deep comprehension": {name: "/gate/y.rego", content: "package gate.y\n\nx := " + strings.Repeat("[y | y := ", 200_000) + "1" + strings.Repeat("]", 200_000) + "\n"},
	} {
		start := time.Now()
		_, err := bundles.Read(bytes.NewReader(pack(t, append(policyEntries(), add)...)), nil)
		took := time.Since(start)
		if !errors.Is(err, bundles.ErrInvalid) || len(err.Error()) > 5000 {
			t.Errorf("%s: %.300v, want ErrInvalid in a few words", name, err)
		}
		if took > 5*time.Second && !raceDetector {
			t.Errorf("%s: %s", name, took)
		}
	}
}
