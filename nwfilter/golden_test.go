package nwfilter_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/nwfilter"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestDiagnostics holds every file of testdata/parse against the messages that
// it must give, strict and lenient, in the file beside it.
func TestDiagnostics(t *testing.T) {
	files, err := filepath.Glob("testdata/parse/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, strict := nwfilter.Parse(src, filepath.Base(file), nwfilter.Options{})
			f, lenient := nwfilter.Parse(src, filepath.Base(file), nwfilter.Options{Lenient: true})
			got := "strict:\n" + strict.Error() + "\n\nlenient:\n" + lenient.Error() + "\n"
			if f != nil {
				got += "\n" + nwfilter.Format(f)
				reparsed(t, f)
			}
			golden := strings.TrimSuffix(file, ".xml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
