package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tapgate/internal/learn"
	"tapgate/internal/store"
	"tapgate/nwfilter/binding"
)

// leaseError refuses what cannot be done with leases; it reads as a sentence.
type leaseError struct {
	text string
	// kind is store.ErrInvalid or store.ErrNotFound.
	kind error
}

func (e *leaseError) Error() string        { return e.text }
func (e *leaseError) Is(target error) bool { return target == e.kind }

func invalidLease(format string, args ...any) error {
	return &leaseError{fmt.Sprintf(format, args...), store.ErrInvalid}
}

// guest is a bound port, with what its guest has learned.
type guest struct {
	*binding.Binding
	key    string
	leases []learn.Lease
	asks
}

// guestOf reads a bound port; store.ErrNotFound if it is not bound.
func (a *Agent) guestOf(v *store.View, port string) (*guest, error) {
	b, err := v.Binding(port)
	if err != nil {
		return nil, err
	}
	g := &guest{Binding: b, key: store.LeaseKey(b)}
	if g.leases, err = a.leasesOf(v, b); err != nil {
		return nil, err
	}
	g.asks = newAsker(v).of(b)
	return g, nil
}

// show is a lease for people.
func (g *guest) show(l learn.Lease) Lease {
	return Lease{Lease: l, Port: g.Port, InUse: g.counts(&l) && !l.Ended(time.Now())}
}

// counts tells whether a lease is of use to the policy as long as it has not ended.
func (g *guest) counts(l *learn.Lease) bool {
	if g.fault != nil || !g.wants(l.Is4()) {
		return false
	}
	c := g.config()
	return c.Counts(l)
}

// config is what is learned of the guest, of both families where that cannot be
// found out.
func (g *guest) config() learn.Config {
	return learn.Config{MAC: g.MAC, Mode: g.mode, IPv4: g.ipv4 || g.fault != nil, IPv6: g.ipv6 || g.fault != nil}
}

// edit is what an operator does to leases.
type edit func(*learn.Port) error

// apply does it to a copy of the guest's leases. Those that do not count, or have
// ended, stay as they are, but for the one of the address.
func (g *guest) apply(address netip.Prefix, do edit) error {
	m := learn.New(g.config(), g.leases, nil)
	if err := do(m); err != nil {
		return err
	}
	edited := m.Leases()
	for _, l := range g.leases {
		had := func(other learn.Lease) bool { return other.Address == l.Address }
		if l.Address != address && l.Source != learn.Offer && !slices.ContainsFunc(edited, had) {
			edited = append(edited, l)
		}
	}
	g.leases = edited
	return nil
}

// inUse are the addresses in use, in order.
func (g *guest) inUse() []string {
	var list []string
	for _, l := range g.leases {
		if shown := g.show(l); shown.InUse {
			list = append(list, shown.Text())
		}
	}
	slices.Sort(list)
	return list
}

// find is the place of an address among the leases. The error says which there are.
func (g *guest) find(address netip.Prefix) (int, error) {
	at := slices.IndexFunc(g.leases, func(l learn.Lease) bool { return l.Address == address })
	if at >= 0 {
		return at, nil
	}
	has := []string{}
	for i := range g.leases {
		has = append(has, g.leases[i].Text())
	}
	if len(has) == 0 {
		has = []string{"none"}
	}
	return 0, &leaseError{fmt.Sprintf("port %s has no lease of %s; it has %s", g.Port, addressText(address), strings.Join(has, ", ")), store.ErrNotFound}
}

// mayHave says why an address would be of no use to the port, or is one too many.
func (g *guest) mayHave(l *learn.Lease) error {
	variable, family := "IP", "IPv4"
	if !l.Is4() {
		variable, family = "IPV6", "IPv6"
	}
	switch {
	case gives(g.Binding, variable):
		return invalidLease("port %s: its binding gives $%s itself, so that a lease of %s has no effect; bind the port with that address too, or without %s",
			g.Port, variable, l.Text(), variable)
	case g.fault == nil && !g.wants(l.Is4()):
		return invalidLease("port %s: filter %q does not ask for $%s, so that the %s address %s has no effect", g.Port, g.Filter, variable, family, l.Text())
	}
	has := 0
	for i := range g.leases {
		if g.leases[i].Is4() == l.Is4() && g.leases[i].Address != l.Address {
			has++
		}
	}
	if has >= learn.MaxLeases {
		return invalidLease("port %s has %d leases of %s already, and no more are possible; delete one of them", g.Port, has, family)
	}
	return nil
}
