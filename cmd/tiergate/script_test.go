package main

import (
	"errors"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tiergate/tiergate/cmd/tiergate/binarytest"
)

// The command line as scripts: testdata/*.txtar.
func TestScripts(t *testing.T) {
	cmds := operatorCmds(t)
	// exits CODE tiergate ARGS…: runs the binary and wants that exit code.
	cmds["exits"] = exits
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("TIERGATE", binarytest.Path(t))
			return nil
		},
		Cmds: cmds,
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(ts.Getenv("TIERGATE"), args[1:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}
