package store

import (
	"context"
	"fmt"
	"strings"
	"unicode"
)

// Kind is what a document is.
type Kind string

// The kinds, which are the names of folders too.
const (
	FilterKind  Kind = "filters"
	BindingKind Kind = "bindings"
	// SettingsKind has one document, the host's.
	SettingsKind Kind = "settings"
)

// kinds are all kinds.
var kinds = []Kind{FilterKind, BindingKind, SettingsKind}

// Backend keeps documents by kind and name, and knows nothing of what they
// say. An absent document is fs.ErrNotExist. Only who holds the lock may call
// anything else, and only who holds it alone may call Write and Remove.
type Backend interface {
	// Lock waits until nobody else changes anything and, if exclusive, until
	// nobody reads. It fails when ctx ends.
	Lock(ctx context.Context, exclusive bool) (unlock func(), err error)
	// Names are the documents of a kind in alphabetical order.
	Names(kind Kind) ([]string, error)
	Read(kind Kind, name string) ([]byte, error)
	// Write puts a document in the place of what was there: whoever reads gets
	// the one or the other whole, also after a crash.
	Write(kind Kind, name string, text []byte) error
	Remove(kind Kind, name string) error
	// Place says where a document is, for people.
	Place(kind Kind, name string) string
}

// maxName leaves room for ".xml" in a file name.
const maxName = 245

// checkName refuses a name under which no document can be kept.
func checkName(kind Kind, name string) error {
	what := strings.TrimSuffix(string(kind), "s")
	switch {
	case name == "":
		return fmt.Errorf("the name of a %s is empty", what)
	case name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool { return r == '/' || unicode.IsControl(r) }):
		return fmt.Errorf("a %s named %q cannot be kept: the name is no file name", what, name)
	case len(name) > maxName:
		return fmt.Errorf("a %s whose name has %d bytes cannot be kept: at most %d are possible", what, len(name), maxName)
	}
	return nil
}
