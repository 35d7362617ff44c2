package learn

import (
	"net/netip"

	"github.com/mdlayher/ndp"

	"tapgate/internal/packet"
)

const (
	ipv6Header = 40
	ndAt       = 14 + ipv6Header // where a message begins in a frame
	hopLimitAt = 14 + 7
)

// The options that are read (RFC 4861 section 4.6).
const (
	sourceLinkLayer = 1
	targetLinkLayer = 2
	prefixOption    = 3
)

// ndFixed are the lengths of messages without options (RFC 4861 section 4).
var ndFixed = map[uint8]int{134: 16, 135: 24, 136: 24}

// neighbourDiscovery reads a router advertisement, or a neighbour solicitation or
// advertisement, that is valid by sections 6.1.2, 7.1.1 and 7.1.2 of RFC 4861, but
// for its checksum, which a network card may be left to work out. A message in
// fragments is none (RFC 6980); nor is one behind extension headers, which no host
// sends and which are a way around filters (RFC 7113).
func (f *frame) neighbourDiscovery() (ndp.Message, bool) {
	fixed := ndFixed[f.ICMPType]
	if f.Have&packet.HaveICMPv6 == 0 || f.Malformed != packet.WellFormed || f.Fragment != packet.FragmentNone || f.L4Offset != ndAt ||
		fixed == 0 || f.ICMPCode != 0 || f.Frame[hopLimitAt] != 255 || int(f.L4Length) < fixed {
		return nil, false
	}
	body, ok := knownOptions(f.Frame[ndAt:ndAt+f.L4Length], fixed)
	if !ok {
		return nil, false
	}
	m, err := ndp.ParseMessage(body)
	if err != nil {
		return nil, false
	}
	switch m := m.(type) {
	case *ndp.RouterAdvertisement:
		ok = f.source().IsLinkLocalUnicast()
	case *ndp.NeighborSolicitation:
		ok = !m.TargetAddress.IsMulticast()
		if f.source().IsUnspecified() {
			ok = ok && f.destination() == solicitedNode(m.TargetAddress) && linkLayer(m.Options, ndp.Source) == nil
		}
	case *ndp.NeighborAdvertisement:
		ok = !m.TargetAddress.IsMulticast() && !(f.destination().IsMulticast() && m.Solicited)
	}
	return m, ok
}

// knownOptions leaves out the options that nobody here reads: the library refuses
// a message for the smallest fault in any, but a receiver has to ignore those that
// it does not know. No option has the length 0, and none goes beyond the message.
func knownOptions(message []byte, fixed int) ([]byte, bool) {
	known := append([]byte(nil), message[:fixed]...)
	for rest := message[fixed:]; len(rest) > 0; {
		if len(rest) < 2 || rest[1] == 0 || int(rest[1])*8 > len(rest) {
			return nil, false
		}
		option := rest[:int(rest[1])*8]
		switch option[0] {
		case sourceLinkLayer, targetLinkLayer, prefixOption:
			known = append(known, option...)
		}
		rest = rest[len(option):]
	}
	return known, true
}

func linkLayer(options []ndp.Option, which ndp.Direction) *ndp.LinkLayerAddress {
	for _, o := range options {
		if l, ok := o.(*ndp.LinkLayerAddress); ok && l.Direction == which {
			return l
		}
	}
	return nil
}

// solicitedNode is the group of an address (RFC 4291 section 2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}
