package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Former texts of filters are kept as long as the journal names them, at most
// this many of a filter and this many bytes of all together; the oldest go first.
const (
	maxRevisions     = 100
	maxRevisionBytes = 64 << 20
)

// Revision is a text that a filter had.
type Revision struct {
	Version
	// Since is when the filter got it, zero if that is not known.
	Since time.Time `json:"since,omitzero"`
	// Current is set for the text that the filter has.
	Current bool `json:"current,omitempty"`
	// Kept is set if the text is still there.
	Kept bool `json:"kept,omitempty"`
}

// keepRevision keeps a former text under its digest.
func (u *Update) keepRevision(text []byte) error {
	name := digest(text)
	if kept, err := u.backend.Read(RevisionKind, name); err == nil && digest(kept) == name {
		return nil
	}
	return u.backend.Write(RevisionKind, name, text)
}

// Revisions are the texts that a filter had, as far as the journal knows, the
// newest first, each once.
func (v *View) Revisions(name string) ([]Revision, error) {
	entries, _, err := v.History()
	if err != nil {
		return nil, err
	}
	now, err := v.digestOf(FilterKind, name)
	if err != nil {
		return nil, err
	}
	kept, err := v.backend.Names(RevisionKind)
	if err != nil {
		return nil, err
	}
	var list []Revision
	add := func(ver Version, since time.Time) {
		at := slices.IndexFunc(list, func(r Revision) bool { return r.Digest == ver.Digest })
		switch {
		case ver.Digest == "":
			return
		case at >= 0:
			if list[at].Since.IsZero() {
				list[at].Since = since
			}
			return
		}
		_, isKept := slices.BinarySearch(kept, ver.Digest)
		current := ver.Digest == now
		list = append(list, Revision{Version: ver, Since: since, Current: current, Kept: isKept || current})
	}
	for _, e := range slices.Backward(entries) {
		if e.Kind != FilterKind || e.Name != name {
			continue
		}
		if e.Result == Done {
			add(e.After, e.Time)
		}
		add(e.Before, time.Time{})
	}
	return list, nil
}

// minPrefix is the shortest beginning of a digest that names a revision.
const minPrefix = 4

// Revision reads a text that a filter had: by the beginning of its digest, or with
// "" the newest that it does not have now. ErrNotFound if there is none.
func (v *View) Revision(name, prefix string) (*Filter, Revision, error) {
	r, err := v.findRevision(name, prefix)
	if err != nil {
		return nil, r, err
	}
	f, err := v.readRevision(name, r)
	return f, r, err
}

func (v *View) findRevision(name, prefix string) (Revision, error) {
	list, err := v.Revisions(name)
	if err != nil {
		return Revision{}, err
	}
	var found []Revision
	for _, r := range list {
		if prefix == "" && !r.Current || len(prefix) >= minPrefix && strings.HasPrefix(r.Digest, prefix) {
			found = append(found, r)
		}
	}
	hint := fmt.Sprintf("\"tapgate history %s\" shows what it had", name)
	switch {
	case prefix != "" && len(prefix) < minPrefix:
		return Revision{}, invalidf("%q is too short to name a text; give %d digits or more", prefix, minPrefix)
	case len(found) == 0 && len(list) == 0:
		if _, err := v.Filter(name); errors.Is(err, ErrNotFound) {
			return Revision{}, err
		}
		return Revision{}, notFound(fmt.Sprintf("of filter %q no other text is known", name))
	case len(found) == 0 && prefix == "":
		return Revision{}, notFound(fmt.Sprintf("of filter %q no other text is known", name))
	case len(found) == 0:
		return Revision{}, notFound(fmt.Sprintf("filter %q had no text %q; %s", name, prefix, hint))
	case len(found) > 1 && prefix != "":
		return Revision{}, invalidf("%q is the beginning of %d texts of filter %q; give more of it", prefix, len(found), name)
	case !found[0].Kept:
		return Revision{}, fmt.Errorf("the text %s of filter %q is not kept any more; %s", Short(found[0].Digest), name, hint)
	}
	return found[0], nil
}

// readRevision reads a kept text. Where the text has no UUID, a filter that is not
// stored any more gets back the one that it had.
func (v *View) readRevision(name string, r Revision) (*Filter, error) {
	kind, at := RevisionKind, r.Digest
	if r.Current {
		kind, at = FilterKind, name
	}
	text, err := v.backend.Read(kind, at)
	if err != nil {
		return nil, err
	}
	place := v.backend.Place(kind, at)
	if digest(text) != r.Digest {
		return nil, fmt.Errorf("%s is damaged: its text is not the one that it is called after", place)
	}
	f, n, err := parseStored(text, place)
	if err != nil {
		return nil, fmt.Errorf("the text %s of filter %q cannot be read: %w", Short(r.Digest), name, err)
	}
	f.File = n.File
	if f.UUID == "" && v.replaced(name) == nil {
		f.UUID = n.UUID
	}
	return f, nil
}

// Short is as much of a digest as people need.
func Short(digest string) string { return digest[:min(len(digest), 12)] }

// pruneRevisions removes the texts that are not to be kept any longer. What goes
// wrong here is tried again another time.
func (u *Update) pruneRevisions() {
	text, err := u.backend.Journal(wholeJournal)
	if err != nil {
		return
	}
	j := readJournal(text)
	wanted := revisionsToKeep(j.entries)
	names, _ := u.backend.Names(RevisionKind)
	for _, name := range names {
		wanted, named := wanted[name]
		if !named && len(j.faults) > 0 {
			continue // a line that cannot be read may name it
		}
		if !wanted {
			_ = u.backend.Remove(RevisionKind, name)
		}
	}
}

// revisionsToKeep has the digests of the former texts that the journal names, and
// whether the rule above keeps them.
func revisionsToKeep(entries []Entry) map[string]bool {
	wanted, count, size := map[string]bool{}, map[string]int{}, 0
	for _, e := range slices.Backward(entries) {
		if e.Kind != FilterKind || e.Before.Digest == "" || wanted[e.Before.Digest] {
			continue
		}
		count[e.Name]++
		size += e.Before.Size
		wanted[e.Before.Digest] = count[e.Name] <= maxRevisions && size <= maxRevisionBytes
	}
	return wanted
}
