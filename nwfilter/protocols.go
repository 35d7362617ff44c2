package nwfilter

import "slices"

// This file is the only table of the language: parsing, checking, formatting,
// matching and documentation follow it. The order of attributes is the order
// in which libvirt prints them, which also orders variables in an expansion.

var ethertypes = []NamedNumber{
	{"arp", 0x0806}, {"rarp", 0x8035}, {"ipv4", 0x0800}, {"ipv6", 0x86dd}, {"vlan", 0x8100},
}

var opcodes = []NamedNumber{
	{"Request", 1}, {"Reply", 2}, {"Request_Reverse", 3}, {"Reply_Reverse", 4}, {"DRARP_Request", 5},
	{"DRARP_Reply", 6}, {"DRARP_Error", 7}, {"InARP_Request", 8}, {"ARP_NAK", 9},
}

var ipProtocols = []NamedNumber{
	{"tcp", 6}, {"udp", 17}, {"udplite", 136}, {"esp", 50}, {"ah", 51},
	{"icmp", 1}, {"igmp", 2}, {"sctp", 132}, {"icmpv6", 58},
}

func plain(name string, t Type) AttributeSpec { return AttributeSpec{Name: name, Type: t} }

// follower is an attribute that completes a base: a mask or the end of a
// range. It says nothing alone and has no sign of its own.
func follower(name string, t Type, base string) AttributeSpec {
	return AttributeSpec{Name: name, Type: t, SignOf: base, NeedsBase: base}
}

// upTo is a pair: a value, or with the second attribute a range.
func upTo(name string, t Type) []AttributeSpec {
	return []AttributeSpec{plain(name, t), follower(name+"-hi", t, name)}
}

// masked is an address and its mask.
func masked(address string, t Type, mask string, maskType Type) []AttributeSpec {
	return []AttributeSpec{plain(address, t), follower(mask, maskType, address)}
}

// portRanges are the attributes of TCP, UDP and SCTP ports. libvirt gives all of them
// the sign of srcportstart; here each range keeps its own, as it is written.
var portRanges = []AttributeSpec{
	plain("srcportstart", U16), follower("srcportend", U16, "srcportstart"),
	plain("dstportstart", U16), follower("dstportend", U16, "dstportstart"),
}

var comment = []AttributeSpec{{Name: "comment", Type: Text, NoVariable: true}}

var sourceMAC = masked("srcmacaddr", MAC, "srcmacmask", MACMask)

var ethernet = slices.Concat(sourceMAC, masked("dstmacaddr", MAC, "dstmacmask", MACMask))

func addresses(address, mask Type) []AttributeSpec {
	return slices.Concat(masked("srcipaddr", address, "srcipmask", mask), masked("dstipaddr", address, "dstipmask", mask))
}

var dscp = AttributeSpec{Name: "dscp", Type: U8, Max: 63}

var ipProtocol = AttributeSpec{Name: "protocol", Type: U8, Names: ipProtocols}

var arp = slices.Concat(ethernet, []AttributeSpec{
	plain("hwtype", U16),
	plain("protocoltype", U16),
	{Name: "opcode", Type: U16, Names: opcodes, decimal: true},
	plain("arpsrcmacaddr", MAC), plain("arpdstmacaddr", MAC),
},
	masked("arpsrcipaddr", IPv4, "arpsrcipmask", IPv4Mask),
	masked("arpdstipaddr", IPv4, "arpdstipmask", IPv4Mask),
	[]AttributeSpec{{Name: "gratuitous", Type: Bool, NoVariable: true}}, comment)

var stp = slices.Concat(sourceMAC, []AttributeSpec{plain("type", U8), plain("flags", U8)},
	upTo("root-priority", U16), masked("root-address", MAC, "root-address-mask", MACMask), upTo("root-cost", U32),
	upTo("sender-priority", U16), masked("sender-address", MAC, "sender-address-mask", MACMask),
	upTo("port", U16), upTo("age", U16), upTo("max-age", U16), upTo("hello-time", U16), upTo("forward-delay", U16), comment)

// icmpRange is the ICMPv6 part of the link stage's <ipv6>: any of the four
// makes a range, whose sign is that of type.
var icmpRange = []AttributeSpec{
	plain("type", U8), {Name: "typeend", Type: U8, SignOf: "type"},
	{Name: "code", Type: U8, SignOf: "type"}, {Name: "codeend", Type: U8, SignOf: "type"},
}

// discovery are the fields of neighbour discovery messages (RFC 4861), which
// libvirt's language does not have.
var discovery = slices.Concat(masked("ndtargetipaddr", IPv6, "ndtargetipmask", IPv6Mask), masked("ndmacaddr", MAC, "ndmacmask", MACMask))

// network is what every network-stage protocol has. libvirt takes dstipto for
// an IPv4 address even over IPv6; here it is of the rule's family.
func network(address, mask Type, more ...AttributeSpec) []AttributeSpec {
	ranges := []AttributeSpec{
		plain("srcipfrom", address), follower("srcipto", address, "srcipfrom"),
		plain("dstipfrom", address), follower("dstipto", address, "dstipfrom"),
	}
	for i := range ranges {
		ranges[i].OverriddenBy = ranges[i].Name[:3] + "ipaddr"
	}
	return slices.Concat([]AttributeSpec{plain("srcmacaddr", MAC)}, addresses(address, mask), ranges, []AttributeSpec{
		dscp,
		plain("connlimit-above", U16Decimal),
		{Name: "state", Type: States, NoVariable: true},
		{Name: "ipset", Type: IPSetName, NeedsBase: "ipsetflags"},
		{Name: "ipsetflags", Type: IPSetFlags, SignOf: "ipset", NeedsBase: "ipset"},
	}, more, comment)
}

var tcpExtra = []AttributeSpec{
	plain("option", U8),
	{Name: "flags", Type: TCPFlags, NoVariable: true},
}

var icmpExtra = []AttributeSpec{plain("type", U8), follower("code", U8, "type")}

func linkProtocol(name string, blocks ...[]AttributeSpec) *Protocol {
	return &Protocol{Name: name, Stage: LinkStage, Attributes: slices.Concat(blocks...)}
}

func overIPv4(name string, more ...AttributeSpec) *Protocol {
	return &Protocol{Name: name, Stage: NetworkStage, Family: FamilyIPv4, Attributes: network(IPv4, IPv4Mask, more...)}
}

func overIPv6(name string, more ...AttributeSpec) *Protocol {
	return &Protocol{Name: name, Stage: NetworkStage, Family: FamilyIPv6, Attributes: network(IPv6, IPv6Mask, more...)}
}

var protocols = []*Protocol{
	linkProtocol("mac", ethernet, []AttributeSpec{
		{Name: "protocolid", Type: U16, Min: 0x600, Max: 0xffff, Names: ethertypes, Ethertype: true},
	}, comment),
	linkProtocol("vlan", ethernet, []AttributeSpec{
		{Name: "vlanid", Type: U16, Max: 4095},
		{Name: "encap-protocol", Type: U16, Min: 0x3c, Max: 0xffff, Names: ethertypes, Ethertype: true},
	}, comment),
	linkProtocol("stp", stp),
	linkProtocol("arp", arp),
	linkProtocol("rarp", arp),
	linkProtocol("ip", ethernet, addresses(IPv4, IPv4Mask), []AttributeSpec{ipProtocol}, portRanges, []AttributeSpec{dscp}, comment),
	linkProtocol("ipv6", ethernet, addresses(IPv6, IPv6Mask), []AttributeSpec{ipProtocol}, portRanges, icmpRange, discovery, comment),

	overIPv4("tcp", slices.Concat(portRanges, tcpExtra)...),
	overIPv4("udp", portRanges...),
	overIPv4("udplite"),
	overIPv4("sctp", portRanges...),
	overIPv4("icmp", icmpExtra...),
	overIPv4("igmp"),
	overIPv4("esp"),
	overIPv4("ah"),
	overIPv4("all"),

	overIPv6("tcp-ipv6", slices.Concat(portRanges, tcpExtra[:1])...),
	overIPv6("udp-ipv6", portRanges...),
	overIPv6("udplite-ipv6"),
	overIPv6("sctp-ipv6", portRanges...),
	overIPv6("icmpv6", slices.Concat(icmpExtra, discovery)...),
	overIPv6("esp-ipv6"),
	overIPv6("ah-ipv6"),
	overIPv6("all-ipv6"),
}

// Protocols returns every protocol element of the language, link stage first.
// The protocols are shared and must not be changed.
func Protocols() []*Protocol { return slices.Clone(protocols) }

// LookupProtocol returns the protocol of an element's name, which is
// case-sensitive, or nil.
func LookupProtocol(name string) *Protocol {
	for _, p := range protocols {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Attribute returns the named attribute of the protocol, or nil.
func (p *Protocol) Attribute(name string) *AttributeSpec {
	if i := p.index(name); i >= 0 {
		return &p.Attributes[i]
	}
	return nil
}

func (p *Protocol) index(name string) int {
	return slices.IndexFunc(p.Attributes, func(s AttributeSpec) bool { return s.Name == name })
}
