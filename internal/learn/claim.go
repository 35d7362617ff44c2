package learn

import (
	"net/netip"

	"tapgate/internal/packet"
)

// observe4 learns IPv4 addresses. In the mode Any nothing is learned any more once
// there is one that is not merely offered.
func (p *Port) observe4(f *frame) {
	if !p.config.IPv4 || p.config.Mode == Any && p.settled() {
		return
	}
	if m, ok := f.dhcp(p.config.MAC); ok {
		if f.Out {
			p.request(f, &m)
		} else {
			p.reply(f, &m)
		}
	}
	if f.Out && p.config.Mode == Any && !p.settled() {
		p.claim4(f)
	}
}

// settled tells whether there is an IPv4 address that is not merely offered.
func (p *Port) settled() bool {
	for _, l := range p.leases {
		if l.Is4() && l.Source != Offer {
			return true
		}
	}
	return false
}

// claim4 takes the address that the guest uses: as the sender of an ARP request or
// reply with its own hardware address, or of an IPv4 packet, in an 802.1Q tag too.
// An ARP probe (RFC 5227), which has no sender's address, is no claim.
func (p *Port) claim4(f *frame) {
	var l Lease
	switch {
	case f.Have&packet.HaveARPIP != 0:
		if f.EtherType != packet.EtherTypeARP || f.ARPOpcode != 1 && f.ARPOpcode != 2 || f.Have&packet.HaveARPSrcMAC == 0 || f.ARPSrcMAC != f.SrcMAC {
			return
		}
		l = Lease{Address: whole(addr4(f.ARPSrcIP)), Source: ARP}
	case f.Have&packet.HaveIPv4 != 0 && f.readable() && f.FragmentOffset == 0:
		l = Lease{Address: whole(f.source()), Source: IPv4}
	default:
		return
	}
	if !unicast4(l.Address.Addr()) {
		return
	}
	for _, other := range p.leases {
		if other.Source == Offer && other.Address != l.Address {
			return
		}
	}
	if _, had := p.leases[l.Address]; !had && p.config.taken(l.Address.Addr()) {
		p.notes.add("%s is the address of a neighbour: it is not learned", l.Text())
		return
	}
	p.give(l, f.now)
}

// unicast4 tells whether a guest can have an IPv4 address: it is not of "this network",
// not of the loopback network, no group and not reserved (RFC 6890).
func unicast4(a netip.Addr) bool {
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 224
}
