package compat

import (
	"encoding/binary"
	"slices"
	"strconv"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// readDifferently is the predicate of a difference that lies in the reading of
// rules: libvirt's reading of the lists gives the packet, or an earlier one of
// its connection, another verdict.
func readDifferently(r reading) func(*History) bool {
	return func(h *History) bool {
		differs := func(o *Observation) bool {
			return o.Packet.Malformed == packet.WellFormed && h.passes(o, r) != h.passes(o, reading{})
		}
		return differs(h.last()) || h.follows(differs, r)
	}
}

func attribute(r *nwfilter.Rule, name string) *nwfilter.Attribute {
	for i := range r.Attributes {
		if r.Attributes[i].Spec.Name == name {
			return &r.Attributes[i]
		}
	}
	return nil
}

// condition is the index of the condition that an attribute became, or -1.
func condition(conditions []policy.Condition, attribute string) int {
	return slices.IndexFunc(conditions, func(c policy.Condition) bool { return c.Attribute == attribute })
}

// withSign gives one condition another sign.
func withSign(conditions []policy.Condition, i int, negated bool) []policy.Condition {
	conditions = slices.Clone(conditions)
	conditions[i].Negated = negated
	return conditions
}

// libvirtPorts reads the signs of ports as libvirt and iptables do: the
// destination has the source's sign, and where both are negated single ports,
// the pair is compared.
func libvirtPorts(c *policy.Clause) []policy.Condition {
	if c.Rule.Protocol == nil || c.Rule.Protocol.Stage != nwfilter.NetworkStage {
		return c.Conditions
	}
	conditions := c.Conditions
	src, dst := condition(conditions, "srcportstart"), condition(conditions, "dstportstart")
	if dst < 0 {
		return conditions
	}
	conditions = withSign(conditions, dst, src >= 0 && conditions[src].Negated)
	if !conditions[dst].Negated || !comparedAsPair(c.Rule, conditions[src], conditions[dst]) {
		return conditions
	}
	conditions[src].Terms = slices.Concat(conditions[src].Terms, conditions[dst].Terms)
	return slices.Delete(conditions, dst, dst+1)
}

// comparedAsPair tells where iptables compares both ports as one number: TCP
// and UDP without options, single ports that are not 0.
func comparedAsPair(r *nwfilter.Rule, src, dst policy.Condition) bool {
	switch r.Protocol.Name {
	case "tcp", "tcp-ipv6", "udp", "udp-ipv6":
	default:
		return false
	}
	single := func(c policy.Condition) bool { t := c.Terms[0]; return t.Lo == t.Hi && t.Lo.Lo != 0 }
	return attribute(r, "option") == nil && single(src) && single(dst)
}

// portSigns tells whether a clause's ports have the signs that libvirt gives
// them.
func portSigns(c *policy.Clause) (same bool) {
	src, dst := condition(c.Conditions, "srcportstart"), condition(c.Conditions, "dstportstart")
	return dst < 0 || c.Conditions[dst].Negated == (src >= 0 && c.Conditions[src].Negated)
}

func negatedPorts(c *policy.Clause) []policy.Condition {
	if portSigns(c) {
		return c.Conditions
	}
	return libvirtPorts(c)
}

func negatedPortPair(c *policy.Clause) []policy.Condition {
	if !portSigns(c) {
		return c.Conditions
	}
	return libvirtPorts(c)
}

// plainState reads a negated state as if it were plain.
func plainState(c *policy.Clause) []policy.Condition {
	if i := condition(c.Conditions, "state"); i >= 0 && c.Conditions[i].Negated {
		return withSign(c.Conditions, i, false)
	}
	return c.Conditions
}

// wrongSet reads a negated set as if it were plain.
func wrongSet(c *policy.Clause, actual bool) bool {
	return actual != (c.IPSet != nil && c.IPSet.Negated)
}

// noSet leaves the set out where libvirt does.
func noSet(c *policy.Clause, actual bool) bool {
	name := c.Rule.Protocol.Name
	return actual || c.IPSet != nil && c.ConnLimit == nil && name != "all" && name != "all-ipv6"
}

// encapInHex reads an inner ethertype as libvirt hands it to ebtables: the
// decimal digits of the number, which ebtables takes for hexadecimal.
func encapInHex(c *policy.Clause) []policy.Condition {
	i := condition(c.Conditions, "encap-protocol")
	if i < 0 || attribute(c.Rule, "encap-protocol").Value.Variable != nil {
		return c.Conditions
	}
	term := c.Conditions[i].Terms[0]
	n, err := strconv.ParseUint(strconv.FormatUint(term.Lo.Lo, 10), 16, 32)
	if err != nil {
		return c.Conditions
	}
	term.Lo.Lo, term.Hi.Lo = n, n
	conditions := slices.Clone(c.Conditions)
	conditions[i].Terms = []policy.Term{term}
	return conditions
}

// sourceMask gives the target address of an ARP rule the sender's mask where
// it has none of its own.
func sourceMask(c *policy.Clause) []policy.Condition {
	src, dst := condition(c.Conditions, "arpsrcipaddr"), condition(c.Conditions, "arpdstipaddr")
	if src < 0 || dst < 0 || attribute(c.Rule, "arpsrcipmask") == nil || attribute(c.Rule, "arpdstipmask") != nil {
		return c.Conditions
	}
	term, mask := c.Conditions[dst].Terms[0], c.Conditions[src].Terms[0].Mask
	term.Mask = mask
	term.Lo.Lo &= mask.Lo
	term.Hi.Lo &= mask.Lo
	conditions := slices.Clone(c.Conditions)
	conditions[dst].Terms = []policy.Term{term}
	return conditions
}

// wholeTOS shows link-stage rules the TOS byte instead of its six DSCP bits.
func wholeTOS(p *packet.Packet, stage nwfilter.Stage) {
	if stage == nwfilter.LinkStage && p.Have&packet.HaveIPv4 != 0 {
		p.DSCP = p.Frame[15]
	}
}

// earlySTP reads a BPDU as ebtables does, for which the protocol identifier
// has one byte and everything behind it stands a byte earlier. What it takes
// for the type is the version, 0, so that every BPDU is a configuration.
func earlySTP(p *packet.Packet, _ nwfilter.Stage) {
	if p.Have&packet.HaveSTP == 0 {
		return
	}
	b := p.Frame[ethernetHeader:]
	p.STPType = b[5]
	p.Have &^= packet.HaveSTPConfig
	if len(b) < 37 {
		return
	}
	p.Have |= packet.HaveSTPConfig
	p.STPFlags = b[6]
	p.STPRootPriority = be.Uint16(b[7:])
	p.STPRootAddress = mac48(b[9:])
	p.STPRootCost = be.Uint32(b[15:])
	p.STPSenderPriority = be.Uint16(b[19:])
	p.STPSenderAddress = mac48(b[21:])
	p.STPPort = be.Uint16(b[27:])
	p.STPAge = be.Uint16(b[29:])
	p.STPMaxAge = be.Uint16(b[31:])
	p.STPHelloTime = be.Uint16(b[33:])
	p.STPForwardDelay = be.Uint16(b[35:])
}

const ethernetHeader = 14

var be = binary.BigEndian

func mac48(b []byte) uint64 { return uint64(be.Uint16(b))<<32 | uint64(be.Uint32(b[2:])) }
