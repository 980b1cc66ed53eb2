package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// verdictOf wraps the body of a rule that computes `answer` into a decision.
func traceOf(t *testing.T, rego string, r Request, f Facts) Trace {
	t.Helper()
	m, err := ast.ParseModuleWithOpts("tiny.rego", "package gate\n\n"+rego, ast.ParserOptions{ProcessAnnotation: true})
	if err != nil {
		t.Fatal(err)
	}
	src := PolicySource{Modules: map[string]*ast.Module{"tiny.rego": m}, Data: map[string]any{"gate": map[string]any{
		"actions": map[string]any{"block_ip": map[string]any{"blast_radius": "LOW"}},
		"vips":    map[string]any{"host:ceo": 1, "host:cfo": 0.7},
	}}}
	tr, err := NewTracer(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	if r.ActionType == "" {
		r.ActionType, r.Target, r.Actor = "block_ip", "host:a", "system"
	}
	_, trace, _ := tr.Decide(t.Context(), &r, &f, time.Unix(1_800_000_000, 0))
	return trace
}

// What a policy reads and what it holds it against, however it is written.
func TestTrace(t *testing.T) {
	half := 0.5
	override := NewOverride(Override{Mode: ModeBlock, Constraints: []byte(`{"target":"host:a"}`)})
	entry := NewWhitelistEntry(WhitelistEntry{ID: "w1", ActionType: "block_ip", Constraints: []byte(`{}`)})
	facts := Facts{TenantID: "acme", MaturityTier: 2, Overrides: []*Override{override}, Whitelist: []*WhitelistEntry{entry}}
	request := Request{ActionType: "block_ip", Target: "host:a", Actor: "system", Confidence: &half}
	always := "input.tenant.maturity_tier input.tenant.stopped" // the guards
	for rego, want := range map[string]struct{ reads, sights, unknown string }{
		`decision := 1`: {},
		`decision := input.request.confidence >= 0.8`:                                                                            {"confidence", "confidence number 0.8", ""},
		`decision if input.request.confidence == 0.5`:                                                                            {"confidence", "confidence number 0.5", ""},
		`decision if { x := input.request; x.target == "b" }`:                                                                    {"target", "target equal b", ""},
		`decision if input.request.target in {"b", "c"}`:                                                                         {"target", "target equal b, target equal c", ""},
		`decision if data.gate.vips[input.request.target]`:                                                                       {"target", "target equal host:ceo, target equal host:cfo", ""},
		`decision := object.get(data.gate.vips, input.request.target, 0)`:                                                        {"target", "target equal host:ceo, target equal host:cfo", ""},
		`decision if input.request.confidence > data.gate.vips["host:cfo"]`:                                                      {"confidence", "confidence number 0.7", ""},
		`decision if startswith(lower(input.request.target), "dc-")`:                                                             {"target", "target prefix dc-, target transform lower", ""},
		`decision if endswith(input.request.target, ".bank")`:                                                                    {"target", "target suffix .bank", ""},
		`decision if net.cidr_contains("10.0.0.0/8", input.request.target)`:                                                      {"target", "target network 10.0.0.0/8", ""},
		`decision if split(input.request.target, ":")[0] == "dc"`:                                                                {"target", "target equal dc, target transform split", ""},
		`decision if { some p in split(input.request.target, ":"); p == "dc" }`:                                                  {"target", "target equal dc, target transform split", ""},
		`decision if regex.match("^a", input.request.actor)`:                                                                     {"actor", "actor pattern ^a", ""},
		`decision if input.request.confidence * 100 > 80`:                                                                        {"confidence", "confidence function mul, confidence number 80", ""},
		`decision := input.request.parameters.x`:                                                                                 {"", "", "input.request.parameters"},
		`decision := object.get(input.request, ["parameters", "x"], 1)`:                                                          {"", "", "input.request.parameters"},
		`decision := object.get(input.tenant, "id", "none")`:                                                                     {"tenant.id", "", ""},
		`decision := object.get(input.tenant, "plan", "none")`:                                                                   {"", "", "input.tenant.plan"},
		`decision := count(input.request)`:                                                                                       {"action_type target confidence actor", "", "input.request as a whole"},
		`decision if { some k, v in input.request; k == "actor" }`:                                                               {"action_type target confidence actor", "", "input.request as a whole"},
		`decision := {"r": input.request}`:                                                                                       {"action_type target confidence actor", "", "input.request as a whole"},
		`decision if input == {}`:                                                                                                {"action_type overrides whitelist target confidence actor tenant.id now", "", "input as a whole"},
		`decision if input.now > "2027-01-01T00:00:00Z"`:                                                                         {"now", "now order 2027-01-01T00:00:00Z", ""},
		`decision if { some o in input.overrides; o.mode == "block" }`:                                                           {"overrides", "overrides equal block", ""},
		`decision if { some o in input.overrides; o.reason }`:                                                                    {"overrides", "", "input.overrides[_].reason"},
		`decision if { some w in input.whitelist; w.notify }`:                                                                    {"whitelist", "", "input.whitelist[_].notify"},
		`decision if { some o in input.overrides; o.constraints.target == input.request.target }`:                                {"overrides target", "overrides member target", ""},
		"decision := x if { x := p with input.request.actor as \"user:a\" }\n\np := [input.request.target, input.request.actor]": {"target actor", "", ""},
		"decision := x if { x := p with input as {\"a\": input.request.target} }\n\np if input.a == \"host:b\"":                  {"target", "target equal host:b", ""},
		"decision := data.gate.rules[input.request.target]\n\nrules.a := 1\n\nrules.b := 2":                                      {"target", "target equal a, target equal b", ""},

		// The action type counts as read where it sets apart types of one radius.
		`decision if input.request.action_type == "block_ip"`:                                                       {"action_type", "action_type equal block_ip", ""},
		`decision if input.request.action_type in {"a", "b"}`:                                                       {"action_type", "action_type equal a, action_type equal b", ""},
		`decision if startswith(input.request.action_type, "block_")`:                                               {"action_type", "action_type prefix block_", ""},
		`decision := data.gate.actions[input.request.action_type].blast_radius`:                                     {"", "", ""},
		`decision := object.get(data.gate.actions, [input.request.action_type, "blast_radius"], "CRITICAL")`:        {"", "", ""},
		`decision := object.get(data.gate.actions, [input.request.action_type, "owner"], "nobody")`:                 {"action_type", "", ""},
		`decision := data.gate.actions[input.request.action_type]`:                                                  {"action_type", "", ""},
		`decision := data.gate.actions[input.request.action_type].owner`:                                            {"action_type", "", ""},
		`decision := count(data.gate.actions[input.request.action_type])`:                                           {"action_type", "", ""},
		`decision := data.gate.vips[input.request.action_type]`:                                                     {"action_type", "", ""},
		`decision := object.get(data.gate.vips, input.request.action_type, 1)`:                                      {"action_type", "", ""},
		`decision := {"rationale": sprintf("%s!", [input.request.action_type])}`:                                    {"", "", ""},
		`decision := {"rationale": concat(" ", ["a", input.request.action_type])}`:                                  {"", "", ""},
		`decision := {"note": sprintf("%s!", [input.request.action_type])}`:                                         {"action_type", "", ""},
		`decision := {"rationale": input.request.action_type}`:                                                      {"action_type", "", ""},
		`decision if sprintf("%s!", [input.request.action_type]) == "a!"`:                                           {"action_type", "action_type equal a!", ""},
		`decision := x if { x := {"rationale": sprintf("%s!", [input.request.action_type])}; x.rationale != "a!" }`: {"action_type", "action_type equal a!", ""},
		`decision := x if { x := {"rationale": sprintf("%s!", [input.request.action_type])}; x != {} }`:             {"action_type", "action_type whole {}", ""},
		`decision := object.union({"rationale": sprintf("%s!", [input.request.action_type])}, {})`:                  {"action_type", "action_type function object.union", ""},
		`decision if { some w in input.whitelist; w.action_type == input.request.action_type }`:                     {"whitelist", "", ""},
		`decision if { some w in input.whitelist; w.action_type == "block_ip" }`:                                    {"whitelist action_type", "whitelist equal block_ip", ""},
		`decision if { some w in input.whitelist; w == {} }`:                                                        {"whitelist action_type", "", "input.whitelist[_] as a whole"},
		`decision if input.whitelist == []`:                                                                         {"whitelist", "", "input.whitelist as a whole"},
		`decision := count(input.whitelist)`:                                                                        {"whitelist", "", "input.whitelist as a whole"},
		`decision if { some w in input.whitelist; some k, v in w; k == "id" }`:                                      {"whitelist action_type", "", "input.whitelist[_] as a whole"},
		`decision := input.whitelist[0].id`:                                                                         {"whitelist", "", "the place of an entry in input.whitelist"},
		`decision if startswith("host:abc", input.request.target)`:                                                  {"target", "target function startswith", ""},
		"decision := f(input.request)\nf(r) := 1 if r.actor == \"user:a\"":                                          {"actor", "actor equal user:a", ""},
	} {
		tr := traceOf(t, rego, request, facts)
		reads := map[string]bool{}
		for w := range strings.FieldsSeq(always) {
			reads[w] = true
		}
		for w := range strings.FieldsSeq(want.reads) {
			if i := slices.IndexFunc(partPaths[:], func(p string) bool { return strings.HasSuffix(p, "."+w) || p == "input."+w }); i >= 0 {
				reads[partPaths[i]] = true
			} else {
				t.Fatalf("no part %s", w)
			}
		}
		if len(reads) != len(tr.Reads) || slices.ContainsFunc(tr.Reads, func(p Part) bool { return !reads[p.String()] }) {
			t.Errorf("%s\nreads %v, want %v", rego, tr.Reads, want.reads)
		}
		var sights []string
		for s := range tr.Sights {
			path := s.Part.String()
			name := path[strings.LastIndex(path, ".")+1:]
			sights = append(sights, name+" "+string(s.Kind)+" "+s.Text)
		}
		slices.Sort(sights)
		if got := strings.Join(sights, ", "); got != want.sights {
			t.Errorf("%s\nsights %q, want %q", rego, got, want.sights)
		}
		if got := strings.Join(tr.Unknown, ", "); got != want.unknown {
			t.Errorf("%s\nunknown %q, want %q", rego, got, want.unknown)
		}
	}
}

// Two parts held against each other are a relation, unless they are what the
// states of overrides and whitelist show from all sides.
func TestTraceRelations(t *testing.T) {
	half := 0.5
	override := NewOverride(Override{Mode: ModeBlock, Constraints: []byte(`{"target":"host:a"}`)})
	entry := NewWhitelistEntry(WhitelistEntry{ID: "w1", ActionType: "block_ip", Constraints: []byte(`{}`)})
	facts := Facts{TenantID: "acme", MaturityTier: 2, Overrides: []*Override{override}, Whitelist: []*WhitelistEntry{entry}}
	request := Request{ActionType: "block_ip", Target: "host:a", Actor: "system", Confidence: &half}
	for rego, want := range map[string]string{
		`decision if input.request.actor == input.request.target`:                                                       "input.request.actor to input.request.target, input.request.target to input.request.actor",
		`decision if not startswith(input.request.target, input.tenant.id)`:                                             "input.request.target to input.tenant.id, input.tenant.id to input.request.target",
		`decision if { some o in input.overrides; o.constraints.target == input.request.target }`:                       "",
		`decision if { some o in input.overrides; startswith(input.request.target, o.constraints.target) }`:             "",
		`decision if { some o in input.overrides; contains(input.request.target, o.constraints.target) }`:               "input.request.target to input.overrides (contains)",
		`decision if { some o in input.overrides; startswith(o.constraints.target, input.request.target) }`:             "input.request.target to input.overrides (prefix)",
		`decision if { some w in input.whitelist; startswith(input.request.action_type, w.action_type) }`:               "input.request.action_type to input.whitelist (prefix)",
		`decision if { some w in input.whitelist; w.id == input.tenant.id }`:                                            "input.tenant.id to input.whitelist (equal)",
		`decision if { some w in input.whitelist; w.action_type == input.request.action_type }`:                         "",
		`decision if { some o in input.overrides; o.constraints.target == concat("", ["host:", input.request.actor]) }`: "input.request.actor to input.overrides (equal)",
	} {
		var got []string
		for s := range traceOf(t, rego, request, facts).Sights {
			if s.Kind == SightRelation {
				got = append(got, s.Part.String()+" to "+s.Text)
			}
		}
		if slices.Sort(got); strings.Join(got, ", ") != want {
			t.Errorf("%s\n%q, want %q", rego, got, want)
		}
	}
}

// The action type is used loosely where no sight says which types are set apart.
func TestTraceLoose(t *testing.T) {
	entry := NewWhitelistEntry(WhitelistEntry{ID: "w1", ActionType: "block_ip", Constraints: []byte(`{}`)})
	facts := Facts{TenantID: "acme", Whitelist: []*WhitelistEntry{entry}}
	request := Request{ActionType: "block_ip", Target: "host:a", Actor: "system"}
	for rego, loose := range map[string]bool{
		`decision if input.request.action_type == "block_ip"`:                                   false,
		`decision if input.request.action_type != "block_ip"`:                                   false,
		`decision if input.request.action_type in {"a", "b"}`:                                   false,
		`decision if startswith(input.request.action_type, "block_")`:                           false,
		`decision if count(input.whitelist) > 1`:                                                false,
		`decision if { some w in input.whitelist; w.action_type == input.request.action_type }`: false,
		`decision if startswith("block_ip", input.request.action_type)`:                         true,
		`decision if upper(input.request.action_type) == "A"`:                                   true,
		`decision if count(input.request.action_type) > 8`:                                      true,
		`decision if input.request.action_type == input.request.target`:                         true,
		`decision if input.request.action_type in {"a", input.request.target}`:                  true,
		`decision if data.gate.vips[input.request.action_type]`:                                 true,
		`decision if input.request == {}`:                                                       true,
		`decision if { some w in input.whitelist; w.action_type == "block_ip" }`:                true,
	} {
		if got := traceOf(t, rego, request, facts).Loose; got != loose {
			t.Errorf("%s\nloose is %v", rego, got)
		}
	}
}
