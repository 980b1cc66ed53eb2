package bundles

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository is a git repository with the shipped policy in the folder "a b",
// and the working directory of the test.
func repository(t *testing.T) (run func(args ...string)) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	run = func(args ...string) {
		t.Helper()
		args = append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"}, args...)
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	run("init", "-q")
	return run
}

// A git revision is the same bundle as the folder that was committed, whatever
// its .gitattributes and the user's configuration make of it.
func TestGitIsTheFolder(t *testing.T) {
	shipped, err := filepath.Abs("../policies")
	if err != nil {
		t.Fatal(err)
	}
	git := repository(t)
	if err := os.CopyFS("a b", os.DirFS(shipped)); err != nil {
		t.Fatal(err)
	}
	want, err := Load("a b")
	if err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-qm", "the policy")
	if err := os.WriteFile("a b/.gitattributes", []byte("gate/gate.rego export-ignore\n*.rego text eol=crlf export-subst\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	git("config", "core.autocrlf", "true")
	git("add", ".")
	git("commit", "-qm", "attributes")
	for _, revision := range []string{"HEAD", "HEAD~1", "main"} {
		for _, path := range []string{"a b", "a b/"} {
			got, err := LoadGit(t.Context(), revision, path)
			if err != nil {
				t.Fatal(err)
			}
			if got.Hash != want.Hash {
				t.Errorf("%s:%s is %s, the folder %s", revision, path, got.Hash, want.Hash)
			}
		}
	}
}

func TestGitRefuses(t *testing.T) {
	git := repository(t)
	for name, text := range map[string]string{"p/.manifest": `{"revision": "1.0.0"}`, "p/a.rego": "package a\n", "linked/.manifest": `{"revision": "1.0.0"}`, "empty/x": ""} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../p/a.rego", "linked/a.rego"); err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-qm", "x")
	for _, c := range []struct{ revision, path, want string }{
		{"nowhere", "p", `git finds no revision "nowhere" here; a shallow clone`},
		{"--output=x", "p", `git finds no revision "--output=x"`},
		{"HEAD", "q", `there is no folder "q" at that revision`},
		{"HEAD", "p/a.rego", `"p/a.rego" is no folder`},
		{"HEAD", "linked", `"a.rego" is a link`},
		{"HEAD", "empty", "is this the folder that holds .manifest?"},
		{"HEAD:p", "", `git finds no revision "HEAD:p"`},
	} {
		b, err := LoadGit(t.Context(), c.revision, c.path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:%s: %v %v, want %q", c.revision, c.path, b, err, c.want)
		}
	}
	t.Chdir(t.TempDir())
	if _, err := LoadGit(t.Context(), "HEAD", "p"); err == nil || !strings.Contains(err.Error(), "not a git repository") {
		t.Error(err)
	}
}
