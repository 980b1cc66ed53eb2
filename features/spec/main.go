// Command spec renders the features and their last results as one HTML page for
// people who read neither code nor logs. `make spec` runs it:
//
//	go run ./features/spec -results build/features.json -o build/spec.html features/*.feature
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	results := flag.String("results", "build/features.json", "what the features' run left, as cucumber JSON")
	out := flag.String("o", "build/spec.html", "the page to write")
	flag.Parse()
	failed, err := render(*results, *out, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "spec:", err)
		os.Exit(2)
	}
	if failed > 0 {
		fmt.Fprintf(os.Stderr, "spec: %d scenarios did not pass; see %s\n", failed, *out)
		os.Exit(1)
	}
}

// render writes the page and returns how many scenarios did not pass.
func render(results, out string, features []string) (failed int, err error) {
	text, err := os.ReadFile(results)
	if err != nil {
		return 0, fmt.Errorf("%w: `make spec` makes it", err)
	}
	var ran []featureResult
	if err := json.Unmarshal(text, &ran); err != nil {
		return 0, fmt.Errorf("%s is no cucumber JSON: %w", results, err)
	}
	p, err := newPage(ran, features)
	if err != nil {
		return 0, err
	}
	f, err := os.Create(out)
	if err != nil {
		return 0, err
	}
	err = page.Execute(f, p)
	return p.Scenarios - p.Passed, cmp.Or(err, errors.Join(f.Close()))
}
