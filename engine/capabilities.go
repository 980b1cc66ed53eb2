package engine

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowedBuiltins is what a bundle may call: what the shipped policy uses, and
// a reviewed set that depends on nothing but its arguments. Missing on purpose:
// the clock, the network, randomness, the environment, everything that reads
// the tz database (machines differ), net.cidr_expand and numbers.range (their
// results can be huge), and json.match_schema and graphql (their libraries).
var allowedBuiltins = []string{
	"eq", "assign", "equal", "neq", "lt", "lte", "gt", "gte",
	"plus", "minus", "mul", "div", "rem", "abs", "ceil", "floor", "round",
	"count", "sum", "max", "min", "sort", "any", "all",
	"and", "or", "intersection", "union",
	"array.concat", "array.slice", "array.reverse",
	"object.get", "object.keys", "object.union", "object.subset",
	"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string",
	"internal.member_2", "internal.member_3", "internal.template_string",
	"concat", "contains", "endswith", "startswith", "format_int", "indexof", "lower", "upper",
	"replace", "split", "substring", "trim", "trim_left", "trim_prefix", "trim_right", "trim_suffix", "trim_space",
	"sprintf", "strings.any_prefix_match", "strings.any_suffix_match", "strings.replace_n",
	"to_number", "regex.match", "regex.is_valid",
	"net.cidr_contains", "net.cidr_intersects", "net.cidr_is_valid", "net.cidr_merge",
	"crypto.sha256", "base64.encode", "base64.is_valid", "hex.encode",
	"rego.metadata.rule", "rego.metadata.chain",
	"time.parse_rfc3339_ns",
}

// Capabilities returns what bundles may use: this OPA's language features, the
// allowed builtins, and no network.
func Capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool {
		return b.Nondeterministic || !slices.Contains(allowedBuiltins, b.Name)
	})
	c.AllowNet = []string{}
	return c
}

// Impure reports whether a builtin's result depends on more than its arguments,
// as far as this OPA tells, or the builtin is not known.
func Impure(name string) bool {
	for _, b := range ast.Builtins {
		if b.Name == name {
			return b.Nondeterministic
		}
	}
	return !slices.Contains(allowedBuiltins, name)
}
