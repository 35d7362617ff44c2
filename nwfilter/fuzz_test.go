package nwfilter_test

import (
	"os"
	"path/filepath"
	"testing"

	"tapgate/nwfilter"
)

// FuzzParse feeds arbitrary text: no panic, a strict success says all that is
// written, and a lenient success prints as the same filter.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/parse/*.xml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(sample))
	f.Fuzz(func(t *testing.T, src []byte) {
		checkStrict(t, string(src))
		taken, diagnostics := nwfilter.Parse(src, "fuzz", nwfilter.Options{Lenient: true})
		if (taken == nil) != (diagnostics.Err() != nil) {
			t.Fatalf("filter %v, diagnostics %v", taken, diagnostics)
		}
		if taken != nil {
			reparsed(t, taken)
		}
	})
}
