package eval

import "tapgate/internal/packet"

// Nanoseconds for which a first fragment's decision is remembered: as long as
// the kernel waits for the rest (ip(7) ipfrag_time, ip6frag_time).
const (
	second          = int64(1e9)
	fragmentTimeout = 30 * second
	fragmentV6      = 60 * second
)

// datagram names the fragments of one IP datagram (RFC 791, RFC 8200).
type datagram struct {
	out      bool
	family   uint8
	proto    uint8 // IPv4 only
	id       uint32
	src, dst packet.U128
}

// firstFragment is what the first fragment told about its datagram.
type firstFragment struct {
	passed  bool
	policy  uint64 // that decided
	expires int64
	packet  packet.Packet
}

// fragments are remembered as long as the policy does not change: a verdict
// must not outlive the rules that gave it.
type fragments struct {
	policy uint64
	first  map[datagram]*firstFragment
}

func datagramOf(p *packet.Packet) datagram {
	d := datagram{out: p.Out, family: p.Family, id: p.FragmentID, src: p.SrcIP, dst: p.DstIP}
	if p.Family == 4 {
		d.proto = p.LinkProto
	}
	return d
}

const transportGroups = packet.HaveLinkProto | packet.HaveNetProto | packet.HavePorts | packet.HaveTCP |
	packet.HaveTCPOptions | packet.HaveICMP | packet.HaveICMPv6 | packet.HaveNDTarget | packet.HaveNDMAC

// recall gives a later fragment what its first one told; nil if it is not a
// later one or comes before the first.
func (f *fragments) recall(p *packet.Packet) *firstFragment {
	if p.Fragment != packet.FragmentOrphan || p.Malformed != packet.WellFormed {
		return nil
	}
	first := f.first[datagramOf(p)]
	if first == nil || first.expires <= p.Now {
		return nil
	}
	if uint32(p.FragmentOffset) < first.packet.FragmentLength {
		p.Malformed = packet.OverlappingFragment
		return first
	}
	if first.policy != f.policy {
		return nil
	}
	q := &first.packet
	p.Fragment = packet.FragmentLater
	p.Have |= q.Have & transportGroups
	p.LinkProto, p.NetProto = q.LinkProto, q.NetProto
	p.SrcPort, p.DstPort = q.SrcPort, q.DstPort
	p.TCPFlags, p.TCPOptions = q.TCPFlags, q.TCPOptions
	p.ICMPType, p.ICMPCode = q.ICMPType, q.ICMPCode
	return first
}

func (f *fragments) remember(p *packet.Packet, passed bool) {
	timeout := fragmentTimeout
	if p.Family == 6 {
		timeout = fragmentV6
	}
	f.first[datagramOf(p)] = &firstFragment{passed: passed, policy: f.policy, expires: p.Now + timeout, packet: *p}
}
