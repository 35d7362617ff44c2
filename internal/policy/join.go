package policy

import "tapgate/internal/packet"

// shape tells how an attribute, with its partner, becomes a term.
type shape uint8

const (
	exact    shape = iota // the field equals the number
	span                  // from the attribute to its partner, or the one number
	masked                // a MAC address under its partner's mask
	prefix                // an IP address under its partner's prefix length
	addrSpan              // from the address to its partner, or the one address
	flag                  // the field is 1; a false attribute is no condition
)

// join ties an attribute to the packet field that it compares.
type join struct {
	attribute string
	// field is compared in the rule as written, mirrored in the copy with
	// source and destination exchanged.
	field, mirrored packet.Field
	shape           shape
	partner         string
	// unless names an attribute in whose presence this one is ignored.
	unless string
}

func same(attribute string, f packet.Field, s shape, partner ...string) join {
	j := join{attribute: attribute, field: f, mirrored: f, shape: s}
	if len(partner) > 0 {
		j.partner = partner[0]
	}
	return j
}

func pair(src, dst packet.Field, s shape, source, destination [2]string) []join {
	return []join{
		{attribute: source[0], field: src, mirrored: dst, shape: s, partner: source[1]},
		{attribute: destination[0], field: dst, mirrored: src, shape: s, partner: destination[1]},
	}
}

// joins are the comparisons of all protocols. An attribute has one meaning
// wherever it occurs, so that one table serves them all; what does not fit a
// shape (states, TCP flags and options, ICMP) is in special.go.
var joins = func() []join {
	var t []join
	t = append(t, pair(packet.SrcMAC, packet.DstMAC, masked, [2]string{"srcmacaddr", "srcmacmask"}, [2]string{"dstmacaddr", "dstmacmask"})...)
	t = append(t,
		same("protocolid", packet.EtherType, exact),
		same("vlanid", packet.VLANID, exact),
		same("encap-protocol", packet.VLANEncap, exact),

		same("flags", packet.STPFlags, exact),
		same("root-priority", packet.STPRootPriority, span, "root-priority-hi"),
		same("root-address", packet.STPRootAddress, masked, "root-address-mask"),
		same("root-cost", packet.STPRootCost, span, "root-cost-hi"),
		same("sender-priority", packet.STPSenderPriority, span, "sender-priority-hi"),
		same("sender-address", packet.STPSenderAddress, masked, "sender-address-mask"),
		same("port", packet.STPPort, span, "port-hi"),
		same("age", packet.STPAge, span, "age-hi"),
		same("max-age", packet.STPMaxAge, span, "max-age-hi"),
		same("hello-time", packet.STPHelloTime, span, "hello-time-hi"),
		same("forward-delay", packet.STPForwardDelay, span, "forward-delay-hi"),

		same("hwtype", packet.ARPHwType, exact),
		same("protocoltype", packet.ARPProtocol, exact),
		same("opcode", packet.ARPOpcode, exact),
		same("gratuitous", packet.ARPGratuitous, flag),
	)
	t = append(t, pair(packet.ARPSrcMAC, packet.ARPDstMAC, masked, [2]string{"arpsrcmacaddr"}, [2]string{"arpdstmacaddr"})...)
	t = append(t, pair(packet.ARPSrcIP, packet.ARPDstIP, prefix, [2]string{"arpsrcipaddr", "arpsrcipmask"}, [2]string{"arpdstipaddr", "arpdstipmask"})...)
	t = append(t, pair(packet.SrcIP, packet.DstIP, prefix, [2]string{"srcipaddr", "srcipmask"}, [2]string{"dstipaddr", "dstipmask"})...)
	ranges := pair(packet.SrcIP, packet.DstIP, addrSpan, [2]string{"srcipfrom", "srcipto"}, [2]string{"dstipfrom", "dstipto"})
	ranges[0].unless, ranges[1].unless = "srcipaddr", "dstipaddr"
	t = append(t, ranges...)
	t = append(t,
		same("protocol", packet.LinkProto, exact),
		same("dscp", packet.DSCP, exact),
	)
	t = append(t, pair(packet.SrcPort, packet.DstPort, span, [2]string{"srcportstart", "srcportend"}, [2]string{"dstportstart", "dstportend"})...)
	return t
}()

// discoveryJoins are those of neighbour discovery messages. They come behind the
// conditions on the ICMP type: a fragment too short for one of them is judged by
// its type, if it tells that.
var discoveryJoins = []join{
	same("ndtargetipaddr", packet.NDTarget, prefix, "ndtargetipmask"),
	same("ndmacaddr", packet.NDMAC, masked, "ndmacmask"),
}
