package ipset

import (
	"encoding/binary"

	"tapgate/internal/packet"
)

// Lookup says which parts of a packet make the key of a look-up.
type Lookup struct {
	Shape
	// Parts in the order of their bytes in the key.
	Parts []Part
}

// Part is one dimension of a look-up. Field is what a port is read from where
// the protocol has ports, or the address.
type Part struct {
	Kind  Kind
	Field packet.Field
}

// Lookup makes the look-up for ipsetflags. ok is false if they name fewer
// dimensions than the set has: the kernel finds nothing then (ip_set_test), and
// leaves out what they name beyond.
func (s Shape) Lookup(flags string) (l Lookup, ok bool) {
	src := Flags(flags)
	if len(src) < len(s.Kinds) {
		return Lookup{}, false
	}
	l.Shape = s
	for _, i := range s.Order() {
		p := Part{Kind: s.Kinds[i]}
		switch p.Kind {
		case Port:
			p.Field = either(src[i], packet.SrcPort, packet.DstPort)
		case MAC:
			p.Field = either(src[i], packet.SrcMAC, packet.DstMAC)
		default:
			p.Field = either(src[i], packet.SrcIP, packet.DstIP)
		}
		l.Parts = append(l.Parts, p)
	}
	return l, true
}

func either(src bool, a, b packet.Field) packet.Field {
	if src {
		return a
	}
	return b
}

// HasPort tells whether what a fragment may lack is compared.
func (l *Lookup) HasPort() bool {
	for _, p := range l.Parts {
		if p.Kind == Port {
			return true
		}
	}
	return false
}

// Key makes the key of a packet. complete is false where the packet lacks a
// part, or is of another family.
func (l *Lookup) Key(p *packet.Packet) (key []byte, complete bool) {
	if l.Family != 0 && l.Family != p.Family {
		return nil, false
	}
	for _, part := range l.Parts {
		v, _ := p.Value(part.Field)
		switch {
		case part.Kind == Port:
			port, ok := portOf(p, part.Field)
			if !ok {
				return nil, false
			}
			key = append(key, p.LinkProto, 0)
			key = binary.BigEndian.AppendUint16(key, port)
		case part.Kind == MAC:
			key = binary.BigEndian.AppendUint64(key, v.Lo)
		case l.Family == 6:
			key = binary.BigEndian.AppendUint64(key, v.Hi)
			key = binary.BigEndian.AppendUint64(key, v.Lo)
		default:
			key = binary.BigEndian.AppendUint32(key, uint32(v.Lo))
		}
	}
	return key, true
}

// Lacks tells whether a fragment lacks what only the first one, or a longer
// one, tells.
func (l *Lookup) Lacks(p *packet.Packet) bool {
	if p.Fragment < packet.FragmentOrphan || !l.HasPort() || l.Family != 0 && l.Family != p.Family {
		return false
	}
	_, ok := portOf(p, packet.SrcPort)
	return !ok
}

// PortProtocols have their ports compared, ICMPProtocols type and code
// (get_port in ip_set_getport.c).
var (
	PortProtocols = []uint8{packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP, packet.ProtoUDPLite}
	ICMPProtocols = []uint8{packet.ProtoICMP, packet.ProtoICMPv6}
)

func portOf(p *packet.Packet, field packet.Field) (port uint16, ok bool) {
	if p.Have&packet.HaveLinkProto == 0 {
		return 0, false
	}
	switch p.LinkProto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP, packet.ProtoUDPLite:
		v, ok := p.Value(field)
		return uint16(v.Lo), ok
	case packet.ProtoICMP, packet.ProtoICMPv6:
		return uint16(p.ICMPType)<<8 | uint16(p.ICMPCode), p.Have&(packet.HaveICMP|packet.HaveICMPv6) != 0
	}
	return 0, true
}
