package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"tapgate/internal/settings"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// change is a document that is to become another, or none.
type change struct {
	Entry
	// old is the text that the document has, nil if there is none.
	old []byte
	// prepare does what may fail for want of room, apply the rest. They are nil
	// where there is nothing to do.
	prepare func() (Draft, error)
	apply   func() error
}

// writing puts a text in the place of what a document says.
func (u *Update) writing(op Operation, kind Kind, name string, text []byte) (*change, error) {
	if err := checkName(kind, name); err != nil {
		return nil, err
	}
	c, err := u.changing(op, kind, name)
	if err != nil {
		return nil, err
	}
	c.After = version(kind, text)
	c.prepare = func() (Draft, error) { return u.backend.Prepare(kind, name, text) }
	return c, nil
}

// removing removes a document, which need not be there.
func (u *Update) removing(op Operation, kind Kind, name string) (*change, error) {
	c, err := u.changing(op, kind, name)
	if err == nil && c.old != nil {
		c.apply = func() error { return u.backend.Remove(kind, name) }
	}
	return c, err
}

func (u *Update) changing(op Operation, kind Kind, name string) (*change, error) {
	c := &change{Entry: Entry{Operation: op, Kind: kind, Name: name, By: u.by}}
	old, err := u.backend.Read(kind, name)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	c.old, c.Before = old, version(kind, old)
	return c, err
}

// changes tells whether the document would say anything else.
func (c *change) changes() bool { return c.Before.Digest != c.After.Digest }

// commit makes changes that belong together. In this order, so that a crash
// anywhere leaves the old state or the new one, and a journal that does not lie:
//
//  1. what is needed of the disk is taken: the new texts are written aside, the
//     former ones of filters are kept;
//  2. the journal gets a line for each change, without a result, on disk;
//  3. enforce, if there is one, takes hold of the ports;
//  4. the new texts are renamed into place;
//  5. the journal gets the results.
//
// A change without a result was interrupted: the next one who changes something
// compares the digests with what is there, and adds it.
func (u *Update) commit(enforce func() error, changes ...*change) error {
	var err error
	for i, c := range changes {
		c.Enforced = enforce != nil && i == len(changes)-1
		if err == nil && c.prepare != nil {
			var d Draft
			if d, err = c.prepare(); err == nil {
				defer d.Discard()
				c.apply = d.Commit
			}
		}
		if err == nil && c.Kind == FilterKind && c.old != nil && c.changes() && c.Operation != SetAsideOp {
			err = u.keepRevision(c.old)
		}
	}
	if err == nil {
		err = u.begin(changes)
	}
	if err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	if enforce != nil {
		err = enforce()
	}
	for _, c := range changes {
		if err == nil && c.apply != nil {
			if err = c.apply(); err != nil && enforce != nil {
				err = fmt.Errorf("it is in force, but could not be stored: %w", err)
			}
		}
		c.Result = Done
		if err != nil {
			c.Result, c.Detail = Failed, shorten(err.Error(), maxDetail)
			if now, unknown := u.digestOf(c.Kind, c.document()); unknown == nil && now == c.After.Digest && c.changes() {
				c.Result = Done // and perhaps not for ever
			}
		}
		if c.Kind == FilterKind {
			delete(u.read, c.Name)
		}
	}
	u.end(changes)
	return err
}

// version describes a text.
func version(kind Kind, text []byte) Version {
	return Version{Digest: digest(text), Summary: shorten(summary(kind, text), maxSummary), Size: len(text)}
}

// digest names a text by what it says.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// digestOf is that of what a document says now, "" if there is none.
func (v *View) digestOf(kind Kind, name string) (string, error) {
	text, err := v.backend.Read(kind, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return digest(text), nil
}

// summary tells a document's text in a few words.
func summary(kind Kind, stored []byte) string {
	switch kind {
	case FilterKind:
		text, _ := split(stored)
		f, _ := nwfilter.Parse(text, "", nwfilter.Options{Lenient: true})
		if f == nil {
			return "unreadable"
		}
		refs := len(references(f))
		entries := counted(len(f.Entries)-refs, "rule")
		if refs > 0 {
			entries += ", " + counted(refs, "reference")
		}
		return entries
	case BindingKind:
		list, _ := binding.Parse(stored, "", nwfilter.Options{Lenient: true})
		if len(list) != 1 {
			return "unreadable"
		}
		words := []string{"filter", list[0].Filter, list[0].MAC.String()}
		values := map[string][]string{}
		var names []string
		for _, p := range list[0].Parameters {
			if values[p.Name] == nil {
				names = append(names, p.Name)
			}
			values[p.Name] = append(values[p.Name], p.Value)
		}
		slices.Sort(names)
		for _, name := range names {
			words = append(words, name+"="+strings.Join(values[name], ","))
		}
		return strings.Join(words, " ")
	case SettingsKind:
		g, err := settings.ParseGiven(stored, "")
		if err != nil {
			return "unreadable"
		}
		return strings.Join(strings.Fields(string(g.Format())), " ")
	case LeaseKind:
		leases, err := parseLeases(stored)
		if err != nil {
			return "unreadable"
		}
		var words []string
		for i := range leases {
			words = append(words, leases[i].Text())
		}
		return strings.Join(words, " ")
	}
	return ""
}

func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Lines of the journal are bounded by these, in runes.
const (
	maxSummary = 300
	maxDetail  = 500
)

func shorten(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
