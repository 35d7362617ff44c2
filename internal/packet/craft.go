package packet

import (
	"encoding/binary"
	"fmt"
	"net"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Sequence numbers that a text leaves out: those of a connection whose SYNs
// have 1000, so that a handshake can be written without any.
const (
	synSeq  = 1000
	nextSeq = synSeq + 1
)

// craft makes the frame, its lengths and checksums right.
func (n *notation) craft() ([]byte, error) {
	var stack []gopacket.SerializableLayer
	etherType := layers.EthernetTypeIPv4
	switch {
	case n.protocol == "ether":
		etherType = layers.EthernetType(n.type_)
		stack = n.payload()
	case !n.overIP():
		etherType = layers.EthernetTypeARP
		if n.protocol == "rarp" {
			etherType = 0x8035
		}
		stack = append([]gopacket.SerializableLayer{n.arp()}, n.payload()...)
	default:
		if n.from.Addr().Is6() {
			etherType = layers.EthernetTypeIPv6
		}
		stack = n.datagram()
	}
	head := []gopacket.SerializableLayer{&layers.Ethernet{SrcMAC: n.srcMAC(), DstMAC: n.dstMAC(), EthernetType: etherType}}
	for i := range n.vlans {
		head[i] = tagged(head[i])
		head = append(head, &layers.Dot1Q{VLANIdentifier: n.vlans[i], Type: etherType})
	}
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, append(head, stack...)...); err != nil {
		return nil, fmt.Errorf("make the frame: %w", err)
	}
	return buffer.Bytes(), nil
}

// tagged is the layer, followed by a tag.
func tagged(l gopacket.SerializableLayer) gopacket.SerializableLayer {
	switch l := l.(type) {
	case *layers.Ethernet:
		l.EthernetType = layers.EthernetTypeDot1Q
	case *layers.Dot1Q:
		l.Type = layers.EthernetTypeDot1Q
	}
	return l
}

func (n *notation) srcMAC() net.HardwareAddr {
	if n.src != nil {
		return n.src
	}
	return n.ends.Src
}

// dstMAC follows the IP address if that is a group or everybody (RFC 1112
// section 6.4, RFC 2464 section 7).
func (n *notation) dstMAC() net.HardwareAddr {
	to := n.to.Addr()
	switch {
	case n.dst != nil:
		return n.dst
	case !n.overIP() && n.protocol != "ether" && !n.reply:
		return broadcast
	case !n.overIP():
	case to.Is4() && to.As4() == [4]byte{255, 255, 255, 255}:
		return broadcast
	case to.Is4() && to.IsMulticast():
		a := to.As4()
		return net.HardwareAddr{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}
	case to.IsMulticast():
		a := to.As16()
		return net.HardwareAddr{0x33, 0x33, a[12], a[13], a[14], a[15]}
	}
	return n.ends.Dst
}

func (n *notation) payload() []gopacket.SerializableLayer {
	if size := n.option("len", 0); size > 0 {
		return []gopacket.SerializableLayer{gopacket.Payload(make([]byte, size))}
	}
	return nil
}

// arp makes the body; a RARP announcement names the sender as its target
// (RFC 903).
func (n *notation) arp() *layers.ARP {
	operation := uint16(layers.ARPRequest)
	sender, target := n.fromMAC, n.toMAC
	if sender == nil {
		sender = n.srcMAC()
	}
	switch {
	case target != nil:
	case n.reply:
		target = n.dstMAC()
	case n.protocol == "rarp":
		target = sender
	default:
		target = make(net.HardwareAddr, 6)
	}
	if n.protocol == "rarp" {
		operation = 3
	}
	if n.reply {
		operation++
	}
	return &layers.ARP{
		AddrType: layers.LinkTypeEthernet, HwAddressSize: 6, Protocol: layers.EthernetTypeIPv4, ProtAddressSize: 4,
		Operation:       operation,
		SourceHwAddress: sender, SourceProtAddress: n.from.Addr().AsSlice(),
		DstHwAddress: target, DstProtAddress: n.to.Addr().AsSlice(),
	}
}

// datagram makes the IP header and what follows.
func (n *notation) datagram() []gopacket.SerializableLayer {
	protocol := map[string]layers.IPProtocol{
		"tcp": ProtoTCP, "udp": ProtoUDP, "udplite": ProtoUDPLite, "sctp": ProtoSCTP,
		"icmp": ProtoICMP, "icmpv6": ProtoICMPv6, "proto": layers.IPProtocol(n.number),
	}[n.protocol]
	hops, class := uint8(n.option("ttl", 64)), uint8(n.option("dscp", 0)<<2)
	if n.protocol == "icmpv6" && isDiscovery(n.icmpType) {
		hops = uint8(n.option("ttl", 255)) // RFC 4861 takes no other
	}
	var ip interface {
		gopacket.NetworkLayer
		gopacket.SerializableLayer
	}
	if n.from.Addr().Is4() {
		ip = &layers.IPv4{Version: 4, TTL: hops, TOS: class, Flags: layers.IPv4DontFragment, Protocol: protocol,
			SrcIP: n.from.Addr().AsSlice(), DstIP: n.to.Addr().AsSlice()}
	} else {
		ip = &layers.IPv6{Version: 6, HopLimit: hops, TrafficClass: class, NextHeader: protocol,
			SrcIP: n.from.Addr().AsSlice(), DstIP: n.to.Addr().AsSlice()}
	}
	return append([]gopacket.SerializableLayer{ip}, n.transport(ip)...)
}

func (n *notation) transport(ip gopacket.NetworkLayer) []gopacket.SerializableLayer {
	src, dst := n.from.Port(), n.to.Port()
	var head gopacket.SerializableLayer
	switch n.protocol {
	case "tcp":
		tcp := n.tcp()
		tcp.SetNetworkLayerForChecksum(ip)
		head = tcp
	case "udp":
		udp := &layers.UDP{SrcPort: layers.UDPPort(src), DstPort: layers.UDPPort(dst)}
		udp.SetNetworkLayerForChecksum(ip)
		head = udp
	case "udplite":
		return []gopacket.SerializableLayer{n.udpLite()}
	case "sctp":
		tag := uint32(1)
		if n.option("len", 0) == 0 { // INIT has none (RFC 9260 section 8.5.1)
			tag = 0
		}
		return []gopacket.SerializableLayer{&layers.SCTP{SrcPort: layers.SCTPPort(src), DstPort: layers.SCTPPort(dst), VerificationTag: tag}, n.chunk()}
	case "icmp":
		if !n.typed {
			n.icmpType = layers.ICMPv4TypeEchoRequest
		}
		head = &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(uint8(n.icmpType), uint8(n.option("code", 0))),
			Id: uint16(n.option("id", 1)), Seq: uint16(n.option("seq", 1))}
	case "icmpv6":
		if !n.typed {
			n.icmpType = layers.ICMPv6TypeEchoRequest
		}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(uint8(n.icmpType), uint8(n.option("code", 0)))}
		icmp.SetNetworkLayerForChecksum(ip)
		if isDiscovery(n.icmpType) {
			return []gopacket.SerializableLayer{icmp, n.discovery()}
		}
		echo := &layers.ICMPv6Echo{Identifier: uint16(n.option("id", 1)), SeqNumber: uint16(n.option("seq", 1))}
		return append([]gopacket.SerializableLayer{icmp, echo}, n.payload()...)
	default:
		return n.payload()
	}
	return append([]gopacket.SerializableLayer{head}, n.payload()...)
}

func (n *notation) tcp() *layers.TCP {
	seq, ack := uint64(nextSeq), uint64(0)
	if n.flags["syn"] {
		seq = synSeq
	}
	if n.flags["ack"] {
		ack = nextSeq
	}
	return &layers.TCP{
		SrcPort: layers.TCPPort(n.from.Port()), DstPort: layers.TCPPort(n.to.Port()),
		Seq: uint32(n.option("seq", seq)), Ack: uint32(n.option("ack", ack)), Window: uint16(n.option("win", 65535)),
		FIN: n.flags["fin"], SYN: n.flags["syn"], RST: n.flags["rst"], PSH: n.flags["psh"],
		ACK: n.flags["ack"], URG: n.flags["urg"], ECE: n.flags["ece"], CWR: n.flags["cwr"],
	}
}

// chunk is what an SCTP packet carries: an INIT, or as much DATA as is asked
// for (RFC 9260 section 3.3).
func (n *notation) chunk() gopacket.Payload {
	be := binary.BigEndian
	if size := int(n.option("len", 0)); size > 0 {
		data := make([]byte, 16+(size+3)/4*4)
		data[1] = 3 // begins and ends here
		be.PutUint16(data[2:], uint16(16+size))
		be.PutUint32(data[4:], 1)
		return data
	}
	init := make([]byte, 20)
	init[0] = 1
	be.PutUint16(init[2:], 20)
	be.PutUint32(init[4:], 1)     // tag
	be.PutUint32(init[8:], 65535) // window
	be.PutUint16(init[12:], 1)    // streams
	be.PutUint16(init[14:], 1)
	be.PutUint32(init[16:], 1) // TSN
	return init
}

// udpLite makes a datagram whose checksum covers everything (RFC 3828).
func (n *notation) udpLite() gopacket.Payload {
	be := binary.BigEndian
	data := make([]byte, 8+n.option("len", 0))
	be.PutUint16(data, n.from.Port())
	be.PutUint16(data[2:], n.to.Port())
	pseudo := append(n.from.Addr().AsSlice(), n.to.Addr().AsSlice()...)
	pseudo = be.AppendUint32(pseudo, uint32(len(data)))
	pseudo = be.AppendUint32(pseudo, ProtoUDPLite)
	sum := gopacket.FoldChecksum(gopacket.ComputeChecksum(data, gopacket.ComputeChecksum(pseudo, 0)))
	if sum == 0 {
		sum = 0xffff
	}
	be.PutUint16(data[6:], sum)
	return data
}
