package engine

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/tiergate/tiergate/bundles"
	"github.com/tiergate/tiergate/policies"
)

func releaseCase(left time.Duration, people ...string) *releaseInput {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	in := &releaseInput{Now: FormatTime(now), Approval: releaseApproval{"isolate_host", "HIGH", []string{"soar"}, FormatTime(now), FormatTime(now.Add(left))}}
	for _, person := range people {
		in.Votes = append(in.Votes, releaseVote{person, []string{"approver"}, []string{"approver"}, EventApprove, FormatTime(now)})
	}
	return in
}

// withRelease is the shipped bundle with another release.
func withRelease(t *testing.T, rego string, table func(map[string]any)) (*Policy, error) {
	t.Helper()
	b, err := bundles.LoadFS(policies.FS)
	if err != nil {
		t.Fatal(err)
	}
	for path := range b.Modules {
		if strings.HasSuffix(path, "/release.rego") && rego != "" {
			m, err := ast.ParseModuleWithOpts(path, "package gate\n\n"+rego, ast.ParserOptions{ProcessAnnotation: true})
			if err != nil {
				t.Fatal(err)
			}
			b.Modules[path] = m
		}
	}
	if table != nil {
		table(b.Data["gate"].(map[string]any)["approvals"].(map[string]any)["by_radius"].(map[string]any))
	}
	return CompilePolicy(t.Context(), PolicySource{ID: PolicyID{b.Revision, b.Hash}, Modules: b.Modules, Data: b.Data})
}

// Whatever a bundle says, nothing is released too late, by too few, by whoever
// asked, by an agent, or over a block or a stop; and what is no answer is none.
func TestReleaseGuards(t *testing.T) {
	says := func(changes ...string) string {
		return `release := {` + strings.NewReplacer(changes...).Replace(`"outcome": "released", "rule": "r", "rationale": "Because.", "approvals_needed": 1, "approvers": ["anna"], "start_within": "60s"`) + `}`
	}
	queued, stopped := &releaseDecision{"queued_approval", "x", false}, &releaseDecision{"queued_approval", "stopped", true}
	agent := releaseCase(time.Hour, "anna")
	agent.Votes[0].RolesNow = []string{"approver", "agent"}
	denied := releaseCase(time.Hour, "anna")
	denied.Votes[0].Verdict = EventDeny
	for name, c := range map[string]struct {
		rego string
		in   *releaseInput
		d    *releaseDecision
		want string
	}{
		"as it should be":            {says(), releaseCase(time.Hour, "anna"), queued, ""},
		"too late":                   {says(), releaseCase(0, "anna"), queued, "late true"},
		"no decision":                {says(), releaseCase(time.Hour, "anna"), nil, "guard: released"},
		"blocked":                    {says(), releaseCase(time.Hour, "anna"), &releaseDecision{"blocked", "x", false}, "guard: released"},
		"stopped":                    {says(), releaseCase(time.Hour, "anna"), stopped, "guard: released"},
		"too few":                    {says(`"approvals_needed": 1`, `"approvals_needed": 2`), releaseCase(time.Hour, "anna"), queued, "1 of 2"},
		"nobody":                     {says(`["anna"]`, `[]`), releaseCase(time.Hour, "anna"), queued, "0 of 1"},
		"none needed":                {says(`"approvals_needed": 1`, `"approvals_needed": 0`), releaseCase(time.Hour, "anna"), queued, "approvals_needed is 0"},
		"who did not vote":           {says(), releaseCase(time.Hour, "ben"), queued, "cannot count"},
		"who said no":                {says(), denied, queued, "cannot count"},
		"who asked":                  {says(`["anna"]`, `["soar"]`), releaseCase(time.Hour, "soar"), queued, "cannot count"},
		"an agent":                   {says(), agent, queued, "cannot count"},
		"the same person twice":      {says(`["anna"]`, `["anna", "anna"]`, `"approvals_needed": 1`, `"approvals_needed": 2`), releaseCase(time.Hour, "anna", "anna"), queued, "counted twice"},
		"approved with a decision":   {says(`"released"`, `"approved"`), releaseCase(time.Hour, "anna"), queued, "guard: approved"},
		"approved too late":          {says(`"released"`, `"approved"`), releaseCase(0, "anna"), nil, "guard: approved"},
		"refused without a decision": {says(`"released"`, `"refused"`), releaseCase(time.Hour, "anna"), nil, "guard: refused"},
		"an unknown outcome":         {says(`"released"`, `"auto"`), releaseCase(time.Hour, "anna"), queued, "unknown outcome"},
		"no rationale":               {says(`"Because."`, `" "`), releaseCase(time.Hour, "anna"), queued, "rationale"},
		"a key too many":             {says(`"rule": "r"`, `"rule": "r", "more": 1`), releaseCase(time.Hour, "anna"), queued, "6 keys"},
		"a key too few":              {says(`"rule": "r", `, ``), releaseCase(time.Hour, "anna"), queued, "6 keys"},
		"another key":                {says(`"rule"`, `"rul"`), releaseCase(time.Hour, "anna"), queued, "unknown field"},
		"a wrong type":               {says(`["anna"]`, `"anna"`), releaseCase(time.Hour, "anna"), queued, "cannot unmarshal"},
		"half an approval":           {says(`"approvals_needed": 1`, `"approvals_needed": 0.5`), releaseCase(time.Hour, "anna"), queued, "cannot unmarshal"},
		"null approvers":             {says(`["anna"]`, `null`), releaseCase(time.Hour, "anna"), queued, "missing"},
		"for ever":                   {says(`"60s"`, `"9999h"`), releaseCase(time.Hour, "anna"), queued, "start_within"},
		"undefined":                  {`release := 1 if input.nothing`, releaseCase(time.Hour, "anna"), queued, "undefined"},
		"no object":                  {`release := true`, releaseCase(time.Hour, "anna"), queued, "6 keys"},
	} {
		p, err := withRelease(t, c.rego, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.in.Decision = c.d
		r, _, err := p.Release(t.Context(), c.in)
		if c.want == "" && (err != nil || r.Outcome != OutcomeReleased || r.StartWithin != time.Minute) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if c.want != "" && (!errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), c.want) || r.Outcome != "") {
			t.Errorf("%s: %+v, %v; want %q", name, r, err, c.want)
		}
		c.in.Decision = nil
	}
}

// A table that no approval could go by is found when the bundle is compiled, and
// a release that lets anybody pass before it is active.
func TestReleaseIsTriedOut(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"a radius is missing": func(m map[string]any) { delete(m, "LOW") },
		"nobody":              func(m map[string]any) { m["LOW"].(map[string]any)["approvers"] = 0 },
		"no role":             func(m map[string]any) { m["LOW"].(map[string]any)["role"] = "" },
		"no duration":         func(m map[string]any) { m["LOW"].(map[string]any)["wait"] = "4 hours" },
		"for ever":            func(m map[string]any) { m["LOW"].(map[string]any)["wait"] = "721h" },
		"at once":             func(m map[string]any) { m["LOW"].(map[string]any)["start_within"] = "0s" },
	} {
		if _, err := withRelease(t, "", change); err == nil || !strings.Contains(err.Error(), "data.gate.approvals.by_radius.LOW") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, rego := range map[string]string{
		"everybody passes": `release := {"outcome": "approved", "rule": "r", "rationale": "Because.", "approvals_needed": 1, "approvers": [input.votes[0].person], "start_within": "60s"}`,
		"undefined":        `release := 1 if input.nothing`,
	} {
		p, err := withRelease(t, rego, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.tryRelease(t.Context()); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := shipped(t).tryRelease(t.Context()); err != nil {
		t.Error(err)
	}
}

// A decision's input holds the parameters only where the policy reads them, and
// what is asked about an approval must not make it so.
func TestReleaseReadsNoParameters(t *testing.T) {
	if shipped(t).ReadsParameters() {
		t.Error("the shipped policy seems to read parameters: does data.gate.release use input as a whole?")
	}
}

// BenchmarkRelease is what one vote asks of the policy.
func BenchmarkRelease(b *testing.B) {
	p, in := shipped(b), releaseCase(time.Hour, "anna")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.Release(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
