package policy

import "testing"

// Which copies of a network-stage rule stand in which list, and what they ask
// of the connection (the table of usual cases in the language's description).
func TestCopiesOfANetworkRule(t *testing.T) {
	const p, q = "ip version=4 protocol=tcp dport=80", "ip version=4 protocol=tcp sport=80"
	const open, back = " state=NEW,ESTABLISHED direction=original", " state=ESTABLISHED direction=reply"
	for _, test := range []struct {
		name, rule string
		out, in    []string
	}{
		{"accept in", `action="accept" direction="in"><tcp dstportstart="80"/>`, []string{"accept " + q + back}, []string{"accept " + p + open}},
		{"accept out", `action="accept" direction="out"><tcp dstportstart="80"/>`, []string{"accept " + p + open}, []string{"accept " + q + back}},
		{"accept inout", `action="accept" direction="inout"><tcp dstportstart="80"/>`, []string{"accept " + q}, []string{"accept " + p}},
		{"accept in, statematch off", `action="accept" direction="in" statematch="false"><tcp dstportstart="80"/>`, []string{"accept " + q}, []string{"accept " + p}},
		{"statematch off discards a state", `action="accept" direction="out" statematch="0"><tcp dstportstart="80" state="NEW"/>`, []string{"accept " + p}, []string{"accept " + q}},
		{"accept in with a state", `action="accept" direction="in"><tcp dstportstart="80" state="NEW"/>`, nil, []string{"accept " + p + " state=NEW"}},
		{"accept inout with a state", `action="accept" direction="inout"><tcp dstportstart="80" state="NEW"/>`, []string{"accept " + q + " state=NEW"}, []string{"accept " + p + " state=NEW"}},
		{"state NONE is one-way without a state", `action="accept" direction="out"><tcp dstportstart="80" state="NONE"/>`, []string{"accept " + p}, nil},
		{"the sign of a state counts", `action="drop" direction="in"><tcp match="no" state="NEW"/>`, nil, []string{"drop ip version=4 protocol=tcp state!=NEW"}},
		{"drop in holds both ways", `action="drop" direction="in"><tcp dstportstart="80"/>`, []string{"drop " + q}, []string{"drop " + p}},
		{"return out holds both ways", `action="return" direction="out"><tcp dstportstart="80"/>`, []string{"return " + p}, []string{"return " + q}},
		{"typed icmp is one-way", `action="accept" direction="in"><icmp type="8"/>`, nil, []string{"accept ip version=4 protocol=icmp type=8 state=NEW,ESTABLISHED"}},
		{"typed icmp inout makes no clause", `action="accept" direction="inout"><icmp type="8"/>`, nil, nil},
		{"icmp type 255 is any type", `action="drop" direction="in"><icmp type="255" code="1"/>`, nil, []string{"drop ip version=4 protocol=icmp"}},
		{"icmp type and code are negated together", `action="drop" direction="in"><icmp match="no" type="8" code="1"/>`, nil, []string{"drop ip version=4 protocol=icmp not (type=8 code=1)"}},
		{"neighbour discovery is one-way and has no state", `action="accept" direction="out"><icmpv6 ndtargetipaddr="fd00::1" ndtargetipmask="64"/>`,
			[]string{"accept ip version=6 protocol=icmpv6 nd target=fd00::/64"}, nil},
		{"whatever the action", `action="drop" direction="in"><icmpv6 match="no" type="136" ndmacaddr="52:54:00:00:00:01"/>`,
			nil, []string{"drop ip version=6 protocol=icmpv6 type!=136 nd mac!=52:54:00:00:00:01"}},
		{"inout it names the same in both directions", `action="drop" direction="inout"><icmpv6 srcipaddr="fd00::2" ndtargetipaddr="fd00::1" ndmacaddr="52:54:00:00:00:01" ndmacmask="ff:ff:ff:00:00:00"/>`,
			[]string{"drop ip version=6 protocol=icmpv6 dst=fd00::2 nd target=fd00::1 nd mac=52:54:00:00:00:00/ff:ff:ff:00:00:00"},
			[]string{"drop ip version=6 protocol=icmpv6 src=fd00::2 nd target=fd00::1 nd mac=52:54:00:00:00:00/ff:ff:ff:00:00:00"}},
		{"a state of neighbour discovery counts if it is written", `action="accept" direction="out"><icmpv6 ndmacaddr="52:54:00:00:00:01" state="NEW"/>`,
			[]string{"accept ip version=6 protocol=icmpv6 nd mac=52:54:00:00:00:01 state=NEW"}, nil},
		{"only a source MAC: no mirrored copy", `action="accept" direction="out"><all srcmacaddr="52:54:00:00:00:01"/>`,
			[]string{"accept ip version=4 src mac=52:54:00:00:00:01" + open}, nil},
		{"a source MAC and more: the mirrored copy loses it", `action="drop" direction="in"><tcp srcmacaddr="52:54:00:00:00:02" dstportstart="80"/>`,
			[]string{"drop " + q}, []string{"drop ip version=4 protocol=tcp src mac=52:54:00:00:00:02 dport=80"}},
		{"connlimit: one-way and without a state", `action="accept" direction="in"><tcp dstportstart="80" connlimit-above="3" state="NEW"/>`, nil, []string{"accept " + p + " connections>3"}},
		{"ports are negated as written", `action="drop" direction="in"><tcp match="no" dstportstart="80"/>`,
			[]string{"drop ip version=4 protocol=tcp sport!=80"}, []string{"drop ip version=4 protocol=tcp dport!=80"}},
		{"addresses, masks and ranges", `action="drop" direction="in"><all srcipaddr="10.1.2.3" srcipmask="8" dstipfrom="10.0.0.1" dstipto="10.0.0.9"/>`,
			[]string{"drop ip version=4 dst=10.0.0.0/8 src=10.0.0.1-10.0.0.9"}, []string{"drop ip version=4 src=10.0.0.0/8 dst=10.0.0.1-10.0.0.9"}},
		{"tcp flags and options", `action="drop" direction="in"><tcp flags="SYN,ACK/SYN" option="5"/>`,
			[]string{"drop ip version=4 protocol=tcp flags=SYN,ACK/SYN option=5"}, []string{"drop ip version=4 protocol=tcp flags=SYN,ACK/SYN option=5"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := resolve(t, nil, `<filter name="x"><rule `+test.rule+`</rule></filter>`)
			want(t, lines(p.Network[Out]), test.out...)
			want(t, lines(p.Network[In]), test.in...)
		})
	}
}

func TestNetworkRulesOfRootFiltersComeFirst(t *testing.T) {
	p := resolve(t, nil,
		`<filter name="x"><filterref filter="sub"/><rule action="drop" direction="in" priority="500"><tcp state="NEW"/></rule></filter>`,
		`<filter name="sub" chain="ipv4"><rule action="drop" direction="in" priority="-500"><udp state="NEW"/></rule></filter>`)
	want(t, lines(p.Network[In]), "drop ip version=4 protocol=tcp state=NEW", "drop ip version=4 protocol=udp state=NEW")
}
