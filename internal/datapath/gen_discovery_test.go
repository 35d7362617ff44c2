package datapath

import (
	"fmt"
	"net/netip"
	"strings"

	"tapgate/internal/packet"
)

// drawDiscoveryRule draws a rule that compares what neighbour discovery says.
func drawDiscoveryRule(t *source, b *strings.Builder) {
	element := oneOf(t, []string{"ipv6 protocol='icmpv6'", "ipv6 protocol='icmpv6'", "icmpv6"})
	if t.chance(60) {
		element += fmt.Sprintf(" type='%d'", t.between(packet.RouterSolicitation, packet.Redirect))
	}
	said := fmt.Sprintf(" ndtargetipaddr='%s'", oneOf(t, poolIPv6))
	if t.chance(30) {
		said += fmt.Sprintf(" ndtargetipmask='%d'", oneOf(t, []int{0, 8, 64, 127, 128}))
	}
	if t.chance(60) {
		mac := fmt.Sprintf(" ndmacaddr='%s'", oneOf(t, append(poolMAC, "00:00:00:00:00:00")))
		if t.chance(30) {
			mac += fmt.Sprintf(" ndmacmask='%s'", oneOf(t, []string{"ff:ff:ff:00:00:00", "00:00:00:00:00:00"}))
		}
		said = oneOf(t, []string{mac, mac, mac + said})
	}
	name, _, _ := strings.Cut(element, " ")
	fmt.Fprintf(b, "  <rule action='%s' direction='%s' priority='%d'><%s/><%s%s%s/></rule>\n", oneOf(t, []string{"accept", "drop", "return", "reject", "continue"}),
		oneOf(t, []string{"in", "out", "inout"}), t.between(-5, 1)*100, element, name, oneOf(t, []string{"", "", " match='no'"}), said)
}

// drawDiscovery draws an IPv6 packet with a message of neighbour discovery, now and
// then broken: with options that differ, of odd lengths, cut short or very many.
func drawDiscovery(t *source) []byte {
	address := func() []byte { return netip.MustParseAddr(oneOf(t, poolIPv6)).AsSlice() }
	b := []byte{byte(t.between(packet.RouterSolicitation, packet.Redirect)), byte(t.between(0, 1)), 0, 0, 0, 0, 0, 0}
	switch b[0] {
	case packet.RouterAdvertisement:
		b = append(b, make([]byte, 8)...)
	case packet.NeighbourSolicitation, packet.NeighbourAdvertisement:
		b = append(b, address()...)
	case packet.Redirect:
		b = append(append(b, address()...), address()...)
	}
	mac := drawMAC(t)
	for range oneOf(t, []int{0, 1, 1, 1, 1, 2, 3, 63, 64, 65, 80}) {
		switch t.between(0, 9) {
		case 0, 1, 2, 3:
			b = append(append(b, oneOf(t, []byte{1, 2}), 1), mac...)
		case 4:
			b = append(append(b, oneOf(t, []byte{1, 2}), 1), drawMAC(t)...)
		case 5: // a prefix
			b = append(append(b, 3, 4), make([]byte, 30)...)
		default:
			b = append(b, 253, 1, 0, 0, 0, 0, 0, 0)
		}
	}
	if len(b) > 24 && t.chance(15) {
		b[t.between(24, len(b)-1)] = oneOf(t, []byte{0, 1, 2, 3, 255})
	}
	if t.chance(15) {
		b = b[:t.between(2, len(b))]
	}
	return drawDatagram(t, address(), address(), packet.ProtoICMPv6, b)
}
