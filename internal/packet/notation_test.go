package packet

import (
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var testEnds = Ends{Src: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, Dst: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x99}}

func fromText(t *testing.T, text string) ([]byte, Packet) {
	t.Helper()
	frame, err := FromText(text, testEnds)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return frame, Decode(frame, true)
}

func TestTextGivesTheFieldsThatItNames(t *testing.T) {
	const guest, peer = 0x525400000001, 0x525400000099
	type values map[Field]uint64
	for _, test := range []struct {
		text string
		want values
	}{
		{"tcp 10.0.0.9:4000 > 10.0.0.5:22 syn", values{EtherType: 0x0800, SrcMAC: guest, DstMAC: peer, SrcIP: 0x0a000009, DstIP: 0x0a000005, NetProto: 6, SrcPort: 4000, DstPort: 22, TCPFlags: 2}},
		{"tcp 10.0.0.9:4000>10.0.0.5:22 ack 77 psh len 3", values{TCPFlags: 0x18, SrcPort: 4000}},
		{"tcp 10.0.0.9:1 > 10.0.0.5:2 ack syn", values{TCPFlags: 0x12}},
		{"tcp [fd00::9]:4000 > [fd00::5]:22 fin rst urg ece cwr", values{EtherType: 0x86dd, Family: 6, TCPFlags: 0xe5, DstPort: 22}},
		{"tcp 10.0.0.9 > 10.0.0.5", values{SrcPort: 0, DstPort: 0, TCPFlags: 0}},
		{"udp 10.0.0.9:53 > 10.0.0.5:53 dscp 46 len 5", values{NetProto: 17, DSCP: 46, DstPort: 53}},
		{"udp fd00::9 > [fd00::5]:53 dscp 46", values{NetProto: 17, DSCP: 46, SrcPort: 0, DstPort: 53}},
		{"udplite 10.0.0.9:7 > 10.0.0.5:8 len 5", values{NetProto: 136, SrcPort: 7, DstPort: 8}},
		{"sctp 10.0.0.9:7 > 10.0.0.5:8", values{NetProto: 132, SrcPort: 7, DstPort: 8}},
		{"icmp 10.0.0.9 > 10.0.0.5", values{NetProto: 1, ICMPType: 8, ICMPCode: 0}},
		{"icmp 10.0.0.9 > 10.0.0.5 echo-reply id 4 seq 9", values{ICMPType: 0}},
		{"icmp 10.0.0.9 > 10.0.0.5 type 3 code 4", values{ICMPType: 3, ICMPCode: 4}},
		{"icmpv6 fd00::9 > fd00::5", values{NetProto: 58, ICMPType: 128}},
		{"icmpv6 fe80::9 > ff02::1:ff00:5 neighbor-solicitation", values{ICMPType: 135, DstMAC: 0x3333ff000005}},
		{"icmpv6 fe80::9 > ff02::1 router-advertisement mac 02:00:00:00:00:07 len 64", values{ICMPType: 134, NDMAC: 0x020000000007}},
		{"icmpv6 fe80::9 > ff02::1 redirect mac 02:00:00:00:00:07 mac 02:00:00:00:00:08", values{ICMPType: 137, NDMAC: 0}},
		{"proto 47 10.0.0.9 > 224.0.0.251", values{NetProto: 47, DstMAC: 0x01005e0000fb}},
		{"udp 0.0.0.0:68 > 255.255.255.255:67", values{DstMAC: 0xffffffffffff, DstPort: 67}},
		{"02:00:00:00:00:07 > 02:00:00:00:00:08 udp 10.0.0.9:1 > 255.255.255.255:2", values{SrcMAC: 0x020000000007, DstMAC: 0x020000000008}},
		{"vlan 42 udp 10.0.0.9:1 > 10.0.0.5:2", values{EtherType: 0x8100, VLANID: 42, VLANEncap: 0x0800}},
		{"arp 10.0.0.5 > 10.0.0.9", values{EtherType: 0x0806, DstMAC: 0xffffffffffff, ARPOpcode: 1, ARPSrcMAC: guest, ARPDstMAC: 0, ARPSrcIP: 0x0a000005, ARPDstIP: 0x0a000009, ARPGratuitous: 0}},
		{"arp request 10.0.0.5 > 10.0.0.5", values{ARPOpcode: 1, ARPGratuitous: 1}},
		{"arp reply 10.0.0.5/02:00:00:00:00:07 > 10.0.0.9", values{DstMAC: peer, ARPOpcode: 2, ARPSrcMAC: 0x020000000007, ARPDstMAC: peer}},
		{"rarp", values{EtherType: 0x8035, DstMAC: 0xffffffffffff, ARPOpcode: 3, ARPSrcMAC: guest, ARPDstMAC: guest, ARPSrcIP: 0}},
		{"rarp reply 10.0.0.5 > 10.0.0.9", values{ARPOpcode: 4, DstMAC: peer}},
		{"ether 0x88b5", values{EtherType: 0x88b5, SrcMAC: guest, DstMAC: peer}},
		{"ether 0x88b5 02:00:00:00:00:07 > 02:00:00:00:00:08 len 80", values{SrcMAC: 0x020000000007, DstMAC: 0x020000000008}},
	} {
		t.Run(test.text, func(t *testing.T) {
			_, p := fromText(t, test.text)
			if p.Malformed != WellFormed {
				t.Errorf("malformed: %d", p.Malformed)
			}
			for field, want := range test.want {
				got, ok := p.Value(field)
				if !ok || got != (U128{Lo: want}) {
					t.Errorf("%s is %x (known: %t), want %x", field, got, ok, want)
				}
			}
		})
	}
}

func TestChecksumsAndLengthsAreRight(t *testing.T) {
	for _, text := range []string{
		"tcp 10.0.0.9:4000 > 10.0.0.5:22 syn", "tcp [fd00::9]:4000 > [fd00::5]:22 ack len 1001",
		"udp 10.0.0.9:53 > 10.0.0.5:53 len 33", "udp [fd00::9]:53 > [fd00::5]:53 len 33",
		"icmp 10.0.0.9 > 10.0.0.5 len 56", "icmpv6 fd00::9 > fd00::5 len 56",
		"icmpv6 fe80::9 > ff02::1:ff00:5 neighbor-solicitation target fe80::5 mac 52:54:00:00:00:01",
		"icmpv6 fe80::9 > fe80::5 redirect target fe80::7 mac 02:00:00:00:00:07 len 2048",
	} {
		frame, _ := fromText(t, text)
		decoded := gopacket.NewPacket(frame, layers.LinkTypeEthernet, gopacket.Default)
		if failure := decoded.ErrorLayer(); failure != nil {
			t.Errorf("%s: %v", text, failure.Error())
		}
		for _, l := range decoded.Layers() {
			if over, ok := l.(interface {
				SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
			}); ok {
				over.SetNetworkLayerForChecksum(decoded.NetworkLayer())
			}
		}
		if err, wrong := decoded.VerifyChecksums(); err != nil || len(wrong) > 0 {
			t.Errorf("%s: wrong checksums %v, %v", text, wrong, err)
		}
	}
}

func TestUDPLiteChecksumCoversTheDatagram(t *testing.T) {
	frame, _ := fromText(t, "udplite 10.0.0.9:7 > 10.0.0.5:8 len 31")
	datagram := frame[34 : 34+8+31]
	pseudo := append([]byte{10, 0, 0, 9, 10, 0, 0, 5}, 0, 136, 0, byte(len(datagram)))
	if sum := gopacket.FoldChecksum(gopacket.ComputeChecksum(append(pseudo, datagram...), 0)); sum != 0 {
		t.Errorf("the sum over pseudo-header and datagram is %#x, want 0", sum)
	}
}

func TestPayloadHasTheLengthAsked(t *testing.T) {
	for text, want := range map[string]int{
		"tcp 10.0.0.9:1 > 10.0.0.5:2 ack len 100":            14 + 20 + 20 + 100,
		"udp [fd00::9]:1 > [fd00::5]:2 len 65000":            14 + 40 + 8 + 65000,
		"sctp 10.0.0.9:1 > 10.0.0.5:2 len 101":               14 + 20 + 12 + 16 + 104,
		"ether 0x88b5 len 100":                               114,
		"vlan 1 vlan 2 proto 47 10.0.0.9 > 10.0.0.5 len 100": 14 + 8 + 20 + 100,
	} {
		if frame, _ := fromText(t, text); len(frame) != want {
			t.Errorf("%s has %d bytes, want %d", text, len(frame), want)
		}
	}
}

func TestHandshakeNeedsNoNumbers(t *testing.T) {
	for text, want := range map[string][2]uint32{
		"tcp 10.0.0.9:1 > 10.0.0.5:2 syn":             {1000, 0},
		"tcp 10.0.0.5:2 > 10.0.0.9:1 syn ack":         {1000, 1001},
		"tcp 10.0.0.9:1 > 10.0.0.5:2 ack":             {1001, 1001},
		"tcp 10.0.0.9:1 > 10.0.0.5:2 seq 5 ack 6":     {5, 6},
		"tcp 10.0.0.9:1 > 10.0.0.5:2 syn seq 5 ack 6": {5, 6},
	} {
		_, p := fromText(t, text)
		if got := [2]uint32{p.TCPSeq, p.TCPAck}; got != want {
			t.Errorf("%s: seq and ack are %d, want %d", text, got, want)
		}
	}
}

func TestFrameInHexadecimalIsTakenAsItIs(t *testing.T) {
	frame, _ := fromText(t, "tcp 10.0.0.9:4000 > 10.0.0.5:22 syn")
	text := hex.EncodeToString(frame)
	for _, spelling := range []string{text, strings.ToUpper(text), text[:12] + " " + text[12:24] + "\n" + text[24:]} {
		if again, _ := fromText(t, spelling); string(again) != string(frame) {
			t.Errorf("%q gives %x", spelling, again)
		}
	}
}

func TestErrorsNameTheWordAndWhatWasExpected(t *testing.T) {
	for text, want := range map[string]TextError{
		"":                                      {"", "a protocol"},
		"tpc 10.0.0.9 > 10.0.0.5":               {"tpc", "a protocol"},
		"tcp":                                   {"", "an address such as"},
		"tcp 10.0.0.999:1 > 10.0.0.5:2":         {"10.0.0.999:1", "an address such as"},
		"tcp 10.0.0.9:70000 > 10.0.0.5:2":       {"10.0.0.9:70000", "an address such as"},
		"tcp 10.0.0.9:1 10.0.0.5:2":             {"10.0.0.5:2", `">"`},
		"tcp 10.0.0.9:1 >":                      {"", "an address"},
		"tcp 10.0.0.9:1 > [fd00::5]:2":          {"[fd00::5]:2", "an address of the same family as 10.0.0.9:1"},
		"tcp 10.0.0.9:1 > 10.0.0.5:2 sin":       {"sin", "one of the words that tcp takes (ack, cwr"},
		"udp 10.0.0.9:1 > 10.0.0.5:2 syn":       {"syn", "one of the words that udp takes (dscp N"},
		"udp 10.0.0.9:1 > 10.0.0.5:2 dscp 64":   {"64", "the number behind \"dscp\", a number up to 63"},
		"udp 10.0.0.9:1 > 10.0.0.5:2 len":       {"", "the number behind \"len\""},
		"udp 10.0.0.9:1 > 10.0.0.5:2 len 65001": {"65001", "a number up to 65000"},
		"icmp 10.0.0.9:1 > 10.0.0.5":            {"10.0.0.9:1", "an IP address"},
		"icmp fd00::9 > fd00::5":                {"fd00::9", "icmpv6"},
		"icmpv6 10.0.0.9 > 10.0.0.5":            {"10.0.0.9", "icmp"},
		"icmp 10.0.0.9 > 10.0.0.5 type 256":     {"256", "\"type\", a number up to 255"},
		"icmp 10.0.0.9 > 10.0.0.5 ping":         {"ping", "echo-request"},
		"icmp 10.0.0.9 > 10.0.0.5 target ::":    {"target", "icmp takes (echo-reply"},
		"icmpv6 ::1 > ::2 target ::":            {"target", `"target" only with a type from 135 to 137`},
		"icmpv6 ::1 > ::2 type 134 target ::":   {"target", `"target" only with a type from 135 to 137`},
		"icmpv6 ::1 > ::2 type 135 target":      {"", `the IPv6 address behind "target"`},
		"icmpv6 ::1 > ::2 type 135 target 1.2":  {"1.2", `the IPv6 address behind "target"`},
		"icmpv6 ::1 > ::2 type 135 mac fe":      {"fe", `the link-layer address behind "mac"`},
		"icmpv6 ::1 > ::2 ping":                 {"ping", "target A, mac MAC"},
		"icmp 10.0.0.9 > 10.0.0.5 seq 65536":    {"65536", "65535"},
		"tcp ::ffff:10.0.0.9 > 10.0.0.5":        {"::ffff:10.0.0.9", "an address"},
		"proto 256 10.0.0.9 > 10.0.0.5":         {"256", "an IP protocol"},
		"arp fd00::9 > 10.0.0.5":                {"fd00::9", "the sender"},
		"arp 10.0.0.9/xx > 10.0.0.5":            {"10.0.0.9/xx", "the sender"},
		"arp 10.0.0.9 > host":                   {"host", "the target"},
		"arp 10.0.0.9 > 10.0.0.5 ttl 3":         {"ttl", "arp takes (len N)"},
		"ether ipv4":                            {"ipv4", "an ethertype"},
		"vlan 4096 ether 0x88b5":                {"4096", "a VLAN's number"},
		"02:00:00:00:00:07 tcp":                 {"tcp", `">"`},
		"02:00:00:00:00:07 > tcp":               {"tcp", "the destination's MAC address"},
		"525400000001525400000099080":           {"525400000001525400000099080", "hexadecimal"},
	} {
		_, err := FromText(text, testEnds)
		var fault *TextError
		if !errors.As(err, &fault) || fault.Word != want.Word || !strings.Contains(fault.Expected, want.Expected) {
			t.Errorf("%q: got %v, want the word %q and %q", text, err, want.Word, want.Expected)
		}
	}
}

func FuzzFromText(f *testing.F) {
	f.Add("52:54:00:00:00:01 > 52:54:00:00:00:02 vlan 3 tcp 10.0.0.9:4000 > 10.0.0.5:22 syn ack 3 seq 4 len 5")
	f.Add("rarp reply 10.0.0.5/02:00:00:00:00:07 > 10.0.0.9")
	f.Add("icmpv6 fe80::9 > ff02::1 type 134 code 0 id 3")
	f.Add("icmpv6 fe80::9 > ff02::1 type 135 target fe80::1 mac 02:00:00:00:00:07 len 9")
	f.Fuzz(func(t *testing.T, text string) {
		frame, err := FromText(text, testEnds)
		if (err == nil) != (len(frame) > 0) {
			t.Fatalf("%d bytes and the error %v", len(frame), err)
		}
		Decode(frame, true)
	})
}
