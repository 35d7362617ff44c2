package policytest

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tapgate/internal/compat"
)

// withoutFile are the differences that no policy test can show, or not yet:
// their predicates are tested in internal/compat.
var withoutFile = map[string]bool{
	"host-traffic": true, "reject-answers": true,
}

// TestDifferences runs one policy test for each difference. It holds libvirt's
// verdicts, so that each mismatch is one that the difference explains, beside
// packets that it does not concern.
func TestDifferences(t *testing.T) {
	known := map[string]int{
		"arp-masks": 1, "bad-checksum": 2, "chain-order": 1, "connlimit-count": 2, "fragment-order": 1, "ftp-stream": 5,
		"ipset-everywhere": 2, "ipv6-destination-range": 1, "learning": 6, "link-dscp": 2, "link-fragments": 2, "negated-port-pair": 2,
		"negated-ports": 4, "negated-state-ipset": 2, "per-port-state": 1, "short-first-fragment": 2,
		"stp-fields": 3, "udplite-tracked": 2, "vlan-encap-names": 2,
	}
	for _, engine := range engines(t) {
		for id, n := range known {
			t.Run(string(engine)+"/"+id, func(t *testing.T) {
				s := runPaths(t, engine, filepath.Join("testdata/differences", id+".json"))
				if want := map[string]int{id: n}; !maps.Equal(s.Known, want) {
					t.Errorf("known %v, want %v", s.Known, want)
				}
				if s.Passed == 0 && id != "ipv6-destination-range" {
					t.Error("the test holds no packet that the difference does not concern")
				}
			})
		}
	}
	for _, d := range compat.Differences() {
		if (known[d.ID] > 0) == withoutFile[d.ID] {
			t.Errorf("difference %s: has a test %v", d.ID, known[d.ID] > 0)
		}
	}
	files, err := os.ReadDir("testdata/differences")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if id := strings.TrimSuffix(f.Name(), ".json"); known[id] == 0 {
			t.Errorf("%s is not run", f.Name())
		}
	}
}
