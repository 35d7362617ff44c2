package packet

import "fmt"

// Field is a member of Packet that rules may name.
type Field uint8

// The fields.
const (
	EtherType Field = iota
	SrcMAC
	DstMAC
	VLANID
	VLANEncap
	STPType
	STPFlags
	STPRootPriority
	STPRootAddress
	STPRootCost
	STPSenderPriority
	STPSenderAddress
	STPPort
	STPAge
	STPMaxAge
	STPHelloTime
	STPForwardDelay
	ARPHwType
	ARPProtocol
	ARPOpcode
	ARPSrcMAC
	ARPDstMAC
	ARPSrcIP
	ARPDstIP
	ARPGratuitous
	Family
	SrcIP
	DstIP
	DSCP
	LinkProto
	NetProto
	SrcPort
	DstPort
	TCPFlags
	TCPOptions0 // option kinds 0 … 63; the next three follow
	TCPOptions1
	TCPOptions2
	TCPOptions3
	ICMPType
	ICMPCode
	NDTarget
	NDMAC
	ConnState
	ConnDirection
	NumFields
)

// FieldInfo describes a field.
type FieldInfo struct {
	// Member is the name of struct packet's member in packet.h.
	Member string
	// Index counts 64-bit words within the member, for arrays.
	Index int
	// Bits is the width: 8, 16, 32, 64 or 128.
	Bits int
	// Needs is the group without which the field has no value.
	Needs Have
	// Transport is set for what a later fragment cannot know by itself.
	Transport bool

	value func(*Packet) U128
}

func low[T ~uint8 | ~uint16 | ~uint32 | ~uint64](get func(*Packet) T) func(*Packet) U128 {
	return func(p *Packet) U128 { return U128{Lo: uint64(get(p))} }
}

var fields = [NumFields]FieldInfo{
	EtherType:         {"ethertype", 0, 16, 0, false, low(func(p *Packet) uint16 { return p.EtherType })},
	SrcMAC:            {"src_mac", 0, 64, 0, false, low(func(p *Packet) uint64 { return p.SrcMAC })},
	DstMAC:            {"dst_mac", 0, 64, 0, false, low(func(p *Packet) uint64 { return p.DstMAC })},
	VLANID:            {"vlan_id", 0, 16, HaveVLAN, false, low(func(p *Packet) uint16 { return p.VLANID })},
	VLANEncap:         {"vlan_encap", 0, 16, HaveVLAN, false, low(func(p *Packet) uint16 { return p.VLANEncap })},
	STPType:           {"stp_type", 0, 8, HaveSTP, false, low(func(p *Packet) uint8 { return p.STPType })},
	STPFlags:          {"stp_flags", 0, 8, HaveSTPConfig, false, low(func(p *Packet) uint8 { return p.STPFlags })},
	STPRootPriority:   {"stp_root_priority", 0, 16, HaveSTPConfig, false, low(func(p *Packet) uint16 { return p.STPRootPriority })},
	STPRootAddress:    {"stp_root_address", 0, 64, HaveSTPConfig, false, low(func(p *Packet) uint64 { return p.STPRootAddress })},
	STPRootCost:       {"stp_root_cost", 0, 32, HaveSTPConfig, false, low(func(p *Packet) uint32 { return p.STPRootCost })},
	STPSenderPriority: {"stp_sender_priority", 0, 16, HaveSTPConfig, false, low(func(p *Packet) uint16 { return p.STPSenderPriority })},
	STPSenderAddress:  {"stp_sender_address", 0, 64, HaveSTPConfig, false, low(func(p *Packet) uint64 { return p.STPSenderAddress })},
	STPPort:           {"stp_port", 0, 16, HaveSTPConfig, false, low(func(p *Packet) uint16 { return p.STPPort })},
	STPAge:            {"stp_age", 0, 16, HaveSTPConfig, false, low(func(p *Packet) uint16 { return p.STPAge })},
	STPMaxAge:         {"stp_max_age", 0, 16, HaveSTPConfig, false, low(func(p *Packet) uint16 { return p.STPMaxAge })},
	STPHelloTime:      {"stp_hello_time", 0, 16, HaveSTPConfig, false, low(func(p *Packet) uint16 { return p.STPHelloTime })},
	STPForwardDelay:   {"stp_forward_delay", 0, 16, HaveSTPConfig, false, low(func(p *Packet) uint16 { return p.STPForwardDelay })},
	ARPHwType:         {"arp_hwtype", 0, 16, HaveARP, false, low(func(p *Packet) uint16 { return p.ARPHwType })},
	ARPProtocol:       {"arp_protocol", 0, 16, HaveARP, false, low(func(p *Packet) uint16 { return p.ARPProtocol })},
	ARPOpcode:         {"arp_opcode", 0, 16, HaveARP, false, low(func(p *Packet) uint16 { return p.ARPOpcode })},
	ARPSrcMAC:         {"arp_src_mac", 0, 64, HaveARPSrcMAC, false, low(func(p *Packet) uint64 { return p.ARPSrcMAC })},
	ARPDstMAC:         {"arp_dst_mac", 0, 64, HaveARPDstMAC, false, low(func(p *Packet) uint64 { return p.ARPDstMAC })},
	ARPSrcIP:          {"arp_src_ip", 0, 32, HaveARPIP, false, low(func(p *Packet) uint32 { return p.ARPSrcIP })},
	ARPDstIP:          {"arp_dst_ip", 0, 32, HaveARPIP, false, low(func(p *Packet) uint32 { return p.ARPDstIP })},
	ARPGratuitous:     {"arp_gratuitous", 0, 8, HaveARPIP, false, low(func(p *Packet) uint8 { return p.ARPGratuitous })},
	Family:            {"family", 0, 8, 0, false, low(func(p *Packet) uint8 { return p.Family })},
	SrcIP:             {"src_ip", 0, 128, 0, false, func(p *Packet) U128 { return p.SrcIP }},
	DstIP:             {"dst_ip", 0, 128, 0, false, func(p *Packet) U128 { return p.DstIP }},
	DSCP:              {"dscp", 0, 8, 0, false, low(func(p *Packet) uint8 { return p.DSCP })},
	LinkProto:         {"link_proto", 0, 8, HaveLinkProto, false, low(func(p *Packet) uint8 { return p.LinkProto })},
	NetProto:          {"net_proto", 0, 8, HaveNetProto, false, low(func(p *Packet) uint8 { return p.NetProto })},
	SrcPort:           {"src_port", 0, 16, HavePorts, true, low(func(p *Packet) uint16 { return p.SrcPort })},
	DstPort:           {"dst_port", 0, 16, HavePorts, true, low(func(p *Packet) uint16 { return p.DstPort })},
	TCPFlags:          {"tcp_flags", 0, 8, HaveTCP, true, low(func(p *Packet) uint8 { return p.TCPFlags })},
	TCPOptions0:       {"tcp_options", 0, 64, HaveTCPOptions, true, low(func(p *Packet) uint64 { return p.TCPOptions[0] })},
	TCPOptions1:       {"tcp_options", 1, 64, HaveTCPOptions, true, low(func(p *Packet) uint64 { return p.TCPOptions[1] })},
	TCPOptions2:       {"tcp_options", 2, 64, HaveTCPOptions, true, low(func(p *Packet) uint64 { return p.TCPOptions[2] })},
	TCPOptions3:       {"tcp_options", 3, 64, HaveTCPOptions, true, low(func(p *Packet) uint64 { return p.TCPOptions[3] })},
	ICMPType:          {"icmp_type", 0, 8, HaveICMP | HaveICMPv6, true, low(func(p *Packet) uint8 { return p.ICMPType })},
	ICMPCode:          {"icmp_code", 0, 8, HaveICMP | HaveICMPv6, true, low(func(p *Packet) uint8 { return p.ICMPCode })},
	NDTarget:          {"nd_target", 0, 128, HaveNDTarget, true, func(p *Packet) U128 { return p.NDTarget }},
	NDMAC:             {"nd_mac", 0, 64, HaveNDMAC, true, low(func(p *Packet) uint64 { return p.NDMAC })},
	ConnState:         {"state", 0, 8, 0, true, low(func(p *Packet) State { return p.State })},
	ConnDirection:     {"direction", 0, 8, 0, true, low(func(p *Packet) Direction { return p.Direction })},
}

// Info describes the field.
func (f Field) Info() *FieldInfo { return &fields[f] }

func (f Field) String() string {
	info := f.Info()
	if info.Index > 0 {
		return fmt.Sprintf("%s[%d]", info.Member, info.Index)
	}
	return info.Member
}

// Value is the field's value in p; ok is false if the frame does not have it.
func (p *Packet) Value(f Field) (v U128, ok bool) {
	info := f.Info()
	if info.Needs != 0 && p.Have&info.Needs == 0 {
		return U128{}, false
	}
	return info.value(p), true
}
