package compat

import (
	"encoding/binary"
	"hash/crc32"

	"tapgate/internal/packet"
)

// checksum tells what a packet's transport checksum is.
type checksum uint8

const (
	noChecksum    checksum = iota // none to verify: another protocol, too short, a fragment
	goodChecksum                  // also UDP's 0, which means none
	wrongChecksum                 // a receiver would drop the packet
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumOf verifies the checksums that nf_conntrack verifies.
func checksumOf(p *packet.Packet) checksum {
	if p.Family == 0 || p.Fragment != packet.FragmentNone || p.L4Header == 0 || p.L4Length < p.L4Header {
		return noChecksum
	}
	return transportChecksum(p, p.Frame[p.L4Offset:p.L4Offset+p.L4Length])
}

// transportChecksum verifies a whole transport header with its payload.
func transportChecksum(p *packet.Packet, b []byte) checksum {
	good := false
	switch p.LinkProto {
	case packet.ProtoTCP:
		good = sum(b, pseudoHeader(p, len(b))) == 0xffff
	case packet.ProtoUDP:
		good = binary.BigEndian.Uint16(b[6:]) == 0 || sum(b, pseudoHeader(p, len(b))) == 0xffff
	case packet.ProtoUDPLite:
		// The checksum covers as much as the length field says; 0 is everything
		// (RFC 3828 section 3.1). The pseudo header has the whole length.
		covered := int(binary.BigEndian.Uint16(b[4:]))
		if covered == 0 {
			covered = len(b)
		}
		if covered < 8 || covered > len(b) {
			return noChecksum
		}
		good = sum(b[:covered], pseudoHeader(p, len(b))) == 0xffff
	case packet.ProtoICMP:
		if p.Family == 6 {
			return noChecksum
		}
		good = sum(b, 0) == 0xffff
	case packet.ProtoICMPv6:
		if p.Family == 4 {
			return noChecksum
		}
		good = sum(b, pseudoHeader(p, len(b))) == 0xffff
	case packet.ProtoSCTP:
		good = sctpChecksum(b) == binary.LittleEndian.Uint32(b[8:])
	default:
		return noChecksum
	}
	if good {
		return goodChecksum
	}
	return wrongChecksum
}

// sum is the ones' complement sum of RFC 1071.
func sum(b []byte, start uint64) uint16 {
	total := start
	for ; len(b) >= 2; b = b[2:] {
		total += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		total += uint64(b[0]) << 8
	}
	for total > 0xffff {
		total = total&0xffff + total>>16
	}
	return uint16(total)
}

// pseudoHeader is the sum of what TCP, UDP and ICMPv6 checksums cover beside
// the transport itself (RFC 9293 section 3.1, RFC 8200 section 8.1).
func pseudoHeader(p *packet.Packet, length int) uint64 {
	total := uint64(p.LinkProto) + uint64(length)
	for _, half := range []uint64{p.SrcIP.Hi, p.SrcIP.Lo, p.DstIP.Hi, p.DstIP.Lo} {
		for shift := 0; shift < 64; shift += 16 {
			total += half >> shift & 0xffff
		}
	}
	return total
}

// sctpChecksum is the CRC32c over a packet whose checksum field is 0 (RFC 9260
// section 6.8).
func sctpChecksum(b []byte) uint32 {
	crc := crc32.Update(0, castagnoli, b[:8])
	crc = crc32.Update(crc, castagnoli, make([]byte, 4))
	return crc32.Update(crc, castagnoli, b[12:])
}
