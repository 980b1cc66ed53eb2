package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	gherkin "github.com/cucumber/gherkin/go/v26"
	messages "github.com/cucumber/messages/go/v21"
)

// featureResult is a feature in cucumber JSON, as far as the page needs it.
type featureResult struct {
	URI      string `json:"uri"`
	Elements []struct {
		Name  string `json:"name"`
		Line  int    `json:"line"`
		Steps []struct {
			Keyword string `json:"keyword"`
			Name    string `json:"name"`
			Line    int    `json:"line"`
			Result  struct {
				Status string `json:"status"`
				Error  string `json:"error_message"`
			} `json:"result"`
			Embeddings []struct {
				Name string `json:"name"`
				Data string `json:"data"`
			} `json:"embeddings"`
		} `json:"steps"`
	} `json:"elements"`
}

// Decision is a row of the gate log that a step left; the features' steps
// attach it.
type Decision struct {
	TenantID   string `json:"tenant_id"`
	LogSeq     int64  `json:"log_seq"`
	DecisionID string `json:"decision_id"`
	ActionType string `json:"action_type"`
	Target     string `json:"target"`
	Decision   string `json:"decision"`
	Rule       string `json:"rule"`
	Rationale  string `json:"rationale"`
	BundleHash string `json:"bundle_hash"`
}

// pageData is what the page shows.
type pageData struct {
	Made                      string
	Features                  []feature
	Scenarios, Passed, Logged int
	Bundles                   []string
}

type feature struct {
	ID, Name, Description string
	Rules                 []rule
	Scenarios, Passed     int
}

type rule struct {
	Name      string
	Scenarios []scenario
}

type scenario struct {
	ID, Name, Status string
	Steps            []step
}

type step struct {
	Keyword, Text, Status, Error string
	Decisions                    []Decision
}

// newPage joins what the features say with what came of running them. A
// scenario that was not run counts as one that did not pass.
func newPage(ran []featureResult, paths []string) (*pageData, error) {
	p := &pageData{Made: time.Now().UTC().Format("2006-01-02 15:04 MST")}
	slices.Sort(paths)
	for _, path := range paths {
		f, err := readFeature(path)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(ran, func(r featureResult) bool { return filepath.Base(r.URI) == filepath.Base(path) })
		var results featureResult
		if i >= 0 {
			results = ran[i]
		}
		if err := p.add(f, results); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	slices.Sort(p.Bundles)
	p.Bundles = slices.Compact(p.Bundles)
	return p, nil
}

func readFeature(path string) (*messages.Feature, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	doc, err := gherkin.ParseGherkinDocument(f, (&messages.Incrementing{}).NewId)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return doc.Feature, nil
}

func (p *pageData) add(f *messages.Feature, results featureResult) error {
	out := feature{ID: slug(f.Name), Name: f.Name, Description: paragraphs(f.Description)}
	put := func(r *rule, s *messages.Scenario) error {
		shown, err := p.scenario(s, results)
		if err != nil {
			return err
		}
		for _, sc := range shown {
			sc.ID = fmt.Sprintf("%s-%d", out.ID, out.Scenarios)
			out.Scenarios++
			if sc.Status == "passed" {
				out.Passed++
			}
			r.Scenarios = append(r.Scenarios, sc)
		}
		return nil
	}
	loose := rule{}
	for _, c := range f.Children {
		switch {
		case c.Scenario != nil:
			if err := put(&loose, c.Scenario); err != nil {
				return err
			}
		case c.Rule != nil:
			r := rule{Name: c.Rule.Name}
			for _, rc := range c.Rule.Children {
				if rc.Scenario != nil {
					if err := put(&r, rc.Scenario); err != nil {
						return err
					}
				}
			}
			out.Rules = append(out.Rules, r)
		}
	}
	if len(loose.Scenarios) > 0 {
		out.Rules = append([]rule{loose}, out.Rules...)
	}
	p.Features = append(p.Features, out)
	p.Scenarios += out.Scenarios
	p.Passed += out.Passed
	return nil
}

// scenario finds the runs of a scenario: one, or one for each row of examples.
func (p *pageData) scenario(s *messages.Scenario, results featureResult) (list []scenario, err error) {
	lines := []int{int(s.Location.Line)}
	for _, e := range s.Examples {
		for _, row := range e.TableBody {
			lines = append(lines, int(row.Location.Line))
		}
	}
	for _, e := range results.Elements {
		if !slices.Contains(lines, e.Line) {
			continue
		}
		out := scenario{Name: e.Name, Status: "passed"}
		seen := map[string]bool{} // what a step attaches stays attached to those after it
		for _, st := range e.Steps {
			shown := step{Keyword: strings.TrimSpace(st.Keyword), Text: st.Name, Status: st.Result.Status, Error: st.Result.Error}
			if shown.Status != "passed" {
				out.Status = "failed"
			}
			for _, a := range st.Embeddings {
				d, err := readDecision(a.Data)
				if err != nil {
					return nil, fmt.Errorf("line %d: an attachment is no decision: %w", st.Line, err)
				}
				if !seen[d.DecisionID] {
					seen[d.DecisionID] = true
					p.Logged++
					p.Bundles = append(p.Bundles, d.BundleHash)
					shown.Decisions = append(shown.Decisions, d)
				}
			}
			out.Steps = append(out.Steps, shown)
		}
		list = append(list, out)
	}
	if len(list) == 0 {
		out := scenario{Name: s.Name, Status: "not run"}
		for _, st := range s.Steps {
			out.Steps = append(out.Steps, step{Keyword: strings.TrimSpace(st.Keyword), Text: st.Text, Status: "not run"})
		}
		list = append(list, out)
	}
	return list, nil
}

func readDecision(data string) (d Decision, err error) {
	text, err := base64.StdEncoding.DecodeString(data)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	return d, err
}

func slug(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// paragraphs takes the indentation out of a description.
func paragraphs(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, " ")
}
