package tiergate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var pinned = regexp.MustCompile(`^[A-Za-z0-9_./-]+@[0-9a-f]{40}$`)

// Workflows and actions: whatever others wrote is pinned by its commit, nothing
// that a pull request may choose is pasted into a script, and no job has more
// rights than it names.
func TestWorkflows(t *testing.T) {
	var files []string
	for _, pattern := range []string{".github/workflows/*", ".github/actions/*/action.yml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v %v", pattern, found, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content map[string]any
		if err := yaml.UnmarshalStrict(text, &content); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if strings.Contains(file, "workflows") {
			if _, ok := content["permissions"]; !ok {
				t.Errorf("%s: name the permissions", file)
			}
			// YAML 1.1 reads on as true.
			if on := fmt.Sprint(content["true"]); on == "<nil>" || strings.Contains(on, "pull_request_target") {
				t.Errorf("%s: pull_request_target runs with the rights of the base", file)
			}
		}
		steps := 0
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case []any:
				for _, e := range v {
					walk(e)
				}
			case map[string]any:
				if uses, ok := v["uses"].(string); ok {
					steps++
					if !strings.HasPrefix(uses, "./") && !pinned.MatchString(uses) {
						t.Errorf("%s: %s is not pinned by a full commit", file, uses)
					}
					if with, _ := v["with"].(map[string]any); strings.HasPrefix(uses, "actions/checkout@") && strings.Contains(file, "policy-review") && with["persist-credentials"] != false {
						t.Errorf("%s: %s leaves its token behind", file, uses)
					}
				}
				if run, ok := v["run"].(string); ok {
					steps++
					if strings.Contains(run, "${{") {
						t.Errorf("%s: an expression is pasted into a script; hand it over in env: %s", file, run)
					}
				}
				for _, e := range v {
					walk(e)
				}
			}
		}
		walk(map[string]any(content))
		if steps == 0 {
			t.Errorf("%s has no steps", file)
		}
	}
}
