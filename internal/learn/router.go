package learn

import (
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/ndp"
)

const (
	maxPrefixes = 16
	// interfaceID is the length of what a host adds to a prefix on Ethernet (RFC
	// 2464 section 4).
	interfaceID = 64
	// twoHours is what an advertisement cannot take from a prefix (RFC 4862 section
	// 5.5.3): a forged one must not put an end to addresses in use.
	twoHours = 2 * time.Hour
)

// prefix is one of 64 bits from which guests may make addresses.
type prefix struct {
	Bits [16]byte
	End  int64 // unix, nanoseconds; 0 for none
}

func (x *prefix) contains(a netip.Addr) bool {
	return netip.PrefixFrom(netip.AddrFrom16(x.Bits), 128-interfaceID).Contains(a)
}

func (x *prefix) end() time.Time {
	if x.End == 0 {
		return time.Time{}
	}
	return time.Unix(0, x.End).UTC()
}

// advertised is told what a router advertises to the guest.
func (p *Port) advertised(f *frame, m *ndp.RouterAdvertisement) {
	p.memory.noteOther(f.source(), f.now.Add(max(m.RouterLifetime, othersTime)))
	for _, o := range m.Options {
		if o, ok := o.(*ndp.PrefixInformation); ok && autonomousPrefix(o) {
			p.advertisedPrefix(o, f.now)
		}
	}
}

// autonomousPrefix tells whether hosts make addresses from a prefix (RFC 4862
// section 5.5.3, a to d).
func autonomousPrefix(o *ndp.PrefixInformation) bool {
	return o.AutonomousAddressConfiguration && o.PreferredLifetime <= o.ValidLifetime &&
		o.PrefixLength == 128-interfaceID && o.Prefix.IsGlobalUnicast()
}

func (p *Port) advertisedPrefix(o *ndp.PrefixInformation, now time.Time) {
	i := p.memory.prefixOf(o.Prefix)
	switch {
	case i >= 0:
		p.memory.prefixes[i].prolong(o.ValidLifetime, now)
	case o.ValidLifetime == 0:
		return
	case len(p.memory.prefixes) == maxPrefixes:
		p.notes.add("routers advertise more than %d prefixes: addresses of %s are not learned", maxPrefixes, o.Prefix)
		return
	default:
		i = len(p.memory.prefixes)
		p.memory.prefixes = append(p.memory.prefixes, prefix{o.Prefix.As16(), endAfter(o.ValidLifetime, now)})
	}
	p.follow(&p.memory.prefixes[i])
}

// endAfter is when a lifetime ends; 0 for never.
func endAfter(lifetime time.Duration, now time.Time) int64 {
	if lifetime == ndp.Infinity {
		return 0
	}
	return now.Add(lifetime).UnixNano()
}

// prolong sets the end of a prefix that is advertised again (RFC 4862 section
// 5.5.3, e): to what is said, if that is more than is left or than two hours, and
// else to two hours, if more is left.
func (x *prefix) prolong(lifetime time.Duration, now time.Time) {
	end, left := endAfter(lifetime, now), x.End-now.UnixNano()
	switch {
	case end == 0 || lifetime > twoHours, x.End != 0 && end > x.End:
		x.End = end
	case x.End == 0 || left > int64(twoHours):
		x.End = now.Add(twoHours).UnixNano()
	}
}

// follow lets the addresses that the guest has made from a prefix end with it.
func (p *Port) follow(x *prefix) {
	for a, l := range p.leases {
		if l.claimed() && l.global6() && x.contains(a.Addr()) {
			l.End = x.end()
			p.leases[a] = l
		}
	}
}

// prefixOf is the place of the prefix that an address is of, or -1.
func (m *memory) prefixOf(a netip.Addr) int {
	return slices.IndexFunc(m.prefixes, func(x prefix) bool { return x.contains(a) })
}
