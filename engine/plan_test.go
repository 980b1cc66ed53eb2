package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/engine/enginetest"
	"github.com/tiergate/tiergate/policies"
)

func shipped(tb testing.TB) *Policy {
	tb.Helper()
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := NewPolicy(tb.Context(), PolicySource{ID: PolicyID{b.Revision, b.Hash}, Modules: b.Modules, Data: b.Data})
	if err != nil {
		tb.Fatal(err)
	}
	if p.plan == nil {
		tb.Fatal("the shipped bundle has no plan: every decision would take the slow way")
	}
	return p
}

// The plan and topdown give the same value, rationale and all, on random
// documents and on the corpus.
func TestPlanAgreesWithTopdown(t *testing.T) {
	p := shipped(t)
	r := rand.New(rand.NewPCG(3, 4))
	docs := enginetest.Corpus(1000)
	for range 15_000 {
		docs = append(docs, enginetest.Document(r))
	}
	for _, doc := range docs {
		input, err := ParseDocument(doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.evaluatorsAgree(t.Context(), input); err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
	}
}

func FuzzPlanAgreesWithTopdown(f *testing.F) {
	p := shipped(f)
	f.Add(uint64(5), uint64(6))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		input, err := ParseDocument(enginetest.Document(rand.New(rand.NewPCG(a, b))))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.evaluatorsAgree(t.Context(), input); err != nil {
			t.Fatal(err)
		}
	})
}

// tiny makes a policy of one module without trying it out.
func tiny(t *testing.T, rego string) *Policy {
	t.Helper()
	m, err := ast.ParseModuleWithOpts("tiny.rego", "package gate\n\n"+rego, ast.ParserOptions{ProcessAnnotation: true})
	if err != nil {
		t.Fatal(err)
	}
	src := PolicySource{Modules: map[string]*ast.Module{"tiny.rego": m}, Data: map[string]any{
		"gate": map[string]any{"numbers": []any{1, 2, 3}, "names": map[string]any{"b": "x", "a": "y"}},
	}}
	p, err := newPolicy(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What the two evaluators say about one piece of Rego each.
func TestStatements(t *testing.T) {
	input := ast.MustParseTerm(`{"a": 1, "list": [3, 1, 2, 2], "o": {"x": {"y": true}}, "s": "b", "f": false, "n": null}`)
	for _, rego := range []string{
		`decision := input.a`,
		`decision := input.nothing`,
		`decision := input.list[1]`,
		`decision := input.list[7]`,
		`decision := input.s[0]`,
		`decision := input.o.x.y`,
		`decision := input.f`,
		`decision := [x | some x in input.list; x > 1]`,
		`decision := {x | some x in input.list}`,
		`decision := {k: v | some k, v in input.o}`,
		`decision := {k: v | some i; v := input.list[i]; k := v}`,
		`decision := {"k": v | some v in input.list}`, // in conflict
		`decision := count({x | some x in data.gate.numbers; not x == 2})`,
		`decision := [k | some k, _ in data.gate.names]`,
		`decision := "yes" if every x in input.list { x > 0 }`,
		`decision := "yes" if every x in input.list { x > 1 }`,
		`decision := "yes" if every x in [] { x > 1 }`,
		`decision := "yes" if not input.nothing`,
		`decision := "yes" if not input.f`,
		`decision := "yes" if not input.a == 1`,
		`decision := "no" if { input.a == 2 } else := "else" if { input.a == 1 } else := "last"`,
		`decision := "no" if { input.a == 2 } else := "else" if { input.a == 3 } else := "last"`,
		"default decision := 7\n\ndecision := 8 if input.nothing",
		"default decision := 7\n\ndecision := 8 if input.a",
		"decision := 1\n\ndecision := 2 if input.a", // in conflict
		"decision := 1\n\ndecision := 1 if input.a",
		"decision contains 1\n\ndecision contains 2 if input.a\n\ndecision contains 3 if input.nothing",
		"decision[k] := v if some k, v in input.o\n\ndecision.z := 1",
		"decision := f(1, input.a)\n\nf(1, x) := x + 1\n\nf(2, x) := x + 2",
		"decision := f(3)\n\nf(1) := 1",
		"decision := f([1, 2])\n\nf([a, b]) := a + b",
		"decision := [x, y] if { some x in input.list; some y in data.gate.numbers; x + y == 6 }", // in conflict
		"decision := {[x, y] | some x in input.list; some y in data.gate.numbers; x + y == 5}",
		"decision := p.q\n\np := {\"q\": r, \"s\": [r, {1, 2}, {\"t\": null}, 1.5, true]}\n\nr := 9",
		"decision := p[\"s\"]\n\np := {\"q\": 1, \"s\": [1, {1, 2}, {\"t\": null}, 1.5, true]}",
		"decision := x if { some i; input.list[i] == 2; x := input.list[i] }",
		"decision := sum(input.list) * 2 - 1",
		"decision := to_number(input.s)", // a builtin that fails
		"decision := \"yes\" if not to_number(input.s)",
		"decision := concat(\",\", [input.s, \"b\"])",
		`decision := sprintf("%s %d", [input.s, input.a])`,
		"# METADATA\n# custom:\n#   x: 1\ndecision := rego.metadata.rule().custom",
		`decision := 1.0 if input.a == 1.0`,
		`decision := object.get(data.gate.names, ["b"], "none")`,
		`decision := data.gate.names[input.s]`,
		`decision := {1, 2} & {2, 3}`,
		"decision := x if x := p with input.a as 2\n\np := input.a + 1",
		"decision := [p, q, p] if q := p with input.a as 2\n\np := input.a + 1", // what was remembered is not used
		"decision := [x, input.o] if x := p with input.o.x.y as 7\n\np := input.o",
		"decision := x if x := p with input.new.path as 7\n\np := input.new",
		"decision := x if x := p with input.a.b as 7\n\np := input.a", // through a number
		"decision := x if x := p with input as {\"a\": 5}\n\np := input",
		"decision := x if x := p with data.gate.names.b as \"z\"\n\np := data.gate.names",
		"decision := x if x := p with input.a as 2 with data.gate.numbers as [7]\n\np := [input.a, data.gate.numbers]",
		"decision := \"yes\" if not p with input.a as 2\n\np if input.a == 1",
		"decision := \"yes\" if not p with input.a as 1\n\np if input.a == 1",
		"decision := \"yes\" if p with input.a as 2\n\np if input.a == 1", // undefined
		"decision := [x | some v in input.list; x := p with input.a as v]\n\np := input.a * 2",
		"decision := x if { x := q with input.a as 2 }\n\nq := y if y := p with input.b as 3\n\np := [input.a, input.b]",
		"decision := data.gate.rules[input.s]\n\nrules.a := 1\n\nrules.b := 2\n\nrules.c := 3",
		"decision := x if { some k in [\"a\", \"b\"]; x := data.gate.rules[k]; x > 1 }\n\nrules.a := 1\n\nrules.b := 2",
		"decision := \"x\" if not data.gate.rules[input.s]\n\nrules.b := 2",
		"decision := data.gate.rules[input.s]\n\nrules.b if input.nothing",
		"decision := data.gate.names[input.s]\n\nnames.c := 3",
		"decision := data.gate.sub\n\nsub.a := 1\n\nsub.b := 2 if input.nothing",
	} {
		p := tiny(t, rego)
		want, wantErr := p.evalTopdown(t.Context(), input.Value, topdown.NewCancel())
		if p.plan == nil {
			t.Errorf("%s: there is no plan", rego)
			continue
		}
		got, gotErr := p.plan.eval(t.Context(), input.Value, topdown.NewCancel(), nil)
		switch {
		case (wantErr == nil) != (gotErr == nil):
			t.Errorf("%s: the plan says %v (%v), topdown %v (%v)", rego, got, gotErr, want, wantErr)
		case wantErr == nil && !same(got, want):
			t.Errorf("%s: the plan says %v, topdown %v", rego, got, want)
		}
	}
}

// An evaluation that would take for ever ends in time, and is no decision.
func TestEndlessPolicy(t *testing.T) {
	p := tiny(t, `numbers contains x if some x in input.list

decision := count([1 | some a in numbers; some b in numbers; some c in numbers; some d in numbers; a + b + c + d == -1])`)
	list := make([]*ast.Term, 1000)
	for i := range list {
		list[i] = ast.InternedTerm(i)
	}
	input := ast.NewObject([2]*ast.Term{ast.StringTerm("list"), ast.ArrayTerm(list...)})
	for name, plan := range map[string]*plan{"plan": p.plan, "topdown": nil} {
		q := *p
		q.plan = plan
		start := time.Now()
		_, err := q.Decide(context.Background(), input)
		if !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > 10*EvalTimeout {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}
