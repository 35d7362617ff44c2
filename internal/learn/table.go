package learn

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// MaxLeases of a family are kept for a port.
	MaxLeases = 32
	// heardEvery is how exactly it is known when a guest last used an address:
	// leases are stored each time that Renewed differs.
	heardEvery = 5 * time.Minute
	// silence is after which an address may be given up in favour of another that
	// the guest claims. Without it a guest could have its policy made anew with
	// every packet.
	silence = 10 * time.Minute
)

// lasting leases are taken back by operators only.
func (l *Lease) lasting() bool { return l.Pinned || l.Source == Operator }

// claimed leases are those that the guest took itself.
func (l *Lease) claimed() bool {
	return l.Source == ARP || l.Source == IPv4 || l.Source == IPv6 || l.Source == ND
}

func (l *Lease) global6() bool { return !l.Is4() && !l.Address.Addr().IsLinkLocalUnicast() }

// Counts tells whether a lease is one that New keeps: it could have been learned so,
// or is an operator's, of whatever family.
func (c *Config) Counts(l *Lease) bool { return c.wants(l, c.Mode) }

// wants tells whether a lease could have been learned so; was is the mode in
// which it was.
func (c *Config) wants(l *Lease, was Mode) bool {
	switch {
	case l.lasting():
		return true
	case c.Mode == None, l.Is4() && !c.IPv4, !l.Is4() && !c.IPv6:
		return false
	case c.Mode == Any:
		return true
	}
	switch l.Source {
	case ND, IPv6:
		return !l.global6()
	case DHCP:
		// What is learned in the mode Any does not know its end.
		return was != Any || !l.End.IsZero()
	}
	return l.Source == DHCPv6 || l.Source == DHCPv6Prefix
}

// give makes a lease, or renews the one of the same address. What an operator said
// stays.
func (p *Port) give(l Lease, now time.Time) {
	l.Learned, l.Renewed = now, now
	old, ok := p.leases[l.Address]
	switch {
	case ok && old.Source == Operator:
		old.Renewed = now
		l = old
	case ok:
		l.Learned, l.Pinned = old.Learned, old.Pinned
	case !p.room(&l, now):
		p.notes.add("%s is not learned: the port has %d addresses of its family already", l.Text(), MaxLeases)
		return
	}
	p.leases[l.Address] = l
}

// room tells whether there is a place for a lease. It makes one of IPv6 by giving
// up the claimed address not heard of for longest: what a server gives may replace
// any, what the guest claims only one that has long been silent.
func (p *Port) room(l *Lease, now time.Time) bool {
	var family, candidates []Lease
	for _, other := range p.leases {
		if other.Is4() == l.Is4() {
			family = append(family, other)
			if !other.lasting() && other.claimed() && !other.Is4() && (!l.claimed() || now.Sub(other.Renewed) >= silence) {
				candidates = append(candidates, other)
			}
		}
	}
	if len(family) < MaxLeases {
		return true
	}
	if len(candidates) == 0 {
		return false
	}
	oldest := slices.MinFunc(candidates, func(a, b Lease) int {
		if c := a.Renewed.Compare(b.Renewed); c != 0 {
			return c
		}
		return a.Address.Compare(b.Address)
	})
	delete(p.leases, oldest.Address)
	return true
}

// heard notes that the guest uses an address that it has, if not lately.
func (p *Port) heard(l Lease, now time.Time) {
	if now.Sub(l.Renewed) >= heardEvery {
		l.Renewed = now
		p.leases[l.Address] = l
	}
}

// take takes back a lease if it comes from one of these sources.
func (p *Port) take(a netip.Prefix, sources ...Source) {
	if l, ok := p.leases[a]; ok && !l.lasting() && slices.Contains(sources, l.Source) {
		delete(p.leases, a)
	}
}
