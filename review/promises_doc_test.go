package review

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every promise has its page and every page its promise, under the promise's
// own words, and the index has both.
func TestPromisesHavePages(t *testing.T) {
	const folder = "../docs/promises"
	index, err := os.ReadFile(folder + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"README.md"}
	for _, p := range append(slices.Clone(promises), radiusNeverWidens, noClock) {
		want = append(want, p.Name+".md")
		text, err := os.ReadFile(filepath.Join(folder, p.Name+".md"))
		if err != nil {
			t.Error(err)
			continue
		}
		title, rest, _ := strings.Cut(string(text), "\n")
		if title != "# "+p.Title {
			t.Errorf("%s.md begins with %q, want %q", p.Name, title, "# "+p.Title)
		}
		for _, part := range []string{"`" + p.Name + "`", "## Why it matters", "## What is checked", "## A counterexample", "## When it fails"} {
			if !strings.Contains(rest, "\n"+part) {
				t.Errorf("%s.md does not say %q", p.Name, part)
			}
		}
		if row := "| [" + p.Title + "](" + p.Name + ".md) | `" + p.Name + "` |\n"; !strings.Contains(string(index), row) {
			t.Errorf("README.md has no row %s", row)
		}
	}
	pages, err := filepath.Glob(folder + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		if !slices.Contains(want, filepath.Base(path)) {
			t.Errorf("%s is the page of no promise", path)
		}
	}
}
