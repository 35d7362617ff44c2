package conntracktest

import (
	"encoding/binary"

	"tapgate/internal/packet"
)

var be = binary.BigEndian

// ip describes an IP header and what it carries.
type ip struct {
	v6       bool
	src, dst []byte
	proto    uint8
	hopLimit uint8
	offset   uint16 // of the fragment, bytes
	more     bool   // more fragments follow
	headers  []header
	payload  []byte
}

// header is an IPv6 extension header of 8 bytes.
type header struct{ proto uint8 }

func (p ip) bytes() []byte {
	if p.v6 {
		return p.ipv6()
	}
	b := make([]byte, 20, 20+len(p.payload))
	b[0] = 0x45
	be.PutUint16(b[2:], uint16(20+len(p.payload)))
	be.PutUint16(b[4:], 77)
	fragment := p.offset / 8
	if p.more {
		fragment |= 0x2000
	}
	be.PutUint16(b[6:], fragment)
	b[8] = p.hopLimit
	b[9] = p.proto
	copy(b[12:], p.src)
	copy(b[16:], p.dst)
	be.PutUint16(b[10:], ^sum(b))
	return append(b, p.payload...)
}

func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(be.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

func (p ip) ipv6() []byte {
	headers := p.headers
	if p.offset > 0 || p.more {
		headers = append(headers[:len(headers):len(headers)], header{packet.ProtoFragment})
	}
	var chain []byte
	for i, h := range headers {
		next := p.proto
		if i+1 < len(headers) {
			next = headers[i+1].proto
		}
		b := make([]byte, 8)
		b[0] = next
		if h.proto == packet.ProtoFragment {
			fragment := p.offset
			if p.more {
				fragment |= 1
			}
			be.PutUint16(b[2:], fragment)
			be.PutUint32(b[4:], 77)
		}
		chain = append(chain, b...)
	}
	b := make([]byte, 40)
	b[0] = 0x60
	be.PutUint16(b[4:], uint16(len(chain)+len(p.payload)))
	b[6] = p.proto
	if len(headers) > 0 {
		b[6] = headers[0].proto
	}
	b[7] = p.hopLimit
	copy(b[8:], p.src)
	copy(b[24:], p.dst)
	return append(append(b, chain...), p.payload...)
}

// ethernet wraps an IP packet; short frames are padded as a NIC does.
func ethernet(v6 bool, packet []byte) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0}
	if v6 {
		b[12], b[13] = 0x86, 0xdd
	}
	b = append(b, packet...)
	for len(b) < 60 {
		b = append(b, 0)
	}
	return b
}

type tcp struct {
	srcPort, dstPort uint16
	seq, ack         uint32
	flags            uint8
	window           uint16
	options          []byte
	data             int
}

func (t tcp) bytes() []byte {
	options := t.options
	for len(options)%4 != 0 {
		options = append(options, 1)
	}
	b := make([]byte, 20, 20+len(options)+t.data)
	be.PutUint16(b, t.srcPort)
	be.PutUint16(b[2:], t.dstPort)
	be.PutUint32(b[4:], t.seq)
	be.PutUint32(b[8:], t.ack)
	b[12] = uint8(5+len(options)/4) << 4
	b[13] = t.flags
	be.PutUint16(b[14:], t.window)
	b = append(b, options...)
	return append(b, make([]byte, t.data)...)
}

// udp has data bytes behind its header and claims the given length.
func udp(srcPort, dstPort uint16, data, length int) []byte {
	b := make([]byte, 8+data)
	be.PutUint16(b, srcPort)
	be.PutUint16(b[2:], dstPort)
	be.PutUint16(b[4:], uint16(length))
	return b
}

func icmp(kind, code uint8, id uint16, body []byte) []byte {
	b := make([]byte, 8, 8+len(body))
	b[0], b[1] = kind, code
	be.PutUint16(b[4:], id)
	return append(b, body...)
}
