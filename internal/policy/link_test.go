package policy

import (
	"maps"
	"testing"

	"tapgate/nwfilter/builtin"
)

func TestCleanTraffic(t *testing.T) {
	p, err := Resolve("clean-traffic", guestMAC, params("IP=10.77.0.11"), builtin.Get)
	if err != nil {
		t.Fatal(err)
	}
	want(t, lines(p.Link[Out]),
		"mac:",
		"  return src mac=52:54:00:00:00:01",
		"  drop",
		"ipv4-ip:",
		"  return ethertype=ipv4 src=0.0.0.0 protocol=udp",
		"  return ethertype=ipv4 src=10.77.0.11",
		"  drop",
		"accept ethertype=ipv4",
		"arp-mac:",
		"  return ethertype=arp arp sender mac=52:54:00:00:00:01",
		"  drop",
		"arp-ip:",
		"  return ethertype=arp arp sender=10.77.0.11",
		"  drop",
		"accept ethertype=arp",
		"rarp:",
		"  accept ethertype=rarp src mac=52:54:00:00:00:01 dst mac=ff:ff:ff:ff:ff:ff arp opcode=3 arp sender mac=52:54:00:00:00:01 arp target mac=52:54:00:00:00:01 arp sender=0.0.0.0 arp target=0.0.0.0",
		"  drop",
		"accept ethertype=0x0835",
		"drop",
	)
	want(t, lines(p.Link[In]),
		"ipv4:",
		"  accept",
		"accept ethertype=arp",
		"rarp:",
		"  accept ethertype=rarp dst mac=ff:ff:ff:ff:ff:ff arp opcode=3 arp sender mac=52:54:00:00:00:01 arp target mac=52:54:00:00:00:01 arp sender=0.0.0.0 arp target=0.0.0.0",
		"  drop",
		"drop",
	)
	want(t, lines(p.Network[Out]))
	want(t, lines(p.Network[In]))
}

func TestChains(t *testing.T) {
	rule := `<rule action="drop" direction="out" priority="0"/>`
	for name, test := range map[string]struct {
		documents []string
		want      []string
	}{
		"a jump stands before the root rules of its priority": {
			[]string{`<filter name="x">` + rule + `<filterref filter="a"/></filter>`, `<filter name="a" chain="mac-a" priority="0">` + rule + `</filter>`},
			[]string{"mac-a:", "  drop", "drop"},
		},
		"and behind those of a lower one": {
			[]string{`<filter name="x">` + rule + `<filterref filter="a"/></filter>`, `<filter name="a" chain="mac-a" priority="1">` + rule + `</filter>`},
			[]string{"drop", "mac-a:", "  drop"},
		},
		"chains of equal priority go by name": {
			[]string{`<filter name="x"><filterref filter="b"/><filterref filter="a"/></filter>`, `<filter name="a" chain="mac-a" priority="1">` + rule + `</filter>`, `<filter name="b" chain="mac-b" priority="1">` + rule + `</filter>`},
			[]string{"mac-a:", "  drop", "mac-b:", "  drop"},
		},
		"filters share a chain, and the last rule's priority counts": {
			[]string{`<filter name="x"><filterref filter="a"/><filterref filter="b"/>` + rule + `</filter>`, `<filter name="a" chain="mac-a" priority="-1">` + rule + `</filter>`, `<filter name="b" chain="mac-a" priority="1">` + rule + `</filter>`},
			[]string{"drop", "mac-a:", "  drop", "  drop"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, lines(resolve(t, nil, test.documents...).Link[Out]), test.want...)
		})
	}
}

// What the guest may send over IPv6, with two addresses.
func TestCleanTrafficIPv6(t *testing.T) {
	p, err := Resolve("clean-traffic-ipv6", guestMAC, params("IPV6=fe80::1", "IPV6=fd77::11"), builtin.Get)
	if err != nil {
		t.Fatal(err)
	}
	const icmpv6 = "ethertype=ipv6 protocol=icmpv6 "
	const fromNone = "ethertype=ipv6 src=:: protocol=icmpv6 "
	want(t, lines(p.Link[Out]),
		"mac:",
		"  return src mac=52:54:00:00:00:01",
		"  drop",
		"ipv6-router:",
		"  drop "+icmpv6+"type=134 code=0-255",
		"  drop "+icmpv6+"type=137 code=0-255",
		"  return",
		"ipv6-nd-mac:",
		"  drop "+icmpv6+"type=133-137 code=0-255 nd mac!=52:54:00:00:00:01",
		"  return",
		"ipv6-nd-ip:",
		"  return "+fromNone+"type=133 code=0-255",
		"  return "+fromNone+"type=135 code=0-255",
		"  return ethertype=ipv6 src=fe80::1",
		"  return ethertype=ipv6 src=fd77::11",
		"  drop "+icmpv6+"type=133-137 code=0-255",
		"  return",
		"ipv6-target:",
		"  return "+icmpv6+"type=136 code=0-255 nd target=fe80::1",
		"  return "+icmpv6+"type=136 code=0-255 nd target=fd77::11",
		"  drop "+icmpv6+"type=136 code=0-255",
		"  return",
		"ipv6-source:",
		"  return "+fromNone+"type=131-133 code=0-255",
		"  return "+fromNone+"type=135 code=0-255",
		"  return "+fromNone+"type=143 code=0-255",
		"  return ethertype=ipv6 src=fe80::1",
		"  return ethertype=ipv6 src=fd77::11",
		"  drop",
		"ipv6-dhcp:",
		"  drop ethertype=ipv6 protocol=udp dport=546",
		"  return",
		"accept ethertype=ipv6",
		"rarp:",
		"  accept ethertype=rarp src mac=52:54:00:00:00:01 dst mac=ff:ff:ff:ff:ff:ff arp opcode=3 arp sender mac=52:54:00:00:00:01 arp target mac=52:54:00:00:00:01 arp sender=0.0.0.0 arp target=0.0.0.0",
		"  drop",
		"accept ethertype=0x0835",
		"drop",
	)
	if !p.Facts.Discovery || p.Facts.Tracked() {
		t.Errorf("facts %+v", p.Facts)
	}
}

// clean-traffic-dual is clean-traffic and clean-traffic-ipv6 in one.
func TestCleanTrafficDual(t *testing.T) {
	given := params("IP=10.77.0.11", "IPV6=fe80::1", "IPV6=fd77::11")
	list := func(name string, d Direction) map[string]bool {
		p, err := Resolve(name, guestMAC, given, builtin.Get)
		if err != nil {
			t.Fatal(err)
		}
		set := map[string]bool{}
		for _, line := range lines(p.Link[d]) {
			set[line] = true
		}
		return set
	}
	for _, d := range Directions {
		both := list("clean-traffic", d)
		for line := range list("clean-traffic-ipv6", d) {
			both[line] = true
		}
		if dual := list("clean-traffic-dual", d); !maps.Equal(dual, both) {
			t.Errorf("%s: %v, want %v", d, dual, both)
		}
	}
}

func TestInOutIsMirroredOnTheWayOut(t *testing.T) {
	p := resolve(t, nil, `<filter name="x"><rule action="drop" direction="inout"><ip srcmacaddr="52:54:00:00:00:09" srcipaddr="10.0.0.9" protocol="udp" dstportstart="53"/></rule></filter>`)
	want(t, lines(p.Link[Out]), "drop ethertype=ipv4 dst mac=52:54:00:00:00:09 dst=10.0.0.9 protocol=udp sport=53")
	want(t, lines(p.Link[In]), "drop ethertype=ipv4 src mac=52:54:00:00:00:09 src=10.0.0.9 protocol=udp dport=53")
}
