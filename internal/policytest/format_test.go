package policytest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const smallTest = `{"name":"x","filters":["<filter name='x'/>"],"binding":{"mac":"52:54:00:00:00:01","filter":"x"},
	"sequences":[{"note":"n","packets":[{"dir":"out","frame":"0102","expect":"pass"}]}]}`

func TestParseErrors(t *testing.T) {
	if _, err := Parse([]byte(smallTest)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ fault, old, new, want string }{
		{"another version", `{"name"`, `{"version":2,"name"`, "format version 2"},
		{"no version 0 below it", `{"name"`, `{"version":-1,"name"`, "format version -1"},
		{"a misspelt member", `"note"`, `"nota"`, `unknown field "nota"`},
		{"a direction", `"out"`, `"up"`, `"in" or "out", not "up"`},
		{"a verdict", `"pass"`, `"reject"`, `"pass" or "drop", not "reject"`},
		{"half a byte", `"0102"`, `"010"`, "even number of hexadecimal digits"},
		{"an empty frame", `"0102"`, `""`, `sequence 1 packet 1: a packet needs "dir", "frame" and "expect"`},
		{"no direction", `"dir":"out",`, ``, `sequence 1 packet 1: a packet needs`},
		{"what is no address", `"expect":"pass"`, `"expect":"pass","learned":["10.0.0"]`, `sequence 1 packet 1: what is learned are addresses and prefixes, not "10.0.0"`},
		{"no MAC address", `"52:54:00:00:00:01"`, `"52:54"`, `"52:54" is no MAC address`},
		{"no binding", `"filter":"x"`, `"filter":""`, "binds no filter"},
		{"two ways at once", `{"name"`, `{"expect_error":{"stage":"bind"},"name"`, "exclude each other"},
		{"nothing to test", `"sequences":[{"note":"n","packets":[{"dir":"out","frame":"0102","expect":"pass"}]}]`, `"sequences":[]`, "tests nothing"},
		{"a sequence without packets", `"packets":[{"dir":"out","frame":"0102","expect":"pass"}]`, `"packets":[]`, "sequence 1 (n) has no packets"},
		{"an unknown stage", `"sequences":[{"note":"n","packets":[{"dir":"out","frame":"0102","expect":"pass"}]}]`, `"expect_error":{"stage":"build"}`, `"define NAME" or "bind", not "build"`},
	} {
		src := strings.Replace(smallTest, row.old, row.new, 1)
		if src == smallTest {
			t.Fatalf("%s: nothing replaced", row.fault)
		}
		if _, err := Parse([]byte(src)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want %q", row.fault, err, row.want)
		}
	}
	if _, err := Parse([]byte(smallTest + "{}")); err == nil {
		t.Error("a second document is not noticed")
	}
}

func TestAWrittenTestReadsTheSame(t *testing.T) {
	first, err := Parse([]byte(smallTest))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if again, _ := json.Marshal(second); string(again) != string(text) {
		t.Errorf("%s\nthen\n%s", text, again)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.json", "a/z.json.gz", "a/notes.md", "c/empty.txt"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Find(filepath.Join(dir, "b.json"), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "b.json"), filepath.Join(dir, "a/z.json.gz"), filepath.Join(dir, "b.json")}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	for path, fault := range map[string]string{
		"c": "holds no policy tests", "a/notes.md": "is no policy test", "missing": "no such file",
	} {
		if _, err := Find(filepath.Join(dir, path)); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: error %v, want %q", path, err, fault)
		}
	}
}
