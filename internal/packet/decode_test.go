package packet

import (
	"encoding/hex"
	"strings"
	"testing"
)

func frame(t testing.TB, parts ...string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	macs  = "525400000001 525400000099 "
	ipv6  = macs + "86dd 60000000 "
	addrs = "fd770000000000000000000000000011 fd770000000000000000000000000020 "
	udp   = "1f90 0035 0008 0000"
)

func TestDecode(t *testing.T) {
	for _, test := range []struct {
		name  string
		frame string
		want  func(*Packet) bool
	}{
		{"a frame without a body", macs + "88b5", func(p *Packet) bool { return p.EtherType == 0x88b5 && p.Have == 0 && p.Malformed == WellFormed }},
		{"half a header", "525400000001", func(p *Packet) bool { return p.Malformed == Unreadable }},
		{"MAC addresses", macs + "88b5", func(p *Packet) bool { return p.DstMAC == 0x525400000001 && p.SrcMAC == 0x525400000099 }},
		{"a VLAN tag hides what is behind it", macs + "8100 2007 0800 45", func(p *Packet) bool {
			return p.VLANID == 7 && p.VLANEncap == 0x0800 && p.Family == 0 && p.Have == HaveVLAN
		}},
		{"IPv4 with a bad header checksum", macs + "0800 4500001c00010000401100000a4d00140a4d000b" + udp, func(p *Packet) bool { return p.Malformed == MalformedIP }},
		{"IPv4 longer than its frame", macs + "0800 450000ff00010000401166230a4d00140a4d000b", func(p *Packet) bool { return p.Malformed == MalformedIP }},
		{"UDP over IPv6", ipv6 + "0008 11 40 " + addrs + udp, func(p *Packet) bool {
			return p.SrcPort == 0x1f90 && p.DstPort == 53 && p.NetProto == 17 && p.LinkProto == 17 && p.L4Length == 8
		}},
		{"Ethernet padding is no payload", ipv6 + "0008 11 40 " + addrs + udp + "000000000000", func(p *Packet) bool { return p.L4Length == 8 }},
		{"UDP behind a hop-by-hop header", ipv6 + "0010 00 40 " + addrs + "1100050200000000" + udp, func(p *Packet) bool { return p.DstPort == 53 && p.NetProto == 17 }},
		{"the network stage stops at AH", ipv6 + "0018 33 40 " + addrs + "1102000000000000 0000000000000000" + udp, func(p *Packet) bool {
			return p.NetProto == ProtoAH && p.LinkProto == 17 && p.DstPort == 53
		}},
		{"more extension headers than are followed", ipv6 + "0090 3c 40 " + addrs + strings.Repeat("3c00010400000000", 16) + "1100010400000000" + udp, func(p *Packet) bool {
			return p.Malformed == Unreadable
		}},
		{"no next header", ipv6 + "0000 3b 40 " + addrs, func(p *Packet) bool {
			return p.NetProto == ProtoNone && p.Have&HaveLinkProto == 0
		}},
		{"a broken hop-by-hop header", ipv6 + "0004 00 40 " + addrs + "11000502", func(p *Packet) bool { return p.Malformed == MalformedIP }},
		{"a later fragment has no ports", ipv6 + "0010 2c 40 " + addrs + "1100000800000001" + udp, func(p *Packet) bool {
			return p.Fragment == FragmentOrphan && p.Have&HavePorts == 0 && p.FragmentOffset == 8 && p.LinkProto == 17
		}},
		{"an atomic fragment is none", ipv6 + "0010 2c 40 " + addrs + "1100000000000001" + udp, func(p *Packet) bool {
			return p.Fragment == FragmentNone && p.DstPort == 53
		}},
		{"a BPDU", "0180c2000000 525400000099 0026 424203 0000 00 00 01 8000 525400000001 00000004 8001 525400000002 8002 0100 1400 0200 0f00", func(p *Packet) bool {
			return p.Have&HaveSTPConfig != 0 && p.STPRootPriority == 0x8000 && p.STPRootCost == 4 && p.STPSenderAddress == 0x525400000002 && p.STPPort == 0x8002 && p.STPForwardDelay == 0x0f00
		}},
		{"ARP for another hardware type has no MAC addresses", macs + "0806 0006 0800 0604 0001 525400000001 0a000001 000000000000 0a000002", func(p *Packet) bool {
			return p.Have == HaveARP|HaveARPIP && p.ARPSrcIP == 0x0a000001
		}},
		{"a longer protocol address in ARP moves the target's MAC", macs + "0806 0001 0800 0610 0001 525400000001 00000000000000000000000000000000 525400000002", func(p *Packet) bool {
			return p.Have == HaveARP|HaveARPSrcMAC|HaveARPDstMAC && p.ARPDstMAC == 0x525400000002
		}},
		{"a longer hardware address in ARP moves the IP addresses", macs + "0806 0001 0800 0804 0001 0000525400000001 0a000001 0000000000000000 0a000002", func(p *Packet) bool {
			return p.Have == HaveARP|HaveARPIP && p.ARPSrcIP == 0x0a000001 && p.ARPDstIP == 0x0a000002
		}},
		{"lengths in ARP that the frame does not have", macs + "0806 0001 0800 ff04 0001 525400000001", func(p *Packet) bool { return p.Have == HaveARP }},
		{"ICMP of two bytes has a type and a code", ipv6 + "0002 3a 40 " + addrs + "8000", func(p *Packet) bool {
			return p.Have&HaveICMPv6 != 0 && p.ICMPType == 128 && p.ICMPID == 0
		}},
		{"ICMP of one byte has neither", ipv6 + "0001 3a 40 " + addrs + "80", func(p *Packet) bool { return p.Have&HaveICMPv6 == 0 }},
		{"a first fragment without its whole transport header", ipv6 + "0010 2c 40 " + addrs + "0600000100000001" + udp, func(p *Packet) bool {
			return p.Fragment == FragmentShort && p.Malformed == WellFormed && p.DstPort == 53 && p.Have&HaveTCP == 0
		}},
		{"a first fragment without its whole header chain", ipv6 + "0010 2c 40 " + addrs + "3c00000100000001 0601000000000000", func(p *Packet) bool { return p.Malformed == ShortFirstFragment }},
		{"a gratuitous ARP", macs + "0806 0001 0800 0604 0001 525400000001 0a000001 000000000000 0a000001", func(p *Packet) bool { return p.ARPGratuitous == 1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if p := Decode(frame(t, test.frame), true); !test.want(&p) {
				t.Errorf("%+v", p)
			}
		})
	}
}

// The options that rules see go on behind an end mark, the tracker's stop there.
func TestTCPOptions(t *testing.T) {
	var p Packet
	p.decodeTCPOptions([]byte{1, 0, 3, 3, 7, 4, 2, 5})
	if p.TCPOptions[0] != 1<<0|1<<1|1<<3|1<<4|1<<5 {
		t.Errorf("options %b", p.TCPOptions[0])
	}
	if p.TCPSACKPermitted {
		t.Error("the tracker read past the end mark")
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{macs + "88b5", ipv6 + "0008 11 40 " + addrs + udp, macs + "0806 0001", macs + "8100 2007 0800 45"} {
		f.Add(frame(f, seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		p := Decode(frame, true)
		if end := int(p.L4Offset) + int(p.L4Length); end > len(frame) {
			t.Fatalf("transport ends at %d of %d bytes", end, len(frame))
		}
		for field := range NumFields {
			p.Value(field)
		}
	})
}
