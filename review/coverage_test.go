package review

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tiergate/tiergate/bundles"
)

// with is the shipped policy with the question for force_auto replaced by a
// condition: the action runs by itself where it holds.
func with(t *testing.T, condition string) *Subject {
	t.Helper()
	files := shippedFiles(t)
	text := strings.Replace(string(files["gate/gate.rego"].Data), `	"force_auto" in modes,`, "	_forced(modes),", 1)
	// At L0 only: a condition that is asked about everywhere takes longer.
	text += "\n_here if {\n\tinput.tenant.maturity_tier == 0\n\tinput.tenant.stopped == false\n\t" + condition + "\n}\n\n_forced(modes) := forced if {\n\tnot _here\n\tforced := \"force_auto\" in modes\n}\n\n_forced(_) if _here\n"
	files["gate/gate.rego"] = &fstest.MapFile{Data: []byte(text)}
	b, err := bundles.LoadFS(files)
	if err != nil {
		t.Fatal(err)
	}
	return subject(t, b)
}

// Rules that hold nowhere are found in sets, too, and where two parts of the input
// are held against each other.
func TestASetThatIsNeverAddedTo(t *testing.T) {
	files := shippedFiles(t)
	text := strings.Replace(string(files["gate/gate.rego"].Data), "_in_force(override.mode, override)}", "_in_force(override.mode, override)} | {m | some m in _more}", 1)
	text += "\n_more contains \"force_auto\" if {\n\tregex.match(`^host:prod-`, input.request.target)\n}\n"
	files["gate/gate.rego"] = &fstest.MapFile{Data: []byte(text)}
	b, err := bundles.LoadFS(files)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := Explore(t.Context(), 0, nil, subject(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(tables[0].Space.NotCovered, "\n"); !strings.Contains(notes, "holds in no situation") {
		t.Errorf("nobody says that the rule never held: %q", notes)
	}
}

// A condition on anything that an input can show either changes decisions of the
// space or is reported as what it does not cover. Nothing is passed over.
func TestNoConditionIsSilent(t *testing.T) {
	for condition, want := range map[string]string{
		`input.request.confidence >= 0.42`:                                                 "covered",
		`input.request.confidence * 100 > 42.5`:                                            "input.request.confidence is given to mul",
		`input.request.target == "host:crown-jewel"`:                                       "covered",
		`startswith(input.request.target, "db-")`:                                          "covered",
		`net.cidr_contains("172.16.0.0/12", input.request.target)`:                         "covered",
		`split(input.request.target, ":")[1] == "crown-jewel"`:                             "input.request.target against \"crown-jewel\"",
		`input.request.action_type == "block_ip"`:                                          "covered",
		`startswith(input.request.target, "prod-"); endswith(input.request.target, ".db")`: "holds in no situation",
		`input.request.actor == input.request.target`:                                      "holds in no situation",
		`regex.match("^db-[0-9]+$", input.request.target)`:                                 "input.request.target is given to",
		`input.request.parameters.urgent == true`:                                          "input.request.parameters.urgent",
		`input.tenant.plan == "gold"`:                                                      "input.tenant.plan",
		`input.now > "2027-01-01T00:00:00Z"`:                                               "input.now",
		`substring(input.now, 11, 2) == "03"`:                                              "input.now",
		`regex.match("T0[0-5]:", input.now)`:                                               "input.now",
		`count(input.whitelist) > 5`:                                                       "input.whitelist as a whole",
		`input.whitelist[0].id == "w7"`:                                                    "the place of an entry in input.whitelist",
		`some w in input.whitelist; w.id == "w7"`:                                          "input.whitelist against \"w7\"",
		`some w in input.whitelist; startswith(w.id, "tmp-")`:                              "input.whitelist against \"tmp-\"",
		`some w in input.whitelist; w.notify`:                                              "input.whitelist[_].notify",
		`some w in input.whitelist; w.constraints.min_confidence >= 0.97`:                  "covered",
		`some w in input.whitelist; w.constraints.shape == "round"`:                        "shape",
		`some o in input.overrides; o.mode == "escalate"`:                                  "input.overrides against \"escalate\"",
		`count(input.overrides) > 3`:                                                       "input.overrides",
	} {
		t.Run(condition, func(t *testing.T) {
			tables, err := Explore(t.Context(), 0, nil, with(t, condition))
			if err != nil {
				t.Fatal(err)
			}
			s := tables[0].Space
			notes := strings.Join(s.NotCovered, "\n")
			if want == "covered" {
				forced := 0
				for i := 0; i < s.size; i += 101 {
					x := s.situation(i)
					if tables[0].At(x).Rule == "force_auto_override" && !s.force(&x).force {
						forced++
					}
				}
				if forced == 0 && notes == "" {
					t.Error("no situation shows it, and nobody says so")
				}
				return
			}
			if all := notes + "\n" + strings.Join(s.ByExample, "\n"); !strings.Contains(all, want) {
				t.Errorf("nobody says %q:\n%s", want, all)
			}
		})
	}
}
