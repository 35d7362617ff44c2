package nwfilter_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tapgate/nwfilter"
)

// knownDifference holds the recorded refusals that are decided otherwise: an
// IPv6 destination range works here.
func knownDifference(message string) bool {
	_, value, found := strings.Cut(message, "dstipto has illegal value ")
	return found && strings.Contains(value, ":")
}

// TestCorpus reads every filter of the recorded policy tests as libvirt did.
func TestCorpus(t *testing.T) {
	root := os.Getenv("TAPGATE_CORPUS")
	if root == "" {
		root = "../../shared/corpus"
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "*.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("no recorded policy tests in %s; set TAPGATE_CORPUS", root)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) { corpusFile(t, file) })
	}
}

func corpusFile(t *testing.T, file string) {
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	unzipped, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Filters     []string
		ExpectError *struct{ Stage, Libvirt string } `json:"expect_error"`
	}
	if err := json.NewDecoder(unzipped).Decode(&c); err != nil {
		t.Fatal(err)
	}
	refused := ""
	for _, src := range c.Filters {
		f, diagnostics := nwfilter.Parse([]byte(src), "corpus.xml", nwfilter.Options{Lenient: true})
		if f == nil {
			refused += diagnostics.Error()
			continue
		}
		reparsed(t, f)
	}
	wantRefused := false
	if c.ExpectError != nil {
		loop := strings.Contains(c.ExpectError.Libvirt, "introduce a loop") // not seen in one document
		wantRefused = strings.HasPrefix(c.ExpectError.Stage, "define") && !loop && !knownDifference(c.ExpectError.Libvirt)
	}
	if wantRefused != (refused != "") {
		t.Errorf("refused: %q, recorded: %+v", refused, c.ExpectError)
	}
}
