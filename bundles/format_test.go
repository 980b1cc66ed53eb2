package bundles_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tiergate/tiergate/bundles"
)

// What OPA's formatter would turn into another policy is refused, because the
// archive is made of formatted text.
func TestFormatKeepsTheMeaning(t *testing.T) {
	source := "package gate\n\ndecision if (input.a == input.b) == (input.c in input.d)\n"
	_, err := bundles.LoadFS(folder(map[string]string{"gate/gate.rego": source}))
	if !errors.Is(err, bundles.ErrInvalid) || !strings.Contains(err.Error(), "/gate/gate.rego:3: opa fmt changes what this says") {
		t.Errorf("%v", err)
	}
}
