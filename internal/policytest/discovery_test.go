package policytest

import "testing"

// TestDiscovery runs what is ours in the language, the attributes of neighbour
// discovery and the built-in filters for IPv6, against verdicts that libvirt
// cannot give.
func TestDiscovery(t *testing.T) {
	for _, engine := range engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			s := runPaths(t, engine, "testdata/discovery")
			if s.Failed > 0 || len(s.Known) > 0 || s.Passed < 272 {
				t.Errorf("%s", &s)
			}
		})
	}
}
