package learn

import (
	"net"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/mdlayher/ndp"
)

var (
	any6     = Config{MAC: guestMAC, Mode: Any, IPv6: true}
	dhcp6    = Config{MAC: guestMAC, Mode: FromDHCP, IPv6: true}
	router   = netip.MustParseAddr("fe80::99")
	guestLL  = netip.MustParseAddr("fe80::5054:ff:fe00:1")
	none6    = netip.IPv6Unspecified()
	all6     = netip.MustParseAddr("ff02::1")
	clientID = duidOf(guestMAC)
	serverD  = duidOf(peerMAC)
)

// icmp6 is a message of neighbour discovery in a frame.
func icmp6(src, dst net.HardwareAddr, from, to netip.Addr, m ndp.Message) []byte {
	body, err := ndp.MarshalMessageChecksum(m, from, to)
	if err != nil {
		panic(err)
	}
	return raw6(src, dst, from, to, body)
}

func raw6(src, dst net.HardwareAddr, from, to netip.Addr, body []byte) []byte {
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true},
		&layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv6},
		&layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.AsSlice(), DstIP: to.AsSlice()},
		gopacket.Payload(body)); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

// group is the Ethernet address of an IPv6 group.
func group(a netip.Addr) net.HardwareAddr {
	b := a.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// dad is what looks for duplicates of an address.
func dad(src net.HardwareAddr, target string) []byte {
	a := netip.MustParseAddr(target)
	to := solicitedNode(a)
	return icmp6(src, group(to), none6, to, &ndp.NeighborSolicitation{TargetAddress: a})
}

// solicit asks for a neighbour from an address.
func solicit(src net.HardwareAddr, from string) []byte {
	to := solicitedNode(router)
	return icmp6(src, group(to), netip.MustParseAddr(from), to, &ndp.NeighborSolicitation{
		TargetAddress: router, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: src}},
	})
}

// advertise answers for an address, to everybody.
func advertise(src net.HardwareAddr, from, target string) []byte {
	return icmp6(src, group(all6), netip.MustParseAddr(from), all6, &ndp.NeighborAdvertisement{
		Override: true, TargetAddress: netip.MustParseAddr(target), Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: src}},
	})
}

// routers advertises prefixes.
func routers(prefixes ...*ndp.PrefixInformation) []byte { return routersFrom(router, prefixes...) }

func routersFrom(from netip.Addr, prefixes ...*ndp.PrefixInformation) []byte {
	m := &ndp.RouterAdvertisement{RouterLifetime: hour / 2}
	for _, p := range prefixes {
		m.Options = append(m.Options, p)
	}
	return icmp6(peerMAC, group(all6), from, all6, m)
}

func autonomousFor(p string, valid time.Duration) *ndp.PrefixInformation {
	x := netip.MustParsePrefix(p)
	return &ndp.PrefixInformation{
		Prefix: x.Addr(), PrefixLength: uint8(x.Bits()), OnLink: true, AutonomousAddressConfiguration: true,
		ValidLifetime: valid, PreferredLifetime: min(valid, hour),
	}
}

func duidOf(mac net.HardwareAddr) dhcpv6.DUID { return &dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: mac} }

// dhcp6Out is a DHCPv6 message of the guest, with its name.
func dhcp6Out(kind dhcpv6.MessageType, xid byte, options ...dhcpv6.Option) []byte {
	to := netip.MustParseAddr("ff02::1:2")
	return udp(guestMAC, group(to), netip.AddrPortFrom(guestLL, dhcpv6Client), netip.AddrPortFrom(to, dhcpv6Server),
		message6(kind, xid, append([]dhcpv6.Option{dhcpv6.OptClientID(clientID)}, options...)...))
}

// dhcp6In is a server's reply, with both names.
func dhcp6In(kind dhcpv6.MessageType, xid byte, options ...dhcpv6.Option) []byte {
	return dhcp6Raw(message6(kind, xid, append([]dhcpv6.Option{dhcpv6.OptClientID(clientID), dhcpv6.OptServerID(serverD)}, options...)...))
}

// dhcp6Raw is whatever is sent as a DHCPv6 reply.
func dhcp6Raw(b []byte) []byte {
	return udp(peerMAC, guestMAC, netip.AddrPortFrom(router, dhcpv6Server), netip.AddrPortFrom(guestLL, dhcpv6Client), b)
}

func message6(kind dhcpv6.MessageType, xid byte, options ...dhcpv6.Option) []byte {
	m := dhcpv6.Message{MessageType: kind, TransactionID: dhcpv6.TransactionID{0, 0, xid}}
	for _, o := range options {
		m.Options.Add(o)
	}
	return m.ToBytes()
}

func iaAddr(a string, valid time.Duration, options ...dhcpv6.Option) *dhcpv6.OptIAAddress {
	return &dhcpv6.OptIAAddress{
		IPv6Addr: net.ParseIP(a), PreferredLifetime: valid / 2, ValidLifetime: valid, Options: dhcpv6.AddressOptions{Options: options},
	}
}

func iaNA(options ...dhcpv6.Option) dhcpv6.Option {
	return &dhcpv6.OptIANA{Options: dhcpv6.IdentityOptions{Options: options}}
}

func iaTA(options ...dhcpv6.Option) dhcpv6.Option {
	return &dhcpv6.OptIATA{Options: dhcpv6.IdentityOptions{Options: options}}
}

func iaPD(options ...dhcpv6.Option) dhcpv6.Option {
	return &dhcpv6.OptIAPD{Options: dhcpv6.PDOptions{Options: options}}
}

func iaPrefix(p string, valid time.Duration) dhcpv6.Option {
	_, x, err := net.ParseCIDR(p)
	if err != nil {
		panic(err)
	}
	return &dhcpv6.OptIAPrefix{Prefix: x, PreferredLifetime: valid, ValidLifetime: valid}
}
