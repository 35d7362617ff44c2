package packet

import (
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
)

// isDiscovery tells whether a type of ICMPv6 is neighbour discovery.
func isDiscovery(icmpType uint64) bool {
	return icmpType >= RouterSolicitation && icmpType <= Redirect
}

// discoveryWords are what only texts of neighbour discovery have.
var discoveryWords = []string{"target", "mac"}

// parseDiscovery reads a word of neighbour discovery and what stands behind it.
func (n *notation) parseDiscovery(w *words, word string) error {
	if n.discoveryWord = word; word == "mac" {
		mac, ok := w.mac()
		if !ok {
			return w.expected("the link-layer address behind \"mac\"")
		}
		n.linkAddresses = append(n.linkAddresses, mac)
		return nil
	}
	target, err := netip.ParseAddr(w.peek())
	if err != nil || !target.Is6() || target.Zone() != "" {
		return w.expected("the IPv6 address behind \"target\"")
	}
	w.at++
	n.target = target
	return nil
}

// checkDiscovery refuses words that the type of the message does not have.
func (n *notation) checkDiscovery() error {
	if n.discoveryWord == "" || n.typed && isDiscovery(n.icmpType) && (!n.target.IsValid() || n.icmpType >= NeighbourSolicitation) {
		return nil
	}
	return &TextError{Word: n.discoveryWord, Expected: `"target" only with a type from 135 to 137, such as neighbor-solicitation, and "mac" from 133 to 137`}
}

// usualTarget is that of a message whose text names none: an advertisement is
// about its sender, a solicitation for one host about that.
func usualTarget(icmpType uint64, from, to netip.Addr) netip.Addr {
	switch {
	case icmpType == NeighbourAdvertisement:
		return from
	case !to.IsMulticast():
		return to
	}
	return netip.IPv6Unspecified()
}

// discovery makes what follows type, code and checksum: the fixed part, the
// link-layer addresses, and as many bytes as are asked for in options that
// nobody knows (RFC 4727 section 5.1.3), or, if they do not fit into such, zeros.
func (n *notation) discovery() gopacket.Payload {
	header := discoveryHeaders[n.icmpType-RouterSolicitation]
	b := be.AppendUint16(nil, uint16(n.option("id", 0)))
	b = be.AppendUint16(b, uint16(n.option("seq", 0)))
	if n.icmpType >= NeighbourSolicitation {
		target := n.target
		if !target.IsValid() {
			target = usualTarget(n.icmpType, n.from.Addr(), n.to.Addr())
		}
		b = append(b, target.AsSlice()...)
	}
	b = append(b, make([]byte, header-4-len(b))...)
	kind := byte(sourceLinkAddress)
	if n.icmpType >= NeighbourAdvertisement {
		kind = targetLinkAddress
	}
	for _, mac := range n.linkAddresses {
		b = append(append(b, kind, 1), mac...)
	}
	size := int(n.option("len", 0))
	for size%8 == 0 && size > 0 {
		option := make([]byte, min(size, 255*8))
		option[0], option[1] = 253, byte(len(option)/8)
		b = append(b, option...)
		size -= len(option)
	}
	return append(b, make([]byte, size)...)
}

// discovery tells target and link-layer address where they are not what they
// would be by themselves, and how long what was told is. Those that cannot be
// read are told as zeros, which mean the same to rules.
func (t *wording) discovery() int {
	header := discoveryHeaders[t.ICMPType-RouterSolicitation]
	if t.MoreFragments {
		return header
	}
	src, dst, target := t.addr(t.SrcIP), t.addr(t.DstIP), t.addr(t.NDTarget)
	if t.Have&HaveNDTarget != 0 && target != usualTarget(uint64(t.ICMPType), src, dst) {
		t.add("target %v", target)
	}
	if t.Have&HaveNDMAC != 0 && (t.NDMAC != 0 || !t.cut) {
		t.add("mac %s", net.HardwareAddr(be.AppendUint64(nil, t.NDMAC)[2:]))
		header += 8
	}
	return header
}
