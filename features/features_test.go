// Package features runs the Gherkin that auditors read. The steps drive the
// built binary over HTTP, on a real PostgreSQL, and look into its gate log.
package features

import (
	"os"
	"testing"

	"github.com/cucumber/godog"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	binarytest.Remove()
	os.Exit(code)
}

// TIERGATE_SPEC names a file that gets the results as cucumber JSON, with the
// decisions that each step left in the gate log; see spec.
func TestFeatures(t *testing.T) {
	house := openHouse(t)
	format := "progress"
	if path := os.Getenv("TIERGATE_SPEC"); path != "" {
		format += ",cucumber:" + path
		house.attach = true
	}
	status := godog.TestSuite{
		Name:                "features",
		ScenarioInitializer: house.scenario,
		Options: &godog.Options{
			Format: format, Paths: []string{"."}, Strict: true, TestingT: t, NoColors: os.Getenv("NO_COLOR") != "",
		},
	}.Run()
	if status != 0 {
		t.Fatalf("godog ended with status %d", status)
	}
}
