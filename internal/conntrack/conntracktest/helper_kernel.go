package conntracktest

import (
	"testing"

	"tapgate/internal/conntrack"
)

// Why nf_conntrack's helpers do otherwise: see `ftp-stream` in COMPATIBILITY.md.
const (
	byLine    = "the kernel reads only the line that begins a segment"
	bySegment = "the kernel reads each segment by itself"
	byNumber  = "the kernel's numbers wrap"
)

// RunKernelHelpers is RunHelpers for nf_conntrack itself: its helpers must do the
// same, but where a case says why they don't. help attaches them to the services
// of a list of cases and returns what puts a case through an empty table.
func RunKernelHelpers(t *testing.T, help func(*testing.T, []conntrack.Service) func(*testing.T) Engine) {
	for _, list := range allHelperCases {
		t.Run(list.String(), func(t *testing.T) {
			services := list.services
			if services == nil {
				services = []conntrack.Service{{Helper: list.helper, Proto: list.proto, Port: list.port}}
			}
			begin := help(t, services)
			known := map[string]bool{}
			for _, c := range list.cases {
				known[c.name] = true
				t.Run(c.name, func(t *testing.T) {
					steps, err := helperScript(list.proto, list.port, c.script)
					if err != nil {
						t.Fatal(err)
					}
					err = judgeSteps(t, begin(t), steps)
					differs := list.differs[c.name]
					switch {
					case err != nil && differs == "":
						t.Error(err)
					case err == nil && differs != "":
						t.Errorf("the kernel does the same, although %s", differs)
					}
				})
			}
			for name := range list.differs {
				if !known[name] {
					t.Errorf("no case is named %q", name)
				}
			}
			t.Logf("%d sequences, of which %d differ", len(list.cases), len(list.differs))
		})
	}
}
