package datapath

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"tapgate/examples"
	"tapgate/internal/compile"
	"tapgate/internal/datapath/skeleton"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
	"tapgate/nwfilter/builtin"
)

func examplePolicy(b testing.TB, document []byte) *policy.Policy {
	b.Helper()
	f, faults := nwfilter.Parse(document, "example.xml", nwfilter.Options{})
	if f == nil {
		b.Fatal(faults)
	}
	p, err := policy.Resolve(f.Name, guestMAC, []nwfilter.Parameter{
		{Name: "IP", Value: "10.0.0.1"}, {Name: "IPV6", Value: "fe80::1"}, {Name: "IPV6", Value: "fd00::1"},
	}, func(name string) *nwfilter.Filter {
		if name == f.Name {
			return f
		}
		return builtin.Get(name)
	})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// manyRules is a list of rules with four conditions each.
func manyRules(b testing.TB, n int) *policy.Policy {
	b.Helper()
	var doc strings.Builder
	doc.WriteString(`<filter name="many">`)
	for i := range n {
		fmt.Fprintf(&doc, `<rule action="drop" direction="in"><tcp srcipaddr="10.%d.%d.1" dstportstart="%d" dscp="9"/></rule>`, i/256, i%256, i%65535+1)
	}
	doc.WriteString(`</filter>`)
	return examplePolicy(b, []byte(doc.String()))
}

// manyAddresses is one rule for a list of addresses.
func manyAddresses(b testing.TB, n int) *policy.Policy {
	b.Helper()
	f, faults := nwfilter.Parse([]byte(`<filter name="many"><rule action="accept" direction="in"><tcp srcipaddr="$A" dstportstart="80"/></rule></filter>`), "many.xml", nwfilter.Options{})
	if f == nil {
		b.Fatal(faults)
	}
	var list []nwfilter.Parameter
	for i := range n {
		list = append(list, nwfilter.Parameter{Name: "A", Value: fmt.Sprintf("10.%d.%d.%d", i/7%256, i%256, i/256)})
	}
	p, err := policy.Resolve(f.Name, guestMAC, list, func(string) *nwfilter.Filter { return f })
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func largePolicies(b testing.TB) map[string]*policy.Policy {
	return map[string]*policy.Policy{
		"ftp-related":     examplePolicy(b, examples.FTPRelated),
		"2000 rules":      manyRules(b, 2000),
		"20000 rules":     manyRules(b, 20000),
		"10000 addresses": manyAddresses(b, 10000),
	}
}

func BenchmarkCompile(b *testing.B) {
	spec, err := skeleton.Load()
	if err != nil {
		b.Fatal(err)
	}
	layout, err := skeleton.Layout(spec)
	if err != nil {
		b.Fatal(err)
	}
	for name, p := range largePolicies(b) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for _, d := range policy.Directions {
					if _, err := compile.Compile(p, d, layout, nil); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	needRoot(b)
	for name, p := range largePolicies(b) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				tester, err := NewTester(p, Config{})
				if err != nil {
					b.Fatal(err)
				}
				tester.Close()
			}
		})
	}
}

// BenchmarkRun is the cost of one packet in the kernel: what
// BPF_PROG_TEST_RUN reports for many repetitions.
func BenchmarkRun(b *testing.B) {
	needRoot(b)
	dual := []byte(`<filter name="dual"><filterref filter="clean-traffic-dual"/></filter>`)
	for _, c := range []struct {
		name   string
		filter []byte
		packet string
	}{
		{"udp query out, ftp-related", examples.FTPRelated, "udp 10.0.0.1:4000 > 10.0.0.2:53 len 64"},
		{"tcp syn in dropped, ftp-related", examples.FTPRelated, "tcp 10.0.0.1:4000 > 10.0.0.2:81 syn"},
		{"tcp ack picked up, ftp-states", examples.FTPStates, "tcp 10.0.0.1:22 > 10.0.0.2:4000 ack"},
		{"arp out, ftp-related", examples.FTPRelated, "arp request 10.0.0.1 > 10.0.0.2"},
		{"udp query out, clean-traffic-dual", dual, "udp 10.0.0.1:4000 > 10.0.0.2:53 len 64"},
		{"udp query out over IPv6, clean-traffic-dual", dual, "udp [fd00::1]:4000 > [fd00::2]:53 len 64"},
		{"ping out over IPv6, clean-traffic-dual", dual, "icmpv6 fd00::1 > fd00::2"},
		{"neighbour solicitation out, clean-traffic-dual", dual, "icmpv6 fd00::1 > ff02::1:ff00:2 neighbor-solicitation target fd00::2 mac 52:54:00:00:00:01"},
		{"neighbour advertisement out, clean-traffic-dual", dual, "icmpv6 fd00::1 > fd00::2 neighbor-advertisement mac 52:54:00:00:00:01"},
		{"with 64 options, dropped, clean-traffic-dual", dual, "icmpv6 fd00::1 > fd00::2 neighbor-advertisement" + strings.Repeat(" mac 52:54:00:00:00:01", 63) + " mac 52:54:00:00:00:02"},
	} {
		b.Run(c.name, func(b *testing.B) {
			tester, err := NewTester(examplePolicy(b, c.filter), Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer tester.Close()
			out, _ := tester.Programs()
			frame, err := packet.FromText(c.packet, packet.Ends{Src: guestMAC, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				_, took, err := out.Benchmark(frame, 1_000_000, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(took.Nanoseconds()), "ns/packet")
			}
		})
	}
}

// BenchmarkConnections is the time to read one port's 65,536 connections out of
// a table of a million.
func BenchmarkConnections(b *testing.B) {
	needRoot(b)
	const all, ours, shards = 1_000_000, 65_536, 128
	spec, err := skeleton.Load()
	if err != nil {
		b.Fatal(err)
	}
	layout, err := newConnectionLayout(spec.Types)
	if err != nil {
		b.Fatal(err)
	}
	inner := spec.Maps["connections"].InnerMap
	outer := spec.Maps["connections"].Copy()
	outer.MaxEntries, inner.MaxEntries = shards, hostTables.shard
	table, err := ebpf.NewMap(outer)
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	t := &connectionTable{number: 1, layout: layout, maps: map[string]*ebpf.Map{"connections": table}, rules: map[uint64]*Clause{}}
	n := uint32(0)
	for i := range uint32(shards) {
		shard, err := ebpf.NewMap(inner)
		if err != nil {
			b.Fatal(err)
		}
		const each = all / shards
		keys, values := byteArrays(inner.KeySize, each), byteArrays(inner.ValueSize, each)
		for k := range each {
			n++
			key := keys.Index(k).Bytes()
			binary.LittleEndian.PutUint32(key[layout.port.at:], 1+n%(all/ours))
			binary.LittleEndian.PutUint32(key[layout.aIP.at:], n)
			binary.LittleEndian.PutUint64(values.Index(k).Bytes()[layout.expires.at:], 1<<62)
		}
		if _, err := shard.BatchUpdate(keys.Interface(), values.Interface(), nil); err != nil {
			b.Fatal(err)
		}
		if err := table.Put(i, shard); err != nil {
			b.Fatal(err)
		}
		shard.Close()
	}
	for b.Loop() {
		read := 0
		for e, err := range t.entries(monotonic()) {
			if err != nil {
				b.Fatal(err)
			}
			if _, err := t.describe(e, 1); err != nil {
				b.Fatal(err)
			}
			read++
		}
		b.ReportMetric(float64(read), "connections")
	}
}
