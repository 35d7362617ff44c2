package policy

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"strings"

	"tapgate/internal/packet"
)

// fieldNames are the words in which conditions are shown.
var fieldNames = map[packet.Field]string{
	packet.EtherType: "ethertype", packet.SrcMAC: "src mac", packet.DstMAC: "dst mac",
	packet.VLANID: "vlan", packet.VLANEncap: "inner ethertype",
	packet.STPType: "bpdu type", packet.STPFlags: "bpdu flags",
	packet.STPRootPriority: "root priority", packet.STPRootAddress: "root address", packet.STPRootCost: "root cost",
	packet.STPSenderPriority: "sender priority", packet.STPSenderAddress: "sender address",
	packet.STPPort: "bridge port", packet.STPAge: "age", packet.STPMaxAge: "max age",
	packet.STPHelloTime: "hello time", packet.STPForwardDelay: "forward delay",
	packet.ARPHwType: "arp hardware", packet.ARPProtocol: "arp protocol", packet.ARPOpcode: "arp opcode",
	packet.ARPSrcMAC: "arp sender mac", packet.ARPDstMAC: "arp target mac",
	packet.ARPSrcIP: "arp sender", packet.ARPDstIP: "arp target", packet.ARPGratuitous: "gratuitous",
	packet.Family: "ip version", packet.SrcIP: "src", packet.DstIP: "dst", packet.DSCP: "dscp",
	packet.LinkProto: "protocol", packet.NetProto: "protocol",
	packet.SrcPort: "sport", packet.DstPort: "dport", packet.TCPFlags: "flags",
	packet.ICMPType: "type", packet.ICMPCode: "code", packet.NDTarget: "nd target", packet.NDMAC: "nd mac",
	packet.ConnState: "state", packet.ConnDirection: "direction",
}

var protocolNames = map[uint64]string{
	1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 50: "esp", 51: "ah", 58: "icmpv6", 132: "sctp", 136: "udplite",
}

var etherTypeNames = map[uint64]string{
	packet.EtherTypeIPv4: "ipv4", packet.EtherTypeIPv6: "ipv6", packet.EtherTypeARP: "arp",
	packet.EtherTypeRARP: "rarp", packet.EtherTypeVLAN: "vlan",
}

// String is the condition as a person reads it.
func (c Condition) String() string {
	parts := make([]string, len(c.Terms))
	for i, t := range c.Terms {
		parts[i] = t.text(c.Negated && len(c.Terms) == 1)
	}
	s := strings.Join(parts, " ")
	if c.Negated && len(c.Terms) > 1 {
		return "not (" + s + ")"
	}
	return s
}

func (t Term) text(negated bool) string {
	eq := "="
	if negated {
		eq = "!="
	}
	name := fieldNames[t.Field]
	switch t.Field {
	case packet.ConnState:
		return name + eq + stateNames(packet.State(t.Mask.Lo))
	case packet.ConnDirection:
		return name + eq + map[uint64]string{1: "original", 2: "reply"}[t.Lo.Lo]
	case packet.TCPFlags:
		return name + eq + flagNames(t.Mask.Lo) + "/" + flagNames(t.Lo.Lo)
	case packet.TCPOptions0, packet.TCPOptions1, packet.TCPOptions2, packet.TCPOptions3:
		kind := int(t.Field-packet.TCPOptions0)*64 + bits.TrailingZeros64(t.Mask.Lo)
		return fmt.Sprintf("option%s%d", eq, kind)
	}
	lo, hi := t.value(t.Lo), t.value(t.Hi)
	switch {
	case lo != hi:
		return name + eq + lo + "-" + hi
	case !t.wholeMask():
		return name + eq + lo + t.maskText()
	}
	return name + eq + lo
}

func (t Term) wholeMask() bool {
	return t.Mask == fieldMask(t.Field) || t.isMAC() && t.Mask == all48 || t.isAddr() && t.Mask == all32
}

func (t Term) isMAC() bool {
	return t.Field.Info().Bits == 64
}

func (t Term) isAddr() bool {
	switch t.Field {
	case packet.SrcIP, packet.DstIP, packet.ARPSrcIP, packet.ARPDstIP, packet.NDTarget:
		return true
	}
	return false
}

// v4 tells an IPv4 address from an IPv6 one by the width of its mask.
func (t Term) v4() bool { return t.Field != packet.NDTarget && t.Mask.Hi == 0 && t.Mask.Lo>>32 == 0 }

func (t Term) value(v packet.U128) string {
	switch {
	case t.isMAC():
		return macText(v.Lo)
	case t.isAddr() && t.v4():
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(v.Lo)))).String()
	case t.isAddr():
		b := binary.BigEndian.AppendUint64(nil, v.Hi)
		return netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(b, v.Lo))).String()
	case t.Field == packet.EtherType || t.Field == packet.VLANEncap:
		if name, ok := etherTypeNames[v.Lo]; ok {
			return name
		}
		return fmt.Sprintf("0x%04x", v.Lo)
	case t.Field == packet.LinkProto || t.Field == packet.NetProto:
		if name, ok := protocolNames[v.Lo]; ok {
			return name
		}
	}
	return fmt.Sprint(v.Lo)
}

func (t Term) maskText() string {
	switch {
	case t.isMAC():
		return "/" + macText(t.Mask.Lo)
	case t.isAddr():
		return fmt.Sprintf("/%d", bits.OnesCount64(t.Mask.Hi)+bits.OnesCount64(t.Mask.Lo))
	}
	return fmt.Sprintf("/0x%x", t.Mask.Lo)
}

func macText(n uint64) string {
	return net.HardwareAddr(binary.BigEndian.AppendUint64(nil, n)[2:]).String()
}

func stateNames(s packet.State) string {
	var names []string
	for i, name := range []string{"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"} {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

func flagNames(f uint64) string {
	if f&0x3f == 0 {
		return "NONE"
	}
	var names []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"} {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}
