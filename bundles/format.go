package bundles

import (
	"bytes"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/format"
)

// formatModule is the text that is hashed and packed. It must say what the
// source says and be formatted to the end, or an archive would be another policy
// than the folder it was made from: OPA 1.22.2 formats some code into other code.
func formatModule(path string, m bundle.ModuleFile) ([]byte, error) {
	opts := format.Opts{RegoVersion: ast.RegoV1}
	text, err := format.SourceWithOpts(path, m.Raw, opts)
	if err != nil {
		return nil, fmt.Errorf("format %s: %w", path, err)
	}
	parsed, err := ast.ParseModuleWithOpts(path, string(text), ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
	if err != nil {
		return nil, fmt.Errorf("%s: formatted by opa fmt it does not parse: %w", path, err)
	}
	if line, same := sameRules(m.Parsed, parsed); !same {
		return nil, fmt.Errorf("%s:%d: opa fmt changes what this says; give its parts names and compare those", path, line)
	}
	again, err := format.SourceWithOpts(path, text, opts)
	if err != nil {
		return nil, fmt.Errorf("format %s a second time: %w", path, err)
	}
	if !bytes.Equal(text, again) {
		return nil, fmt.Errorf("%s: formatting it twice gives two texts; run opa fmt -w on it and look at what that changes", path)
	}
	return text, nil
}

// sameRules compares two modules; line is that of the first rule that differs.
func sameRules(a, b *ast.Module) (line int, same bool) {
	a, b = withoutTrue(a), withoutTrue(b)
	for i, r := range a.Rules {
		if i == len(b.Rules) || !r.Equal(b.Rules[i]) {
			return r.Location.Row, false
		}
	}
	return 1, a.Equal(b)
}

// withoutTrue spells `p := true` as `p`, which opa fmt does, too, and which says
// the same.
func withoutTrue(m *ast.Module) *ast.Module {
	m = m.Copy()
	ast.WalkRules(m, func(r *ast.Rule) bool {
		if r.Head.Value != nil && r.Head.Value.Equal(ast.InternedTerm(true)) {
			r.Head.Assign = false
		}
		return false
	})
	return m
}
