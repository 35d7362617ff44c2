package policytest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the policy tests of learning")

// TestLearning runs what ports learn of their guests, by docs/learning.md.
func TestLearning(t *testing.T) {
	for _, engine := range engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			s := runPaths(t, engine, "testdata/learning")
			if s.Failed > 0 || len(s.Known) > 0 || s.Skipped > 0 || s.Passed < 400 {
				t.Errorf("%s", &s)
			}
		})
	}
}

// TestLearningFiles compares the files that TestLearning runs with the scenes that
// they are made of. With -update it writes them.
func TestLearningFiles(t *testing.T) {
	dir := "testdata/learning"
	var names []string
	for _, test := range slices.Concat(learningByAny(), learningByDHCP(), learningOfIPv6(), learningOfBoth(), learningRefused()) {
		name := test.Name + ".json"
		names = append(names, name)
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", " ")
		if err := encoder.Encode(test); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if *update {
			if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(have), text.String()); diff != "" {
			t.Errorf("%s (-file +scenes):\n%s", path, diff)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(names, f.Name()) {
			t.Errorf("%s is not made of any scene", f.Name())
		}
	}
}

const learningTest = `{"name":"x","filters":[],"binding":{"mac":"52:54:00:00:00:01","filter":"clean-traffic"},
	"sequences":[{"packets":[{"dir":"out","expect":"pass","learned":["10.0.0.5"],
	"frame":"ffffffffffff5254000000010806000108000604000152540000000` +
	`10a0000050000000000000a000001"}]}]}`

// What is learned is part of what is tested, and nothing excuses another verdict,
// as a difference to libvirt does where the verdicts are a recording.
func TestWhatIsLearnedIsChecked(t *testing.T) {
	for _, row := range []struct {
		fact, old, new string
		known          int
		fault          string
	}{
		{"as expected", "x", "x", 0, ""},
		{"another address", "10.0.0.5", "10.0.0.6", 0, `the addresses ["10.0.0.5"] are known, expected ["10.0.0.6"]`},
		{"one too many", `["10.0.0.5"]`, `["10.0.0.5","10.0.0.6"]`, 0, `are known, expected ["10.0.0.5" "10.0.0.6"]`},
		{"none at all", `["10.0.0.5"]`, `[]`, 0, `the addresses ["10.0.0.5"] are known, expected []`},
		{"not looked at", `"learned":["10.0.0.5"],`, "", 0, ""},
		{"a wrong verdict", `"pass"`, `"drop"`, 0, "wrong verdict"},
		{"a recorded one", `"pass","learned":["10.0.0.5"]`, `"drop"`, 1, ""},
		{"where nothing is learned", `"filter":"clean-traffic"`, `"filter":"clean-traffic","parameters":[{"name":"IP","value":"10.0.0.5"}]`, 0, `the addresses [] are known, expected ["10.0.0.5"]`},
	} {
		r := RunFile(parse(t, strings.Replace(learningTest, row.old, row.new, 1)), Eval)
		fault := ""
		if len(r.Failures) > 0 {
			fault = r.Failures[0].Fault
		}
		if r.KnownTotal() != row.known || (fault == "") != (row.fault == "") || !strings.Contains(fault, row.fault) {
			t.Errorf("%s: %s, fault %q, want %q", row.fact, &r.Summary, fault, row.fault)
		}
	}
}

// A list without addresses is not the same as none.
func TestAnEmptyListIsWritten(t *testing.T) {
	test := parse(t, strings.Replace(learningTest, `["10.0.0.5"]`, "[]", 1))
	text, err := json.Marshal(test)
	if err != nil || !strings.Contains(string(text), `"learned":[]`) {
		t.Errorf("%s, %v", text, err)
	}
}
