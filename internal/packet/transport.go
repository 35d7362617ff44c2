package packet

// transportHeader is the length of a protocol's fixed header; 0 for those
// whose header nothing looks at.
func transportHeader(proto uint8) uint32 {
	switch proto {
	case ProtoTCP:
		return 20
	case ProtoUDP, ProtoUDPLite, ProtoICMP, ProtoICMPv6:
		return 8
	case ProtoSCTP, ProtoDCCP:
		return 12
	}
	return 0
}

// decodeTransport reads the transport header; b ends where the IP packet ends.
func (p *Packet) decodeTransport(b []byte) {
	p.L4Header = transportHeader(p.LinkProto)
	if p.LinkProto == ProtoICMP || p.LinkProto == ProtoICMPv6 {
		p.decodeICMP(b)
		return
	}
	if p.L4Header == 0 || len(b) < 4 {
		return
	}
	p.Have |= HavePorts
	p.SrcPort = be.Uint16(b)
	p.DstPort = be.Uint16(b[2:])
	switch {
	case p.LinkProto == ProtoUDP || p.LinkProto == ProtoUDPLite:
		if len(b) >= 8 {
			p.UDPLength = be.Uint16(b[4:])
		}
	case p.LinkProto == ProtoTCP && len(b) >= 20:
		p.decodeTCP(b)
	}
}

// decodeICMP reads type and code even where the rest of the header is missing:
// rules that name only these do not ask for more.
func (p *Packet) decodeICMP(b []byte) {
	if len(b) < 2 {
		return
	}
	p.Have |= HaveICMP
	if p.LinkProto == ProtoICMPv6 {
		p.Have ^= HaveICMP | HaveICMPv6
	}
	p.ICMPType, p.ICMPCode = b[0], b[1]
	if len(b) >= 8 {
		p.ICMPID = be.Uint16(b[4:])
	}
	if p.LinkProto == ProtoICMPv6 {
		p.decodeDiscovery(b)
	}
}

func (p *Packet) decodeTCP(b []byte) {
	p.Have |= HaveTCP
	p.TCPSeq = be.Uint32(b[4:])
	p.TCPAck = be.Uint32(b[8:])
	p.TCPSACK = p.TCPAck
	p.TCPFlags = b[13]
	p.TCPWindow = be.Uint16(b[14:])
	p.TCPScale = NoTCPScale
	header := int(b[12]>>4) * 4
	p.L4Header = uint32(header)
	if header < 20 || header > len(b) {
		return
	}
	p.Have |= HaveTCPOptions
	p.decodeTCPOptions(b[20:header])
}

// decodeTCPOptions collects the option kinds for rules, which walk past an end
// mark as xt_tcpudp does, and what the tracker needs, which stops there
// (RFC 9293 section 3.1).
func (p *Packet) decodeTCPOptions(b []byte) {
	ended := false
	for i := 0; i < len(b); {
		kind := b[i]
		p.TCPOptions[kind>>6] |= 1 << (kind & 63)
		if kind < 2 {
			ended = ended || kind == 0
			i++
			continue
		}
		if i+1 >= len(b) {
			return
		}
		size := int(b[i+1])
		if size < 2 || i+size > len(b) {
			ended = true
		}
		if !ended {
			p.decodeTCPOption(kind, b[i+2:i+size])
		}
		i += max(size, 1)
	}
}

func (p *Packet) decodeTCPOption(kind uint8, body []byte) {
	switch {
	case kind == 3 && len(body) == 1:
		p.TCPScale = min(body[0], 14)
	case kind == 4 && len(body) == 0:
		p.TCPSACKPermitted = true
	case kind == 5 && len(body) >= 8 && len(body)%8 == 0 && !p.TCPSACKSeen:
		p.TCPSACKSeen = true
		for ; len(body) >= 8; body = body[8:] {
			if edge := be.Uint32(body[4:]); int32(p.TCPSACK-edge) < 0 {
				p.TCPSACK = edge
			}
		}
	}
}
