package packet

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Detail is what a frame's text may tell beyond protocol and addresses.
type Detail uint8

// The details.
const (
	// MACs are the addresses of the Ethernet header.
	MACs Detail = 1 << iota
	// Numbers are TCP's sequence numbers and window.
	Numbers
)

// Text is a frame's text in the notation that FromText reads, as far as it goes:
// a fragment is followed by "fragment at N". The frame may be cut short; length
// says how long it was.
func Text(frame []byte, length int, detail Detail) string {
	t := &wording{length: length - 14, padded: length <= leastFrame, cut: len(frame) < length}
	// What is missing is not what the text tells.
	frame = append(frame[:len(frame):len(frame)], make([]byte, max(0, length-len(frame)))...)
	if len(frame) < 14 {
		return fmt.Sprintf("a frame of %d bytes", len(frame))
	}
	macs := netMAC(mac48(frame[6:])) + " > " + netMAC(mac48(frame))
	if detail&MACs != 0 {
		t.add("%s", macs)
	}
	// A service tag (IEEE 802.1ad) is written as any other.
	for etherType := be.Uint16(frame[12:]); (etherType == EtherTypeVLAN || etherType == 0x88a8) && len(frame) >= 18; etherType = be.Uint16(frame[12:]) {
		t.add("vlan %d", be.Uint16(frame[14:])&0xfff)
		frame = append(frame[:12:12], frame[16:]...)
		t.length -= 4
	}
	t.Packet = Decode(frame, false)
	switch {
	case t.L4Offset != 0:
		t.datagram(detail)
	case t.Have&HaveARPIP != 0 && t.Have&HaveARPSrcMAC != 0 && t.arpWord() != "":
		t.arp()
	default:
		t.add("ether %#04x", t.EtherType)
		if detail&MACs == 0 {
			t.add("%s", macs)
		}
		t.payload(t.length)
	}
	return strings.Join(t.words, " ")
}

// wording is what becomes a frame's text.
type wording struct {
	Packet
	words  []string
	length int // of what is behind the Ethernet header
	padded bool
	cut    bool // bytes are missing
}

// leastFrame is what senders make shorter frames up to (IEEE 802.3 clause
// 4A.2.3.3, without the checksum).
const leastFrame = 60

func (t *wording) add(format string, args ...any) {
	t.words = append(t.words, fmt.Sprintf(format, args...))
}

func (t *wording) payload(length int) {
	if length > 0 {
		t.add("len %d", length)
	}
}

func netMAC(n uint64) string {
	return net.HardwareAddr{byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}.String()
}

// addr is an address of the packet's family.
func (t *wording) addr(a U128) netip.Addr {
	if t.Family == 4 {
		return ipv4(uint32(a.Lo))
	}
	var b [16]byte
	be.PutUint64(b[:], a.Hi)
	be.PutUint64(b[8:], a.Lo)
	return netip.AddrFrom16(b)
}

func ipv4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// portProtocols are those whose addresses have ports.
var portProtocols = map[uint8]string{ProtoTCP: "tcp", ProtoUDP: "udp", ProtoUDPLite: "udplite", ProtoSCTP: "sctp"}

func (t *wording) datagram(detail Detail) {
	src, dst := t.addr(t.SrcIP), t.addr(t.DstIP)
	name, hasPorts := portProtocols[t.LinkProto]
	icmp := t.Have&(HaveICMP|HaveICMPv6) != 0 && (t.LinkProto == ProtoICMP) == (t.Family == 4) && t.L4Length >= 8
	switch {
	case hasPorts && t.Have&HavePorts != 0:
		t.add("%s %v > %v", name, netip.AddrPortFrom(src, t.SrcPort), netip.AddrPortFrom(dst, t.DstPort))
	case hasPorts && t.FragmentOffset > 0:
		t.add("%s %v > %v", name, src, dst)
	case icmp && t.Family == 4:
		t.add("icmp %v > %v", src, dst)
		t.icmp(icmpNames["icmp"])
	case icmp:
		t.add("icmpv6 %v > %v", src, dst)
		t.icmp(icmpNames["icmpv6"])
	default:
		t.add("proto %d %v > %v", t.LinkProto, src, dst)
	}
	header := int(t.L4Header)
	switch {
	case t.Have&HaveTCP != 0:
		t.tcp(detail)
	case t.LinkProto == ProtoSCTP:
		header += t.sctpChunk()
	case icmp && t.Family == 6 && isDiscovery(uint64(t.ICMPType)):
		header = t.discovery()
	}
	if t.FragmentOffset > 0 || t.MoreFragments {
		t.add("fragment at %d", t.FragmentOffset)
	}
	t.payload(int(t.L4Length) - header)
}

// sctpChunk is how much of the packet belongs to its first chunk and is not
// data (RFC 9260 sections 3.3.1 and 3.3.2).
func (t *wording) sctpChunk() int {
	const data, dataHeader = 0, 16
	if chunk := t.Frame[t.L4Offset:][min(12, t.L4Length):t.L4Length]; len(chunk) >= dataHeader && chunk[0] == data {
		return dataHeader
	}
	return int(t.L4Length)
}

// tcpFlagOrder is that in which flags are written.
var tcpFlagOrder = []string{"syn", "fin", "rst", "psh", "urg", "ece", "cwr", "ack"}

func (t *wording) tcp(detail Detail) {
	for _, flag := range tcpFlagOrder {
		if t.TCPFlags&tcpFlags[flag] != 0 {
			t.add("%s", flag)
		}
	}
	if detail&Numbers == 0 {
		return
	}
	if t.TCPFlags&tcpFlags["ack"] != 0 {
		t.add("%d", t.TCPAck) // behind the word
	}
	t.add("seq %d win %d", t.TCPSeq, t.TCPWindow)
}

func (t *wording) icmp(names map[string]uint64) {
	word := fmt.Sprintf("type %d", t.ICMPType)
	for name, number := range names {
		if number == uint64(t.ICMPType) {
			word = name
		}
	}
	t.add("%s", word)
	if t.ICMPCode != 0 {
		t.add("code %d", t.ICMPCode)
	}
	if strings.HasPrefix(word, "echo-") {
		t.add("id %d seq %d", t.ICMPID, be.Uint16(t.Frame[t.L4Offset+6:]))
	}
}

// arpWord is the text of the operation; empty if the notation has none.
func (t *wording) arpWord() string {
	switch {
	case t.EtherType == EtherTypeARP && t.ARPOpcode == 1:
		return "arp request"
	case t.EtherType == EtherTypeARP && t.ARPOpcode == 2:
		return "arp reply"
	case t.EtherType == EtherTypeRARP && t.ARPOpcode == 3:
		return "rarp request"
	case t.EtherType == EtherTypeRARP && t.ARPOpcode == 4:
		return "rarp reply"
	}
	return ""
}

// arp names MAC addresses only where they are not what they would be by
// themselves.
func (t *wording) arp() {
	sender, target := ipv4(t.ARPSrcIP).String(), ipv4(t.ARPDstIP).String()
	if t.ARPSrcMAC != t.SrcMAC {
		sender += "/" + netMAC(t.ARPSrcMAC)
	}
	usual := map[uint16]uint64{2: t.DstMAC, 3: t.ARPSrcMAC, 4: t.DstMAC}[t.ARPOpcode]
	if t.Have&HaveARPDstMAC != 0 && t.ARPDstMAC != usual {
		target += "/" + netMAC(t.ARPDstMAC)
	}
	t.add("%s %s > %s", t.arpWord(), sender, target)
	if t.padded {
		return
	}
	t.payload(t.length - 28)
}
