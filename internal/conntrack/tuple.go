package conntrack

import (
	"encoding/binary"

	"tapgate/internal/packet"
)

const (
	protoGRE = 47

	// greProtoPPP is the only payload that version 1 of GRE carries (RFC 2637).
	greProtoPPP = 0x880b
)

var be = binary.BigEndian

// hasPorts tells whether connections of a protocol are told apart by ports.
// DCCP has ports too, but Linux 6.18 has no tracker for it.
func hasPorts(proto uint8) bool {
	switch proto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoUDPLite, packet.ProtoSCTP:
		return true
	}
	return false
}

// tuple is one packet's addresses and, where the protocol has them, ports.
type tuple struct {
	family, proto    uint8
	src, dst         packet.U128
	srcPort, dstPort uint16
}

// key orders the tuple's ends and tells which of them is the source.
func (t tuple) key() (Key, ends) {
	k := Key{
		Family: t.family, Proto: t.proto,
		A: t.src, APort: t.srcPort,
		B: t.dst, BPort: t.dstPort,
	}
	switch compareEnds(t.src, t.srcPort, t.dst, t.dstPort) {
	case 0:
		return k, sameEnds
	case 1:
		k.A, k.B = k.B, k.A
		k.APort, k.BPort = k.BPort, k.APort
		return k, fromB
	}
	return k, fromA
}

func compareEnds(a packet.U128, aPort uint16, b packet.U128, bPort uint16) int {
	switch {
	case a.Hi != b.Hi:
		return sign(a.Hi > b.Hi)
	case a.Lo != b.Lo:
		return sign(a.Lo > b.Lo)
	case aPort != bPort:
		return sign(aPort > bPort)
	}
	return 0
}

func sign(positive bool) int {
	if positive {
		return 1
	}
	return -1
}

// icmpKey names the connection of an ICMP query or its answer: end A asked.
// ok is false for types that are neither.
func icmpKey(t tuple, kind, code uint8, id uint16) (k Key, e ends, ok bool) {
	question, e, ok := icmpQuestion(t.proto, kind)
	if !ok {
		return Key{}, 0, false
	}
	k = Key{
		Family: t.family, Proto: t.proto,
		A: t.src, APort: id,
		B: t.dst, BPort: uint16(question)<<8 | uint16(code),
	}
	if e == fromB {
		k.A, k.B = k.B, k.A
	}
	return k, e, true
}

// icmpQuestion is the type of the question that a query or answer belongs to,
// and which of the two it is.
func icmpQuestion(proto, kind uint8) (question uint8, e ends, ok bool) {
	if proto == packet.ProtoICMPv6 {
		switch kind {
		case 128, 139: // echo, node information
			return kind, fromA, true
		case 129, 140:
			return kind - 1, fromB, true
		}
		return 0, 0, false
	}
	switch kind {
	case 8, 13, 15, 17: // echo, timestamp, information, address mask
		return kind, fromA, true
	case 0:
		return 8, fromB, true
	case 14, 16, 18:
		return kind - 1, fromB, true
	}
	return 0, 0, false
}

// packetKey names the connection that a packet which is not ICMP belongs to.
// It has none if it is too short to tell or cannot have an answer.
func packetKey(p *packet.Packet) (k Key, e ends, fault packet.Invalid) {
	t := tuple{family: p.Family, proto: p.LinkProto, src: p.SrcIP, dst: p.DstIP}
	switch {
	case hasPorts(t.proto):
		if p.Have&packet.HavePorts == 0 {
			return Key{}, 0, packet.InvalidHeader
		}
		t.srcPort, t.dstPort = p.SrcPort, p.DstPort
	case t.proto == protoGRE:
		var ok bool
		if t.dstPort, ok = greCall(l4(p)); !ok {
			return Key{}, 0, packet.InvalidGRE
		}
	}
	k, e = t.key()
	return k, e, packet.NotInvalid
}

// l4 is the packet's transport header and payload.
func l4(p *packet.Packet) []byte { return p.Frame[p.L4Offset : p.L4Offset+p.L4Length] }

// greCall is the call number that stands for the destination's port in
// version 1 of GRE; 0 in version 0, which has none, and in short headers.
func greCall(b []byte) (call uint16, ok bool) {
	if len(b) < 8 || b[1]&7 != 1 {
		return 0, true
	}
	return be.Uint16(b[6:]), be.Uint16(b[2:]) == greProtoPPP
}
