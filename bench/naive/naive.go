// Package naive holds the policy as one would write it first, for plain OPA.
package naive

import _ "embed"

// Module is the source of gate.rego.
//
//go:embed gate.rego
var Module string
