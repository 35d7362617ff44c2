package compat

import (
	"net"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"tapgate/internal/learn"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

var (
	guestMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	peerMAC  = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x99}
	guest    = net.IP{10, 0, 0, 5}
	peer     = net.IP{10, 0, 0, 9}
)

// frame builds a frame to the guest with right lengths and checksums.
func frame(t *testing.T, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, SrcIP: peer, DstIP: guest}
	all := []gopacket.SerializableLayer{&layers.Ethernet{SrcMAC: peerMAC, DstMAC: guestMAC, EthernetType: layers.EthernetTypeIPv4}, ip}
	for _, part := range parts {
		switch l := part.(type) {
		case *layers.TCP:
			ip.Protocol = layers.IPProtocolTCP
			_ = l.SetNetworkLayerForChecksum(ip)
		case *layers.UDP:
			ip.Protocol = layers.IPProtocolUDP
			_ = l.SetNetworkLayerForChecksum(ip)
		case *layers.SCTP:
			ip.Protocol = layers.IPProtocolSCTP
		case *layers.ICMPv4:
			ip.Protocol = layers.IPProtocolICMPv4
		}
		all = append(all, part)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func resolve(t *testing.T, rules string) *policy.Policy {
	t.Helper()
	f, faults := nwfilter.Parse([]byte("<filter name='x'>"+rules+"</filter>"), "x.xml", nwfilter.Options{Lenient: true})
	if f == nil {
		t.Fatal(faults)
	}
	p, err := policy.Resolve("x", guestMAC, nil, func(name string) *nwfilter.Filter {
		if name == "x" {
			return f
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// seen is a packet to the guest that got a state and a verdict.
func seen(frame []byte, state packet.State, v verdict.Verdict, matched ...*policy.Clause) Observation {
	p := packet.Decode(frame, false)
	p.State, p.Direction = state, packet.Original
	return Observation{Packet: p, Verdict: v, Matched: matched}
}

func history(p *policy.Policy, packets ...Observation) *History {
	h := NewHistory(p)
	for _, o := range packets {
		h.Add(o)
	}
	return h
}

func syn(dst layers.TCPPort) *layers.TCP {
	return &layers.TCP{SrcPort: 4000, DstPort: dst, SYN: true, Window: 8192}
}

func udp(dst layers.UDPPort) *layers.UDP { return &layers.UDP{SrcPort: 4000, DstPort: dst} }

// clauseOf is the first clause towards the guest at the network stage.
func clauseOf(p *policy.Policy) *policy.Clause { return p.Network[policy.In].Items[0].Clause }

const dropAll = "<rule action='drop' direction='inout' priority='1000'><all/></rule>"

func TestConditionsBeyondThePacket(t *testing.T) {
	limit := resolve(t, "<rule action='drop' direction='in'><tcp dstportstart='80' connlimit-above='2'/></rule>")
	everywhere := resolve(t, "<rule action='drop' direction='in'><tcp ipset='s' ipsetflags='src'/></rule>")
	negated := resolve(t, "<rule action='drop' direction='in'><all match='no' ipset='s' ipsetflags='src'/></rule>")
	plain := resolve(t, "<rule action='drop' direction='in'><all ipset='s' ipsetflags='src'/></rule>")
	web, ssh, dns := frame(t, syn(80)), frame(t, syn(22)), frame(t, udp(53))
	for _, row := range []struct {
		fact    string
		policy  *policy.Policy
		frame   []byte
		matches bool
		want    string
	}{
		{"a count may be another", limit, web, false, "connlimit-count"},
		{"also where it is exceeded", limit, web, true, "connlimit-count"},
		{"a rule that is about another port counts nothing", limit, ssh, false, ""},
		{"libvirt forgets a set on tcp", everywhere, web, false, "ipset-everywhere"},
		{"an address in it is dropped by both", everywhere, web, true, ""},
		{"another protocol is not concerned", everywhere, dns, false, ""},
		{"a negated set", negated, dns, false, "negated-state-ipset"},
		{"a negated set that matches", negated, dns, true, "negated-state-ipset"},
		{"a plain set on all is read alike", plain, dns, false, ""},
	} {
		var matched []*policy.Clause
		v := verdict.Pass
		if row.matches {
			matched, v = append(matched, clauseOf(row.policy)), verdict.Drop
		}
		if got := history(row.policy, seen(row.frame, packet.StateNew, v, matched...)).Explain(); got != row.want {
			t.Errorf("%s: %q, want %q", row.fact, got, row.want)
		}
	}
}

func TestTheKernelDropsWhatItCannotCount(t *testing.T) {
	limit := resolve(t, "<rule action='accept' direction='in'><tcp dstportstart='80' connlimit-above='2'/></rule>")
	ack, fin := syn(80), syn(80)
	ack.SYN, ack.ACK = false, true
	fin.SYN, fin.ACK, fin.FIN = false, true, true
	data := seen(frame(t, ack), packet.StateEstablished, verdict.Pass)
	end := seen(frame(t, fin), packet.StateEstablished, verdict.Pass)
	if got := history(limit, data, end, data).Explain(); got != "connlimit-count" {
		t.Errorf("a closing connection: %q", got)
	}
	if got := history(limit, data, data).Explain(); got != "" {
		t.Errorf("an open connection: %q", got)
	}
}

// A predicate that holds too often hides faults.
func TestNothingExplains(t *testing.T) {
	ports := resolve(t, "<rule action='accept' direction='in'><tcp match='no' dstportstart='80'/></rule>"+dropAll)
	states := resolve(t, "<rule action='accept' direction='in'><tcp dstportstart='22'/></rule>"+dropAll)
	stateless := resolve(t, "<rule action='accept' direction='inout'><tcp dstportstart='22'/></rule>"+dropAll)
	wrong := func(dst layers.TCPPort) []byte {
		b := frame(t, syn(dst))
		b[50] ^= 0x55 // the TCP checksum
		return b
	}
	for _, row := range []struct {
		fact   string
		policy *policy.Policy
		want   string
		seen   []Observation
	}{
		{"a rule read differently for this packet", ports, "negated-ports", []Observation{seen(frame(t, syn(80)), packet.StateNew, verdict.Drop)}},
		{"a protocol that the rule is not about", ports, "", []Observation{seen(frame(t, udp(80)), packet.StateNew, verdict.Drop)}},
		{"a right checksum", states, "", []Observation{seen(frame(t, syn(22)), packet.StateNew, verdict.Pass)}},
		{"a wrong checksum", states, "bad-checksum", []Observation{seen(wrong(22), packet.StateNew, verdict.Pass)}},
		{"a wrong checksum where no rule depends on the state", states, "", []Observation{seen(wrong(23), packet.StateNew, verdict.Drop)}},
		{"a wrong checksum without any states", stateless, "", []Observation{seen(wrong(22), 0, verdict.Pass)}},
		{"what follows a wrong checksum", states, "bad-checksum", []Observation{
			seen(wrong(22), packet.StateNew, verdict.Pass), seen(frame(t, syn(22)), packet.StateNew, verdict.Pass)}},
		{"another connection after a wrong checksum", states, "", []Observation{
			seen(wrong(23), packet.StateNew, verdict.Drop), seen(frame(t, syn(22)), packet.StateNew, verdict.Pass)}},
		{"a frame that is too short", states, "", []Observation{seen(make([]byte, 3), 0, verdict.Drop)}},
		{"an IP header that is malformed", states, "", []Observation{seen(frame(t, syn(22))[:20], 0, verdict.Drop)}},
	} {
		if got := history(row.policy, row.seen...).Explain(); got != row.want {
			t.Errorf("%s: %q, want %q", row.fact, got, row.want)
		}
	}
}

func TestConnected(t *testing.T) {
	plain := history(resolve(t, dropAll))
	related := history(resolve(t, "<rule action='accept' direction='out'><tcp state='RELATED'/></rule>"))
	query := frame(t, udp(53))
	quote := gopacket.Payload(query[14:])
	about := frame(t, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3)}, quote)
	echo := frame(t, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 7}, quote)
	for _, row := range []struct {
		fact string
		h    *History
		a, b []byte
		want bool
	}{
		{"the same ports", plain, query, query, true},
		{"another port", plain, query, frame(t, udp(54)), false},
		{"another protocol", plain, query, frame(t, syn(53)), false},
		{"an error about it", plain, query, about, true},
		{"a ping that carries it", plain, query, echo, false},
		{"FTP control and another port", plain, frame(t, syn(21)), frame(t, syn(2000)), false},
		{"FTP control, where RELATED counts", related, frame(t, syn(21)), frame(t, syn(2000)), true},
		{"TFTP's request and another port, where RELATED counts", related, frame(t, udp(69)), frame(t, udp(2000)), true},
		{"a port of no helper, where RELATED counts", related, frame(t, udp(68)), frame(t, udp(2000)), false},
		{"no IP", plain, make([]byte, 60), make([]byte, 60), false},
	} {
		a, b := packet.Decode(row.a, false), packet.Decode(row.b, false)
		if row.h.connected(&a, &b) != row.want || row.h.connected(&b, &a) != row.want {
			t.Errorf("%s: connected %v, want %v", row.fact, !row.want, row.want)
		}
	}
}

func TestExplainAcceptance(t *testing.T) {
	filter := func(src string) *nwfilter.Filter {
		f, faults := nwfilter.Parse([]byte(src), "x.xml", nwfilter.Options{})
		if f == nil {
			t.Fatal(faults)
		}
		return f
	}
	six := filter("<filter name='six'><rule action='drop' direction='in'><all-ipv6 dstipfrom='fd00::1' dstipto='fd00::2'/></rule></filter>")
	four := filter("<filter name='four'><rule action='drop' direction='in'><all dstipfrom='10.0.0.1' dstipto='10.0.0.2'/></rule></filter>")
	all := []*nwfilter.Filter{six, four}
	for stage, want := range map[string]string{"define six": "ipv6-destination-range", "define four": "", "bind": ""} {
		if got := ExplainAcceptance(all, &policy.Policy{}, stage); got != want {
			t.Errorf("%s: %q, want %q", stage, got, want)
		}
	}
	for _, row := range []struct {
		learning policy.Learning
		stage    string
		want     string
	}{
		{policy.Learning{Config: learn.Config{IPv6: true}}, "bind", "learning"},
		{policy.Learning{Config: learn.Config{IPv4: true}}, "bind", ""}, // libvirt learns it, too
		{policy.Learning{Config: learn.Config{IPv6: true}}, "define six", "ipv6-destination-range"},
	} {
		if got := ExplainAcceptance(all, &policy.Policy{Learning: &row.learning}, row.stage); got != row.want {
			t.Errorf("%v at %s: %q, want %q", row.learning.Config, row.stage, got, row.want)
		}
	}
}
