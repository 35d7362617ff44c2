package conntrack

import "tapgate/internal/packet"

const icmpHeader = 8

// classifyICMP judges ICMP and ICMPv6: errors by what they quote, queries and
// answers as a connection of their own, everything else not at all.
func (t *Table) classifyICMP(p *packet.Packet) *Pending {
	v6 := p.LinkProto == packet.ProtoICMPv6
	if v6 != (p.Family == 6) {
		return invalidate(p, packet.InvalidICMPType)
	}
	if p.L4Length < icmpHeader {
		return invalidate(p, packet.InvalidHeader)
	}
	kind := p.ICMPType
	switch {
	case v6 && untracked(kind):
		p.State = packet.StateUntracked
		return &Pending{}
	case v6 && kind == icmpv6Redirect:
		at, ok := redirectQuote(p)
		if !ok {
			return invalidate(p, packet.InvalidICMPQuote)
		}
		return t.judgeError(p, at)
	case v6 && kind < 128, !v6 && isError(kind):
		return t.judgeError(p, p.L4Offset+icmpHeader)
	}
	outer := tuple{family: p.Family, proto: p.LinkProto, src: p.SrcIP, dst: p.DstIP}
	key, e, ok := icmpKey(outer, kind, p.ICMPCode, p.ICMPID)
	if !ok {
		return invalidate(p, packet.InvalidICMPType)
	}
	if c := t.lookup(key, p.Now); c != nil {
		t.known(c, p, e)
		return &Pending{known: c}
	}
	if e == fromB {
		return invalidate(p, packet.InvalidICMPAnswer)
	}
	return t.open(key, e, p, packet.NotInvalid)
}

// isError tells the ICMP types that quote the packet they are about:
// unreachable, source quench, redirect, time exceeded, parameter problem.
func isError(kind uint8) bool {
	switch kind {
	case 3, 4, 5, 11, 12:
		return true
	}
	return false
}

// untracked tells the ICMPv6 types without a connection: multicast listeners,
// routers and neighbours, and the discovery of multicast routers. Not redirect.
func untracked(kind uint8) bool {
	return kind >= 130 && kind <= 136 || kind == 143 || kind == 151 || kind == 152
}

// judgeError makes an error RELATED if the packet quoted at the given place of
// the frame belongs to a known connection, and the error goes to its sender.
func (t *Table) judgeError(p *packet.Packet, at uint32) *Pending {
	key, e, sender, ok := quotedKey(p, at)
	if !ok || p.DstIP != sender {
		return invalidate(p, packet.InvalidICMPQuote)
	}
	c := t.lookup(key, p.Now)
	if c == nil {
		return invalidate(p, packet.InvalidICMPError)
	}
	// The error travels like an answer to the quoted packet.
	p.State = packet.StateRelated
	p.Direction = packet.Original << c.direction(e.inverse())
	return &Pending{}
}
