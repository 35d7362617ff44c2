package datapath

import (
	"sync"
	"testing"

	"github.com/cilium/ebpf"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

// TestTwoCPUs runs both programs of a port at the same time on packets of one
// connection. Nothing may be lost: every packet is counted in the entry, there
// is one entry, and TCP's state is one that the packets lead to.
func TestTwoCPUs(t *testing.T) {
	needRoot(t)
	const rounds = 200_000
	ends := packet.Ends{Src: guestMAC, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}}
	for _, test := range []struct {
		name           string
		setUp          []string // alternately sent and received
		sent, received string
	}{
		{name: "tcp",
			setUp: []string{"tcp 10.0.0.1:4000 > 10.0.0.2:80 syn seq 1000", "tcp 10.0.0.2:80 > 10.0.0.1:4000 syn ack seq 5000 ack 1001", "tcp 10.0.0.1:4000 > 10.0.0.2:80 ack seq 1001 ack 5001"},
			sent:  "tcp 10.0.0.1:4000 > 10.0.0.2:80 ack seq 1001 ack 5001", received: "tcp 10.0.0.2:80 > 10.0.0.1:4000 ack seq 5001 ack 1001"},
		{name: "udp",
			setUp: []string{"udp 10.0.0.1:4000 > 10.0.0.2:53", "udp 10.0.0.2:53 > 10.0.0.1:4000"},
			sent:  "udp 10.0.0.1:4000 > 10.0.0.2:53", received: "udp 10.0.0.2:53 > 10.0.0.1:4000"},
		{name: "udp, the first packets",
			sent: "udp 10.0.0.1:4000 > 10.0.0.2:53", received: "udp 10.0.0.2:53 > 10.0.0.1:4000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newTracker(t, resolve(t, trackingPolicy), Config{})
			frame := func(text string) []byte {
				f, err := packet.FromText(text, ends)
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			for i, text := range test.setUp {
				if _, err := k.Run(frame(text), i%2 == 0, 1); err != nil {
					t.Fatal(err)
				}
			}
			var both sync.WaitGroup
			for out, text := range map[bool]string{true: test.sent, false: test.received} {
				both.Go(func() {
					if _, err := k.runs[out].Run(&ebpf.RunOptions{Data: frame(text), Repeat: rounds}); err != nil {
						t.Error(err)
					}
				})
			}
			both.Wait()
			entries := k.entries(t)
			if len(entries) != 1 {
				t.Fatalf("%d connections, want 1", len(entries))
			}
			counted := k.member(t, entries[0], "packets")
			reply := k.memberAt(t, entries[0], "packets", 8)
			if got, want := counted+reply, uint64(len(test.setUp)+2*rounds); got != want {
				t.Errorf("%d packets counted, want %d", got, want)
			}
			if test.name == "tcp" {
				if state := conntrack.TCPState(k.member(t, entries[0], "state")).String(); state != "ESTABLISHED" {
					t.Errorf("state %s", state)
				}
			}
		})
	}
}
