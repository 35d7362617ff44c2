package datapath

import (
	"testing"

	"tapgate/examples"
	"tapgate/internal/packet"
)

// BenchmarkObserve is the cost of one packet as a port's program has it, where
// nothing is observed, and where something is: for a packet that cannot teach, and
// for one that is over the limit. (One that is copied costs more, ten times a
// second.)
func BenchmarkObserve(b *testing.B) {
	needRoot(b)
	const query = "udp 10.0.0.1:4000 > 10.0.0.2:53 len 64"
	for _, c := range []struct {
		name, packet string
		wanted       packet.Observe
	}{
		{"nothing is observed", query, 0},
		{"a packet that teaches nothing", query, observeAll},
		{"a message over the limit", "udp 0.0.0.0:68 > 255.255.255.255:67 len 300", observeAll},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := examplePolicy(b, examples.FTPRelated)
			p.Observe = c.wanted
			out, _ := newUntested(b, p, Config{}).Programs()
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
