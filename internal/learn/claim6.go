package learn

import "net/netip"

// observe6 learns IPv6 addresses.
func (p *Port) observe6(f *frame) {
	if !p.config.IPv6 || f.tagged() {
		return
	}
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
