package packet

import "encoding/binary"

// IP protocol numbers that the decoder treats in their own way.
const (
	ProtoHopByHop = 0
	ProtoICMP     = 1
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoDCCP     = 33
	ProtoRouting  = 43
	ProtoFragment = 44
	ProtoAH       = 51
	ProtoICMPv6   = 58
	ProtoNone     = 59
	ProtoDestOpts = 60
	ProtoSCTP     = 132
	ProtoUDPLite  = 136
)

// EtherTypes that the decoder looks into.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeRARP = 0x8035
	EtherTypeVLAN = 0x8100
	EtherTypeIPv6 = 0x86dd
)

const maxExtensionHeaders = 16

// maxARP is how much of an ARP body is looked at: what HEAD_BYTES of packet.h
// leaves behind the Ethernet header. No hardware address in use reaches further.
const maxARP = 128 - 14

// NoTCPScale is TCPScale where the window scale option is absent.
const NoTCPScale = 0xff

var be = binary.BigEndian

func mac48(b []byte) uint64 { return uint64(be.Uint16(b))<<32 | uint64(be.Uint32(b[2:])) }

func u128(b []byte) U128 { return U128{be.Uint64(b), be.Uint64(b[8:])} }

// Decode reads a whole Ethernet frame without FCS, its 802.1Q tag in place.
// It accepts any bytes: what is missing is not in Have.
func Decode(frame []byte, out bool) Packet {
	p := Packet{Frame: frame, Out: out}
	if len(frame) < 14 {
		p.Malformed = Unreadable
		return p
	}
	p.DstMAC = mac48(frame)
	p.SrcMAC = mac48(frame[6:])
	p.EtherType = be.Uint16(frame[12:])
	body := frame[14:]
	switch p.EtherType {
	case EtherTypeVLAN:
		p.decodeVLAN(body)
	case EtherTypeARP, EtherTypeRARP:
		p.decodeARP(body)
	case EtherTypeIPv4:
		p.decodeIPv4(body)
	case EtherTypeIPv6:
		p.decodeIPv6(body)
	default:
		if p.EtherType < 0x600 {
			p.decodeSTP(body)
		}
	}
	if p.Malformed != WellFormed || p.L4Offset == 0 || p.Fragment == FragmentOrphan {
		return p
	}
	p.decodeTransport(frame[p.L4Offset : p.L4Offset+p.L4Length])
	if p.Fragment == FragmentFirst && p.L4Length < p.L4Header {
		p.Fragment = FragmentShort
	}
	return p
}

func (p *Packet) decodeVLAN(b []byte) {
	if len(b) < 4 {
		return
	}
	p.Have |= HaveVLAN
	p.VLANID = be.Uint16(b) & 0xfff
	p.VLANEncap = be.Uint16(b[2:])
}

// decodeSTP reads LLC 42 42 03 and a BPDU of protocol 0, version 0 (IEEE
// 802.1D clause 9).
func (p *Packet) decodeSTP(b []byte) {
	if len(b) < 7 || b[0] != 0x42 || b[1] != 0x42 || b[2] != 3 || b[3] != 0 || b[4] != 0 || b[5] != 0 {
		return
	}
	p.Have |= HaveSTP
	p.STPType = b[6]
	if p.STPType != 0 || len(b) < 38 {
		return
	}
	p.Have |= HaveSTPConfig
	p.STPFlags = b[7]
	p.STPRootPriority = be.Uint16(b[8:])
	p.STPRootAddress = mac48(b[10:])
	p.STPRootCost = be.Uint32(b[16:])
	p.STPSenderPriority = be.Uint16(b[20:])
	p.STPSenderAddress = mac48(b[22:])
	p.STPPort = be.Uint16(b[28:])
	p.STPAge = be.Uint16(b[30:])
	p.STPMaxAge = be.Uint16(b[32:])
	p.STPHelloTime = be.Uint16(b[34:])
	p.STPForwardDelay = be.Uint16(b[36:])
}

func (p *Packet) decodeARP(b []byte) {
	if len(b) < 8 {
		return
	}
	p.Have |= HaveARP
	p.ARPHwType = be.Uint16(b)
	p.ARPProtocol = be.Uint16(b[2:])
	p.ARPOpcode = be.Uint16(b[6:])
	// The lengths of hardware and protocol addresses place what follows.
	b = b[:min(len(b), maxARP)]
	hardware, protocol := int(b[4]), int(b[5])
	if hardware == 6 && p.ARPHwType == 1 {
		if len(b) >= 14 {
			p.Have |= HaveARPSrcMAC
			p.ARPSrcMAC = mac48(b[8:])
		}
		if target := 14 + protocol; len(b) >= target+6 {
			p.Have |= HaveARPDstMAC
			p.ARPDstMAC = mac48(b[target:])
		}
	}
	if target := 12 + 2*hardware; protocol == 4 && p.ARPProtocol == EtherTypeIPv4 && len(b) >= target+4 {
		p.Have |= HaveARPIP
		p.ARPSrcIP = be.Uint32(b[8+hardware:])
		p.ARPDstIP = be.Uint32(b[target:])
		if p.ARPSrcIP == p.ARPDstIP {
			p.ARPGratuitous = 1
		}
	}
}

func (p *Packet) decodeIPv4(b []byte) {
	if len(b) < 20 || b[0]>>4 != 4 || b[0]&15 < 5 {
		p.Malformed = MalformedIP
		return
	}
	p.Have |= HaveIPv4 | HaveLinkProto | HaveNetProto
	p.Family = 4
	p.DSCP = b[1] >> 2
	p.LinkProto, p.NetProto = b[9], b[9]
	p.SrcIP.Lo = uint64(be.Uint32(b[12:]))
	p.DstIP.Lo = uint64(be.Uint32(b[16:]))
	header, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
	if total < header || total > len(b) || !checksumGood(b[:header]) {
		p.Malformed = MalformedIP
		return
	}
	p.L4Offset = uint32(14 + header)
	p.L4Length = uint32(total - header)
	fragment := be.Uint16(b[6:])
	p.FragmentLength = p.L4Length
	p.setFragment((fragment&0x1fff)*8, fragment>>13&1 == 1, uint32(be.Uint16(b[4:])))
}

func (p *Packet) setFragment(offset uint16, more bool, id uint32) {
	p.FragmentOffset, p.MoreFragments, p.FragmentID = offset, more, id
	switch {
	case offset > 0:
		p.Fragment = FragmentOrphan
	case more:
		p.Fragment = FragmentFirst
	}
}

// checksumGood verifies an IPv4 header's checksum (RFC 1071).
func checksumGood(header []byte) bool {
	var sum uint32
	for i := 0; i+1 < len(header); i += 2 {
		sum += uint32(be.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return sum == 0xffff
}

// decodeIPv6 walks the extension headers. The link stage looks behind AH, the
// network stage stops at it.
func (p *Packet) decodeIPv6(b []byte) {
	if len(b) < 40 || b[0]>>4 != 6 {
		p.Malformed = MalformedIP
		return
	}
	p.Have |= HaveIPv6
	p.Family = 6
	p.DSCP = uint8(be.Uint16(b)>>6) & 0x3f
	p.SrcIP = u128(b[8:])
	p.DstIP = u128(b[24:])
	end := 40 + int(be.Uint16(b[4:]))
	if end > len(b) {
		p.Malformed = MalformedIP
		return
	}
	next, at, ah := b[6], 40, false
	for i := range maxExtensionHeaders {
		if !isExtension(next) {
			break
		}
		if next == ProtoAH && !ah {
			ah = true
			p.Have |= HaveNetProto
			p.NetProto = ProtoAH
		}
		if at+8 > end {
			p.truncatedChain(next == ProtoHopByHop && i == 0)
			return
		}
		h, length := b[at:], 8
		switch next {
		case ProtoFragment:
			p.setFragment(be.Uint16(h[2:])&0xfff8, h[3]&1 == 1, be.Uint32(h[4:]))
			p.FragmentLength = uint32(end - at - 8)
		case ProtoAH:
			length = (int(h[1]) + 2) * 4
		default:
			length = (int(h[1]) + 1) * 8
		}
		if next == ProtoHopByHop && i == 0 && at+length > end {
			p.truncatedChain(true)
			return
		}
		fragment := next == ProtoFragment
		next = h[0]
		at += length
		if fragment && p.FragmentOffset > 0 {
			break
		}
		if at > end {
			p.truncatedChain(false)
			return
		}
	}
	if p.Fragment != FragmentOrphan && isExtension(next) {
		// What hides behind more headers than are followed, no rule sees.
		p.Malformed = Unreadable
		return
	}
	p.LinkProto = next
	if next != ProtoNone {
		p.Have |= HaveLinkProto
	}
	if !ah {
		p.NetProto = next
		p.Have |= HaveNetProto
	}
	p.L4Offset = uint32(14 + at)
	p.L4Length = uint32(end - at)
}

// truncatedChain notes an IPv6 header chain that ends before its last header:
// the IP layer refuses a broken hop-by-hop header, and a first fragment must
// hold the whole chain (RFC 8200 section 4.5).
func (p *Packet) truncatedChain(hopByHop bool) {
	switch {
	case hopByHop:
		p.Malformed = MalformedIP
	case p.Fragment == FragmentFirst:
		p.Malformed = ShortFirstFragment
	}
}

func isExtension(next uint8) bool {
	switch next {
	case ProtoHopByHop, ProtoRouting, ProtoFragment, ProtoAH, ProtoDestOpts:
		return true
	}
	return false
}
