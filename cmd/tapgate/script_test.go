package main

import (
	"errors"
	"flag"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the output of the scripts' commands into them")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tapgate": main})
}

// TestScripts runs what needs no rights.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup:         ownState,
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"code": exitsWith},
	})
}

// ownState keeps a script away from what the host has.
func ownState(env *testscript.Env) error {
	env.Setenv("TAPGATE_STATE_DIR", env.WorkDir+"/state")
	env.Setenv("TAPGATE_BPFFS", env.WorkDir+"/bpffs")
	env.Setenv("TAPGATE_SOCKET", env.WorkDir+"/none")
	return nil
}

// exitsWith is "code N COMMAND …": the command must end with exit code N.
func exitsWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND …")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
