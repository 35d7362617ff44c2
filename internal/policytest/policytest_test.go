package policytest

import (
	"os"
	"testing"

	"github.com/cilium/ebpf/rlimit"
)

// engines are those that this process may use, the strictest last.
func engines(t *testing.T) []Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("without root only the evaluator is tested")
		return []Engine{Eval}
	}
	_ = rlimit.RemoveMemlock() // needed before Linux 5.11 only
	return []Engine{Eval, Both}
}

func runPaths(t *testing.T, engine Engine, paths ...string) Summary {
	t.Helper()
	summary, err := Run(t.Context(), paths, Options{Engine: engine, Done: func(r *FileResult) {
		for i, f := range r.Failures {
			if i == 5 {
				t.Errorf("%s: %d more failures", r.Path, len(r.Failures)-i)
				break
			}
			t.Error(f)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return summary
}
