package policy

import (
	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

// stpGroup is the address that bridge PDUs are sent to (IEEE 802.1D 7.12.3).
const stpGroup = 0x0180c2000000

var linkTypes = map[string]uint64{
	"vlan": packet.EtherTypeVLAN, "arp": packet.EtherTypeARP, "rarp": packet.EtherTypeRARP,
	"ip": packet.EtherTypeIPv4, "ipv6": packet.EtherTypeIPv6,
}

var netProtocols = map[string]uint64{
	"tcp": 6, "udp": 17, "udplite": 136, "sctp": 132, "icmp": 1, "igmp": 2, "esp": 50, "ah": 51,
	"tcp-ipv6": 6, "udp-ipv6": 17, "udplite-ipv6": 136, "sctp-ipv6": 132, "icmpv6": 58, "esp-ipv6": 50, "ah-ipv6": 51,
}

// protocolConditions are what the protocol element implies by itself.
func (c *concrete) protocolConditions() ([]Condition, error) {
	name := c.rule.Protocol.Name
	if c.rule.Protocol.Stage == nwfilter.NetworkStage {
		conds := []Condition{must(equals(packet.Family, uint64(c.rule.Protocol.Family)))}
		if proto, ok := netProtocols[name]; ok {
			conds = append(conds, must(equals(packet.NetProto, proto)))
		}
		return conds, nil
	}
	switch name {
	case "mac":
		return nil, nil
	case "stp":
		return []Condition{must(equals(packet.DstMAC, stpGroup))}, nil
	}
	return []Condition{must(equals(packet.EtherType, linkTypes[name]))}, c.checkPorts()
}

// checkPorts refuses what no engine could match: ports without one protocol
// that has them.
func (c *concrete) checkPorts() error {
	for _, name := range []string{"srcportstart", "dstportstart"} {
		a := c.attr(name)
		if a == nil {
			continue
		}
		proto := c.attr("protocol")
		if proto == nil || proto.Negated || proto.Value.Variable != nil {
			return c.fault(a, "<%s> %s needs a plain protocol=\"tcp\", \"udp\", \"dccp\" or \"sctp\" beside it", c.rule.Protocol.Name, name)
		}
	}
	return nil
}

func (c *concrete) isSpecial(a *nwfilter.Attribute) bool {
	// "flags" is a number for stp and a mask with a comparison for tcp.
	return a.Spec.Name == "flags" && c.rule.Protocol.Name != "stp"
}

// specialConditions are those of attributes that do not fit a join's shape.
func (c *concrete) specialConditions() ([]Condition, error) {
	var conds []Condition
	if a := c.attr("flags"); a != nil && c.isSpecial(a) && a.Value.Variable == nil {
		mask, comp := a.Value.Number>>8, a.Value.Number&0xff
		// A comparison with bits outside the mask never holds.
		conds = append(conds, Condition{Attribute: "flags", Negated: a.Negated,
			Terms: []Term{{Field: packet.TCPFlags, Mask: number(mask), Lo: number(comp), Hi: number(comp)}}})
	}
	if a := c.attr("option"); a != nil {
		word := packet.TCPOptions0 + packet.Field(a.Value.Number>>6)
		conds = append(conds, Condition{Attribute: "option", Negated: a.Negated,
			Terms: []Term{anyBit(word, 1<<(a.Value.Number&63))}})
	}
	switch c.rule.Protocol.Name {
	case "stp":
		if a := c.attr("type"); a != nil {
			conds = append(conds, Condition{Attribute: "type", Negated: a.Negated, Terms: []Term{equals(packet.STPType, a.Value.Number)}})
		}
	case "icmp", "icmpv6":
		conds = append(conds, c.icmpConditions()...)
	case "ipv6":
		cond, err := c.icmpRange()
		if cond != nil {
			conds = append(conds, *cond)
		}
		if err == nil {
			err = c.needsICMPv6(c.discovery())
		}
		return conds, err
	}
	return conds, nil
}

// anyICMPType is what xt_icmp takes for "every type".
const anyICMPType = 255

// icmpConditions compare type and code together: negated, they must not both
// hold. A code without a type is no condition.
func (c *concrete) icmpConditions() []Condition {
	typ, code := c.attr("type"), c.attr("code")
	if typ == nil {
		return nil
	}
	if typ.Value.Number == anyICMPType && c.rule.Protocol.Name == "icmp" {
		if !typ.Negated {
			return nil
		}
		return []Condition{{Attribute: "type", Negated: true, Terms: []Term{between(packet.ICMPType, 0, 255)}}}
	}
	cond := Condition{Attribute: "type", Negated: typ.Negated, Terms: []Term{equals(packet.ICMPType, typ.Value.Number)}}
	if code != nil {
		cond.Terms = append(cond.Terms, equals(packet.ICMPCode, code.Value.Number))
	}
	return []Condition{cond}
}

// icmpRange is the link stage's comparison of ICMPv6 types and codes.
func (c *concrete) icmpRange() (*Condition, error) {
	var first *nwfilter.Attribute
	bounds := func(start, end string) (uint64, uint64, error) {
		a, b := c.attr(start), c.attr(end)
		lo, hi := uint64(0), uint64(255)
		if a != nil {
			lo, hi = a.Value.Number, a.Value.Number
		}
		if b != nil {
			hi = b.Value.Number
		}
		for _, x := range []*nwfilter.Attribute{a, b} {
			if first == nil {
				first = x
			}
		}
		if hi < lo {
			return 0, 0, c.fault(b, "<ipv6> %s=%d is above %s=%d: the range is empty", start, lo, end, hi)
		}
		return lo, hi, nil
	}
	typeLo, typeHi, err := bounds("type", "typeend")
	if err != nil {
		return nil, err
	}
	codeLo, codeHi, err := bounds("code", "codeend")
	if err != nil || first == nil {
		return nil, err
	}
	if err := c.needsICMPv6(first); err != nil {
		return nil, err
	}
	typ := c.attr("type")
	return &Condition{Attribute: "type", Negated: typ != nil && typ.Negated, Terms: []Term{
		between(packet.ICMPType, typeLo, typeHi), between(packet.ICMPCode, codeLo, codeHi),
	}}, nil
}

// discovery is the first attribute that compares what a message of neighbour
// discovery says, nil without one.
func (c *concrete) discovery() *nwfilter.Attribute {
	for _, j := range discoveryJoins {
		if a := c.attr(j.attribute); a != nil {
			return a
		}
	}
	return nil
}

// needsICMPv6 refuses an attribute of ICMPv6 in <ipv6> without that protocol.
func (c *concrete) needsICMPv6(a *nwfilter.Attribute) error {
	proto := c.attr("protocol")
	if a == nil || proto != nil && !proto.Negated && proto.Value.Number == packet.ProtoICMPv6 {
		return nil
	}
	return c.fault(a, "<ipv6> %s needs a plain protocol=\"icmpv6\" beside it", a.Spec.Name)
}
