// Package policies carries the Rego rules and tables of the gate inside the
// binary. This folder is the root of the bundle: the stock opa works on it.
package policies

import "embed"

// FS holds the bundle's files as they are in the repository.
//
//go:embed .manifest gate
var FS embed.FS
