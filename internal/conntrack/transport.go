package conntrack

import "tapgate/internal/packet"

// wellFormed tells whether the transport header makes sense to the tracker.
// Checksums are not verified: the sender's device may be asked to fill them in,
// and a receiver drops what is wrong.
func wellFormed(p *packet.Packet) bool {
	switch p.LinkProto {
	case packet.ProtoTCP:
		_, ok := eventOf(p.TCPFlags)
		return p.Have&packet.HaveTCPOptions != 0 && ok
	case packet.ProtoUDP:
		return p.L4Length >= 8 && p.UDPLength >= 8 && fits(p)
	case packet.ProtoUDPLite:
		if p.L4Length < 8 {
			return false
		}
		// The length field is the checksum's coverage, 0 for everything; the
		// checksum is compulsory (RFC 3828 section 3.1).
		coverage := p.UDPLength == 0 || p.UDPLength >= 8 && fits(p)
		return coverage && be.Uint16(l4(p)[6:]) != 0
	case packet.ProtoSCTP:
		_, ok := readSCTP(p)
		return ok
	}
	return true
}

// fits tells whether UDP's length field claims no more than is there. The
// first fragment of a datagram cannot tell.
func fits(p *packet.Packet) bool {
	return p.Fragment == packet.FragmentFirst || uint32(p.UDPLength) <= p.L4Length
}

// refresh moves the end of a connection that is neither TCP nor SCTP, by what was known
// before this packet.
func (c *Connection) refresh(now int64) {
	timeout := genericTimeout
	switch c.Proto {
	case packet.ProtoUDP:
		timeout = udpTimeout
		if c.SeenReply && now-c.Created > udpStreamAge {
			timeout = udpStreamTimeout
			c.Assured = true
		}
	case packet.ProtoUDPLite:
		timeout = udpTimeout
		if c.SeenReply {
			timeout = udpStreamTimeout
			c.Assured = true
		}
	case protoGRE:
		timeout = greTimeout
		if c.SeenReply {
			timeout = greStreamTimeout
			c.Assured = true
		}
	case packet.ProtoICMP, packet.ProtoICMPv6:
		timeout = icmpTimeout
	}
	c.Expires = now + timeout
}
