package conntrack

import "tapgate/internal/packet"

// headerFault tells what makes no sense to the tracker in the transport header.
// Checksums are not verified: the sender's device may be asked to fill them in,
// and a receiver drops what is wrong.
func headerFault(p *packet.Packet) packet.Invalid {
	switch p.LinkProto {
	case packet.ProtoTCP:
		if p.Have&packet.HaveTCPOptions == 0 {
			return packet.InvalidHeader
		}
		if _, ok := eventOf(p.TCPFlags); !ok {
			return packet.InvalidTCPFlags
		}
	case packet.ProtoUDP:
		if p.L4Length < 8 {
			return packet.InvalidHeader
		}
		if p.UDPLength < 8 || !fits(p) {
			return packet.InvalidLength
		}
	case packet.ProtoUDPLite:
		if p.L4Length < 8 {
			return packet.InvalidHeader
		}
		// The length field is the checksum's coverage, 0 for everything; the
		// checksum is compulsory (RFC 3828 section 3.1).
		coverage := p.UDPLength == 0 || p.UDPLength >= 8 && fits(p)
		if !coverage || be.Uint16(l4(p)[6:]) == 0 {
			return packet.InvalidLength
		}
	case packet.ProtoSCTP:
		if p.L4Length < sctpHeader {
			return packet.InvalidHeader
		}
		if _, ok := readSCTP(p); !ok {
			return packet.InvalidSCTPChunks
		}
	}
	return packet.NotInvalid
}

// fits tells whether UDP's length field claims no more than is there. The
// first fragment of a datagram cannot tell.
func fits(p *packet.Packet) bool {
	return p.Fragment == packet.FragmentFirst || uint32(p.UDPLength) <= p.L4Length
}

// refresh moves the end of a connection that is neither TCP nor SCTP, by what was known
// before this packet.
func (c *Connection) refresh(now int64, timeouts *Timeouts) {
	timeout := timeouts.Generic
	switch c.Proto {
	case packet.ProtoUDP:
		timeout = timeouts.UDP
		if c.SeenReply && now-c.Created > udpStreamAge {
			timeout = timeouts.UDPStream
			c.Assured = true
		}
	case packet.ProtoUDPLite:
		timeout = timeouts.UDPLite
		if c.SeenReply {
			timeout = timeouts.UDPLiteStream
			c.Assured = true
		}
	case protoGRE:
		timeout = timeouts.GRE
		if c.SeenReply {
			timeout = timeouts.GREStream
			c.Assured = true
		}
	case packet.ProtoICMP:
		timeout = timeouts.ICMP
	case packet.ProtoICMPv6:
		timeout = timeouts.ICMPv6
	}
	c.Expires = now + int64(timeout)
}
