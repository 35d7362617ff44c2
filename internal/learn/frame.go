package learn

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"tapgate/internal/packet"
)

const (
	// maxFrame is how much of a frame is copied to a learner.
	maxFrame = 2048
	vlanTag  = 4
)

var (
	broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodes  = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1} // ff02::1 (RFC 2464 section 7)
)

// frame is a decoded frame and what became of it.
type frame struct {
	packet.Packet
	passed bool
	now    time.Time
}

// decode reads a frame; one with a tag as what it would be without, but for
// Have&HaveVLAN. Only an IPv4 packet is looked for in a tag. Of a long frame no more
// is read than a copy has, so that it teaches the same whoever tells of it.
func decode(raw []byte, out, passed bool, now time.Time) frame {
	raw = raw[:min(len(raw), maxFrame)]
	f := frame{packet.Decode(raw, out), passed, now}
	if f.Have&packet.HaveVLAN != 0 && f.VLANEncap == packet.EtherTypeIPv4 {
		f.Packet = packet.Decode(append(bytes.Clone(raw[:12]), raw[16:]...), out)
		f.Have |= packet.HaveVLAN
	}
	return f
}

func (f *frame) tagged() bool { return f.Have&packet.HaveVLAN != 0 }
func (f *frame) from(mac net.HardwareAddr) bool {
	return len(f.Frame) >= 14 && bytes.Equal(f.Frame[6:12], mac)
}
func (f *frame) to(mac net.HardwareAddr) bool {
	return len(f.Frame) >= 14 && bytes.Equal(f.Frame[:6], mac)
}

// readable tells whether the addresses of an IP packet can be relied on. A copy
// that was cut off looks like a packet that is shorter than it says, and may have lost
// its tag since.
func (f *frame) readable() bool {
	return f.Malformed == packet.WellFormed || f.Malformed == packet.MalformedIP && len(f.Frame) >= maxFrame-vlanTag
}

// source is the sender of an IP packet.
func (f *frame) source() netip.Addr {
	if f.Have&packet.HaveIPv6 != 0 {
		return netip.AddrFrom16([16]byte(f.Frame[22:38]))
	}
	return addr4(uint32(f.SrcIP.Lo))
}

// destination is the receiver of an IPv6 packet.
func (f *frame) destination() netip.Addr { return netip.AddrFrom16([16]byte(f.Frame[38:54])) }

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// whole is an address as leases have it.
func whole(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// datagram is what a whole UDP datagram between these ports carries. Its checksum
// is not verified: a network card may be left to work it out (checksum offload).
func (f *frame) datagram(from, to uint16) ([]byte, bool) {
	if f.tagged() || f.Malformed != packet.WellFormed || f.Fragment != packet.FragmentNone || f.LinkProto != packet.ProtoUDP ||
		f.NetProto != packet.ProtoUDP || f.Have&packet.HavePorts == 0 || f.SrcPort != from || f.DstPort != to {
		return nil, false
	}
	if f.UDPLength < 8 || uint32(f.UDPLength) > f.L4Length {
		return nil, false
	}
	at := f.L4Offset
	return f.Frame[at+8 : at+uint32(f.UDPLength)], true
}
