package compat

import (
	"encoding/binary"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// flow is what connects packets: addresses, protocol and ports, whichever way
// they travel.
type flow struct {
	family, proto uint8
	a, b          packet.U128
	aPort, bPort  uint16
	// ports is set where the ports are known.
	ports bool
}

func (f flow) ordered() flow {
	if f.b.Hi < f.a.Hi || f.b.Hi == f.a.Hi && (f.b.Lo < f.a.Lo || f.b.Lo == f.a.Lo && f.bPort < f.aPort) {
		f.a, f.b = f.b, f.a
		f.aPort, f.bPort = f.bPort, f.aPort
	}
	return f
}

func (f flow) sameHosts(g flow) bool { return f.family == g.family && f.a == g.a && f.b == g.b }

// flowsOf are the packet's own flow and, for an ICMP error, the one that it
// is about.
func flowsOf(p *packet.Packet) []flow {
	if p.Family == 0 {
		return nil
	}
	f := flow{family: p.Family, proto: p.LinkProto, a: p.SrcIP, b: p.DstIP}
	switch {
	case p.Have&packet.HavePorts != 0:
		f.aPort, f.bPort, f.ports = p.SrcPort, p.DstPort, true
	case p.Have&(packet.HaveICMP|packet.HaveICMPv6) != 0:
		f.aPort, f.bPort, f.ports = p.ICMPID, p.ICMPID, true
	}
	flows := []flow{f.ordered()}
	if q, ok := quoted(p); ok {
		flows = append(flows, q.ordered())
	}
	return flows
}

// quoted is the flow of the packet that an ICMP error quotes, by its
// addresses.
func quoted(p *packet.Packet) (flow, bool) {
	at := p.L4Offset + 8
	switch {
	case p.Have&packet.HaveICMP != 0:
		switch p.ICMPType {
		case 3, 4, 5, 11, 12:
		default:
			return flow{}, false
		}
	case p.Have&packet.HaveICMPv6 != 0 && p.ICMPType == 137:
		at = p.L4Offset + 48
	case p.Have&packet.HaveICMPv6 == 0 || p.ICMPType >= 128:
		return flow{}, false
	}
	header := uint32(20)
	if p.Family == 6 {
		header = 40
	}
	if at+header > p.L4Offset+p.L4Length {
		return flow{}, false
	}
	b := p.Frame[at:]
	if p.Family == 4 {
		return flow{
			family: 4, proto: b[9],
			a: packet.U128{Lo: uint64(binary.BigEndian.Uint32(b[12:]))},
			b: packet.U128{Lo: uint64(binary.BigEndian.Uint32(b[16:]))},
		}, true
	}
	address := func(b []byte) packet.U128 {
		return packet.U128{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
	}
	return flow{family: 6, proto: b[6], a: address(b[8:]), b: address(b[24:])}, true
}

// helper is the one that reads the flow if it is a control connection.
func (f flow) helper() conntrack.Helper {
	for _, s := range conntrack.DefaultServices() {
		if f.ports && f.proto == s.Proto && (f.aPort == s.Port || f.bPort == s.Port) {
			return s.Helper
		}
	}
	return conntrack.NoHelper
}

// announces tells whether the flow is a control connection that may announce
// the other: anyone may take up what an IRC client offers.
func (f flow) announces(g flow) bool {
	switch f.helper() {
	case conntrack.NoHelper:
		return false
	case conntrack.IRC:
		return f.family == g.family && (f.a == g.a || f.a == g.b || f.b == g.a || f.b == g.b)
	}
	return f.sameHosts(g)
}

// connected tells whether two packets belong to one connection, one is an
// error about the other's, or one is of the control connection that may have
// announced the other.
func (h *History) connected(a, b *packet.Packet) bool {
	for _, f := range flowsOf(a) {
		for _, g := range flowsOf(b) {
			if h.policy.Facts.Related && (f.announces(g) || g.announces(f)) {
				return true
			}
			if f.sameHosts(g) && f.proto == g.proto && (!f.ports || !g.ports || f.aPort == g.aPort && f.bPort == g.bPort) {
				return true
			}
		}
	}
	return false
}
