package lab

import (
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// UnknownEtherType is IEEE's local experimental ethertype 1: no filter knows it.
const UnknownEtherType = 0x88b5

// Broadcast is the Ethernet broadcast address.
var Broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// UDPFrame makes a UDP datagram in IPv4 or IPv6, with correct checksums. Any address may be a lie.
func UDPFrame(srcMAC, dstMAC net.HardwareAddr, src, dst netip.AddrPort, payload []byte) []byte {
	udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	ethernet, ip := headers(srcMAC, dstMAC, src.Addr(), dst.Addr(), layers.IPProtocolUDP, 64)
	must(udp.SetNetworkLayerForChecksum(ip))
	return serialize(ethernet, ip.(gopacket.SerializableLayer), udp, gopacket.Payload(payload))
}

// TCPFrame makes a TCP segment; set its ports, flags and options.
func TCPFrame(srcMAC, dstMAC net.HardwareAddr, src, dst netip.Addr, segment layers.TCP, payload []byte) []byte {
	ethernet, ip := headers(srcMAC, dstMAC, src, dst, layers.IPProtocolTCP, 64)
	must(segment.SetNetworkLayerForChecksum(ip))
	return serialize(ethernet, ip.(gopacket.SerializableLayer), &segment, gopacket.Payload(payload))
}

// ARPFrame makes an ARP request or reply (operation 1, 2) for IPv4. The addresses of the Ethernet
// header are its own, those of the body are sender's and target's.
func ARPFrame(srcMAC, dstMAC net.HardwareAddr, operation uint16,
	senderMAC net.HardwareAddr, senderIP netip.Addr, targetMAC net.HardwareAddr, targetIP netip.Addr) []byte {
	return serialize(
		&layers.Ethernet{SrcMAC: srcMAC, DstMAC: dstMAC, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, HwAddressSize: 6,
			Protocol: layers.EthernetTypeIPv4, ProtAddressSize: 4,
			Operation:       operation,
			SourceHwAddress: senderMAC, SourceProtAddress: senderIP.AsSlice(),
			DstHwAddress: targetMAC, DstProtAddress: targetIP.AsSlice(),
		})
}

// EtherTypeFrame makes a frame of any ethertype.
func EtherTypeFrame(srcMAC, dstMAC net.HardwareAddr, etherType uint16, payload []byte) []byte {
	return serialize(
		&layers.Ethernet{SrcMAC: srcMAC, DstMAC: dstMAC, EthernetType: layers.EthernetType(etherType)},
		gopacket.Payload(payload))
}

// NeighbourSolicitation asks, from an address, who has the target (RFC 4861 section 4.3).
func NeighbourSolicitation(srcMAC net.HardwareAddr, src, target netip.Addr) []byte {
	group := solicitedNode(target)
	dst := group.As16()
	dstMAC := net.HardwareAddr{0x33, 0x33, dst[12], dst[13], dst[14], dst[15]} // RFC 2464 section 7
	// Receivers take neighbour discovery only with a hop limit of 255 (RFC 4861 section 7.1.1).
	ethernet, ip := headers(srcMAC, dstMAC, src, group, layers.IPProtocolICMPv6, 255)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	must(icmp.SetNetworkLayerForChecksum(ip))
	return serialize(ethernet, ip.(gopacket.SerializableLayer), icmp, &layers.ICMPv6NeighborSolicitation{
		TargetAddress: target.AsSlice(),
		Options:       layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: srcMAC}},
	})
}

// solicitedNode is the multicast address that the owner of an address listens to (RFC 4291
// section 2.7.1).
func solicitedNode(addr netip.Addr) netip.Addr {
	a := addr.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 0x01, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
}

// headers makes the Ethernet and IP header that go with the family of src.
func headers(srcMAC, dstMAC net.HardwareAddr, src, dst netip.Addr, protocol layers.IPProtocol, hops uint8) (*layers.Ethernet, gopacket.NetworkLayer) {
	ethernet := &layers.Ethernet{SrcMAC: srcMAC, DstMAC: dstMAC, EthernetType: layers.EthernetTypeIPv4}
	if src.Is4() {
		return ethernet, &layers.IPv4{
			Version: 4, TTL: hops, Flags: layers.IPv4DontFragment, Protocol: protocol,
			SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
		}
	}
	ethernet.EthernetType = layers.EthernetTypeIPv6
	return ethernet, &layers.IPv6{
		Version: 6, HopLimit: hops, NextHeader: protocol,
		SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
	}
}

func serialize(all ...gopacket.SerializableLayer) []byte {
	buffer := gopacket.NewSerializeBuffer()
	must(gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...))
	return buffer.Bytes()
}

// must turns an impossible frame, such as one from IPv4 to IPv6, into a panic: it is a mistake of
// the caller's, never of the network's.
func must(err error) {
	if err != nil {
		panic("lab: make a frame: " + err.Error())
	}
}
