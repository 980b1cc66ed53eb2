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

func TestFeatures(t *testing.T) {
	house := openHouse(t)
	status := godog.TestSuite{
		Name:                "features",
		ScenarioInitializer: house.scenario,
		Options: &godog.Options{
			Format: "progress", Paths: []string{"."}, Strict: true, TestingT: t, NoColors: os.Getenv("NO_COLOR") != "",
		},
	}.Run()
	if status != 0 {
		t.Fatalf("godog ended with status %d", status)
	}
}
