package lab

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// SLAACConfig says how a guest's kernel makes IPv6 addresses of its own.
type SLAACConfig struct {
	// Privacy adds temporary addresses (RFC 8981), which are preferred.
	Privacy bool
	// NoRouters leaves it at the link-local address: router advertisements are not asked for and not
	// taken.
	NoRouters bool
}

// AutoConfigure makes the guest begin anew with IPv6 as a machine does that boots: it looks for duplicates
// of its addresses and asks for routers, which guests of the lab do not do otherwise. Addresses that it was
// given are lost.
func (g *Guest) AutoConfigure(config SLAACConfig) error {
	on := func(is bool, yes, no string) string {
		if is {
			return yes
		}
		return no
	}
	conf := "ipv6/conf/" + GuestDevice + "/"
	for _, s := range [][2]string{
		{"disable_ipv6", "1"},
		{"accept_dad", "1"},
		{"dad_transmits", "1"},
		{"accept_ra", on(config.NoRouters, "0", "1")},
		{"router_solicitations", on(config.NoRouters, "0", "-1")},
		{"use_tempaddr", on(config.Privacy, "2", "0")},
		{"disable_ipv6", "0"},
	} {
		if err := g.SetSysctl(conf+s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// LinkLocal is the address that the kernel makes of a MAC address for its link.
func LinkLocal(mac net.HardwareAddr) netip.Addr {
	return EUI64(netip.MustParsePrefix("fe80::/64"), mac)
}

// EUI64 is the address that the kernel makes of a MAC address in a prefix of 64 bits (RFC 4291 appendix A).
func EUI64(prefix netip.Prefix, mac net.HardwareAddr) netip.Addr {
	a := prefix.Addr().As16()
	copy(a[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.AddrFrom16(a)
}

// RouterAdvertisement makes what a router tells everybody on the link of a prefix, of which guests make
// addresses (RFC 4861 section 4.2); preferred for half as long as they are valid.
func RouterAdvertisement(srcMAC net.HardwareAddr, src netip.Addr, prefix netip.Prefix, valid time.Duration) []byte {
	option := make([]byte, 30) // RFC 4861 section 4.6.2, behind type and length
	option[0] = byte(prefix.Bits())
	option[1] = 0xc0 // on link, autonomous
	binary.BigEndian.PutUint32(option[2:], uint32(valid.Seconds()))
	binary.BigEndian.PutUint32(option[6:], uint32(valid.Seconds()/2))
	copy(option[14:], prefix.Addr().AsSlice())
	return neighbourDiscovery(srcMAC, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, src, netip.IPv6LinkLocalAllNodes(),
		layers.ICMPv6TypeRouterAdvertisement, &layers.ICMPv6RouterAdvertisement{
			HopLimit: 64, RouterLifetime: 1800,
			Options: layers.ICMPv6Options{
				{Type: layers.ICMPv6OptSourceAddress, Data: srcMAC},
				{Type: layers.ICMPv6OptPrefixInfo, Data: option},
			},
		})
}

// NeighbourAdvertisement tells everybody on the link that the target has the MAC address mac (RFC 4861
// section 4.4, unsolicited, overriding).
func NeighbourAdvertisement(srcMAC net.HardwareAddr, src, target netip.Addr, mac net.HardwareAddr) []byte {
	const override = 0x20
	return neighbourDiscovery(srcMAC, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, src, netip.IPv6LinkLocalAllNodes(),
		layers.ICMPv6TypeNeighborAdvertisement, &layers.ICMPv6NeighborAdvertisement{
			Flags: override, TargetAddress: target.AsSlice(),
			Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: mac}},
		})
}

// DuplicateSolicitation asks, from no address, whether somebody has the target already (RFC 4862 section
// 5.4.2).
func DuplicateSolicitation(srcMAC net.HardwareAddr, target netip.Addr) []byte {
	group := solicitedNode(target)
	g := group.As16()
	return neighbourDiscovery(srcMAC, net.HardwareAddr{0x33, 0x33, g[12], g[13], g[14], g[15]}, netip.IPv6Unspecified(), group,
		layers.ICMPv6TypeNeighborSolicitation, &layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice()})
}

func neighbourDiscovery(srcMAC, dstMAC net.HardwareAddr, src, dst netip.Addr, kind uint8, body gopacket.SerializableLayer) []byte {
	ethernet, ip := headers(srcMAC, dstMAC, src, dst, layers.IPProtocolICMPv6, 255)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	must(icmp.SetNetworkLayerForChecksum(ip))
	return serialize(ethernet, ip.(gopacket.SerializableLayer), icmp, body)
}
