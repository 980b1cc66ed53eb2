package review

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"regexp"
	"strings"
	"testing"
)

// widening is a difference with an open widening, one that is acknowledged, and
// a narrowing, in words that mean something to XML and Markdown.
func widening() (d *Comparison, open []Change) {
	change := func(situation, before, after string, direction Direction, rule string) Change {
		return Change{situation, before, after, direction, 2, Example{"an <example>", before + " by x", after + " by " + rule, rule, json.RawMessage(`{"now":"<&>"}`)}}
	}
	d = &Comparison{Changes: []Change{
		change(`isolate_host at L4, on "<a&b>|c"`, "queued_approval", "auto", Widens, "tier_allows"),
		change("block_ip at L2", "queued_approval", "auto", Widens, "tier_allows"),
		change("block_ip at L3", "auto", "no decision", Narrows, ""),
	}}
	return d, d.Changes[:1]
}

// What the SARIF 2.1.0 schema and code scanning ask for. The whole schema was
// held against it by hand.
func TestSARIF(t *testing.T) {
	d, open := widening()
	var b bytes.Buffer
	if err := d.SARIF(&b, open, map[string]Location{"tier_allows": {"gate/gate.rego", 95}}, "our policies"); err != nil {
		t.Fatal(err)
	}
	var log struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct {
						ID               string
						ShortDescription struct{ Text string }
					}
				}
			}
			Results []struct {
				RuleID    string
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
			}
		}
	}
	strict := json.NewDecoder(&b)
	strict.DisallowUnknownFields()
	if err := strict.Decode(&log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.HasSuffix(log.Schema, "/sarif-schema-2.1.0.json") || len(log.Runs) != 1 {
		t.Fatalf("%+v", log)
	}
	run := log.Runs[0]
	known := map[string]bool{}
	for _, r := range run.Tool.Driver.Rules {
		known[r.ID] = r.ShortDescription.Text != ""
	}
	if run.Tool.Driver.Name == "" || len(run.Results) != len(d.Changes) {
		t.Fatalf("%+v", run)
	}
	for i, want := range []struct {
		rule, level, uri string
		line             int
	}{
		{"autonomy-widens", "error", "our%20policies/gate/gate.rego", 95},
		{"autonomy-widens", "warning", "our%20policies/gate/gate.rego", 95},
		{"autonomy-narrows", "note", "our%20policies/.manifest", 1},
	} {
		r := run.Results[i]
		if r.RuleID != want.rule || r.Level != want.level || !known[r.RuleID] || !strings.Contains(r.Message.Text, d.Changes[i].String()) || len(r.Locations) != 1 {
			t.Errorf("%+v", r)
			continue
		}
		if at := r.Locations[0].PhysicalLocation; at.ArtifactLocation.URI != want.uri || at.Region.StartLine != want.line {
			t.Errorf("%+v", at)
		}
	}
	none := &Comparison{}
	if err := none.SARIF(&b, nil, nil, ""); err != nil || !strings.Contains(b.String(), `"results": []`) {
		t.Errorf("without a change, results must be an empty list: %v %s", err, b.String())
	}
}

func TestJUnit(t *testing.T) {
	d, open := widening()
	var b bytes.Buffer
	if err := d.JUnit(&b, open); err != nil {
		t.Fatal(err)
	}
	var s junitSuite
	if err := xml.Unmarshal(b.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Tests != 3 || s.Failures != 1 || len(s.Cases) != 3 {
		t.Errorf("%+v", s)
	}
	for i, c := range s.Cases {
		if c.Name != d.Changes[i].String() || (c.Failure != nil) != (i == 0) {
			t.Errorf("%+v", c)
		}
	}
	if f := s.Cases[0].Failure; f == nil || f.Text != string(d.Changes[0].Example.Input) {
		t.Errorf("%+v", s.Cases[0])
	}
}

// What a policy calls its rules and tables cannot leave its place in a comment.
func TestMarkdownKeepsNamesInTheirPlace(t *testing.T) {
	const name = "x` | <b>\n## y"
	d := &Comparison{
		Old: BundleName{"old", "1.0.0", "sha256:0"}, New: BundleName{"new", "1.1.0", "sha256:1"},
		Changes:   []Change{{Situation: name, Before: "auto", After: name, Direction: Narrows, Example: Example{name, name, name, name, json.RawMessage(`{}`)}}},
		OtherRule: []Change{{Situation: name, Before: name, After: name, Direction: SameWide}},
		Texts:     []TextChange{{Rule: name, Before: name, After: name}},
		Tables:    []TableChange{{name, name, name}}, NotCovered: []string{name},
	}
	var b bytes.Buffer
	if err := d.Markdown(&b, nil); err != nil {
		t.Fatal(err)
	}
	spans := regexp.MustCompile("`[^`\n]+`")
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "```") {
			continue
		}
		rest := spans.ReplaceAllString(strings.NewReplacer("\\`", "", `\|`, "").Replace(line), "")
		if strings.Contains(rest, "<b>") || strings.Contains(rest, "`") || strings.HasPrefix(line, "## ") {
			t.Errorf("a name leaves its place: %s", line)
		}
		if bars := strings.Count(rest, "|"); strings.HasPrefix(line, "|") && bars != 4 && bars != 5 {
			t.Errorf("%d bars: %s", bars, line)
		}
	}
}
