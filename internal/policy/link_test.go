package policy

import (
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

func TestInOutIsMirroredOnTheWayOut(t *testing.T) {
	p := resolve(t, nil, `<filter name="x"><rule action="drop" direction="inout"><ip srcmacaddr="52:54:00:00:00:09" srcipaddr="10.0.0.9" protocol="udp" dstportstart="53"/></rule></filter>`)
	want(t, lines(p.Link[Out]), "drop ethertype=ipv4 dst mac=52:54:00:00:00:09 dst=10.0.0.9 protocol=udp sport=53")
	want(t, lines(p.Link[In]), "drop ethertype=ipv4 src mac=52:54:00:00:00:09 src=10.0.0.9 protocol=udp dport=53")
}
