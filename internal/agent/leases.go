package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tapgate/internal/learn"
	"tapgate/internal/store"
	"tapgate/nwfilter/binding"
)

// Leases are those of a port, or of all ports for "".
func (a *Agent) Leases(ctx context.Context, port string) (list []Lease, faults []error, err error) {
	err = a.store.View(ctx, func(v *store.View) error {
		var bindings []*binding.Binding
		if port == "" {
			bindings, faults, err = v.Bindings()
		} else {
			var b *binding.Binding
			b, err = v.Binding(port)
			bindings = []*binding.Binding{b}
		}
		if err != nil {
			return err
		}
		var unread []error
		list, unread = a.showLeases(v, bindings)
		faults = append(faults, unread...)
		return nil
	})
	return list, faults, err
}

// showLeases are the leases of bound ports; faults tell of those that cannot be read.
func (a *Agent) showLeases(v *store.View, bindings []*binding.Binding) (list []Lease, faults []error) {
	asker := newAsker(v)
	for _, b := range bindings {
		g := &guest{Binding: b, key: store.LeaseKey(b)}
		var err error
		if g.leases, err = a.leasesOf(v, b); err != nil {
			faults = append(faults, fmt.Errorf("port %s: %w", b.Port, err))
			continue
		}
		if len(g.leases) == 0 {
			continue
		}
		g.asks = asker.of(b)
		for _, l := range g.leases {
			list = append(list, g.show(l))
		}
	}
	return list, faults
}

// lastYear is the last one that can be written down (RFC 3339 section 1).
const lastYear = 9999

// AddLease gives the guest of a port an address, until its end if it has one. A
// lease of the same address is replaced. Where CTRL_IP_LEARNING=none forbids to
// learn, this is how a guest gets one.
func (a *Agent) AddLease(ctx context.Context, by store.Actor, port string, l learn.Lease) (*LeaseChange, error) {
	now := time.Now().UTC().Truncate(time.Second)
	if err := CheckAddress(l.Address); err != nil {
		return nil, err
	}
	switch end := l.End.UTC(); {
	case l.End.IsZero():
	case !end.After(now):
		return nil, invalidLease("a lease that ends at %s has ended already", l.End.Format(time.RFC3339))
	case end.Year() > lastYear:
		return nil, invalidLease("a lease cannot end in the year %d; without an end it stays for good", end.Year())
	}
	return a.changeLease(ctx, by, port, l.Address, func(g *guest, done *LeaseChange) (store.Operation, edit, error) {
		done.What = "added"
		if err := g.mayHave(&l); err != nil {
			return "", nil, err
		}
		if at, err := g.find(l.Address); err == nil {
			done.What = "replaced"
			if old := g.leases[at]; old.Source == learn.Operator && old.Pinned == l.Pinned && old.End.Equal(l.End) {
				done.What = "unchanged"
			}
		}
		return store.AddLeaseOp, func(m *learn.Port) error { _, err := m.Add(l, now); return err }, nil
	})
}

// PinLease makes a lease one that never ends and is taken back by nobody but who
// unpins or deletes it.
func (a *Agent) PinLease(ctx context.Context, by store.Actor, port string, address netip.Prefix, pinned bool) (*LeaseChange, error) {
	return a.changeLease(ctx, by, port, address, func(g *guest, done *LeaseChange) (store.Operation, edit, error) {
		at, err := g.find(address)
		if err != nil {
			return "", nil, err
		}
		l := g.leases[at]
		op := store.UnpinLeaseOp
		done.What = "unpinned"
		if pinned {
			op, done.What = store.PinLeaseOp, "pinned"
		}
		if l.Pinned == pinned {
			done.What = "unchanged"
		}
		now := time.Now()
		if l.Pinned = pinned; l.Ended(now) {
			done.Notes = append(done.Notes, fmt.Sprintf("the lease of %s had ended at %s, so that it is no more", l.Text(), l.End.Format(time.RFC3339)))
		}
		return op, func(m *learn.Port) error {
			_, err := m.Pin(address, pinned)
			if errors.Is(err, learn.ErrNoLease) {
				_, err = m.Add(l, now) // it did not count any more
			}
			return err
		}, nil
	})
}

// DeleteLease takes an address away from the guest of a port.
func (a *Agent) DeleteLease(ctx context.Context, by store.Actor, port string, address netip.Prefix) (*LeaseChange, error) {
	return a.changeLease(ctx, by, port, address, func(g *guest, done *LeaseChange) (store.Operation, edit, error) {
		at, err := g.find(address)
		if err != nil {
			return "", nil, err
		}
		done.What, done.Lease.Lease = "deleted", g.leases[at]
		switch g.mode {
		case learn.Any:
			done.Notes = append(done.Notes, "the guest may have it again as soon as it uses it; CTRL_IP_LEARNING=none at the binding forbids that")
		case learn.FromDHCP:
			done.Notes = append(done.Notes, "the guest may have it again when a DHCP server gives it")
		}
		return store.DeleteLeaseOp, func(m *learn.Port) error {
			if _, err := m.Delete(address); !errors.Is(err, learn.ErrNoLease) {
				return err
			}
			return nil // it did not count any more
		}, nil
	})
}

// changeLease edits the leases of a port in somebody's name, as plan says, stores
// them and puts them in force. The port's machine is told when that is done.
func (a *Agent) changeLease(ctx context.Context, by store.Actor, port string, address netip.Prefix, plan func(*guest, *LeaseChange) (store.Operation, edit, error)) (*LeaseChange, error) {
	done := &LeaseChange{Port: port}
	notes, err := a.update(ctx, by, func(u *store.Update) error {
		g, err := a.guestOf(u.View, port)
		if err != nil {
			return err
		}
		before := g.inUse()
		op, do, err := plan(g, done)
		if err != nil {
			return err
		}
		if done.What != "unchanged" {
			if err := g.apply(address, do); err != nil {
				return invalidLease("port %s: %v", port, err)
			}
		}
		if at, err := g.find(address); err == nil {
			done.Lease.Lease = g.leases[at]
		}
		done.Lease = g.show(done.Lease.Lease)
		done.Lease.InUse = done.Lease.InUse && done.What != "deleted"
		done.PortChange = PortChange{Port: port, Result: PortUnchanged}
		if done.What == "unchanged" {
			return nil
		}
		var enforce func() error
		t := &transaction{Agent: a, what: "the leases of " + port}
		if !slices.Equal(g.inUse(), before) {
			if err := t.planLeases(ctx, u.View, g); err != nil {
				return err
			}
			defer t.discard()
			enforce = t.enforce(ctx)
		}
		if err := u.ChangeLeases(store.LeaseEdit{Operation: op, Port: port, Address: address}, g.key, g.leases, enforce); err != nil {
			return err
		}
		a.learners.edit(g, do)
		for _, c := range t.changes() {
			done.PortChange = c
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	done.Notes = append(done.Notes, notes...)
	if done.What != "unchanged" {
		a.log.Info("lease "+done.What, "port", port, "address", done.Lease.Text(), "by", by.String())
	}
	return done, nil
}

// planLeases makes the port ready for what is known of its guest.
func (t *transaction) planLeases(ctx context.Context, v *store.View, g *guest) error {
	r, err := t.resolver(v, nil)
	if err != nil {
		return err
	}
	now := time.Now()
	r.known = func(*binding.Binding) []learn.Lease {
		return slices.DeleteFunc(slices.Clone(g.leases), func(l learn.Lease) bool { return l.Ended(now) })
	}
	want, err := r.want(g.Binding)
	if err != nil {
		return err
	}
	if err := t.look(ctx, []*binding.Binding{g.Binding}); err != nil {
		return err
	}
	t.add(g.Port, want)
	return t.prepare(ctx)
}
