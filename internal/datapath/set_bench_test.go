package datapath

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"tapgate/internal/ipset"
	"tapgate/internal/packet"
)

// BenchmarkSet is a packet's look-up in sets of growing size, next to a rule
// without a set, and filling their tries.
func BenchmarkSet(b *testing.B) {
	needRoot(b)
	frame, err := packet.FromText("udp 10.77.0.20:1 > 10.77.0.11:2", packet.Ends{Src: guestMAC, Dst: guestMAC})
	if err != nil {
		b.Fatal(err)
	}
	for _, typeName := range []string{"", "hash:ip", "hash:net", "hash:ip,port"} {
		for _, members := range []int{10, 100_000} {
			attributes := `ipset="s" ipsetflags="src,src"`
			if typeName == "" {
				if attributes = ""; members > 10 {
					continue
				}
			}
			p := resolve(b, `<filter name="f"><rule action="drop" direction="in"><udp `+attributes+`/></rule></filter>`)
			sets := ipset.Sets{}
			if typeName != "" {
				sets["s"] = bigSet(b, typeName, members)
			}
			b.Run(fmt.Sprintf("%s/%d/packet", typeName, members), func(b *testing.B) {
				tester, err := NewTester(p, Config{Sets: sets})
				if err != nil {
					b.Fatal(err)
				}
				defer tester.Close()
				_, in := tester.Programs()
				for b.Loop() {
					_, took, err := in.Benchmark(frame, 1_000_000, nil)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(took.Nanoseconds()), "ns/packet")
				}
			})
			if typeName == "" {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d/fill", typeName, members), func(b *testing.B) {
				for b.Loop() {
					m, err := ebpf.NewMap(setMapSpec("set", sets["s"]))
					if err != nil {
						b.Fatal(err)
					}
					if _, err := updateSet(m, sets["s"]); err != nil {
						b.Fatal(err)
					}
					m.Close()
				}
			})
			b.Run(fmt.Sprintf("%s/%d/unchanged", typeName, members), func(b *testing.B) {
				m, err := ebpf.NewMap(setMapSpec("set", sets["s"]))
				if err != nil {
					b.Fatal(err)
				}
				defer m.Close()
				if _, err := updateSet(m, sets["s"]); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					if d, err := updateSet(m, sets["s"]); err != nil || d != (setDifference{}) {
						b.Fatal(d, err)
					}
				}
			})
		}
	}
}

func bigSet(t testing.TB, typeName string, members int) *ipset.Set {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	s, err := ipset.New("s", typeName, 4)
	if err != nil {
		t.Fatal(err)
	}
	for s.Len() < members {
		a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, random.Uint32()))).String()
		switch typeName {
		case "hash:net":
			a += fmt.Sprintf("/%d", 16+random.IntN(17))
		case "hash:ip,port":
			a += fmt.Sprintf(",udp:%d", random.IntN(1000))
		}
		if err := s.Add(a); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
