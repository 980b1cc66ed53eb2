package policies_test

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/tiergate/tiergate/engine"
)

// load reads this folder with its tests, as `opa test policies` does.
func load(t *testing.T) *bundle.Bundle {
	t.Helper()
	loader := bundle.NewDirectoryLoader(".").WithFilter(func(_ string, info os.FileInfo, _ int) bool {
		return strings.HasSuffix(info.Name(), ".go")
	})
	b, err := bundle.NewCustomReader(loader).WithProcessAnnotations(true).WithSkipBundleVerification(true).Read()
	if err != nil {
		t.Fatal(err)
	}
	return &b
}

func modules(b *bundle.Bundle) map[string]*ast.Module {
	out := map[string]*ast.Module{}
	for _, m := range b.Modules {
		out[m.Path] = m.Parsed
	}
	return out
}

// Every Rego test is a subtest, and together they cover every line.
func TestRego(t *testing.T) {
	b := load(t)
	coverage := cover.New()
	results, err := tester.NewRunner().
		SetStore(inmem.NewFromObject(b.Data)).
		SetModules(modules(b)).
		SetCoverageQueryTracer(coverage).
		RunTests(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for r := range results {
		ran++
		t.Run(strings.TrimPrefix(r.Package, "data.")+"."+r.Name, func(t *testing.T) {
			switch {
			case r.Error != nil:
				t.Fatal(r.Error)
			case !r.Pass():
				t.Fatalf("fails; `opa test policies -v -r %s` shows where", r.Name)
			}
		})
	}
	if ran == 0 {
		t.Fatal("no Rego test ran")
	}
	report := coverage.Report(modules(b))
	for file, r := range report.Files {
		for _, lines := range r.NotCovered {
			t.Errorf("%s:%d-%d is not covered by a Rego test", file, lines.Start.Row, lines.End.Row)
		}
	}
	if report.Coverage != 100 {
		t.Errorf("Rego coverage is %.1f%%, want 100%%", report.Coverage)
	}
}

// `opa check --strict policies` and `opa fmt --list policies` find nothing, and
// the bundle needs no builtin outside the allowlist.
func TestStrictAndFormatted(t *testing.T) {
	b := load(t)
	shipped := map[string]*ast.Module{}
	for _, m := range b.Modules {
		text, err := format.Source(m.Path, m.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, m.Raw) {
			t.Errorf("%s is not formatted: run opa fmt -w policies", m.Path)
		}
		isTest := strings.HasSuffix(m.Path, "_test.rego")
		if strings.HasSuffix(m.Parsed.Package.Path.String(), "_test") != isTest {
			t.Errorf("%s: the package of a test, and only of a test, ends in _test, because the bundle hash leaves such packages out", m.Path)
		}
		if !isTest {
			shipped[m.Path] = m.Parsed
		}
	}
	c := ast.NewCompiler().WithStrict(true)
	if c.Compile(modules(b)); c.Failed() {
		t.Errorf("opa check --strict: %v", c.Errors)
	}
	c = ast.NewCompiler().WithStrict(true).WithCapabilities(engine.Capabilities())
	if c.Compile(shipped); c.Failed() {
		t.Errorf("with the engine's capabilities: %v", c.Errors)
	}
}

// Every rule that decides says so in METADATA, once: id, decision or outcome,
// rationale.
func TestVerdictsHaveMetadata(t *testing.T) {
	deciding := map[ast.Var]int{"_verdict": 9, "_release": 11}
	found := map[ast.Var]int{}
	seen := map[string]bool{}
	for path, m := range modules(load(t)) {
		if strings.HasSuffix(path, "_test.rego") {
			continue
		}
		rules := map[*ast.Rule]*ast.Annotations{}
		for _, a := range m.Annotations {
			if r, ok := a.GetTargetPath(), a.Scope == "rule"; ok && len(r) > 0 {
				for _, rule := range m.Rules {
					if rule.Loc().Row > a.Location.Row && (rules[rule] == nil) {
						rules[rule] = a
						break
					}
				}
			}
		}
		for _, rule := range m.Rules {
			if deciding[rule.Head.Name] == 0 {
				continue
			}
			found[rule.Head.Name]++
			a := rules[rule]
			if a == nil {
				t.Errorf("%s: no METADATA", rule.Loc())
				continue
			}
			id, _ := a.Custom["rule"].(string)
			rationale, _ := a.Custom["rationale"].(string)
			decision, _ := a.Custom["decision"].(string)
			if id == "" || rationale == "" || a.Title == "" || seen[id] {
				t.Errorf("%s: METADATA needs a title, a rule id of its own (%q) and a rationale", rule.Loc(), id)
			}
			if _, err := engine.ParseDecision(decision); err != nil && rule.Head.Name == "_verdict" {
				t.Errorf("%s: %v", rule.Loc(), err)
			}
			if outcome, _ := a.Custom["outcome"].(string); outcome == "" && rule.Head.Name == "_release" {
				t.Errorf("%s: METADATA needs an outcome", rule.Loc())
			}
			seen[id] = true
		}
	}
	if !maps.Equal(found, deciding) {
		t.Errorf("so many rules decide: %v, want %v", found, deciding)
	}
}

// Nothing else lies in the bundle's folder.
func TestOnlyPolicyFiles(t *testing.T) {
	err := fs.WalkDir(os.DirFS("."), "gate", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if name := filepath.Base(path); name != "data.yaml" && filepath.Ext(name) != ".rego" {
			t.Errorf("%s is neither Rego nor a table", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
