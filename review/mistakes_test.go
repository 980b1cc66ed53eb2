package review

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"golang.org/x/tools/txtar"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/policies"
)

// mistake is a seeded defect of the shipped policy, from testdata/mistakes.
type mistake struct {
	name   string
	caught []string // "prove <promise>", "diff WIDENS", "diff NARROWS", "diff rule", "diff not covered", "opa test"
	files  fstest.MapFS
}

func mistakes(tb testing.TB) (list []mistake) {
	tb.Helper()
	paths, err := filepath.Glob("testdata/mistakes/*.txtar")
	if err != nil {
		tb.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		a := txtar.Parse(text)
		m := mistake{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), files: shippedFiles(tb)}
		_, caught, ok := strings.Cut(string(a.Comment), "caught by:")
		if !ok {
			tb.Fatalf("%s says not what it is caught by", path)
		}
		for line := range strings.SplitSeq(strings.TrimSpace(caught), "\n") {
			m.caught = append(m.caught, strings.TrimSpace(line))
		}
		var file, old string
		for _, f := range a.Files {
			text := strings.TrimSuffix(string(f.Data), "\n")
			switch f.Name {
			case "file":
				file = text
			case "old":
				old = text
			case "new":
				had := string(m.files[file].Data)
				if strings.Count(had, old) < 1 {
					tb.Fatalf("%s: %s has no %q any more", path, file, old)
				}
				m.files[file] = &fstest.MapFile{Data: []byte(strings.Replace(had, old, text, 1))}
			case "append":
				m.files[file] = &fstest.MapFile{Data: append(slices.Clone(m.files[file].Data), f.Data...)}
			}
		}
		list = append(list, m)
	}
	return list
}

func shippedFiles(tb testing.TB) fstest.MapFS {
	tb.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(policies.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(policies.FS, path)
		files[path] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// Every seeded mistake is caught, and by what its file says. Each line of a file
// is checked, and each promise that is broken must be in it; only
// radius_never_widens, which takes the longest, is asked for where it is named.
func TestSeededMistakesAreCaught(t *testing.T) {
	old := shipped(t)
	old.keep = true
	all := mistakes(t)
	if len(all) < 20 {
		t.Fatalf("only %d mistakes", len(all))
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			b, err := bundles.LoadFS(m.files)
			if err != nil {
				t.Fatal(err)
			}
			new := subject(t, b)
			got := map[string]bool{}
			tables, err := Explore(t.Context(), 0, nil, old, new)
			if err != nil {
				t.Fatal(err)
			}
			c := newChecker(tables[1], new.policy.Actions())
			list, err := c.checkAll(t.Context(), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			d, err := compare(t.Context(), tables, old, new, [2]string{"old", "new"})
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(m.caught, "prove "+radiusNeverWidens.Name) {
				// Last: it overwrites the table.
				radius, _, err := c.checkRadius(t.Context(), new, 0, nil)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, radius)
			}
			for _, p := range list {
				if !p.Holds {
					got["prove "+p.Name] = true
					t.Logf("%s: %s", p.Name, p.Counterexample.Sentence)
				}
			}
			if d.ChangesAtLeast != len(d.Changes) || d.OtherRuleAtLeast != len(d.OtherRule) {
				t.Errorf("%d and %d sentences are not shown to be the fewest: at least %d and %d", len(d.Changes), len(d.OtherRule), d.ChangesAtLeast, d.OtherRuleAtLeast)
			}
			for _, c := range d.Changes {
				got["diff "+string(c.Direction)] = true
				t.Log(c)
			}
			for _, c := range d.OtherRule {
				got["diff rule"] = true
				t.Log(c)
			}
			for _, note := range d.NotCovered {
				got["diff not covered"] = true
				t.Log(note)
			}
			if regoTestsFail(t, m.files) {
				got["opa test"] = true
			}
			if want, have := fmt.Sprint(slices.Sorted(slices.Values(m.caught))), fmt.Sprint(slices.Sorted(maps.Keys(got))); want != have {
				t.Errorf("caught by %s, want %s", have, want)
			}
			if os.Getenv("CAUGHT") != "" {
				path := "testdata/mistakes/" + m.name + ".txtar"
				text, _ := os.ReadFile(path)
				before, _, _ := strings.Cut(string(text), "caught by:")
				_, after, _ := strings.Cut(string(text), "\n-- file --")
				os.WriteFile(path, []byte(before+"caught by:\n"+strings.Join(slices.Sorted(maps.Keys(got)), "\n")+"\n-- file --"+after), 0o644)
			}
		})
	}
}

// regoTestsFail runs the Rego tests, as `opa test` does.
func regoTestsFail(t *testing.T, files fstest.MapFS) bool {
	t.Helper()
	modules := map[string]*ast.Module{}
	for path, f := range files {
		if strings.HasSuffix(path, ".rego") {
			m, err := ast.ParseModuleWithOpts(path, string(f.Data), ast.ParserOptions{ProcessAnnotation: true})
			if err != nil {
				t.Fatal(err)
			}
			modules[path] = m
		}
	}
	b, err := bundles.LoadFS(files)
	if err != nil {
		t.Fatal(err)
	}
	results, err := tester.NewRunner().SetStore(inmem.NewFromObject(b.Data)).SetModules(modules).RunTests(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := false
	for r := range results {
		failed = failed || r.Fail || r.Error != nil
	}
	return failed
}
