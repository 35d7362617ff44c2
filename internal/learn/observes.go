package learn

import (
	"net/netip"
	"slices"

	"tapgate/internal/packet"
)

// Observes is what must be told of a port's frames, with these leases. Where
// claims teach nothing they are asked for as long as packets are dropped for want
// of an address, so that whoever asks can hold these back until there is one.
func Observes(c Config, leases []Lease) packet.Observe {
	if c.Mode == None {
		return 0
	}
	var o packet.Observe
	if c.IPv4 {
		known := slices.ContainsFunc(leases, func(l Lease) bool { return l.Is4() && l.Source != Offer })
		switch {
		case !known:
			o |= packet.ObserveDHCP | packet.ObserveClaim4
		case c.Mode == FromDHCP:
			o |= packet.ObserveDHCP
		}
	}
	if c.IPv6 {
		o |= packet.ObserveND | packet.ObserveDHCPv6
		known := slices.ContainsFunc(leases, func(l Lease) bool { return l.global6() })
		if c.Mode == Any || !known {
			o |= packet.ObserveClaim6
		}
	}
	return o
}

// Addresses are the addresses and prefixes of one family, sorted.
func Addresses(leases []Lease, v6 bool) []netip.Prefix {
	var list []netip.Prefix
	for _, l := range leases {
		if l.Is4() != v6 {
			list = append(list, l.Address)
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

// Offered tells whether an IPv4 address is merely offered.
func Offered(leases []Lease) bool {
	return slices.ContainsFunc(leases, func(l Lease) bool { return l.Source == Offer })
}
