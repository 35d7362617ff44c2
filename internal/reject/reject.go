// Package reject makes the answer to a rejected packet, as the eBPF program
// does (internal/datapath/skeleton/reject.h): a TCP segment gets RST (RFC 9293
// section 3.10.7.1), everything else ICMP or ICMPv6 port unreachable. Answers
// go from the packet's destination to its source. It is pure.
package reject

import (
	"encoding/binary"
	"net"

	"tapgate/internal/packet"
)

const (
	ethernetHeader = 14
	ipv4Header     = 20
	ipv6Header     = 40
	icmpHeader     = 8
	tcpHeader      = 20
	ttl            = 64
)

// A quote fills an ICMP answer up to what every host takes: 576 bytes (RFC
// 1812 section 4.3.2.3), 1280 bytes (RFC 4443 section 2.4 c).
const (
	quote4 = 576 - ipv4Header - icmpHeader
	quote6 = 1280 - ipv6Header - icmpHeader
)

// TCP flags, as on the wire.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	ack = 0x10
)

var be = binary.BigEndian

// Kind is what a rejected packet is answered with.
type Kind uint8

// The kinds of answer.
const (
	None Kind = iota
	Reset
	Unreachable
	Unreachable6
)

var kindNames = [...]string{"nothing", "TCP RST", "ICMP port unreachable", "ICMPv6 port unreachable"}

func (k Kind) String() string { return kindNames[k] }

// KindOf tells what the answer to a rejected packet is, before the limit is
// asked. guest is the MAC address of the port's guest.
func KindOf(p *packet.Packet, guest net.HardwareAddr) Kind {
	switch {
	case !answerable(p, guest):
		return None
	case p.LinkProto == packet.ProtoTCP:
		return Reset
	case p.Family == 4:
		return Unreachable
	}
	return Unreachable6
}

// Answer is the whole Ethernet frame that a rejected packet is answered with;
// nil if it must not be answered.
func Answer(p *packet.Packet, guest net.HardwareAddr) []byte {
	kind := KindOf(p, guest)
	if kind == None {
		return nil
	}
	var body []byte
	proto := uint8(packet.ProtoTCP)
	datagram := p.Frame[ethernetHeader : p.L4Offset+p.L4Length]
	switch kind {
	case Reset:
		body = reset(p)
	case Unreachable:
		proto = packet.ProtoICMP
		body = append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, datagram[:min(len(datagram), quote4)]...)
		be.PutUint16(body[2:], checksum(sum(body)))
	case Unreachable6:
		proto = packet.ProtoICMPv6
		body = append([]byte{1, 4, 0, 0, 0, 0, 0, 0}, datagram[:min(len(datagram), quote6)]...)
	}
	frame := append(append([]byte{}, p.Frame[6:12]...), p.Frame[:6]...)
	frame = append(frame, p.Frame[12:14]...)
	header := headerIPv4(datagram, proto, len(body))
	if p.Family == 6 {
		header = headerIPv6(datagram, proto, len(body))
	}
	pseudo := sum(header[12:]) // both addresses
	if p.Family == 6 {
		pseudo = sum(header[8:])
	}
	pseudo += uint32(proto) + uint32(len(body))
	switch kind {
	case Reset:
		be.PutUint16(body[16:], checksum(pseudo+sum(body)))
	case Unreachable6:
		be.PutUint16(body[2:], checksum(pseudo+sum(body)))
	}
	return append(append(frame, header...), body...)
}

// reset numbers the segment as the kernel's REJECT does: if the packet has an
// acknowledgement, with the number that its sender waits for; else it
// acknowledges the packet.
func reset(p *packet.Packet) []byte {
	b := make([]byte, tcpHeader)
	be.PutUint16(b, p.DstPort)
	be.PutUint16(b[2:], p.SrcPort)
	b[12] = tcpHeader / 4 << 4
	b[13] = rst
	if p.TCPFlags&ack != 0 {
		be.PutUint32(b[4:], p.TCPAck)
		return b
	}
	b[13] |= ack
	next := p.TCPSeq + p.L4Length - p.L4Header
	if p.TCPFlags&syn != 0 {
		next++
	}
	if p.TCPFlags&fin != 0 {
		next++
	}
	be.PutUint32(b[8:], next)
	return b
}

// headerIPv4 goes before an answer of some length. An ICMP error has
// precedence 6 and the TOS of what it is about (RFC 1812 section 4.3.2.5);
// with "don't fragment" it needs no ID (RFC 6864).
func headerIPv4(from []byte, proto uint8, length int) []byte {
	b := make([]byte, ipv4Header)
	b[0] = 0x45
	if proto == packet.ProtoICMP {
		b[1] = 0xc0 | from[1]&0x1e
	}
	be.PutUint16(b[2:], uint16(ipv4Header+length))
	b[6] = 0x40
	b[8], b[9] = ttl, proto
	copy(b[12:], from[16:20])
	copy(b[16:], from[12:16])
	be.PutUint16(b[10:], checksum(sum(b)))
	return b
}

func headerIPv6(from []byte, proto uint8, length int) []byte {
	b := make([]byte, ipv6Header)
	b[0] = 0x60
	be.PutUint16(b[4:], uint16(length))
	b[6], b[7] = proto, ttl
	copy(b[8:], from[24:40])
	copy(b[24:], from[8:24])
	return b
}

// sum adds up 16-bit words, the last one padded with zero (RFC 1071). An
// answer is far too short to overflow it.
func sum(b []byte) (s uint32) {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(be.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		s += uint32(b[len(b)-1]) << 8
	}
	return s
}

func checksum(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}
