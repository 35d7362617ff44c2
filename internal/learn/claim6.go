package learn

import (
	"net/netip"
	"time"
)

// observe6 learns IPv6 addresses.
func (p *Port) observe6(f *frame) {
	if !p.config.IPv6 || f.tagged() {
		return
	}
	if m, ok := f.neighbourDiscovery(); ok {
		p.discover(f, m)
		return
	}
	if m, ok := f.dhcpv6(p.config.MAC); ok {
		if f.Out {
			p.request6(f, &m)
		} else {
			p.reply6(f, &m)
		}
	}
	if f.Out && p.config.Mode == Any && f.readable() {
		p.claim6(f, f.source(), IPv6, false)
	}
}

// claim6 takes an address that the guest uses. Link-local ones are the guest's own
// affair in every mode. Others are taken in the mode Any: those of prefixes that
// routers advertise, as long as these are valid; where none advertises any, the
// first one, as with IPv4. What somebody else has shown to have, the guest gets only
// by looking for duplicates (probed), so that who has it can object.
func (p *Port) claim6(f *frame, a netip.Addr, source Source, probed bool) {
	if !unicast6(a) {
		return
	}
	if l, ok := p.leases[whole(a)]; ok {
		p.heard(l, f.now)
		return
	}
	l := Lease{Address: whole(a), Source: source}
	if l.global6() {
		end, ok := p.autonomous(a)
		if !ok {
			return
		}
		l.End = end
	}
	if !probed && p.memory.othersAddress(a) {
		p.notes.add("%s is somebody else's: it is not learned unless the guest looks for duplicates of it and nobody objects", a)
		return
	}
	if p.config.taken(a) {
		p.notes.add("%s is the address of a neighbour: it is not learned", a)
		return
	}
	p.give(l, f.now)
}

// autonomous tells whether the guest may take a global address itself, and until
// when it has it then.
func (p *Port) autonomous(a netip.Addr) (end time.Time, ok bool) {
	if p.config.Mode != Any {
		return end, false
	}
	if i := p.memory.prefixOf(a); i >= 0 {
		return p.memory.prefixes[i].end(), true
	}
	if len(p.memory.prefixes) > 0 {
		p.notes.add("%s is in no prefix that a router advertises: it is not learned", a)
		return end, false
	}
	for _, l := range p.leases {
		if l.global6() {
			return end, false
		}
	}
	return end, true
}

// unicast6 tells whether a guest can have an address (RFC 4291 section 2.4).
func unicast6(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && (a.IsGlobalUnicast() || a.IsLinkLocalUnicast())
}

// delegable tells whether a prefix is one that a router could be given. Nobody
// gives away a 65,536th of all addresses.
func delegable(p netip.Prefix) bool {
	return p.Bits() >= 16 && p.Addr().Is6() && !p.Addr().Is4In6() && p.Addr().IsGlobalUnicast()
}
