package policytest

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// document are docs/policy-tests.md, and the tests that are examples in it: what is
// indented and begins with a brace.
func document(t *testing.T) (text string, examples []string) {
	src, err := os.ReadFile("../../docs/policy-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	text = string(src)
	for block := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(block, "    {\n") {
			examples = append(examples, block)
		}
	}
	return text, examples
}

func TestExamplesOfTheDocumentPass(t *testing.T) {
	_, examples := document(t)
	if len(examples) != 4 {
		t.Errorf("%d examples", len(examples))
	}
	for _, engine := range engines(t) {
		for _, example := range examples {
			test := parse(t, example)
			r := RunFile(test, engine)
			if r.Passed != test.Packets() || len(r.Failures) > 0 {
				t.Errorf("%s on %s: %s %v", test.Name, engine, &r.Summary, r.Failures)
			}
		}
	}
}

// TestFailureOfTheDocument is what the document says about its first example, with one
// expectation changed.
func TestFailureOfTheDocument(t *testing.T) {
	text, examples := document(t)
	test := parse(t, strings.Replace(examples[0], `"expect": "drop"`, `"expect": "pass"`, 1))
	test.Path = "tests/web.json"
	r := RunFile(test, Eval)
	if len(r.Failures) != 1 {
		t.Fatalf("failures %v", r.Failures)
	}
	for line := range strings.Lines(r.Failures[0].String() + "\n" + r.Summary.String() + "\n") {
		if !strings.Contains(text, "    "+line) {
			t.Errorf("the document lacks the line %q", line)
		}
	}
}

func TestTheDocumentNamesEveryMember(t *testing.T) {
	text, _ := document(t)
	var visit func(reflect.Type)
	visit = func(s reflect.Type) {
		for s.Kind() == reflect.Pointer || s.Kind() == reflect.Slice {
			s = s.Elem()
		}
		if s.Kind() != reflect.Struct {
			return
		}
		for _, f := range reflect.VisibleFields(s) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			if !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, `"`+name+`"`) {
				t.Errorf("%s: the document does not name %q", s.Name(), name)
			}
			visit(f.Type)
		}
	}
	visit(reflect.TypeFor[Test]())
}
