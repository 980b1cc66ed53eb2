package engine

import (
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// decisionRules lists the rules that data.gate.decision may use, itself included,
// as OPA's own graph of dependencies has them. What a bundle says beside it,
// such as data.gate.release, changes no decision.
func (p *Policy) decisionRules() []*ast.Rule {
	var found []*ast.Rule
	seen := map[util.T]bool{}
	var visit func(util.T)
	visit = func(node util.T) {
		if seen[node] {
			return
		}
		seen[node] = true
		found = append(found, node.(*ast.Rule))
		for next := range p.compiler.Graph.Dependencies(node) {
			visit(next)
		}
	}
	for _, r := range p.compiler.GetRules(ast.MustParseRef("data.gate.decision")) {
		visit(r)
	}
	return found
}

// ComparedNumbers lists, sorted, the numbers that the rules of the decision
// compare something with, as they are written.
func (p *Policy) ComparedNumbers() []string {
	found := map[string]bool{}
	for _, m := range p.decisionRules() {
		ast.WalkExprs(m, func(e *ast.Expr) bool {
			if terms, ok := e.Terms.([]*ast.Term); ok && len(terms) == 3 && comparisons[terms[0].String()] {
				for _, t := range terms[1:] {
					if n, ok := t.Value.(ast.Number); ok {
						found[n.String()] = true
					}
				}
			}
			return false
		})
	}
	return slices.Sorted(maps.Keys(found))
}

var comparisons = set("lt lte gt gte equal neq eq")

// InputPaths lists, sorted, the paths below input that the rules of the decision
// name and that no traced part is or holds.
func (p *Policy) InputPaths() []string {
	found := map[string]bool{}
	for _, m := range p.decisionRules() {
		ast.WalkRefs(m, func(r ast.Ref) bool {
			if r[0].Equal(ast.InputRootDocument) {
				if path, unknown := unknownPath(r); unknown {
					found[path] = true
				}
			}
			return false
		})
	}
	return slices.Sorted(maps.Keys(found))
}

// unknownPath reports whether a reference below input names something that is
// in no part.
func unknownPath(r ast.Ref) (string, bool) {
	path := "input"
	for _, t := range r[1:] {
		if s, ok := t.Value.(ast.String); ok {
			path += "." + string(s)
			continue
		}
		path += "[_]"
	}
	for _, part := range partPaths {
		if path == part || strings.HasPrefix(part, path+".") {
			return "", false // the part, or a whole that holds it: the trace tells
		}
		rest, inside := strings.CutPrefix(path, part)
		if !inside {
			continue
		}
		if element, ok := strings.CutPrefix(rest, "[_]"); ok {
			key, _, _ := strings.Cut(strings.TrimPrefix(element, "."), ".")
			key, _, _ = strings.Cut(key, "[")
			return part + "[_]." + key, key != "" && !elementKeys[key]
		}
	}
	return path, true
}

// Builtins lists, sorted, the builtins that the bundle's rules call.
func (p *Policy) Builtins() []string {
	found := map[string]bool{}
	called := func(operator *ast.Term) {
		// A function of the bundle is data.….
		if r, ok := operator.Value.(ast.Ref); ok && !r[0].Equal(ast.DefaultRootDocument) {
			found[r.String()] = true
		}
	}
	for _, m := range p.compiler.Modules {
		ast.WalkTerms(m, func(t *ast.Term) bool {
			if call, ok := t.Value.(ast.Call); ok {
				called(call[0])
			}
			return false
		})
		ast.WalkExprs(m, func(e *ast.Expr) bool {
			if terms, ok := e.Terms.([]*ast.Term); ok && len(terms) > 0 {
				called(terms[0])
			}
			return false
		})
	}
	return slices.Sorted(maps.Keys(found))
}
