package lab

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
)

func TestCraftedFramesArriveWithoutAFilter(t *testing.T) {
	l := newLab(t)
	guest, neighbour := l.Guest, l.Neighbour
	falseMAC := bytes.Clone(guest.MAC)
	falseMAC[5] = 0x42
	falseIP := netip.MustParseAddr("10.77.0.66")
	payload := []byte("crafted")
	for _, test := range []struct {
		name  string
		frame []byte
	}{
		{"honest udp", UDPFrame(guest.MAC, neighbour.MAC, guest.At(1024), neighbour.At(EchoPort), payload)},
		{"false source MAC", UDPFrame(falseMAC, neighbour.MAC, guest.At(1024), neighbour.At(EchoPort), payload)},
		{"false source IP", UDPFrame(guest.MAC, neighbour.MAC, netip.AddrPortFrom(falseIP, 1024), neighbour.At(EchoPort), payload)},
		{"false ARP sender IP", ARPFrame(guest.MAC, Broadcast, layers.ARPRequest, guest.MAC, falseIP, make([]byte, 6), neighbour.IPv4)},
		{"false ARP sender MAC", ARPFrame(guest.MAC, Broadcast, layers.ARPReply, falseMAC, guest.IPv4, Broadcast, guest.IPv4)},
		{"unknown ethertype", EtherTypeFrame(guest.MAC, neighbour.MAC, UnknownEtherType, payload)},
		{"neighbour solicitation", NeighbourSolicitation(guest.MAC, guest.IPv6, neighbour.IPv6)},
		{"udp over IPv6", UDPFrame(guest.MAC, neighbour.MAC, guest.At6(1024), neighbour.At6(EchoPort), payload)},
		{"tcp syn", TCPFrame(guest.MAC, neighbour.MAC, guest.IPv4, neighbour.IPv4, layers.TCP{SrcPort: 1024, DstPort: 7, SYN: true, Window: 1024}, nil)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := Arrives(t.Context(), guest, neighbour, test.frame); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCraftedFramesAreUnderstood(t *testing.T) {
	l := newLab(t)
	guest, neighbour := l.Guest, l.Neighbour
	conn, err := guest.OpenFrames(GuestDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, test := range []struct {
		name  string
		frame []byte
		// reply has these bytes at this offset.
		offset int
		reply  []byte
	}{
		{"ARP request", ARPFrame(guest.MAC, Broadcast, layers.ARPRequest, guest.MAC, guest.IPv4, make([]byte, 6), neighbour.IPv4),
			20, append([]byte{0, 2}, neighbour.MAC...)},
		{"neighbour solicitation", NeighbourSolicitation(guest.MAC, guest.IPv6, neighbour.IPv6),
			54, []byte{136}}, // ICMPv6 type: neighbour advertisement
		{"udp over IPv4", UDPFrame(guest.MAC, neighbour.MAC, guest.At(1024), neighbour.At(EchoPort), []byte("x")),
			34, []byte{0x27, 0x0f, 0x04, 0x00, 0x00, 0x09}}, // ports 9999, 1024; length 9
		{"udp over IPv6", UDPFrame(guest.MAC, neighbour.MAC, guest.At6(1024), neighbour.At6(EchoPort), []byte("x")),
			54, []byte{0x27, 0x0f, 0x04, 0x00, 0x00, 0x09}},
		{"tcp syn to a closed port", TCPFrame(guest.MAC, neighbour.MAC, guest.IPv4, neighbour.IPv4, layers.TCP{SrcPort: 1024, DstPort: 7, SYN: true}, nil),
			47, []byte{0x14}}, // RST, ACK
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := conn.Send(test.frame); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), ProbeTimeout)
			defer cancel()
			_, err := conn.Receive(ctx, func(frame []byte) bool {
				return len(frame) > test.offset && bytes.HasPrefix(frame[test.offset:], test.reply)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFrameThatIsNotForwardedDoesNotArrive(t *testing.T) {
	l := newLab(t)
	// The bridge keeps frames to the port that they came from to itself.
	frame := EtherTypeFrame(l.Guest.MAC, l.Guest.MAC, UnknownEtherType, []byte("back to me"))
	if err := Arrives(t.Context(), l.Guest, l.Neighbour, EtherTypeFrame(l.Guest.MAC, Broadcast, UnknownEtherType, nil)); err != nil {
		t.Fatal(err) // the bridge has learned where the guest is
	}
	start := time.Now()
	err := Arrives(t.Context(), l.Guest, l.Neighbour, frame)
	if !NoAnswer(err) {
		t.Errorf("got %v, want no answer", err)
	}
	if took := time.Since(start); took > 5*ArrivalTimeout {
		t.Errorf("gave up after %v", took)
	}
}
