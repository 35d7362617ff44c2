package store

import "time"

const (
	// journalEnd is as much of the journal as holds the last changes, in bytes.
	journalEnd = 64 << 10
	// wholeJournal bounds what is read of it.
	wholeJournal = 4 * JournalSize
	// pruneEvery is the number of changes after which former texts and leases are
	// looked through.
	pruneEvery = 64
)

// begin writes changes down before they are made, with the numbers that they get.
func (u *Update) begin(changes []*change) error {
	if err := u.recover(); err != nil {
		return err
	}
	var lines []byte
	last := u.last
	for _, c := range changes {
		last++
		c.ID, c.Time = last, time.Now().UTC().Truncate(time.Millisecond)
		lines = append(lines, encodeLine(begun{journalForm, c.Entry})...)
	}
	if err := u.backend.Append(lines); err != nil {
		return err
	}
	u.last = last
	return nil
}

// end writes their results down. One that cannot be written is found out by
// comparing digests, as after a crash, and is no reason to call the change
// failed.
func (u *Update) end(changes []*change) {
	var lines []byte
	prune := false
	for _, c := range changes {
		lines = append(lines, u.endLine(&c.Entry)...)
		prune = prune || c.ID%pruneEvery == 0
	}
	if u.backend.Append(lines) != nil {
		u.recovered = false
		return
	}
	if prune {
		u.pruneRevisions()
		u.pruneLeases(time.Now())
	}
}

func (u *Update) endLine(e *Entry) []byte {
	return encodeLine(ended{journalForm, e.ID, time.Now().UTC().Truncate(time.Millisecond), e.Result, e.Detail})
}

// recover finds the last number, and adds the results of what was interrupted.
func (u *Update) recover() error {
	if u.recovered {
		return nil
	}
	text, err := u.backend.Journal(journalEnd)
	if err != nil {
		return err
	}
	j := readJournal(text)
	if j.last == 0 && len(j.faults) > 0 {
		if text, err = u.backend.Journal(wholeJournal); err != nil {
			return err
		}
		j = readJournal(text)
	}
	var lines []byte
	for i := range j.entries {
		e := &j.entries[i]
		if e.Result == "" {
			if err := u.resolve(e); err != nil {
				return err
			}
			lines = append(lines, u.endLine(e)...)
		}
	}
	if lines != nil {
		if err := u.backend.Append(lines); err != nil {
			return err
		}
	}
	u.recovered, u.last = true, j.last
	return nil
}

// resolve finds out how an interrupted change ended. What was done at a port is
// done before the binding is stored.
func (v *View) resolve(e *Entry) error {
	now, err := v.digestOf(e.Kind, e.document())
	if err != nil {
		return err
	}
	switch {
	case now == e.After.Digest && e.Before.Digest != e.After.Digest:
		e.Result, e.Detail = Done, "it was interrupted, and found to be done"
	case e.Kind == LeaseKind && now != e.Before.Digest:
		e.Result, e.Detail = Interrupted, "the guest's addresses have changed since, so that it is not known whether this was done"
	case e.Enforced && e.Kind != BindingKind:
		e.Result, e.Detail = Interrupted, "what is stored is as it was before; ports may have been changed: the daemon puts them right when it starts, or \"tapgate bind PORT\" does"
	case e.Enforced:
		e.Result, e.Detail = Interrupted, "what is stored is as it was before; the port may be changed already: bind it again, or unbind it"
	case now == e.Before.Digest:
		e.Result, e.Detail = Interrupted, "nothing was changed"
	default:
		e.Result, e.Detail = Interrupted, "what is stored is neither what was there before nor what was to be"
	}
	return nil
}

// History is what the journal says, oldest first. Lines that cannot be read are
// left out; faults tells about them.
func (v *View) History() (entries []Entry, faults []error, err error) {
	text, err := v.backend.Journal(wholeJournal)
	if err != nil {
		return nil, nil, err
	}
	j := readJournal(text)
	for i := range j.entries {
		if j.entries[i].Result == "" {
			if err := v.resolve(&j.entries[i]); err != nil {
				return nil, nil, err
			}
		}
	}
	return j.entries, j.faults, nil
}
