package datapath

import (
	"bytes"
	"net/netip"
	"slices"

	"tapgate/internal/packet"
)

// drawObserve says of a policy what is observed, all of it now and then.
func drawObserve(t *source) packet.Observe {
	if t.chance(50) {
		return 0
	}
	if t.chance(50) {
		return observeAll
	}
	return packet.Observe(t.between(0, int(observeAll)))
}

// drawTeaching draws a frame that may teach the guest's address, or nearly.
func drawTeaching(t *source, out bool) []byte {
	guest, peer := guestMAC, drawMAC(t)
	if t.chance(10) {
		guest = drawMAC(t)
	}
	to := oneOf(t, [][]byte{peer, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x33, 0x33, 0, 0, 0, 1}})
	frame := slices.Concat(to, guest)
	if !out {
		to = oneOf(t, [][]byte{guest, guest, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x33, 0x33, 0, 0, 0, 1}})
		frame = slices.Concat(to, peer)
	}
	f := flow{proto: 17, guest: drawAddress(t, poolIPv4), peer: drawAddress(t, poolIPv4), guestPort: 68, peerPort: 67}
	if t.chance(10) {
		f.guestPort, f.peerPort = f.peerPort, f.guestPort
	}
	switch t.between(0, 3) {
	case 0:
		frame = append(append(frame, 0x08, 0x06), drawARP(t)...)
	case 1:
		message := bytes.Repeat([]byte{0}, oneOf(t, []int{28, 33, 34, 240}))
		if len(message) >= 34 && t.chance(80) {
			copy(message[28:], guestMAC)
		}
		frame = append(append(frame, 0x08, 0x00), drawIPv4Of(t, f, out, f.datagram(out, message))...)
	case 2:
		f.v6, f.guest, f.peer = true, drawAddress(t, poolIPv6), drawAddress(t, poolIPv6)
		f.guestPort, f.peerPort = 546, 547
		frame = append(append(frame, 0x86, 0xdd), drawIPv6Of(t, f, out, f.datagram(out, t.bytes(8, 255)))...)
	case 3:
		f.v6, f.proto, f.guest, f.peer = true, 58, drawAddress(t, poolIPv6), drawAddress(t, poolIPv6)
		message := append([]byte{oneOf(t, []byte{133, 134, 135, 135, 136, 136}), 0, 0, 0}, make([]byte, 20)...)
		frame = append(append(frame, 0x86, 0xdd), drawIPv6Of(t, f, out, message)...)
	}
	if t.chance(10) {
		frame = frame[:t.between(14, len(frame))]
	}
	return append(frame, make([]byte, max(0, shortestRun(frame)-len(frame)))...)
}

// datagram is a UDP datagram without a checksum.
func (f flow) datagram(out bool, payload []byte) []byte {
	b := be.AppendUint16(f.ports(out), uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// drawAddress takes an address of a pool, or the unspecified one.
func drawAddress(t *source, pool []string) []byte {
	a := netip.MustParseAddr(oneOf(t, pool))
	if t.chance(30) {
		return make([]byte, a.BitLen()/8)
	}
	return a.AsSlice()
}

// observes checks that what must be copied of a packet was.
func (l *limits) observes(t fatal, tester *Tester, p *packet.Packet, wanted packet.Observe, frame []byte, passed bool) (class int, ok bool) {
	list, err := tester.Observed()
	if err != nil {
		t.Fatal(err)
	}
	class, ok = p.Observed(frame, wanted, guestMAC, passed)
	class = observedClassOf(class, p.Out)
	told := ok && l.allow(class, p.Now)
	if len(list) != 0 != told {
		t.Fatal("the kernel copied", len(list), "frames, want one:", told, "of class", class, "of", frame)
	}
	if told {
		got := list[0]
		if len(list) != 1 || !bytes.Equal(got.Frame, frame[:min(len(frame), MaxInjected)]) || got.Length != len(frame) || got.Out != p.Out || got.Passed != passed || got.Time.UnixNano() != p.Now {
			t.Fatal("the kernel copied", list, "of", frame, "passed:", passed)
		}
	}
	return class, ok
}
