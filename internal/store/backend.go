package store

import (
	"context"
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
	// LeaseKind are the addresses that guests have learned, by LeaseKey.
	LeaseKind Kind = "leases"
	// RevisionKind are the former texts of filters, by their digests.
	RevisionKind Kind = "revisions"
)

// kinds are all kinds.
var kinds = []Kind{FilterKind, BindingKind, SettingsKind, LeaseKind, RevisionKind}

// Thing is what a document of the kind tells of, for people.
func (k Kind) Thing() string {
	switch k {
	case BindingKind:
		return "port"
	case SettingsKind, LeaseKind:
		return string(k)
	}
	return strings.TrimSuffix(string(k), "s")
}

// Backend keeps documents by kind and name, and a journal, and knows nothing of
// what they say. An absent document is fs.ErrNotExist. Only who holds the lock
// may call anything else, and only who holds it alone may call what changes
// something. What fails has changed nothing, or the change is there and may not
// survive a crash of the host.
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
	// Prepare does everything of Write that may fail for want of room.
	Prepare(kind Kind, name string, text []byte) (Draft, error)
	Remove(kind Kind, name string) error
	// SetAside takes a document away from its name without losing it, and
	// returns the place where it is kept from then on.
	SetAside(kind Kind, name string) (place string, err error)
	// Place says where a document is, for people.
	Place(kind Kind, name string) string

	// Append adds whole lines to the journal, durably. It keeps the newest lines
	// and at least JournalSize bytes of them.
	Append(lines []byte) error
	// Journal is the end of the journal: whole lines of at most that many bytes.
	// The last one has no line feed if a crash cut it off.
	Journal(most int64) ([]byte, error)
}

// JournalSize is how many bytes of the journal are kept at least. It holds
// about 7,000 changes.
const JournalSize = 4 << 20

// Draft is a document that is kept and not yet in its place.
type Draft interface {
	// Commit puts it in its place. It is called once at most.
	Commit() error
	// Discard forgets it, unless it was committed.
	Discard()
}

// maxName leaves room for the ending of a file name.
const maxName = 245

// checkName refuses a name under which no document can be kept.
func checkName(kind Kind, name string) error {
	what := strings.TrimSuffix(string(kind), "s")
	switch {
	case name == "":
		return invalidf("the name of a %s is empty", what)
	case name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool { return r == '/' || unicode.IsControl(r) }):
		return invalidf("a %s named %q cannot be kept: the name is no file name", what, name)
	case len(name) > maxName:
		return invalidf("a %s whose name has %d bytes cannot be kept: at most %d are possible", what, len(name), maxName)
	}
	return nil
}
