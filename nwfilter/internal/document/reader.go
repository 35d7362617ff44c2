package document

import (
	"fmt"
	"slices"
	"strings"
)

// maxFindings bounds the errors, and the warnings, that are kept of one
// document; the rest is counted.
const maxFindings = 100

// Finding is something to say about a place in a document.
type Finding struct {
	Place Place
	// Warning is set for what was taken nevertheless.
	Warning            bool
	Element, Attribute string
	Message, Hint      string
}

// Reader collects findings. Strict, everything that libvirt ignores without a
// word is an error; lenient, it is a warning.
type Reader struct {
	Lenient  bool
	findings []Finding
	errors   int
	warnings int
}

// Refuse notes an error. a may be nil if the element itself is at fault.
func (r *Reader) Refuse(e *Element, a *Attribute, message, hint string) {
	r.note(false, e, a, message, hint)
}

// Ignore notes something that libvirt ignores, or takes for less than it says.
func (r *Reader) Ignore(e *Element, a *Attribute, message, hint string) {
	r.note(r.Lenient, e, a, message, hint)
}

// RefuseDocument notes that the document is not well-formed.
func (r *Reader) RefuseDocument(f *Fault) {
	r.errors++
	r.findings = append(r.findings, Finding{Place: f.Place, Message: f.Message, Hint: f.Hint})
}

func (r *Reader) note(warning bool, e *Element, a *Attribute, message, hint string) {
	count := &r.errors
	if warning {
		count = &r.warnings
	}
	if *count++; *count > maxFindings {
		return
	}
	f := Finding{Place: e.Place, Warning: warning, Element: e.Name, Message: message, Hint: hint}
	if a != nil {
		f.Place, f.Attribute = a.Place, a.Name
	}
	r.findings = append(r.findings, f)
}

// Full tells that no more is kept, so that hints need not be looked for.
func (r *Reader) Full() bool { return r.errors >= maxFindings || r.warnings >= maxFindings }

// Failed tells whether there was an error.
func (r *Reader) Failed() bool { return r.errors > 0 }

// Findings are the notes in the order of the document; the last one may say
// how many were left out.
func (r *Reader) Findings() []Finding {
	found := slices.Clone(r.findings)
	slices.SortStableFunc(found, func(a, b Finding) int {
		if a.Place.Line != b.Place.Line {
			return a.Place.Line - b.Place.Line
		}
		return a.Place.Column - b.Place.Column
	})
	left := max(0, r.errors-maxFindings) + max(0, r.warnings-maxFindings)
	if left > 0 {
		found = append(found, Finding{Warning: !r.Failed(), Message: fmt.Sprintf("%d more faults are not listed", left)})
	}
	return found
}

// OnlyAttributes notes every attribute that is not known.
func (r *Reader) OnlyAttributes(e *Element, known ...string) {
	for i := range e.Attributes {
		if a := &e.Attributes[i]; !slices.Contains(known, a.Name) {
			r.UnknownAttribute(e, a, r.DidYouMean(a.Name, known))
		}
	}
}

// UnknownAttribute notes an attribute that the element does not have.
func (r *Reader) UnknownAttribute(e *Element, a *Attribute, hint string) {
	r.Ignore(e, a, fmt.Sprintf("<%s> has no attribute %q", e.Name, a.Name), hint)
}

// UnknownChild notes an element that has no place where it stands.
func (r *Reader) UnknownChild(parent, child *Element, hint string) {
	r.Ignore(child, nil, fmt.Sprintf("<%s> has no element <%s>", parent.Name, child.Name), hint)
}

// NoChildren notes every child.
func (r *Reader) NoChildren(e *Element) {
	for _, c := range e.Children {
		r.Ignore(c, nil, fmt.Sprintf("<%s> has no elements within, but there is <%s>", e.Name, c.Name), "")
	}
}

// NoText notes text in an element that holds none.
func (r *Reader) NoText(e *Element) {
	if e.TextPlace == (Place{}) {
		return
	}
	text := strings.TrimLeft(string(e.Text), " \t\r\n")
	text, _, _ = strings.Cut(text, "\n")
	here := Element{Name: e.Name, Place: e.TextPlace}
	r.Ignore(&here, nil, fmt.Sprintf("<%s> holds the text %s, which means nothing", e.Name, Quote(strings.TrimSpace(text))), "write <!-- … --> for a comment")
}

// Only notes unknown attributes, children and text of an element that may have
// just these attributes.
func (r *Reader) Only(e *Element, known ...string) {
	r.OnlyAttributes(e, known...)
	r.NoChildren(e)
	r.NoText(e)
}

// Quote shows a text of the document, cut where it is long.
func Quote(s string) string {
	const longest = 60
	if len(s) > longest {
		return fmt.Sprintf("%q…", cut(s, longest))
	}
	return fmt.Sprintf("%q", s)
}

// cut shortens valid UTF-8 to at most n bytes without splitting a character.
func cut(s string, n int) string {
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// Cut is s, shortened to at most n bytes of whole characters.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return cut(s, n)
}
