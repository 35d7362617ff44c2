package document

import (
	"strings"
	"testing"
	"time"
)

func TestParsePlacesAndValues(t *testing.T) {
	const src = "<?xml version='1.0' encoding='us-ascii'?>\r\n<a\n  one = 'x\ty&lt;&#65;'\n\ttwo=\"'>'\" >\n  <b/>te<![CDATA[<x]]>xt\r\n</a>\n"
	e, fault := Parse([]byte(src))
	if fault != nil {
		t.Fatal(fault)
	}
	if got := e.Attributes[0]; got != (Attribute{Name: "one", Value: "x y<A", Place: Place{Line: 3, Column: 3}}) {
		t.Errorf("first attribute %+v", got)
	}
	if got := e.Attributes[1]; got != (Attribute{Name: "two", Value: "'>'", Place: Place{Line: 4, Column: 2}}) {
		t.Errorf("second attribute %+v", got)
	}
	if b := e.Child("b"); b == nil || b.Place != (Place{Line: 5, Column: 3}) {
		t.Errorf("child %+v", b)
	}
	if got, want := string(e.Text), "\n  te<xxt\n"; got != want || e.TextPlace != (Place{Line: 5, Column: 7}) {
		t.Errorf("text %q at %+v", got, e.TextPlace)
	}
	if e.Value("two") != "'>'" || e.Value("three") != "" || e.Attribute("three") != nil {
		t.Error("attributes are not found by name")
	}
}

func TestByteOrderMark(t *testing.T) {
	if _, fault := Parse([]byte("\ufeff<?xml version='1.0'?><a/>")); fault != nil {
		t.Errorf("%+v", fault)
	}
}

func TestNotWellFormed(t *testing.T) {
	for name, src := range map[string]string{
		"no quotes":               "<a b=c/>",
		"no value":                "<a b/>",
		"less-than in a value":    "<a b='<'/>",
		"same attribute twice":    "<a b='1' b='1'/>",
		"same local name twice":   "<a b='1' n:b='1' xmlns:n='x'/>",
		"undeclared entity":       "<a b='&nope;'/>",
		"no such character":       "<a b='&#0;'/>",
		"control character":       "<a b='\x01'/>",
		"second document type":    "<!DOCTYPE a><!DOCTYPE a><a/>",
		"late document type":      "<a><!DOCTYPE a></a>",
		"attribute list":          "<!DOCTYPE a [<!ATTLIST a b CDATA 'x'>]><a/>",
		"parameter entity":        "<!DOCTYPE a [<!ENTITY % p 'x'>]><a/>",
		"parameter reference":     "<!DOCTYPE a [%p;]><a/>",
		"unquoted entity":         "<!DOCTYPE a [<!ENTITY e x>]><a/>",
		"entity with less-than":   "<!DOCTYPE a [<!ENTITY e '&#60;'>]><a b='&e;'/>",
		"reference in the epilog": "<a/>&#32;",
		"late declaration":        " <?xml version='1.0'?><a/>",
		"other encoding":          "<?xml version='1.0' encoding='iso-8859-1'?><a b='\u00e9'/>",
		"only a comment":          "<!-- a -->",
	} {
		if e, fault := Parse([]byte(src)); fault == nil {
			t.Errorf("%s: %s was taken: %+v", name, src, e)
		}
	}
}

func TestDocumentTypesThatAreTaken(t *testing.T) {
	for name, src := range map[string]string{
		"external subset is not read": "<!DOCTYPE a SYSTEM 'a.dtd'><a b='1'/>",
		"element declarations":        "<!DOCTYPE a [<!ELEMENT a (#PCDATA)><!-- > --><!NOTATION n SYSTEM 'x'>]><a b='1'/>",
		"first declaration binds":     "<!DOCTYPE a [<!ENTITY e '1'><!ENTITY e '2'>]><a b='&e;'/>",
		"nested":                      "<!DOCTYPE a [<!ENTITY e '&f;'><!ENTITY f \"1\">]><a b='&e;'/>",
	} {
		e, fault := Parse([]byte(src))
		if fault != nil {
			t.Errorf("%s: %+v", name, fault)
		} else if e.Value("b") != "1" {
			t.Errorf("%s: value %q", name, e.Value("b"))
		}
	}
}

// TestHugeDocuments holds documents that are made to be expensive against the
// time that an honest one of that size takes; a quadratic reader would need
// minutes.
func TestHugeDocuments(t *testing.T) {
	fill := func(prefix, repeated, suffix string) string {
		return prefix + strings.Repeat(repeated, (MaxSize-len(prefix)-len(suffix))/len(repeated)) + suffix
	}
	for name, src := range map[string]string{
		"empty entities":   fill("<!DOCTYPE a [<!ENTITY e ''>]><a>", "&e;", "</a>"),
		"entities":         fill("<!DOCTYPE a [<!ENTITY e '"+strings.Repeat("x", 1<<16)+"'>]><a>", "&e;", "</a>"),
		"text pieces":      fill("<a>", "x<!---->", "</a>"),
		"elements":         fill("<a>", "<b/>", "</a>"),
		"open elements":    fill("", "<a>", ""),
		"attributes":       fill("<a ", "a='' ", "/>"),
		"empty lines":      fill("<a>", "\n", "</a>"),
		"declarations":     fill("<!DOCTYPE a [", "<!ENTITY e ''>", "]><a/>"),
		"less-than signs":  fill("", "<", ""),
		"ampersands":       fill("<a>", "&", "</a>"),
		"open declaration": fill("<!DOCTYPE a [", "<", "]><a/>"),
	} {
		begin := time.Now()
		Parse([]byte(src))
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("%s: %v", name, took)
		} else {
			t.Logf("%s: %v", name, took)
		}
	}
}

func TestUUID(t *testing.T) {
	const want = "abcdef01-2345-6789-abcd-ef0123456789"
	for _, text := range []string{want, "ABCDEF0123456789ABCDEF0123456789", " ab-cd ef01-2345 6789abcdef0123456789\n"} {
		if got, ok := UUID(text); !ok || got != want {
			t.Errorf("%q: %q %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "abcdef", want + "0", "a-bcdef01-2345-6789-abcd-ef0123456789", strings.Replace(want, "a", "g", 1)} {
		if got, ok := UUID(text); ok {
			t.Errorf("%q was taken as %s", text, got)
		}
	}
}

func TestNCName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "_": true, "clean-traffic": true, "a.b": true, "é1": true, "a·": true,
		"": false, "1a": false, "-a": false, ".": false, "../x": false, "a b": false, "a:b": false, "a/b": false, "a&b": false,
	} {
		if isNCName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
