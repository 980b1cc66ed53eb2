package review

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Location is a place in the new bundle's sources.
type Location struct {
	File string // path in the bundle, without a leading slash
	Line int    // from 1
}

// Locate finds, by the METADATA of the rules, where the rule id is written.
func Locate(modules map[string]*ast.Module) map[string]Location {
	found := map[string]Location{}
	for file, m := range modules {
		for _, a := range m.Annotations {
			if id, ok := a.Custom["rule"].(string); ok {
				row := 1
				if a.Location != nil {
					row = a.Location.Row
				}
				found[id] = Location{path.Clean("/" + file)[1:], row}
			}
		}
	}
	return found
}

// SARIF writes the difference as SARIF 2.1.0 (OASIS): a result for each change,
// an error where it is an open widening, placed at the rule that decides now.
// prefix is put before the paths of the bundle's files.
func (d *Comparison) SARIF(w io.Writer, open []Change, at map[string]Location, prefix string) error {
	type m = map[string]any
	results := []m{}
	for _, c := range d.Changes {
		level := "note"
		switch {
		case isOpen(open, c):
			level = "error"
		case c.Direction == Widens:
			level = "warning"
		}
		place, ok := at[c.Example.RuleAfter]
		if !ok {
			place = Location{".manifest", 1}
		}
		id := "autonomy-narrows"
		if c.Direction == Widens {
			id = "autonomy-widens"
		}
		results = append(results, m{
			"ruleId": id, "level": level,
			"message": m{"text": fmt.Sprintf("%s (%s situations). Example: %s", c, grouped(c.Situations), c.Example.Input)},
			"locations": []m{{"physicalLocation": m{
				"artifactLocation": m{"uri": (&url.URL{Path: path.Join(prefix, place.File)}).String()}, "region": m{"startLine": place.Line},
			}}},
		})
	}
	rule := func(id, text string) m { return m{"id": id, "shortDescription": m{"text": text}} }
	return writeJSON(w, m{
		"$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "version": "2.1.0",
		"runs": []m{{
			"tool": m{"driver": m{"name": "tiergate diff", "rules": []m{
				rule("autonomy-widens", "The policy lets something run with less approval than before"),
				rule("autonomy-narrows", "The policy asks for more approval than before"),
			}}},
			"results": results,
		}},
	})
}

func isOpen(open []Change, c Change) bool {
	return slices.ContainsFunc(open, func(o Change) bool { return o.String() == c.String() })
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the difference as JUnit XML: a case for each change, failed where
// it is an open widening, and one that passes where nothing changes.
func (d *Comparison) JUnit(w io.Writer, open []Change) error {
	s := junitSuite{Name: "policy difference"}
	for _, c := range d.Changes {
		k := junitCase{Class: string(c.Direction), Name: c.String()}
		if isOpen(open, c) {
			k.Failure = &junitFailure{"autonomy widens and nobody acknowledged it", string(c.Example.Input)}
			s.Failures++
		}
		s.Cases = append(s.Cases, k)
	}
	if len(s.Cases) == 0 {
		s.Cases = []junitCase{{Class: "SAME", Name: "no decision changes"}}
	}
	s.Tests = len(s.Cases)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(s); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
