package review

import (
	"bytes"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/tiergate/tiergate/bundles"
)

// A change that moves one action type to another radius changes the words about
// that one, and a change of one rule's text is told of that rule alone.
func TestTextChangesAreTheRealTexts(t *testing.T) {
	old := shipped(t)
	old.keep = true
	change := func(file, from, to string) *Comparison {
		t.Helper()
		files := shippedFiles(t)
		was := files[file].Data
		if !bytes.Contains(was, []byte(from)) {
			t.Fatalf("%s has no %q", file, from)
		}
		files[file] = &fstest.MapFile{Data: bytes.ReplaceAll(was, []byte(from), []byte(to))}
		b, err := bundles.LoadFS(files)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Diff(t.Context(), old, subject(t, b), [2]string{"old", "new"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	moved := change("gate/actions/data.yaml", "isolate_host:\n  blast_radius: HIGH", "isolate_host:\n  blast_radius: MEDIUM")
	for _, c := range moved.Texts {
		if !bytes.Contains([]byte(c.Before), []byte("isolate_host")) || !bytes.Contains([]byte(c.After), []byte("isolate_host")) {
			t.Errorf("%s: %q became %q", c.Rule, c.Before, c.After)
		}
	}
	if want := []string{"force_auto_override", "tier_requires_approval"}; !slices.Equal(rulesOf(moved.Texts), want) {
		t.Errorf("texts of %v changed, want %v", rulesOf(moved.Texts), want)
	}
	reworded := change("gate/gate.rego", "Until it is released, %[1]s waits", "Until someone releases it, %[1]s waits")
	if want := []string{"stopped"}; !slices.Equal(rulesOf(reworded.Texts), want) || len(reworded.Changes) != 0 {
		t.Errorf("%+v", reworded)
	}
}

func rulesOf(list []TextChange) (rules []string) {
	for _, c := range list {
		rules = append(rules, c.Rule)
	}
	return rules
}
