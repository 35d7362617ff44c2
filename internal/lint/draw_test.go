package lint

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"

	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

// Rules, parameters and frames share small pools, so that they often meet.
var (
	macs   = []string{"52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:01:00:01", "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00"}
	addrs  = []string{"10.0.0.1", "10.0.0.2", "10.0.1.1", "0.0.0.0", "255.255.255.255"}
	addrs6 = []string{"fd00::1", "fd00::2", "fd00:0:0:1::1", "fe80::1", "::"}
	ports  = []int{20, 21, 22, 53, 80}
	types  = []int{0x0800, 0x86dd, 0x0806, 0x8100, 0x88b5}
	protos = []int{1, 2, 6, 17, 58, 132}
	guestA = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
)

type drawer struct{ *rand.Rand }

func pick[T any](d drawer, list []T) T { return list[d.IntN(len(list))] }

func (d drawer) chance(percent int) bool { return d.IntN(100) < percent }

// value is a literal of the attribute.
func (d drawer) value(p *nwfilter.Protocol, a *nwfilter.AttributeSpec) string {
	switch a.Type {
	case nwfilter.MAC:
		return pick(d, macs)
	case nwfilter.MACMask:
		return pick(d, []string{"ff:ff:ff:ff:ff:ff", "ff:ff:ff:00:00:00", "00:00:00:00:00:00", "ff:ff:ff:fe:00:00"})
	case nwfilter.IPv4:
		return pick(d, addrs)
	case nwfilter.IPv6:
		return pick(d, addrs6)
	case nwfilter.IPv4Mask:
		return pick(d, []string{"32", "24", "16", "1", "0"})
	case nwfilter.IPv6Mask:
		return pick(d, []string{"128", "64", "63", "1", "0"})
	case nwfilter.Bool:
		return pick(d, []string{"true", "false"})
	case nwfilter.States:
		return pick(d, []string{"NEW", "ESTABLISHED", "RELATED", "INVALID", "NONE", "NEW,ESTABLISHED", "RELATED,ESTABLISHED", "INVALID,RELATED"})
	case nwfilter.TCPFlags:
		return pick(d, []string{"SYN/SYN", "SYN,ACK/SYN", "ALL/NONE", "ACK/ACK", "SYN/ACK"})
	case nwfilter.Text:
		return "text"
	}
	n := d.IntN(6)
	switch {
	case strings.HasSuffix(a.Name, "portend") && d.chance(50):
		n = 65535
	case strings.HasSuffix(a.Name, "portstart") && d.chance(30):
		n = 0
	case strings.Contains(a.Name, "port") && p.Name != "stp":
		n = pick(d, ports)
	case a.Name == "protocol" && p.Name == "ipv6" && d.chance(50):
		n = packet.ProtoICMPv6 // what types and neighbour discovery need
	case a.Name == "protocol":
		n = pick(d, protos)
	case strings.HasPrefix(a.Name, "type"):
		n = pick(d, []int{0, 3, 8, 128, 135, 255})
	case a.Ethertype:
		n = pick(d, types)
		return fmt.Sprintf("0x%x", n)
	}
	return fmt.Sprint(n)
}

// variable is a reference to a parameter that holds values of the type.
func variable(d drawer, a *nwfilter.AttributeSpec) string {
	switch {
	case a.Type == nwfilter.MAC:
		return pick(d, []string{"$MAC", "$M"})
	case a.Type == nwfilter.IPv4:
		return pick(d, []string{"$A", "$B", "$A[@1]", "$A[0]"})
	case a.Type == nwfilter.IPv6:
		return "$C"
	case a.Name == "srcportstart" || a.Name == "dstportstart":
		return pick(d, []string{"$P", "$Q[@2]"})
	}
	return ""
}

func (d drawer) rule() string {
	var b strings.Builder
	percent := pick(d, []int{2, 8, 16, 25}) // of the attributes a rule has
	fmt.Fprintf(&b, "<rule action='%s' direction='%s' priority='%d'%s>", pick(d, []string{"accept", "accept", "drop", "return", "return", "continue"}),
		pick(d, []string{"in", "out", "inout"}), d.IntN(7)*100-300, pick(d, []string{"", "", "", " statematch='false'"}))
	if d.chance(10) {
		b.WriteString("</rule>\n")
		return b.String()
	}
	p := pick(d, nwfilter.Protocols())
	if d.chance(50) { // what most frames are
		p = nwfilter.LookupProtocol(pick(d, []string{"mac", "ip", "tcp", "ipv6", "all"}))
	}
	fmt.Fprintf(&b, "<%s%s", p.Name, pick(d, []string{"", "", "", " match='no'"}))
	for i := range p.Attributes {
		a := &p.Attributes[i]
		if a.NeedsBase != "" && strings.Contains(b.String(), a.NeedsBase) {
			percent = max(percent, 50)
		}
		if !d.chance(percent) || strings.HasPrefix(a.Name, "connlimit") || strings.HasPrefix(a.Name, "ipset") {
			continue
		}
		value := d.value(p, a)
		if v := variable(d, a); v != "" && d.chance(30) {
			value = v
		}
		fmt.Fprintf(&b, " %s='%s'", a.Name, value)
	}
	b.WriteString("/></rule>\n")
	return b.String()
}

// filters draws a top filter with three others below it.
func (d drawer) filters() map[string]*nwfilter.Filter {
	set := map[string]*nwfilter.Filter{}
	for i, name := range []string{"top", "sub1", "sub2", "sub3"} {
		chain := "root"
		text := ""
		if i == 0 {
			text = "<filterref filter='sub1'/><filterref filter='sub2'/><filterref filter='sub3'/>\n"
		} else {
			chain = pick(d, []string{"root", "mac", "ipv4", "ipv4-x", "ipv6", "arp", "vlan", "stp"})
		}
		head := fmt.Sprintf("<filter name='%s' chain='%s' priority='%d'>\n", name, chain, d.IntN(11)*100-500)
		for range d.IntN(5) + 1 {
			rule := d.rule()
			alone, _ := nwfilter.Parse([]byte(head+rule+"</filter>"), name+".xml", nwfilter.Options{Lenient: true})
			if alone == nil {
				continue
			}
			// What the language refuses is left out, whatever the parameters.
			l, err := Run(Input{Filter: name, Lookup: func(string) *nwfilter.Filter { return alone }})
			if err != nil || len(l) > 0 && hasKind(l, Unbindable) {
				continue
			}
			text += rule
		}
		f, faults := nwfilter.Parse([]byte(head+text+"</filter>"), name+".xml", nwfilter.Options{Lenient: true})
		if f == nil {
			panic(faults)
		}
		set[name] = f
	}
	return set
}

func hasKind(list []Finding, k *Kind) bool {
	for _, f := range list {
		if f.Kind == k {
			return true
		}
	}
	return false
}

// parameters draws values for every variable.
func (d drawer) parameters() []nwfilter.Parameter {
	var list []nwfilter.Parameter
	add := func(count int, name string, value func() string) {
		for range count {
			list = append(list, nwfilter.Parameter{Name: name, Value: value()})
		}
	}
	n := d.IntN(3) + 1
	add(n, "A", func() string { return pick(d, addrs) })
	add(n, "B", func() string { return pick(d, addrs) })
	add(n, "C", func() string { return pick(d, addrs6) })
	add(n, "M", func() string { return pick(d, macs) })
	add(n, "MAC", func() string { return pick(d, macs) })
	add(n, "P", func() string { return fmt.Sprint(pick(d, ports)) })
	add(d.IntN(3)+1, "Q", func() string { return fmt.Sprint(pick(d, ports)) })
	return list
}

// frame draws a frame from the notation, and now and then breaks it.
func (d drawer) frame() []byte {
	src, dst := pick(d, addrs), pick(d, addrs)
	at := "%s:%d"
	icmp := "icmp"
	if d.chance(35) {
		src, dst, at, icmp = pick(d, addrs6), pick(d, addrs6), "[%s]:%d", "icmpv6"
	}
	var text string
	switch n := d.IntN(12); {
	case n < 6:
		text = fmt.Sprintf("%s "+at+" > "+at, pick(d, []string{"tcp", "tcp", "udp", "sctp"}), src, pick(d, ports), dst, pick(d, ports))
		if strings.HasPrefix(text, "tcp") {
			text += pick(d, []string{" syn", " syn", " syn ack", " ack", " ack fin", ""})
		}
	case n < 8:
		text = fmt.Sprintf("%s %s > %s type %d code %d id 1 seq 1", icmp, src, dst, pick(d, []int{0, 3, 8, 128, 135, 255}), d.IntN(3))
	case n == 8 && icmp == "icmpv6":
		text = fmt.Sprintf("icmpv6 %s > %s type %d target %s", src, dst, d.IntN(3)+packet.NeighbourSolicitation, pick(d, addrs6))
		for range d.IntN(3) {
			text += " mac " + pick(d, macs)
		}
	case n == 8:
		text = fmt.Sprintf("proto %d %s > %s", pick(d, []int{2, 50, 51}), src, dst)
	case n == 9:
		text = fmt.Sprintf("%s %s %s/%s > %s/%s", pick(d, []string{"arp", "rarp"}), pick(d, []string{"request", "reply"}), pick(d, addrs), pick(d, macs), pick(d, addrs), pick(d, macs))
	default:
		text = fmt.Sprintf("ether 0x%x", pick(d, []int{0x88b5, 0x0835}))
	}
	if d.chance(10) {
		text = fmt.Sprintf("vlan %d %s", d.IntN(6), text)
	}
	mac := func(s string) net.HardwareAddr { m, _ := net.ParseMAC(s); return m }
	frame, err := packet.FromText(text, packet.Ends{Src: mac(pick(d, macs)), Dst: mac(pick(d, macs))})
	if err != nil {
		panic(text + ": " + err.Error())
	}
	if d.chance(5) {
		frame = append(append(frame[:12:12], 0, 38, 0x42, 0x42, 3, 0, 0, 0, 0, byte(d.IntN(6))), make([]byte, 30)...)
	}
	if binary.BigEndian.Uint16(frame[12:]) == 0x0800 && d.chance(25) {
		d.fragment(frame)
	}
	if d.chance(5) {
		frame = frame[:14+d.IntN(len(frame)-13)]
	}
	return frame
}

// fragment makes a first or a later fragment of an IPv4 packet.
func (d drawer) fragment(frame []byte) {
	be := binary.BigEndian
	header := frame[14:34]
	be.PutUint16(header[4:], uint16(d.IntN(3)))
	be.PutUint16(header[6:], pick(d, []uint16{0x2000, 1, 0x2001, 3}))
	be.PutUint16(header[10:], 0)
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		sum += uint32(be.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	be.PutUint16(header[10:], ^uint16(sum))
}
