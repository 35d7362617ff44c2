package nwfilter

import (
	"strings"

	"tapgate/nwfilter/internal/document"
)

// Severity tells whether a document was taken in spite of what is said.
type Severity uint8

// The severities.
const (
	SeverityError Severity = iota
	SeverityWarning
)

func (s Severity) String() string {
	if s == SeverityWarning {
		return "warning"
	}
	return "error"
}

// Diagnostic is one thing to say about a document.
type Diagnostic struct {
	// Pos is the attribute's name where an attribute is at fault, else the
	// "<" of the element.
	Pos      Position
	Severity Severity
	// Element and Attribute are the names at fault, "" where there is none.
	Element, Attribute string
	// Message is a sentence that names what is wrong and what was expected.
	Message string
	// Hint says what may have been meant, "" if there is no guess.
	Hint string
}

// String is "file:line:column: message; hint", with "warning: " before the
// message of a warning.
func (d Diagnostic) String() string {
	text := d.Pos.String() + ": "
	if d.Severity == SeverityWarning {
		text += "warning: "
	}
	text += d.Message
	if d.Hint != "" {
		text += "; " + d.Hint
	}
	return text
}

// Diagnostics are what a parser has to say, in the order of the document. As
// an error they print one line each.
type Diagnostics []Diagnostic

func (d Diagnostics) Error() string {
	out := make([]string, len(d))
	for i := range d {
		out[i] = d[i].String()
	}
	return strings.Join(out, "\n")
}

// Errors returns those that made the parser refuse the document.
func (d Diagnostics) Errors() Diagnostics { return d.only(SeverityError) }

// Warnings returns those that did not.
func (d Diagnostics) Warnings() Diagnostics { return d.only(SeverityWarning) }

func (d Diagnostics) only(s Severity) Diagnostics {
	var out Diagnostics
	for _, one := range d {
		if one.Severity == s {
			out = append(out, one)
		}
	}
	return out
}

// Err returns the errors as one error, nil if there are none.
func (d Diagnostics) Err() error {
	if errors := d.Errors(); len(errors) > 0 {
		return errors
	}
	return nil
}

// ReaderDiagnostics gives a reader's findings their file. It serves the
// module's own packages.
func ReaderDiagnostics(file string, r *document.Reader) Diagnostics {
	var out Diagnostics
	for _, f := range r.Findings() {
		severity := SeverityError
		if f.Warning {
			severity = SeverityWarning
		}
		out = append(out, Diagnostic{
			Pos: Position{File: file, Line: f.Place.Line, Column: f.Place.Column}, Severity: severity,
			Element: f.Element, Attribute: f.Attribute, Message: f.Message, Hint: f.Hint,
		})
	}
	return out
}
