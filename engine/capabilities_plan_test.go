package engine

import (
	"testing"

	"github.com/open-policy-agent/opa/v1/topdown"
)

// Every allowed builtin can be called from a plan, so that every bundle can be
// traced and proved.
func TestEveryBuiltinHasAPlan(t *testing.T) {
	compiledAway := set("eq assign rego.metadata.rule rego.metadata.chain internal.print")
	for _, b := range Capabilities().Builtins {
		if topdown.GetBuiltin(b.Name) == nil && !compiledAway[b.Name] {
			t.Errorf("%s is no function that a plan can call", b.Name)
		}
	}
}
