package learn

import (
	"net/netip"
	"slices"

	"tapgate/internal/packet"
)

// Addresses are those of a family, sorted.
func Addresses(leases []Lease, v6 bool) []netip.Prefix {
	var list []netip.Prefix
	for i := range leases {
		if leases[i].Is4() != v6 {
			list = append(list, leases[i].Address)
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

// Offered tells whether an IPv4 address is merely offered.
func Offered(leases []Lease) bool {
	return slices.ContainsFunc(leases, func(l Lease) bool { return l.Source == Offer })
}

// Observes is what must be observed.
func Observes(c Config, leases []Lease) packet.Observe {
	var o packet.Observe
	if c.IPv4 {
		got := len(Addresses(leases, false)) > 0
		switch {
		case !got || c.Mode == Any && Offered(leases):
			o |= packet.ObserveDHCP | packet.ObserveClaim4
		case c.Mode == FromDHCP:
			o |= packet.ObserveDHCP
		}
	}
	if c.IPv6 {
		o |= packet.ObserveND | packet.ObserveDHCPv6
		if c.Mode == Any || !slices.ContainsFunc(leases, func(l Lease) bool { return !l.Is4() && !l.Address.Addr().IsLinkLocalUnicast() }) {
			o |= packet.ObserveClaim6
		}
	}
	return o
}
