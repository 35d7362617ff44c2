package suggest

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"dstportstart", "dstportend", "srcportstart", "state", "match"}
	for written, want := range map[string]string{
		"dstportstar": "dstportstart", "srcportstrat": "srcportstart", "State": "state", "stat": "state", "dst": "dstportstart",
		"colour": "", "": "", "x": "",
	} {
		if got := Nearest(written, known); got != want {
			t.Errorf("%q: %q, want %q", written, got, want)
		}
	}
}
