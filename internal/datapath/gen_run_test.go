package datapath

import (
	"fmt"
	"slices"
	"strings"

	"tapgate/nwfilter"
)

// drawNear draws values close to those of packets, so that long runs hit, nearly hit
// and overlap.
func drawNear(t *source, proto *nwfilter.Protocol, a *nwfilter.AttributeSpec) string {
	if t.chance(30) {
		return drawValue(t, proto, a)
	}
	switch a.Type {
	case nwfilter.MAC:
		return fmt.Sprintf("52:54:00:00:%02x:%02x", t.between(0, 1), t.between(0, 255))
	case nwfilter.IPv4:
		return fmt.Sprintf("%s.%d.%d", oneOf(t, []string{"10.0", "10.0", "224.0", "255.255"}), t.between(0, 2), t.between(0, 255))
	case nwfilter.IPv6:
		return fmt.Sprintf("%s%x", oneOf(t, []string{"fd00::", "fd00::", "fd00:0:0:1::", "fe80::", "ff02::"}), t.between(0, 255))
	case nwfilter.IPv4Mask:
		return fmt.Sprint(t.between(20, 32))
	case nwfilter.IPv6Mask:
		return fmt.Sprint(t.between(60, 128))
	case nwfilter.MACMask, nwfilter.Bool, nwfilter.States, nwfilter.TCPFlags, nwfilter.Text:
		return drawValue(t, proto, a)
	}
	n := uint64(t.between(0, 99))
	if a.Max > 0 {
		n = min(max(n, a.Min), a.Max)
	}
	return fmt.Sprint(n)
}

// drawRun writes 5 to 300 rules that differ in the values of one to three
// attributes, and now and then in more, as lists and generated filters do.
func drawRun(t *source, b *strings.Builder) {
	protocols := nwfilter.Protocols()
	proto := oneOf(t, protocols)
	if t.chance(70) {
		often := oneOf(t, []string{"tcp", "udp", "ip", "arp", "icmp", "tcp-ipv6", "all", "mac", "ipv6"})
		proto = protocols[slices.IndexFunc(protocols, func(p *nwfilter.Protocol) bool { return p.Name == often })]
	}
	header := fmt.Sprintf("direction='%s' priority='%d'%s", oneOf(t, []string{"in", "out", "inout"}), t.between(-3, 3)*100,
		oneOf(t, []string{"", " statematch='false'"}))
	kinds := []string{"accept", "drop", "return", "reject", "continue"}
	action, mixed := oneOf(t, kinds), t.chance(40)
	var fixed, varying []*nwfilter.AttributeSpec
	wanted := oneOf(t, []int{1, 1, 1, 2, 2, 3})
	for _, i := range t.rand.Perm(len(proto.Attributes)) {
		a := &proto.Attributes[i]
		switch {
		case a.Name == "connlimit-above", a.Name == "ipset", a.Name == "ipsetflags":
		case a.Name == "protocol":
			fixed = append(fixed, a)
		case len(varying) < wanted && (wanted > 1 || !strings.HasSuffix(a.Name, "mask") && !strings.HasSuffix(a.Name, "end")):
			varying = append(varying, a)
		case t.chance(4):
			fixed = append(fixed, a)
		}
	}
	var common strings.Builder
	for _, a := range fixed {
		fmt.Fprintf(&common, " %s='%s'", a.Name, drawValue(t, proto, a))
	}
	for range oneOf(t, []int{5, 9, 30, 100, 300}) {
		one := action
		if mixed && t.chance(30) {
			one = oneOf(t, kinds)
		}
		negated := ""
		if mixed && t.chance(2) {
			negated = " match='no'"
		}
		var rule strings.Builder
		fmt.Fprintf(&rule, "  <rule action='%s' %s><%s%s%s", one, header, proto.Name, negated, common.String())
		for _, a := range varying {
			if t.chance(98) || len(varying) == 1 {
				fmt.Fprintf(&rule, " %s='%s'", a.Name, drawNear(t, proto, a))
			}
		}
		rule.WriteString("/></rule>\n")
		// What the language refuses is left out.
		text := "<filter name='run' chain='root'>" + rule.String() + "</filter>"
		if f, _ := nwfilter.Parse([]byte(text), "run", nwfilter.Options{Lenient: true}); f != nil && resolves(f) {
			b.WriteString(rule.String())
		}
	}
}
