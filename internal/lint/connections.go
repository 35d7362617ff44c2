package lint

import (
	"fmt"
	"slices"
	"strings"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// connections reports where states mean something else than one may think.
func (l *linter) connections() {
	for _, c := range l.policy.Clauses {
		if c.Rule.Protocol != nil && c.Rule.Protocol.Stage == nwfilter.NetworkStage {
			l.related(c)
		}
	}
	for _, family := range []nwfilter.Family{nwfilter.FamilyIPv4, nwfilter.FamilyIPv6} {
		l.droppedErrors(family)
	}
	l.neighbours()
	l.midStream()
}

// states are those that the clause asks for; 0 for any.
func states(c *policy.Clause) packet.State {
	for _, cond := range c.Conditions {
		if cond.Attribute == "state" && !cond.Negated {
			return packet.State(cond.Terms[0].Mask.Lo)
		}
	}
	return 0
}

// related reports a RELATED that nothing can be: only what a helper's control
// connection announces is, and ICMP errors are.
func (l *linter) related(c *policy.Clause) {
	asked := states(c)
	if asked&packet.StateRelated == 0 {
		return
	}
	proto, family := c.Rule.Protocol.Name, int(c.Rule.Protocol.Family)
	severity := Problem
	if asked != packet.StateRelated {
		severity = Notice
	}
	switch proto {
	case "all", "all-ipv6":
	case "icmp", "icmpv6":
		if !slices.ContainsFunc(icmpErrors(family), func(t policy.Term) bool {
			types := regionOf([]policy.Condition{{Terms: []policy.Term{t}}}, nil)
			return l.region(c, nil).meets(&types)
		}) {
			l.clause(RelatedNoHelper, severity, c, "nothing that this rule matches can be RELATED: only ICMP errors are, and its type is none", "")
		}
	case "tcp", "tcp-ipv6":
		l.unannounced(c, Problem, packet.ProtoTCP)
	case "udp", "udp-ipv6":
		l.unannounced(c, severity, packet.ProtoUDP)
	default:
		l.clause(RelatedNoHelper, severity, c,
			fmt.Sprintf("no <%s> packet can be RELATED: only TCP and UDP connections that a helper expects, and ICMP errors are", proto),
			"leave RELATED out")
	}
}

// unannounced reports that no rule lets the control connection of a helper
// through which announces connections of the protocol.
func (l *linter) unannounced(c *policy.Clause, severity Severity, proto uint8) {
	var ways []string
	for _, s := range l.settings.Services {
		if !s.Announces(proto) {
			continue
		}
		control := packetsWith(packet.Family, int(c.Rule.Protocol.Family), packet.NetProto, int(s.Proto), packet.DstPort, int(s.Port),
			packet.ConnState, int(packet.StateNew), packet.ConnDirection, int(packet.Original))
		for _, d := range policy.Directions {
			if _, open := l.passage(l.policy.Network[d], control); open {
				return
			}
		}
		ways = append(ways, fmt.Sprintf("%s (%s to port %d)", s.Helper, conntrack.ProtoName(s.Proto), s.Port))
	}
	if len(ways) == 0 {
		l.clause(RelatedNoHelper, severity, c,
			fmt.Sprintf("nothing that this rule matches can be RELATED: no helper that announces %s connections is switched on", strings.ToUpper(conntrack.ProtoName(proto))),
			"set the port of one, or leave RELATED out")
		return
	}
	l.clause(RelatedNoHelper, severity, c,
		fmt.Sprintf("nothing that this rule matches can be RELATED: %s connections are announced by %s, and no rule lets one of these through",
			strings.ToUpper(conntrack.ProtoName(proto)), strings.Join(ways, ", ")),
		"accept one in the direction in which clients connect, or leave RELATED out")
}

// icmpErrors are the types that report a fault of another packet (RFC 792,
// RFC 4443 section 2.1).
func icmpErrors(family int) []policy.Term {
	types := func(lo, hi uint64) policy.Term {
		return policy.Term{Field: packet.ICMPType, Mask: packet.U128{Lo: 0xff}, Lo: packet.U128{Lo: lo}, Hi: packet.U128{Lo: hi}}
	}
	if family == int(nwfilter.FamilyIPv6) {
		return []policy.Term{types(1, 127)}
	}
	return []policy.Term{types(3, 5), types(11, 12)}
}

// droppedErrors reports that errors about accepted connections do not reach the
// guest.
func (l *linter) droppedErrors(family nwfilter.Family) {
	in, out := l.policy.Network[policy.In], l.policy.Network[policy.Out]
	closing := l.closing(in, family)
	tcpOrUDP := func(c *policy.Clause) bool {
		name := c.Rule.Protocol.Name
		return accepting(c) && !slices.Contains([]string{"icmp", "icmpv6"}, name)
	}
	if closing == nil || !l.has(in, family, tcpOrUDP) && !l.has(out, family, tcpOrUDP) {
		return
	}
	proto, typ, what := packet.ProtoICMP, 3, "destination unreachable and fragmentation needed"
	if family == nwfilter.FamilyIPv6 {
		proto, typ, what = packet.ProtoICMPv6, 2, "packet too big"
	}
	if _, open := l.passage(in, packetsWith(packet.Family, int(family), packet.NetProto, proto, packet.ICMPType, typ,
		packet.ConnState, int(packet.StateRelated))); open {
		return
	}
	element := map[nwfilter.Family]string{nwfilter.FamilyIPv4: "icmp", nwfilter.FamilyIPv6: "icmpv6"}[family]
	l.clause(ErrorsNeedRelated, Notice, closing,
		fmt.Sprintf("this rule drops ICMP errors about connections that other rules accept (%s), which are RELATED: path MTU discovery needs them", what),
		fmt.Sprintf("accept them before with <rule action='accept' direction='in'><%s state='RELATED'/></rule>", element))
}

// neighbours reports that IPv6 is accepted, but not what finds neighbours.
func (l *linter) neighbours() {
	var directions []policy.Direction
	var first *policy.Clause
	for _, d := range policy.Directions {
		list := l.policy.Network[d]
		closing := l.closing(list, nwfilter.FamilyIPv6)
		if closing == nil || !l.has(list, nwfilter.FamilyIPv6, accepting) {
			continue
		}
		if _, open := l.passage(list, packetsWith(packet.Family, 6, packet.NetProto, packet.ProtoICMPv6, packet.ICMPType, 135,
			packet.ConnState, int(packet.StateUntracked))); open {
			continue
		}
		if first == nil {
			first = closing
		}
		directions = append(directions, d)
	}
	if first == nil {
		return
	}
	l.clause(NDUntracked, Problem, first,
		fmt.Sprintf("this rule drops neighbour discovery that %s, without which no IPv6 works: it has no state, so that rules with states never match it", verb(directions...)),
		"accept it before with <icmpv6/> in a rule with direction='inout', or with state='NONE'")
}

// midStream reports once that connections are picked up.
func (l *linter) midStream() {
	if !l.settings.PickUp {
		return
	}
	for _, d := range policy.Directions {
		for c := range l.policy.Network[d].All {
			tcp := c.Rule.Protocol.Name == "tcp" || c.Rule.Protocol.Name == "tcp-ipv6"
			flags := slices.ContainsFunc(c.Conditions, func(cond policy.Condition) bool { return cond.Attribute == "flags" })
			if c.Action == nwfilter.Accept && tcp && !flags && states(c)&packet.StateNew != 0 && l.closing(l.policy.Network[d], c.Rule.Protocol.Family) != nil {
				l.clause(MidStream, Notice, c, "a TCP packet without SYN of an unknown connection is NEW, too, so that this rule accepts connections that are first seen midway", "")
				return
			}
		}
	}
}
