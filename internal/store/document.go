package store

import (
	"bytes"
	"encoding/json"
	"fmt"

	"tapgate/nwfilter"
)

// documentForm is the form in which documents are kept. One of a later form is
// not read.
const documentForm = 1

// note is what is kept of a document beside its text. It stands behind the text
// as a processing instruction, so that one file holds all, changes at once,
// keeps the line numbers that its author knows, and is still XML.
type note struct {
	// Form is documentForm, or 0 in what was kept before it was noted.
	Form int    `json:"form,omitempty"`
	UUID string `json:"uuid,omitempty"`
	// File is what the author called the document.
	File string `json:"file,omitempty"`
	// Lenient is set if the text was only accepted leniently.
	Lenient bool `json:"lenient,omitempty"`
}

var (
	noteStart = []byte("<?tapgate ")
	noteEnd   = []byte("?>")
)

// join puts the note behind the text. JSON as Go writes it has no ">".
func join(text []byte, n note) []byte {
	n.Form = documentForm
	encoded, err := json.Marshal(n)
	if err != nil {
		panic("store: " + err.Error()) // strings and booleans always encode
	}
	return bytes.Join([][]byte{text, noteStart, encoded, noteEnd, []byte("\n")}, nil)
}

// split is the reverse. A text without a note was put there by hand.
func split(stored []byte) (text []byte, n note) {
	at := bytes.LastIndex(stored, noteStart)
	if at < 0 {
		return stored, note{}
	}
	encoded, ok := bytes.CutSuffix(bytes.TrimSpace(stored[at+len(noteStart):]), noteEnd)
	if !ok || json.Unmarshal(encoded, &n) != nil {
		return stored, note{}
	}
	return stored[:at], n
}

// check refuses what this program may misunderstand.
func (n note) check() error {
	if n.Form > documentForm {
		return fmt.Errorf("a newer tapgate wrote it, in form %d; this one reads up to form %d", n.Form, documentForm)
	}
	return nil
}

// parseStored reads what join made of a filter. Its UUID is the text's; the note
// may have another for one that has none.
func parseStored(stored []byte, place string) (*Filter, note, error) {
	text, n := split(stored)
	if err := n.check(); err != nil {
		return nil, n, err
	}
	if n.File != "" {
		place = n.File
	}
	f, diagnostics := ParseFilter(text, place, n.Lenient)
	if f == nil {
		return nil, n, diagnostics.Errors()[:1]
	}
	return f, n, nil
}

// Filter is a filter with what is known about its document.
type Filter struct {
	*nwfilter.Filter
	// Source is the text as its author wrote it.
	Source []byte
	// File is what positions name as the file.
	File    string
	Lenient bool
	// BuiltIn filters are part of the program; Overrides is set for a stored
	// one that takes the place of a built-in.
	BuiltIn, Overrides bool
}

// ParseFilter reads a filter that may be defined. It is nil if one of the
// diagnostics is an error. A text that came out of the store loses its note.
func ParseFilter(text []byte, file string, lenient bool) (*Filter, nwfilter.Diagnostics) {
	text, _ = split(text)
	f, diagnostics := nwfilter.Parse(text, file, nwfilter.Options{Lenient: lenient})
	if f == nil {
		return nil, diagnostics
	}
	return &Filter{Filter: f, Source: text, File: file, Lenient: lenient}, diagnostics
}
