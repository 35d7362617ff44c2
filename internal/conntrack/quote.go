package conntrack

import "tapgate/internal/packet"

const (
	icmpv6Redirect = 137

	// A redirect's first option stands behind the ICMPv6 header and two
	// addresses (RFC 4861 section 4.5), the quote behind its 8-byte head.
	redirectOption         = 40
	redirectOptionHead     = 8
	optionRedirectedHeader = 4

	// maxQuotedHeaders bounds the extension headers of a quoted packet.
	maxQuotedHeaders = 8

	ipv6Base = 14 // the IP header's place in the frame
)

// redirectQuote is the place of the packet that a redirect quotes. Only a
// neighbour's redirect counts (RFC 4861 section 8.1), and only if the quote is
// its first option.
func redirectQuote(p *packet.Packet) (at uint32, ok bool) {
	b := l4(p)
	linkLocal := p.SrcIP.Hi>>54 == 0xfe80>>6
	if len(b) < redirectOption+2 || p.Frame[ipv6Base+7] != 255 || !linkLocal || p.ICMPCode != 0 ||
		b[redirectOption] != optionRedirectedHeader || b[redirectOption+1] == 0 {
		return 0, false
	}
	return p.L4Offset + redirectOption + redirectOptionHead, true
}

// quotedKey names the connection of the packet quoted at the given place of
// the frame. Its version, length and checksum are not looked at: it is read as
// the family of the outer packet.
func quotedKey(p *packet.Packet, at uint32) (k Key, e ends, sender packet.U128, ok bool) {
	end := p.L4Offset + p.L4Length
	if at > end {
		return Key{}, 0, packet.U128{}, false
	}
	b := p.Frame[at:end]
	t := tuple{family: p.Family}
	var offset int
	if p.Family == 4 {
		offset, ok = quotedIPv4(b, &t)
	} else {
		offset, ok = quotedIPv6(b, &t)
	}
	if !ok {
		return Key{}, 0, packet.U128{}, false
	}
	b = b[offset:]
	switch {
	case t.proto == packet.ProtoICMP || t.proto == packet.ProtoICMPv6:
		if len(b) < icmpHeader || (t.proto == packet.ProtoICMPv6) != (t.family == 6) {
			return Key{}, 0, packet.U128{}, false
		}
		k, e, ok = icmpKey(t, b[0], b[1], be.Uint16(b[4:]))
		return k, e, t.src, ok
	case hasPorts(t.proto):
		if len(b) < 4 {
			return Key{}, 0, packet.U128{}, false
		}
		t.srcPort, t.dstPort = be.Uint16(b), be.Uint16(b[2:])
	case t.proto == protoGRE:
		if t.dstPort, ok = greCall(b); !ok {
			return Key{}, 0, packet.U128{}, false
		}
	}
	k, e = t.key()
	return k, e, t.src, true
}

// quotedIPv4 reads a quoted IPv4 header; offset is where its payload begins.
func quotedIPv4(b []byte, t *tuple) (offset int, ok bool) {
	if len(b) < 20 || be.Uint16(b[6:])&0x1fff != 0 {
		return 0, false
	}
	t.proto = b[9]
	t.src.Lo = uint64(be.Uint32(b[12:]))
	t.dst.Lo = uint64(be.Uint32(b[16:]))
	offset = int(b[0]&15) * 4
	return offset, offset <= len(b)
}

// quotedIPv6 reads a quoted IPv6 header and its extension headers.
func quotedIPv6(b []byte, t *tuple) (offset int, ok bool) {
	if len(b) < 40 {
		return 0, false
	}
	t.src = packet.U128{Hi: be.Uint64(b[8:]), Lo: be.Uint64(b[16:])}
	t.dst = packet.U128{Hi: be.Uint64(b[24:]), Lo: be.Uint64(b[32:])}
	next, at := b[6], 40
	for range maxQuotedHeaders {
		switch next {
		case packet.ProtoHopByHop, packet.ProtoRouting, packet.ProtoFragment, packet.ProtoAH, packet.ProtoDestOpts:
		default:
			t.proto = next
			return at, next != packet.ProtoNone
		}
		if at+4 > len(b) {
			return 0, false
		}
		length := (int(b[at+1]) + 1) * 8
		switch next {
		case packet.ProtoFragment:
			if be.Uint16(b[at+2:])&0xfff8 != 0 {
				return 0, false
			}
			length = 8
		case packet.ProtoAH:
			length = (int(b[at+1]) + 2) * 4
		}
		next = b[at]
		at += length
		if at > len(b) {
			return 0, false
		}
	}
	return 0, false
}
