package datapath

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
)

var be = binary.BigEndian

func drawMAC(t *source) []byte {
	mac, err := net.ParseMAC(oneOf(t, poolMAC))
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

// flow is what most packets of a sequence belong to, so that they have answers.
type flow struct {
	v6                  bool
	proto               byte
	guest, peer         []byte
	guestPort, peerPort uint16
}

func drawFlow(t *source) flow {
	f := flow{v6: t.chance(30), proto: byte(oneOf(t, []uint64{6, 6, 6, 17, 17, 1, 1, 2, 47, 50, 132, 132, 132, 136, 33, 253}))}
	pool := poolIPv4
	if f.v6 {
		pool = poolIPv6
		f.proto = byte(oneOf(t, []uint64{6, 6, 6, 17, 17, 58, 58, 1, 50, 59, 132, 132, 136}))
	}
	guest, peer := pool[0], pool[1]
	if t.chance(15) {
		guest = oneOf(t, pool)
	}
	if t.chance(15) {
		peer = oneOf(t, pool)
	}
	f.guest, f.peer = netip.MustParseAddr(guest).AsSlice(), netip.MustParseAddr(peer).AsSlice()
	f.guestPort, f.peerPort = oneOf(t, []uint16{20, 21, 22, 53, 69, 6667, 10080}), oneOf(t, []uint16{1024, 40000})
	if t.chance(15) {
		f.guestPort, f.peerPort = uint16(oneOf(t, poolPort)), uint16(oneOf(t, poolPort))
	}
	return f
}

func (t *source) flow() flow {
	if t.chance(15) {
		return drawFlow(t)
	}
	return oneOf(t, t.flows)
}

func (f flow) addrs(out bool) (src, dst []byte) {
	if out {
		return f.guest, f.peer
	}
	return f.peer, f.guest
}

func (f flow) ports(out bool) []byte {
	src, dst := f.guestPort, f.peerPort
	if !out {
		src, dst = dst, src
	}
	return be.AppendUint16(be.AppendUint16(nil, src), dst)
}

// drawFrame draws a frame, now and then broken or with an odd byte.
func drawFrame(t *source, out bool) []byte {
	guest, peer := drawMAC(t), drawMAC(t)
	if t.chance(50) { // only what is for the guest itself is answered when rejected
		guest = guestMAC
	}
	frame := slices.Concat(guest, peer)
	if out {
		frame = slices.Concat(peer, guest)
	}
	switch kind := t.between(0, 19); {
	case kind == 0:
		frame = append(frame, 0x08, 0x06)
		frame = append(frame, drawARP(t)...)
	case kind == 1:
		frame = append(frame, 0x80, 0x35)
		frame = append(frame, drawARP(t)...)
	case kind == 2:
		frame = append(frame, drawSTP(t)...)
	case kind == 3:
		frame = append(frame, 0x81, 0x00, 0, byte(t.between(0, 9)))
		frame = be.AppendUint16(frame, uint16(oneOf(t, poolType)))
		frame = append(frame, drawIPv4(t, drawFlow(t), out)...)
	case kind == 4:
		frame = be.AppendUint16(frame, uint16(oneOf(t, poolType)))
		frame = append(frame, t.bytes(t.between(0, 60), 255)...)
	case kind == 5:
		frame = append(append(frame, 0x86, 0xdd), drawDiscovery(t)...)
	default:
		if f := t.flow(); f.v6 {
			frame = append(append(frame, 0x86, 0xdd), drawIPv6(t, f, out)...)
		} else {
			frame = append(append(frame, 0x08, 0x00), drawIPv4(t, f, out)...)
		}
	}
	if t.chance(5) {
		frame = frame[:t.between(14, len(frame))]
	}
	if t.chance(5) && len(frame) > 14 {
		frame[t.between(12, len(frame)-1)] = byte(t.between(0, 255))
	}
	if t.chance(30) {
		frame = append(frame, make([]byte, 18)...)
	}
	return append(frame, make([]byte, max(0, shortestRun(frame)-len(frame)))...)
}

// shortestRun is the least that a test run takes: the kernel wants a frame with
// a body, and a whole fixed IP header behind an IP ethertype.
func shortestRun(frame []byte) int {
	switch be.Uint16(frame[12:]) {
	case 0x0800:
		return 14 + 20
	case 0x86dd:
		return 14 + 40
	}
	return 14 + 1
}

func drawARP(t *source) []byte {
	b := []byte{0, byte(t.between(0, 2)), 0x08, 0, 6, 4, 0, byte(t.between(0, 9))}
	sender, target := netip.MustParseAddr(oneOf(t, poolIPv4)).AsSlice(), netip.MustParseAddr(oneOf(t, poolIPv4)).AsSlice()
	b = append(append(b, drawMAC(t)...), sender...)
	return append(append(b, drawMAC(t)...), target...)
}

func drawSTP(t *source) []byte {
	b := []byte{0, 38, 0x42, 0x42, 3, 0, 0, 0, oneOf(t, []byte{0, 0, 0x80})}
	return append(b, t.bytes(31, 9)...)
}

func drawIPv4(t *source, f flow, out bool) []byte {
	return drawIPv4Of(t, f, out, drawTransport(t, f, out))
}

func drawIPv4Of(t *source, f flow, out bool, body []byte) []byte {
	proto := f.proto
	src, dst := f.addrs(out)
	var fragment uint16
	if t.chance(15) {
		fragment = oneOf(t, []uint16{0x2000, 0x2000, 1, 2, 5, 0x2005, 0x2007, 8})
		body = t.shortened(body)
	}
	options := oneOf(t, []int{0, 0, 0, 0, 4, 8})
	b := []byte{byte(0x45 + options/4), byte(t.between(0, 9) << 2), 0, 0}
	b = be.AppendUint16(b, uint16(t.between(0, 2)))
	b = be.AppendUint16(b, fragment)
	b = append(b, 64, proto, 0, 0)
	b = append(append(b, src...), dst...)
	b = append(b, make([]byte, options)...)
	be.PutUint16(b[2:], uint16(len(b)+len(body)))
	if t.chance(3) {
		b[10] = 1
	}
	be.PutUint16(b[10:], be.Uint16(b[10:])+^checksum(b))
	return append(b, body...)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(be.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

func drawIPv6(t *source, f flow, out bool) []byte {
	return drawIPv6Of(t, f, out, drawTransport(t, f, out))
}

func drawIPv6Of(t *source, f flow, out bool, body []byte) []byte {
	src, dst := f.addrs(out)
	return drawDatagram(t, src, dst, f.proto, body)
}

// drawDatagram puts an IPv6 header in front of body, now and then with extension
// headers in between.
func drawDatagram(t *source, src, dst []byte, next byte, body []byte) []byte {
	for range oneOf(t, []int{0, 0, 0, 0, 1, 2, 3}) {
		kind := oneOf(t, []byte{0, 43, 60, 51, 44, 44})
		ext := []byte{next, 0, 0, 0, 0, 0, 0, 0}
		switch kind {
		case 51:
			ext[1] = byte(t.between(0, 2))
			ext = append(ext, make([]byte, 4*int(ext[1]))...)
		case 44:
			be.PutUint16(ext[2:], oneOf(t, []uint16{0, 1, 1, 1, 8, 9, 40, 41}))
			body = t.shortened(body)
			ext[7] = byte(t.between(0, 2))
		default:
			ext[1] = byte(t.between(0, 2))
			ext = append(ext, make([]byte, 8*int(ext[1]))...)
		}
		next = kind
		body = append(ext, body...)
	}
	b := []byte{0x60, byte(t.between(0, 9)), 0, 0}
	b = be.AppendUint16(b, uint16(len(body)))
	b = append(b, next, 64)
	b = append(append(b, src...), dst...)
	return append(b, body...)
}

// shortened leaves now and then only a part of a fragment's body.
func (t *source) shortened(body []byte) []byte {
	if t.chance(80) {
		return body
	}
	return body[:min(len(body), t.between(0, 8))]
}

func drawTransport(t *source, f flow, out bool) []byte {
	proto := f.proto
	payload := make([]byte, oneOf(t, []int{0, 0, 1, 8, 30}))
	if t.chance(3) { // longer than what an answer quotes
		payload = bytes.Repeat([]byte{0x55, 0xaa, 7}, oneOf(t, []int{171, 176, 177, 178, 405, 408, 480}))
	}
	if t.chance(30) {
		speaker, _ := f.addrs(out)
		address, _ := netip.AddrFromSlice(speaker)
		payload = drawControl(t, oneOf(t, helpers), address)
	}
	switch proto {
	case 6:
		b := f.ports(out)
		b = be.AppendUint32(b, uint32(t.between(0, 40)))
		b = be.AppendUint32(b, uint32(t.between(0, 40)))
		options := oneOf(t, [][]byte{nil, nil, nil, {2, 4, 5, 0xb4}, {3, 3, 7, 0}, {4, 2, 1, 1}, {1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 9}, {5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 5, 10, 0, 0, 0, 9, 0, 0, 0, 30}, {5, 18, 0, 0, 0, 1, 0x80, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 30, 1, 1}, {8, 0, 9, 4}, {0, 0, 30, 2}})
		flags := oneOf(t, []byte{2, 2, 2, 0x12, 0x12, 0x10, 0x10, 0x10, 0x18, 0x18, 0x11, 0x11, 4, 0x14, 0, 3, 0x22, 0xc2, 0x31})
		b = append(b, byte(5+len(options)/4)<<4, flags)
		b = be.AppendUint16(b, oneOf(t, []uint16{0, 5, 100, 8192}))
		b = append(b, 0, 0, 0, 0)
		return append(append(b, options...), payload...)
	case 17, 136:
		b := f.ports(out)
		length := 8 + len(payload) + oneOf(t, []int{0, 0, 0, 0, 1, -1})
		b = be.AppendUint16(b, uint16(length))
		return append(append(b, 0, oneOf(t, []byte{0, 1})), payload...)
	case 47:
		b := []byte{0, oneOf(t, []byte{0, 1, 1}), 0x88, oneOf(t, []byte{0x0b, 0x0b, 0}), 0, 0, 0, byte(t.between(0, 2))}
		return append(b, payload...)
	case 132:
		return drawSCTP(t, f, out)
	case 33:
		b := f.ports(out)
		return append(append(b, make([]byte, 8)...), payload...)
	case 1, 58:
		types := []byte{8, 8, 0, 0, 3, 11, 5, 13, 14, 255}
		if proto == 58 {
			types = []byte{128, 128, 129, 129, 1, 3, 135, 136, 137, 143, 255}
		}
		b := []byte{oneOf(t, types), byte(t.between(0, 1)), 0, 0, 0, byte(t.between(0, 1)), 0, 1}
		if typ := b[0]; typ < 128 && typ != 8 && typ != 0 || typ == 137 {
			return append(b, drawQuote(t, f, !f.v6, !out)...)
		}
		return append(b, payload...)
	}
	return payload
}

// drawQuote is what an ICMP error says it is about.
func drawQuote(t *source, f flow, v4, out bool) []byte {
	quoted := t.flow()
	proto := quoted.proto
	if quoted.v6 == v4 {
		quoted, proto = f, f.proto
	}
	ports := quoted.ports(out)
	src, dst := quoted.addrs(out)
	if proto == 1 || proto == 58 {
		ports = []byte{oneOf(t, []byte{8, 0, 128}), 0, 0, 0, 0, 0, 0, 1}
	}
	if v4 {
		b := []byte{0x45, 0, 0, 60, 0, 0, 0, byte(oneOf(t, []int{0, 0, 0, 1})), 64, proto, 0, 0}
		return append(append(append(b, src...), dst...), ports...)
	}
	b := []byte{0x60, 0, 0, 0, 0, 20, proto, 64}
	return append(append(append(b, src...), dst...), ports...)
}
