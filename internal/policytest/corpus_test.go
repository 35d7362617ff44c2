package policytest

import (
	"maps"
	"slices"
	"testing"
)

// TestRecordedVerdicts runs the selection of recordings on each engine.
func TestRecordedVerdicts(t *testing.T) {
	for _, engine := range engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			s := runPaths(t, engine, "testdata/corpus")
			t.Logf("%s", &s)
			if s.Failed > 0 || s.Passed < 60_000 {
				t.Errorf("%s", &s)
			}
			// No other difference has a part in these recordings.
			want := []string{
				"bad-checksum", "chain-order", "connlimit-count", "fragment-order", "ipv6-destination-range", "learning", "link-dscp",
				"negated-port-pair", "negated-ports", "negated-state-ipset", "per-port-state",
				"short-first-fragment", "stp-fields", "udplite-tracked", "vlan-encap-names",
			}
			if got := slices.Sorted(maps.Keys(s.Known)); !slices.Equal(got, want) {
				t.Errorf("known differences %v, want %v", got, want)
			}
		})
	}
}
