package tiergate_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
)

// reviewed is a throwaway git repository that keeps a policy: the shipped rules
// with a table of two action types, which makes for quick answers.
type reviewed struct {
	dir, policies string
	results       string
}

func newReviewed(t *testing.T, policies string) *reviewed {
	t.Helper()
	r := &reviewed{t.TempDir(), policies, t.TempDir()}
	r.git(t, "init", "-q", "-b", "main")
	r.write(t, "README.md", "Our policy.\n")
	r.commit(t, "begin")
	rules, err := filepath.Glob("policies/gate/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(rules, "policies/.manifest", "policies/gate/gate.rego") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(path, "_test.rego") {
			r.write(t, filepath.Join(policies, strings.TrimPrefix(path, "policies/")), string(text))
		}
	}
	r.write(t, policies+"/gate/actions/data.yaml", `search_siem: {blast_radius: MINIMAL, description: "Search.", rollback: "Nothing to undo."}
isolate_host: {blast_radius: HIGH, description: "Cut off.", rollback: "Release it."}
`)
	r.write(t, policies+"/gate/gate_test.rego", `package gate.gate_test

import data.gate

test_l4_asks if {
	gate.decision.decision == "queued_approval" with input as {
		"now": "2026-11-23T08:00:00Z",
		"request": {"action_type": "isolate_host", "target": "host:a"},
		"tenant": {"id": "acme", "maturity_tier": 4, "stopped": false},
		"overrides": [], "whitelist": [],
	}
}
`)
	r.commit(t, "the policy")
	return r
}

func (r *reviewed) git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *reviewed) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(r.dir, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func (r *reviewed) edit(t *testing.T, path, old, new string) {
	t.Helper()
	path = filepath.Join(r.policies, path)
	text, err := os.ReadFile(filepath.Join(r.dir, path))
	if err != nil || !bytes.Contains(text, []byte(old)) {
		t.Fatalf("%s has no %q: %v", path, old, err)
	}
	r.write(t, path, strings.ReplaceAll(string(text), old, new))
}

func (r *reviewed) commit(t *testing.T, message string) {
	t.Helper()
	r.git(t, "add", "-A")
	r.git(t, "commit", "-qm", message)
}

// result is what a review left behind.
type result struct {
	code                             int
	said, report, comment, out, step string
}

// review runs review.sh as the action does, with more in its environment.
func (r *reviewed) review(t *testing.T, env ...string) (got result) {
	t.Helper()
	script, err := filepath.Abs(".github/actions/policy-review/review.sh")
	if err != nil {
		t.Fatal(err)
	}
	got.out = filepath.Join(r.results, "the results")
	output, summary := filepath.Join(r.results, "output"), filepath.Join(r.results, "summary")
	os.Remove(output)
	os.Remove(summary)
	cmd := exec.Command("bash", script)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), append([]string{
		"GIT_CONFIG_GLOBAL=/dev/null", "TIERGATE=" + binarytest.Path(t), "OPA=" + stockOPA(t), "POLICIES=" + r.policies, "OUT=" + got.out,
		"GITHUB_OUTPUT=" + output, "GITHUB_STEP_SUMMARY=" + summary, "SECRET=do-not-tell",
	}, env...)...)
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	read := func(path string) string {
		text, _ := os.ReadFile(path)
		return string(text)
	}
	got.code, got.said = cmd.ProcessState.ExitCode(), string(said)
	got.report, got.comment, got.step = read(got.out+"/report.md"), read(got.out+"/comment.md"), read(output)
	if s := read(summary); s != got.report {
		t.Errorf("the summary is not the report:\n%.5000s", s)
	}
	return got
}

// want checks the exit code, the output of the step, and what the report says.
func (got result) want(t *testing.T, code int, words ...string) {
	t.Helper()
	step := []string{"result=pass\n", "result=fail\n", "result=error\n"}[code]
	if got.code != code || got.step != step {
		t.Errorf("exit %d, output %q, want %d and %q:\n%s", got.code, got.step, code, step, got.said)
	}
	for _, w := range words {
		if !strings.Contains(got.report, w) {
			t.Errorf("the report does not say %q:\n%.5000s", w, got.report)
		}
	}
	if strings.Contains(got.report+got.said, "do-not-tell") {
		t.Error("the environment is in the report")
	}
}

func TestPolicyReview(t *testing.T) {
	t.Parallel()
	r := newReviewed(t, "policies")

	// The first policy of a repository: nothing to compare with.
	r.review(t, "BASE=HEAD~1").want(t, 0, "## Policy review: nothing to object to", "### Policy difference: a new policy", "| HIGH | `isolate_host` |", "### Proof: every promise holds")
	// Nothing changes, and the base is what HEAD is merged into.
	r.git(t, "checkout", "-qb", "$(touch${IFS}pwned)")
	r.write(t, "README.md", "Our policy, in Rego.\n")
	r.commit(t, "words")
	head := r.git(t, "rev-parse", "HEAD")
	r.git(t, "checkout", "-q", "main")
	r.git(t, "merge", "-q", "--no-ff", "-m", "as GitHub merges", "$(touch${IFS}pwned)")
	r.review(t, "PULL_HEAD="+head, "PULL_BASE=0000000").want(t, 0, "### Policy difference: no decision changes")

	// A change that widens, breaks a promise and fails the test.
	r.edit(t, "gate/tiers/data.yaml", "HIGH: whitelist", "HIGH: tier_allows")
	got := r.review(t, "BASE=$(touch${IFS}pwned)", "ACKNOWLEDGE=policies.acknowledged")
	got.want(t, 1, "| Rego tests (`opa test`) | **fails** |", "data.gate.gate_test.test_l4_asks: FAIL", "**1 of 1 changes widen autonomy and are not acknowledged**",
		"| **WIDENS** | isolate\\_host at L4, not stopped", "| **fails** | HIGH is auto only by", "If all of it is meant", "    from sha256:")
	if got.comment != got.report || !strings.HasPrefix(got.comment, "<!-- tiergate policy-review ") {
		t.Errorf("the comment:\n%s", got.comment)
	}
	for _, file := range []string{"proof.json", "diff.json", "diff.sarif", "diff.xml", "counterexamples/counterexample-high_needs_permission.json"} {
		if _, err := os.Stat(filepath.Join(got.out, file)); err != nil {
			t.Error(err)
		}
	}
	// Acknowledged, the difference passes; the promise stays broken.
	acknowledged, err := os.ReadFile(got.out + "/acknowledgement")
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, "policies.acknowledged", string(acknowledged))
	r.review(t, "BASE=main", "ACKNOWLEDGE=policies.acknowledged").want(t, 1, "(`tiergate diff`) | passes |", "all acknowledged", "(`tiergate prove`) | **fails** |")
	if _, err := os.Stat(filepath.Join(r.dir, "pwned")); err == nil {
		t.Error("the name of a branch was run")
	}
}

// What cannot be reviewed is exit 2, and the report or the message says why.
func TestPolicyReviewBadInput(t *testing.T) {
	t.Parallel()
	r := newReviewed(t, "our policies; touch pwned `touch pwned` | $(touch pwned)")
	for _, c := range []struct {
		env  []string
		want string
	}{
		{nil, "BASE is empty"},
		{[]string{"BASE=nowhere"}, "BASE 'nowhere': git finds no such revision; a shallow clone has to fetch it first"},
		{[]string{"BASE=--help"}, "BASE '--help': git finds no such revision"},
		{[]string{"BASE=main", "POLICIES=nowhere"}, "POLICIES 'nowhere': there is no such folder"},
		{[]string{"BASE=main", "POLICIES=../x"}, "want a folder from the top of the repository"},
		{[]string{"BASE=main", "POLICIES=/etc"}, "want a folder from the top of the repository"},
		{[]string{"BASE=main", "POLICIES=a\nb"}, "control character"},
		{[]string{"BASE=main", "OPA=nowhere"}, "nowhere is not there: install it or set OPA"},
	} {
		if got := r.review(t, c.env...); got.code != 2 || !strings.Contains(got.said, c.want) || got.report != "" {
			t.Errorf("%q: exit %d, want 2 and %q:\n%s", c.env, got.code, c.want, got.said)
		}
	}

	// Rego that no gate would take, and tests that look around and have much to say.
	r.edit(t, "gate/gate_test.rego", `gate.decision.decision == "queued_approval"`, `opa.runtime().env.SECRET`)
	many := &strings.Builder{}
	many.WriteString("package gate.many_test\n")
	for range 400 {
		many.WriteString("\ntest_nothing if {\n\tprint(opa.runtime(), \"</details>\\n```\\n<script>\")\n\tfalse\n}\n")
	}
	r.write(t, r.policies+"/many_test.rego", many.String())
	r.edit(t, "gate/gate.rego", "package gate\n", "package gate\n\n_now := time.now_ns()\n")
	got := r.review(t, "BASE=main")
	got.want(t, 2, "/gate/gate.rego:9: rego_type_error: undefined function time.now_ns", "| Rego tests (`opa test`) | **fails** |", "(`tiergate prove`) | **could not be done** |")
	if len(got.comment) > 60_200 || len(got.report) < len(got.comment) || !strings.Contains(got.comment, "The rest is too long for here") {
		t.Errorf("a comment of %d bytes for a report of %d", len(got.comment), len(got.report))
	}
	for line := range strings.Lines(got.report) {
		if strings.Contains(line, "<script>") && !strings.HasPrefix(line, "    ") {
			t.Errorf("output is not quoted: %s", line)
		}
	}
	found, err := filepath.Glob(filepath.Join(r.dir, "*", "pwned"))
	if _, here := os.Stat(filepath.Join(r.dir, "pwned")); err != nil || found != nil || here == nil {
		t.Error("the name of a folder was run")
	}
}

// post.sh replaces its own comment and writes a new one where there is none.
// GitHub is a script that keeps what it is told.
func TestPolicyReviewPost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const mark = "<!-- tiergate policy-review 0123456789ab -->"
	for name, text := range map[string]string{
		"gh":      "#!/bin/sh\nprintf '%s\\n' \"$*\" >> calls\ncase \"$*\" in *--jq*) printf %s \"$FOUND\" ;; esac\n",
		"comment": mark + "\nhello\n", "other": "hello\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script, err := filepath.Abs(".github/actions/policy-review/post.sh")
	if err != nil {
		t.Fatal(err)
	}
	post := func(env ...string) (calls, said string, ok bool) {
		os.Remove(filepath.Join(dir, "calls"))
		cmd := exec.Command("bash", script)
		cmd.Dir = dir
		cmd.Env = append([]string{"PATH=" + dir + ":" + os.Getenv("PATH"), "GITHUB_REPOSITORY=acme/policy", "PULL=7", "COMMENT=comment"}, env...)
		out, err := cmd.CombinedOutput()
		text, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return string(text), string(out), err == nil
	}
	calls, said, ok := post()
	if !ok || !strings.Contains(calls, "--method POST repos/acme/policy/issues/7/comments -F body=@comment\n") || strings.Contains(calls, "PATCH") {
		t.Errorf("%s%s", calls, said)
	}
	calls, said, ok = post("FOUND=41\n42")
	if !ok || !strings.Contains(calls, "--method PATCH repos/acme/policy/issues/comments/41 -F body=@comment\n") || strings.Contains(calls, "POST") {
		t.Errorf("%s%s", calls, said)
	}
	for _, bad := range []string{"PULL=7/x", "PULL=", "GITHUB_REPOSITORY=acme/policy/../x", "COMMENT=other", "COMMENT=nowhere", "FOUND=x y"} {
		if calls, said, ok := post(bad); ok || strings.Contains(calls, "body=") || !strings.Contains(said, "policy-review: ") {
			t.Errorf("%s: %s%s", bad, calls, said)
		}
	}
}

var stock struct {
	once sync.Once
	dir  string
	err  error
}

// stockOPA builds opa as build.sh does: from the benchmarks' module, which pins it.
func stockOPA(t *testing.T) string {
	t.Helper()
	stock.once.Do(func() {
		if stock.dir, stock.err = os.MkdirTemp("", "stock-opa-"); stock.err != nil {
			return
		}
		build := exec.Command("go", "build", "-C", "bench", "-o", filepath.Join(stock.dir, "opa"), "github.com/open-policy-agent/opa")
		if out, err := build.CombinedOutput(); err != nil {
			stock.err = errors.New(string(out))
		}
	})
	if stock.err != nil {
		t.Fatal(stock.err)
	}
	return filepath.Join(stock.dir, "opa")
}
