package store

import (
	"bytes"
	"encoding/json"

	"tapgate/nwfilter"
)

// note is what is kept of a filter beside its text. It stands behind the text
// as a processing instruction, so that one file holds all, changes at once,
// keeps the line numbers that its author knows, and is still XML.
type note struct {
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
