package datapath

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"pgregory.net/rapid"

	"tapgate/internal/conntrack"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// Values are drawn from small pools that policies and packets share, so that
// packets often hit and nearly hit rules.
var (
	poolMAC   = []string{"52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:99", "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00", "33:33:00:00:00:01"}
	poolIPv4  = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "0.0.0.0", "255.255.255.255", "224.0.0.1"}
	poolIPv6  = []string{"fd00::1", "fd00::2", "fd00:0:0:1::1", "fe80::1", "ff02::1", "::"}
	poolPort  = []uint64{0, 1, 20, 21, 22, 53, 67, 68, 80, 1024, 40000, 65535}
	poolProto = []uint64{0, 1, 2, 6, 17, 33, 50, 51, 58, 132, 136}
	poolType  = []uint64{0x0800, 0x86dd, 0x0806, 0x8035, 0x8100, 0x88b5, 0x0835}
)

// source draws evenly; rapid's own generators prefer small values, with which
// no connection would ever be answered.
type source struct {
	*rapid.T
	rand  *rand.Rand
	flows []flow
}

func newSource(t *rapid.T) *source {
	s := &source{T: t, rand: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))}
	for range 3 {
		s.flows = append(s.flows, drawFlow(s))
	}
	return s
}

func (t *source) between(lo, hi int) int  { return lo + t.rand.IntN(hi-lo+1) }
func (t *source) chance(percent int) bool { return t.rand.IntN(100) < percent }

func (t *source) bytes(n, most int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(t.between(0, most))
	}
	return b
}

func oneOf[T any](t *source, pool []T) T { return pool[t.rand.IntN(len(pool))] }

// drawValue is a text that the attribute takes.
func drawValue(t *source, proto *nwfilter.Protocol, a *nwfilter.AttributeSpec) string {
	switch a.Type {
	case nwfilter.MAC:
		return oneOf(t, poolMAC)
	case nwfilter.MACMask:
		return oneOf(t, []string{"ff:ff:ff:ff:ff:ff", "ff:ff:ff:00:00:00", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:f0"})
	case nwfilter.IPv4:
		return oneOf(t, poolIPv4)
	case nwfilter.IPv6:
		return oneOf(t, poolIPv6)
	case nwfilter.IPv4Mask:
		return oneOf(t, []string{"32", "24", "8", "31", "1"})
	case nwfilter.IPv6Mask:
		return oneOf(t, []string{"128", "64", "127", "65", "63", "1"})
	case nwfilter.Bool:
		return oneOf(t, []string{"true", "false"})
	case nwfilter.States:
		return oneOf(t, []string{"NEW", "ESTABLISHED", "RELATED", "INVALID", "NONE", "NEW,ESTABLISHED", "RELATED,ESTABLISHED", "INVALID,NEW"})
	case nwfilter.TCPFlags:
		return oneOf(t, []string{"SYN/SYN", "SYN,ACK/SYN", "ALL/NONE", "FIN,RST/RST", "ACK/ACK", "SYN/ACK"})
	case nwfilter.Text:
		return "text"
	}
	var n uint64
	switch {
	case strings.Contains(a.Name, "port") && proto.Name != "stp":
		n = oneOf(t, poolPort)
	case a.Name == "protocol":
		n = oneOf(t, poolProto)
	case a.Name == "connlimit-above":
		n = uint64(t.between(0, 3))
	case a.Name == "protocolid" || a.Name == "encap-protocol":
		n = oneOf(t, poolType)
	case a.Name == "type" || a.Name == "typeend":
		n = oneOf(t, []uint64{0, 3, 8, 11, 128, 129, 133, 135, 136, 255})
	default:
		n = uint64(t.between(0, 9))
	}
	if a.Max > 0 {
		n = min(max(n, a.Min), a.Max)
	}
	return fmt.Sprint(n)
}

func drawRule(t *source, b *strings.Builder) {
	action := oneOf(t, []string{"accept", "accept", "drop", "return", "reject", "continue"})
	fmt.Fprintf(b, "  <rule action='%s' direction='%s' priority='%d'%s>", action,
		oneOf(t, []string{"in", "out", "inout"}), t.between(-3, 3)*100,
		oneOf(t, []string{"", "", "", " statematch='false'"}))
	if t.chance(95) {
		protocols := nwfilter.Protocols()
		proto := protocols[t.between(0, len(protocols)-1)]
		for range t.between(1, 2) {
			fmt.Fprintf(b, "<%s", proto.Name)
			if t.chance(20) {
				b.WriteString(" match='no'")
			}
			for i := range proto.Attributes {
				a := &proto.Attributes[i]
				switch a.Name {
				case "ipsetflags":
					continue
				case "ipset":
					if t.chance(15) {
						fmt.Fprintf(b, " ipset='%s' ipsetflags='%s'", oneOf(t, setNames), oneOf(t, setFlags))
					}
					continue
				}
				percent := 12
				if a.Name == "protocol" {
					percent = 60
				}
				if t.chance(percent) {
					fmt.Fprintf(b, " %s='%s'", a.Name, drawValue(t, proto, a))
				}
			}
			b.WriteString("/>")
		}
	}
	b.WriteString("</rule>\n")
}

// drawTimeouts are often the defaults, else some that pauses between packets
// just reach, or do not.
func drawTimeouts(t *source) conntrack.Timeouts {
	timeouts := conntrack.DefaultTimeouts()
	if t.chance(50) {
		return timeouts
	}
	seconds := func() time.Duration { return oneOf(t, []time.Duration{1, 2, 4, 30, 32, 125, 1000}) * time.Second }
	for i := range timeouts.TCP {
		timeouts.TCP[i], timeouts.SCTP[i] = seconds(), seconds()
	}
	for _, one := range []*time.Duration{&timeouts.TCPMaxRetrans, &timeouts.TCPUnacknowledged, &timeouts.UDP, &timeouts.UDPStream,
		&timeouts.UDPLite, &timeouts.UDPLiteStream, &timeouts.GRE, &timeouts.GREStream, &timeouts.ICMP, &timeouts.ICMPv6, &timeouts.Generic} {
		*one = seconds()
	}
	return timeouts
}

// drawPolicy draws filters until they can be worked out.
func drawPolicy(t *source) (*policy.Policy, string) {
	var documents []string
	filters := map[string]*nwfilter.Filter{}
	names := []string{"top", "sub1", "sub2", "sub3"}
	runs := oneOf(t, []int{0, 0, 5, 70}) // percent of what is drawn
	for i, name := range names {
		var b strings.Builder
		chain := "root"
		if i > 0 {
			chain = oneOf(t, []string{"root", "mac", "ipv4", "ipv4-x", "ipv6", "arp", "vlan", "rarp", "stp", "mac-y"})
		}
		fmt.Fprintf(&b, "<filter name='%s' chain='%s'", name, chain)
		if t.chance(50) {
			fmt.Fprintf(&b, " priority='%d'", t.between(-5, 5)*100)
		}
		b.WriteString(">\n")
		for range t.between(0, 4) {
			one := b.Len()
			switch {
			case t.chance(runs):
				drawRun(t, &b)
			case t.chance(10):
				drawDiscoveryRule(t, &b)
			default:
				drawRule(t, &b)
			}
			// What the language refuses is left out.
			if f, _ := nwfilter.Parse([]byte(b.String()+"</filter>"), name, nwfilter.Options{Lenient: true}); f == nil || !resolves(f) {
				kept := b.String()[:one]
				b.Reset()
				b.WriteString(kept)
			}
		}
		if i == 0 {
			for _, sub := range names[1:] {
				fmt.Fprintf(&b, "  <filterref filter='%s'/>\n", sub)
			}
			if t.chance(50) {
				b.WriteString("  <rule action='drop' direction='inout' priority='1000'><all/></rule>\n")
			}
		}
		b.WriteString("</filter>\n")
		f, faults := nwfilter.Parse([]byte(b.String()), name, nwfilter.Options{Lenient: true})
		if f == nil {
			t.Fatalf("%s\n%v", b.String(), faults)
		}
		filters[name] = f
		documents = append(documents, b.String())
	}
	p, err := policy.Resolve("top", guestMAC, nil, func(name string) *nwfilter.Filter { return filters[name] })
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(documents, ""))
	}
	return p, strings.Join(documents, "")
}

func resolves(f *nwfilter.Filter) bool {
	_, err := policy.Resolve(f.Name, guestMAC, nil, func(name string) *nwfilter.Filter { return f })
	return err == nil
}

var guestMAC = []byte{0x52, 0x54, 0, 0, 0, 1}
