package reject

import (
	"net"
	"slices"

	"tapgate/internal/packet"
)

// macGroup is the bit of a group in a 48-bit MAC address.
const macGroup = 1 << 40

// maxOffset bounds the place of the transport header (CUT_BYTES in reject.h).
const maxOffset = 512

// answerable tells whether a packet may be answered at all (RFC 1122 section
// 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 e). What a bridge
// floods to a guest that it is not for must not be answered in another one's
// name.
func answerable(p *packet.Packet, guest net.HardwareAddr) bool {
	switch {
	case (p.SrcMAC|p.DstMAC)&macGroup != 0, !p.Out && p.DstMAC != number(guest):
		return false
	case p.Fragment > packet.FragmentFirst, p.L4Offset == 0, p.L4Offset >= maxOffset:
		return false
	case p.Family == 4 && !(single4(p.SrcIP) && single4(p.DstIP)):
		return false
	case p.Family == 6 && !(single6(p.SrcIP) && single6(p.DstIP)):
		return false
	case p.Family == 6 && isExtension(p.LinkProto): // more headers than are followed
		return false
	}
	return icmpAnswerable(p) && tcpAnswerable(p)
}

// number is a MAC address as a packet holds it.
func number(mac net.HardwareAddr) (n uint64) {
	for _, b := range mac {
		n = n<<8 | uint64(b)
	}
	return n
}

// single4 tells whether an address is one host's: not unspecified, loopback,
// multicast or reserved.
func single4(ip packet.U128) bool {
	network := ip.Lo >> 24
	return network != 0 && network != 127 && network < 224
}

func single6(ip packet.U128) bool {
	return ip.Hi>>56 != 0xff && (ip.Hi != 0 || ip.Lo > 1)
}

func isExtension(proto uint8) bool {
	return slices.Contains([]uint8{packet.ProtoHopByHop, packet.ProtoRouting, packet.ProtoFragment, packet.ProtoAH, packet.ProtoDestOpts}, proto)
}

// icmpAnswerable excludes ICMP errors, and what may be one: types up to 18 are
// known to the kernel.
func icmpAnswerable(p *packet.Packet) bool {
	switch {
	case p.Family == 4 && p.LinkProto == packet.ProtoICMP:
		return p.Have&packet.HaveICMP != 0 && p.ICMPType <= 18 && !slices.Contains([]uint8{3, 4, 5, 11, 12}, p.ICMPType)
	case p.Family == 6 && p.LinkProto == packet.ProtoICMPv6:
		const redirect = 137
		return p.Have&packet.HaveICMPv6 != 0 && p.ICMPType >= 128 && p.ICMPType != redirect
	}
	return true
}

// tcpAnswerable: a reset is never answered with one, and the length of a
// segment in fragments is unknown.
func tcpAnswerable(p *packet.Packet) bool {
	return p.LinkProto != packet.ProtoTCP ||
		p.Fragment == packet.FragmentNone && p.Have&packet.HaveTCPOptions != 0 && p.TCPFlags&rst == 0
}
