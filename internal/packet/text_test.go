package packet

import (
	"strings"
	"testing"
)

// What is said of a frame gives the same frame again.
func TestTextsAreReadBack(t *testing.T) {
	for _, text := range []string{
		"tcp 10.0.0.9:4000 > 10.0.0.5:22 syn",
		"tcp [fd00::9]:4000 > [fd00::5]:22 syn ack",
		"tcp 10.0.0.9:4000 > 10.0.0.5:22 fin rst psh urg ece cwr ack len 1000",
		"tcp 10.0.0.9:4000 > 10.0.0.5:22",
		"udp 10.0.0.9:53 > 10.0.0.5:53 len 33",
		"udp [fd00::9]:53 > [ff02::fb]:53",
		"udplite 10.0.0.9:7 > 10.0.0.5:8 len 5",
		"sctp 10.0.0.9:7 > 10.0.0.5:8",
		"sctp 10.0.0.9:7 > 10.0.0.5:8 len 40",
		"icmp 10.0.0.9 > 10.0.0.5 echo-request id 4 seq 9 len 56",
		"icmp 10.0.0.9 > 10.0.0.5 echo-reply id 4 seq 9",
		"icmp 10.0.0.9 > 10.0.0.5 type 3 code 4",
		"icmpv6 fd00::9 > fd00::5 echo-request id 1 seq 2",
		"icmpv6 fe80::9 > ff02::1:ff00:5 neighbor-solicitation",
		"icmpv6 :: > ff02::1:ff00:5 neighbor-solicitation target fe80::5 len 16",
		"icmpv6 fe80::9 > ff02::1 neighbor-advertisement mac 02:00:00:00:00:07",
		"icmpv6 fe80::9 > ff02::1 neighbor-advertisement target fe80::5 mac 00:00:00:00:00:00 len 4088",
		"icmpv6 fe80::9 > ff02::2 router-solicitation mac 02:00:00:00:00:07",
		"icmpv6 fe80::9 > fe80::5 redirect target fe80::7",
		"proto 47 10.0.0.9 > 10.0.0.5 len 8",
		"proto 58 10.0.0.9 > 10.0.0.5",
		"vlan 42 udp 10.0.0.9:1 > 10.0.0.5:2",
		"vlan 42 vlan 7 arp request 10.0.0.5 > 10.0.0.9",
		"arp request 10.0.0.5 > 10.0.0.9",
		"arp request 10.0.0.5 > 10.0.0.9/02:00:00:00:00:08",
		"arp reply 10.0.0.5/02:00:00:00:00:07 > 10.0.0.9",
		"arp reply 10.0.0.5 > 10.0.0.9/02:00:00:00:00:08",
		"arp request 10.0.0.5 > 10.0.0.9 len 40",
		"rarp request 0.0.0.0 > 0.0.0.0",
		"rarp reply 10.0.0.5 > 10.0.0.9",
		"ether 0x88b5 52:54:00:00:00:01 > 52:54:00:00:00:99 len 80",
	} {
		frame, _ := fromText(t, text)
		if got := Text(frame, len(frame), 0); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
}

func TestTextsTellWhatIsAsked(t *testing.T) {
	const text = "52:54:00:00:00:01 > 02:00:00:00:00:08 tcp 10.0.0.9:4000 > 10.0.0.5:22 syn ack 77 seq 5 win 9 len 3"
	frame, _ := fromText(t, text)
	if got := Text(frame, len(frame), MACs|Numbers); got != text {
		t.Errorf("%q, want %q", got, text)
	}
	frame, _ = fromText(t, "02:00:00:00:00:07 > 02:00:00:00:00:08 ether 0x88b5")
	if got, want := Text(frame, len(frame), MACs), "02:00:00:00:00:07 > 02:00:00:00:00:08 ether 0x88b5 len 46"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTextsOfWhatCannotBeWritten(t *testing.T) {
	whole, _ := fromText(t, "udp 10.0.0.9:53 > 10.0.0.5:53 len 1000")
	if got, want := Text(whole[:60], len(whole), 0), "udp 10.0.0.9:53 > 10.0.0.5:53 len 1000"; got != want {
		t.Errorf("cut short: %q, want %q", got, want)
	}
	later, _ := fromText(t, "udp 10.0.0.9:53 > 10.0.0.5:53 len 8")
	be.PutUint16(later[20:], 3)
	setIPv4Checksum(later)
	if got, want := Text(later, len(later), 0), "udp 10.0.0.9 > 10.0.0.5 fragment at 24 len 16"; got != want {
		t.Errorf("a later fragment: %q, want %q", got, want)
	}
	first, _ := fromText(t, "udp 10.0.0.9:53 > 10.0.0.5:53 len 8")
	be.PutUint16(first[20:], 0x2000)
	setIPv4Checksum(first)
	if got, want := Text(first, len(first), 0), "udp 10.0.0.9:53 > 10.0.0.5:53 fragment at 0 len 8"; got != want {
		t.Errorf("a first fragment: %q, want %q", got, want)
	}
	// What rules take for unreadable is told as what means the same to them.
	two, _ := fromText(t, "icmpv6 fe80::9 > ff02::1 neighbor-advertisement mac 02:00:00:00:00:07 mac 02:00:00:00:00:08")
	if got, want := Text(two, len(two), 0), "icmpv6 fe80::9 > ff02::1 neighbor-advertisement mac 00:00:00:00:00:00 len 8"; got != want {
		t.Errorf("two link-layer addresses: %q, want %q", got, want)
	}
	short, _ := fromText(t, "icmpv6 fe80::9 > ff02::1 neighbor-advertisement")
	be.PutUint16(short[18:], 20)
	if got, want := Text(short, len(short), 0), "icmpv6 fe80::9 > ff02::1 neighbor-advertisement target :: mac 00:00:00:00:00:00"; got != want {
		t.Errorf("an advertisement cut short: %q, want %q", got, want)
	}
	long, _ := fromText(t, "icmpv6 fe80::9 > ff02::1 router-advertisement"+strings.Repeat(" mac 02:00:00:00:00:07", 30))
	if got, want := Text(long[:256], len(long), 0), "icmpv6 fe80::9 > ff02::1 router-advertisement len 240"; got != want {
		t.Errorf("options that the capture lacks: %q, want %q", got, want)
	}
	malformed, _ := fromText(t, "udp 10.0.0.9:53 > 10.0.0.5:53")
	malformed[14] = 0x41
	if got, want := Text(malformed, len(malformed), 0), "ether 0x0800 52:54:00:00:00:01 > 52:54:00:00:00:99 len 46"; got != want {
		t.Errorf("a malformed header: %q, want %q", got, want)
	}
	if got, want := Text(make([]byte, 9), 9, 0), "a frame of 9 bytes"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func setIPv4Checksum(frame []byte) {
	header := frame[14:34]
	be.PutUint16(header[10:], 0)
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		sum += uint32(be.Uint16(header[i:]))
	}
	sum = sum>>16 + sum&0xffff
	be.PutUint16(header[10:], ^uint16(sum+sum>>16))
}

// Whatever the bytes, there is a text; if it can be read, it gives a frame of
// the same protocol and addresses.
func FuzzText(f *testing.F) {
	for _, text := range []string{
		"tcp 10.0.0.9:4000 > 10.0.0.5:22 syn", "udp [fd00::9]:53 > [fd00::5]:53 len 3", "sctp 10.0.0.9:7 > 10.0.0.5:8",
		"icmpv6 fd00::9 > fd00::5", "icmpv6 fe80::9 > fe80::5 redirect target fe80::7 mac 02:00:00:00:00:07", "arp 10.0.0.5 > 10.0.0.9", "vlan 3 ether 0x88b5 len 4",
	} {
		frame, err := FromText(text, testEnds)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame, len(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte, length int) {
		text := Text(frame, min(length, 1<<16), MACs|Numbers)
		again, err := FromText(text, Ends{})
		if err != nil {
			if len(frame) >= 14 && !strings.Contains(text, "fragment at") && !strings.Contains(text, "::ffff:") {
				t.Fatalf("%q cannot be read: %v", text, err)
			}
			return
		}
		if got := Text(again, len(again), MACs|Numbers); !samePacket(got, text) {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}

// samePacket leaves out the lengths, which a text rounds and bounds, and what
// follows an ethertype, behind which zeros may mean something else: a tag, too. What
// is read from the text of a packet that was cut short has more to tell.
func samePacket(got, want string) bool {
	for _, word := range []string{" len ", " ether 0x"} {
		want, _, _ = strings.Cut(want, word)
	}
	return strings.HasPrefix(got, want)
}
