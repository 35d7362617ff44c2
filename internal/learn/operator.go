package learn

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrNoLease is the error of who names an address for which there is no lease.
var ErrNoLease = errors.New("no such lease")

// Add makes a lease of an operator's, of its Address and, if given, until its End.
// It stays whatever the guest and servers say. What was learned for the address
// becomes the operator's.
func (p *Port) Add(l Lease, now time.Time) (Event, error) {
	if err := p.checkAdd(&l, now); err != nil {
		return Event{}, err
	}
	return p.change(now, func(now time.Time) {
		l = Lease{Address: l.Address, Source: Operator, Learned: now, Renewed: now, End: plain(l.End), Pinned: l.Pinned}
		if old, ok := p.leases[l.Address]; ok {
			l.Learned = old.Learned
		}
		p.leases[l.Address] = l
		if l.Is4() && p.config.Mode == Any {
			p.withdrawOffers()
		}
	}), nil
}

func (p *Port) checkAdd(l *Lease, now time.Time) error {
	a := l.Address.Addr()
	switch {
	case !l.Address.IsValid():
		return errors.New("the lease has no address")
	case l.Address != l.Address.Masked():
		return fmt.Errorf("%s has bits behind its prefix; expected %s", l.Address, l.Address.Masked())
	case a.Is4() && (!l.Address.IsSingleIP() || !unicast4(a)):
		return fmt.Errorf("%s is no IPv4 address that a guest can have", l.Text())
	case a.Is6() && !l.Address.IsSingleIP() && !delegable(l.Address):
		return fmt.Errorf("%s is no prefix that a guest can be given", l.Text())
	case a.Is6() && l.Address.IsSingleIP() && !unicast6(a):
		return fmt.Errorf("%s is no IPv6 address that a guest can have", l.Text())
	case !l.End.IsZero() && !l.Pinned && !l.End.After(now):
		return fmt.Errorf("the lease of %s would have ended at %s", l.Text(), l.End.Format(time.RFC3339))
	}
	count := 0
	for other := range p.leases {
		if other == l.Address {
			return nil
		}
		if other.Addr().Is4() == a.Is4() {
			count++
		}
	}
	if count >= MaxLeases {
		return fmt.Errorf("the port has %d addresses of the family of %s already; delete one first", count, l.Text())
	}
	return nil
}

// Pin makes a lease last until it is deleted or no longer pinned. One that was
// merely offered is the operator's from then on. A lease that has ended meanwhile
// is taken back by the next Expire.
func (p *Port) Pin(a netip.Prefix, pinned bool) (Event, error) {
	l, ok := p.leases[a]
	if !ok {
		return Event{}, ErrNoLease
	}
	event := Event{Changed: pinned && l.Source == Offer, Renewed: l.Pinned != pinned}
	if event.Changed {
		l.Source, l.End = Operator, time.Time{}
	}
	l.Pinned = pinned
	p.leases[a] = l
	return event, nil
}

// Delete takes back a lease, whosever it is. The guest may claim the address anew.
func (p *Port) Delete(a netip.Prefix) (Event, error) {
	if _, ok := p.leases[a]; !ok {
		return Event{}, ErrNoLease
	}
	delete(p.leases, a)
	return Event{Changed: true, Renewed: true}, nil
}
