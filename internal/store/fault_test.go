package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// unsure is a backend that cannot tell whether what it did survives a crash.
type unsure struct{ Backend }

type unsureDraft struct{ Draft }

var errUnsure = errors.New("the disk is on fire")

func (d unsureDraft) Commit() error { return errors.Join(d.Draft.Commit(), errUnsure) }

func (b unsure) Prepare(kind Kind, name string, text []byte) (Draft, error) {
	d, err := b.Backend.Prepare(kind, name, text)
	return unsureDraft{d}, err
}

func (b unsure) Remove(kind Kind, name string) error {
	return errors.Join(b.Backend.Remove(kind, name), errUnsure)
}

func TestChangeThatMayNotLastIsDone(t *testing.T) {
	k := newStore(t)
	k.Store = New(unsure{NewFiles(k.dir)})
	k.define(doc("a", ""), "on fire")
	k.expect(k.undefine("a", false), "on fire")
	k.expectHistory("define a:  → 0 rules, done the disk is on fire", "undefine a: 0 rules → , done the disk is on fire")
}

func TestTextsThatADamagedLineMayNameStay(t *testing.T) {
	k := newStore(t)
	for _, text := range []string{doc("a", ""), doc("a", ref("b")), doc("a", ref("c"))} {
		k.define(text, "")
	}
	path := filepath.Join(k.dir, journalName)
	left := func() int {
		k.expect(k.update(func(u *Update) error { u.pruneRevisions(); return nil }), "")
		files, err := os.ReadDir(filepath.Join(k.dir, string(RevisionKind)))
		k.expect(err, "")
		return len(files)
	}
	if n := left(); n != 2 {
		t.Errorf("%d texts are left of those that the journal names", n)
	}
	k.put(path, "not a line of a journal\n")
	if n := left(); n != 2 {
		t.Errorf("%d texts are left where the journal is damaged", n)
	}
	k.put(path, "")
	if n := left(); n != 0 {
		t.Errorf("%d texts are left that no journal names", n)
	}
}
