package datapath

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// BenchmarkHelper is what a packet costs that a helper reads.
func BenchmarkHelper(b *testing.B) {
	needRoot(b)
	for _, c := range []struct {
		name    string
		port    uint16
		payload string
	}{
		{"no helper", 9, "CONNECT DATA 1025 MESG 1026 INDEX 1027\n"},
		{"a request", 69, "\x00\x01file\x00octet\x00"},
		{"three announcements", 10080, "CONNECT DATA 1025 MESG 1026 INDEX 1027\n"},
		{"an invitation", 5060, "INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP lab\r\nCSeq: 1 INVITE\r\nContent-Length: 54\r\n\r\n" +
			"v=0\r\nc=IN IP4 " + server.String() + "\r\nm=audio 4000 RTP/AVP 0\r\n"},
		{"1400 bytes of nothing", 10080, strings.Repeat("CONNEC ", 200)},
	} {
		b.Run(c.name, func(b *testing.B) {
			tester, err := NewTester(resolve(b, trackingPolicy), Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer tester.Close()
			client, server := netip.AddrPortFrom(client, 4000), netip.AddrPortFrom(server, c.port)
			if _, err := tester.runNow(&ebpf.RunOptions{Data: datagram(client, server, "x")}, true); err != nil {
				b.Fatal(err)
			}
			frame, program := datagram(server, client, c.payload), tester.runs[false]
			if c.port == 69 {
				frame, program = datagram(client, server, c.payload), tester.runs[true]
			}
			for b.Loop() {
				_, took, err := program.Benchmark(frame, 100_000, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(took.Nanoseconds()), "ns/packet")
			}
		})
	}
}
