package kerneltest

import (
	"net/netip"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

const (
	protoGRE   = 47
	greVersion = 7      // bits of the second byte
	greProto   = 0x880b // what version 1 carries
)

// Attributes of <linux/netfilter/nfnetlink_conntrack.h>: CTA_PROTO_ICMP_* and
// CTA_PROTO_ICMPV6_*.
const (
	icmpID   = 4
	icmpType = 5
	icmpCode = 6
	icmpv6   = 3 // added to these
)

// tuple is a packet's addresses as nf_conntrack tells connections apart. ICMP
// queries have the identifier in srcPort and type<<8|code in dstPort.
type tuple struct {
	proto            uint8
	src, dst         netip.Addr
	srcPort, dstPort uint16
}

// tupleOf reads a packet; ok is false for what belongs to no connection.
func tupleOf(p *packet.Packet) (t tuple, ok bool) {
	if p.Malformed != packet.WellFormed || p.Fragment != packet.FragmentNone || p.Have&packet.HaveLinkProto == 0 {
		return t, false
	}
	t = tuple{proto: p.LinkProto, src: addr(p.Family, p.SrcIP), dst: addr(p.Family, p.DstIP)}
	b := p.Frame[p.L4Offset : p.L4Offset+p.L4Length]
	switch t.proto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoUDPLite, packet.ProtoSCTP:
		if len(b) < 4 {
			return t, false
		}
		t.srcPort, t.dstPort = p.SrcPort, p.DstPort
	case packet.ProtoICMP, packet.ProtoICMPv6:
		if len(b) < 8 || t.isV6() != (t.proto == packet.ProtoICMPv6) {
			return t, false
		}
		t.srcPort, t.dstPort = p.ICMPID, uint16(p.ICMPType)<<8|uint16(p.ICMPCode)
	case protoGRE:
		if len(b) >= 8 && b[1]&greVersion == 1 && be.Uint16(b[2:]) == greProto {
			t.dstPort = be.Uint16(b[6:])
		}
	}
	return t, true
}

// originOf is the tuple of a connection's first packet.
func originOf(c *conntrack.Connection) tuple {
	from, to := c.Originator(), c.Responder()
	t := tuple{proto: c.Proto, src: from.Addr(), dst: to.Addr(), srcPort: from.Port(), dstPort: to.Port()}
	if t.isICMP() {
		t.dstPort = c.BPort
	}
	return t
}

func addr(family uint8, ip packet.U128) netip.Addr {
	b := be.AppendUint64(be.AppendUint64(nil, ip.Hi), ip.Lo)
	if family == 4 {
		b = b[12:]
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (t tuple) isV6() bool   { return t.src.Is6() }
func (t tuple) isICMP() bool { return t.proto == packet.ProtoICMP || t.proto == packet.ProtoICMPv6 }

func (t tuple) family() uint8 {
	if t.isV6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// ofICMP is the attribute's number in the tuple's family.
func (t tuple) ofICMP(attribute uint16) uint16 {
	if t.proto == packet.ProtoICMPv6 {
		return attribute + icmpv6
	}
	return attribute
}

func (t tuple) encode(e *netlink.AttributeEncoder) error {
	src, dst := uint16(nl.CTA_IP_V4_SRC), uint16(nl.CTA_IP_V4_DST)
	if t.isV6() {
		src, dst = nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	e.Nested(nl.CTA_TUPLE_IP, func(e *netlink.AttributeEncoder) error {
		e.Bytes(src, t.src.AsSlice())
		e.Bytes(dst, t.dst.AsSlice())
		return nil
	})
	e.Nested(nl.CTA_TUPLE_PROTO, func(e *netlink.AttributeEncoder) error {
		e.Uint8(nl.CTA_PROTO_NUM, t.proto)
		if t.isICMP() {
			e.Bytes(t.ofICMP(icmpID), be.AppendUint16(nil, t.srcPort))
			e.Uint8(t.ofICMP(icmpType), uint8(t.dstPort>>8))
			e.Uint8(t.ofICMP(icmpCode), uint8(t.dstPort))
			return nil
		}
		e.Bytes(nl.CTA_PROTO_SRC_PORT, be.AppendUint16(nil, t.srcPort))
		e.Bytes(nl.CTA_PROTO_DST_PORT, be.AppendUint16(nil, t.dstPort))
		return nil
	})
	return nil
}

// decode is the inverse of encode.
func (t *tuple) decode(d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch d.Type() {
		case nl.CTA_TUPLE_IP:
			d.Nested(t.decodeIP)
		case nl.CTA_TUPLE_PROTO:
			d.Nested(t.decodeProto)
		}
	}
	return nil
}

func (t *tuple) decodeIP(d *netlink.AttributeDecoder) error {
	for d.Next() {
		a, _ := netip.AddrFromSlice(d.Bytes())
		switch d.Type() {
		case nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC:
			t.src = a
		case nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST:
			t.dst = a
		}
	}
	return nil
}

func (t *tuple) decodeProto(d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch b := d.Bytes(); d.Type() {
		case nl.CTA_PROTO_NUM:
			t.proto = b[0]
		case nl.CTA_PROTO_SRC_PORT, icmpID, icmpID + icmpv6:
			t.srcPort = be.Uint16(b)
		case nl.CTA_PROTO_DST_PORT:
			t.dstPort = be.Uint16(b)
		case icmpType, icmpType + icmpv6:
			t.dstPort |= uint16(b[0]) << 8
		case icmpCode, icmpCode + icmpv6:
			t.dstPort |= uint16(b[0])
		}
	}
	return nil
}
