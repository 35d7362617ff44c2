package store

import (
	"errors"
	"fmt"
	"time"
)

// asideHints say how to go on.
var asideHints = map[Kind]string{
	FilterKind:  "correct it there and define it again",
	BindingKind: "bind the port again",
	LeaseKind:   "the guest's addresses are learned anew",
}

// setAside takes a document that cannot be read out of the way, without losing
// it, and says so.
func (u *Update) setAside(kind Kind, name string, fault error) error {
	c, err := u.removing(SetAsideOp, kind, name)
	if err != nil {
		return errors.Join(fault, err)
	}
	c.Detail = shorten(fault.Error(), maxDetail)
	place := ""
	c.apply = func() (err error) {
		place, err = u.backend.SetAside(kind, name)
		return err
	}
	if err := u.commit(nil, c); err != nil {
		return fmt.Errorf("%w\nit could not be set aside: %w", fault, err)
	}
	fault = fmt.Errorf("%w; it was set aside as %s: %s", fault, place, asideHints[kind])
	u.aside = append(u.aside, fault)
	return fault
}

// Aside tells what was set aside, and why.
func (u *Update) Aside() []error { return u.aside }

// Repair makes good what a crash or a fault of the disk left: it adds the results
// of interrupted changes, sets aside every document that cannot be read, and
// clears away leases that nobody has any more.
func (u *Update) Repair() error {
	if err := u.recover(); err != nil {
		return err
	}
	if _, _, err := u.Filters(); err != nil {
		return err
	}
	if _, _, err := u.Bindings(); err != nil {
		return err
	}
	keys, err := u.LeaseKeys()
	if err != nil {
		return err
	}
	for _, key := range keys {
		_, _ = u.Leases(key) // what cannot be read is set aside
	}
	u.pruneLeases(time.Now())
	return nil
}
