package packet

import "slices"

// FinishChecksum gives a frame as it is on a wire. A sender that leaves the
// checksum of TCP, UDP or ICMPv6 to its network card (checksum offload) writes the
// sum over the pseudo-header alone into the field; where just that stands there,
// and is not right by chance, the checksum is worked out. Any other frame is
// given as it is.
func FinishChecksum(frame []byte) []byte {
	if len(frame) < 18 || be.Uint16(frame[12:]) != EtherTypeVLAN {
		return finishChecksum(frame)
	}
	inner := finishChecksum(slices.Concat(frame[:12], frame[16:]))
	return slices.Insert(inner, 12, frame[12:16]...)
}

func finishChecksum(frame []byte) []byte {
	p := Decode(frame, true)
	if p.Malformed != WellFormed || p.Family == 0 || p.Fragment != FragmentNone {
		return frame
	}
	field, ok := checksumField[p.LinkProto]
	if !ok || int(p.L4Length) < field+2 {
		return frame
	}
	segment := frame[p.L4Offset : p.L4Offset+p.L4Length]
	pseudo := p.pseudoHeader()
	if sum(pseudo, segment) == 0xffff || uint32(be.Uint16(segment[field:])) != pseudo {
		return frame
	}
	frame = slices.Clone(frame)
	segment = frame[p.L4Offset : p.L4Offset+p.L4Length]
	be.PutUint16(segment[field:], 0)
	finished := ^uint16(sum(pseudo, segment))
	if finished == 0 && p.LinkProto == ProtoUDP {
		finished = 0xffff // 0 says that there is none (RFC 768)
	}
	be.PutUint16(segment[field:], finished)
	return frame
}

// checksumField is where the checksum stands in a transport header.
var checksumField = map[uint8]int{ProtoTCP: 16, ProtoUDP: 6, ProtoICMPv6: 2}

// pseudoHeader is the folded sum over the pseudo-header (RFC 9293 section 3.1, RFC
// 8200 section 8.1); zeros in it do not matter.
func (p *Packet) pseudoHeader() uint32 {
	header := be.AppendUint64(nil, p.SrcIP.Hi)
	header = be.AppendUint64(header, p.SrcIP.Lo)
	header = be.AppendUint64(header, p.DstIP.Hi)
	header = be.AppendUint64(header, p.DstIP.Lo)
	header = be.AppendUint32(header, p.L4Length)
	header = be.AppendUint32(header, uint32(p.LinkProto))
	return sum(0, header)
}

// sum adds 16-bit words to a sum in ones' complement (RFC 1071).
func sum(from uint32, b []byte) uint32 {
	total := uint64(from)
	for ; len(b) >= 2; b = b[2:] {
		total += uint64(be.Uint16(b))
	}
	if len(b) == 1 {
		total += uint64(b[0]) << 8
	}
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	return uint32(total)
}
