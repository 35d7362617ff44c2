package datapath

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"

	"tapgate/internal/conntrack"
	"tapgate/internal/packet"
)

var (
	client = netip.MustParseAddr("10.0.0.1")
	server = netip.MustParseAddr("10.0.0.2")
)

func datagram(src, dst netip.AddrPort, payload string) []byte {
	return controlFrame(packet.ProtoUDP, src, dst, udpHeader(len(payload)), []byte(payload))
}

// Of two packets that come at once only one takes an announcement.
func TestAnAnnouncementIsTakenOnce(t *testing.T) {
	needRoot(t)
	k := newTracker(t, resolve(t, trackingPolicy), Config{})
	asked := netip.AddrPortFrom(client, 4000)
	request := datagram(asked, netip.AddrPortFrom(server, 69), "\x00\x01f\x00")
	for round := range 3000 {
		if _, err := k.runNow(&ebpf.RunOptions{Data: request}, true); err != nil {
			t.Fatal(err)
		}
		var related atomic.Int32
		var both sync.WaitGroup
		for i := range 2 {
			answer := datagram(netip.AddrPortFrom(server, uint16(10000+2*round+i)), asked, "")
			both.Go(func() {
				r, err := k.runNow(&ebpf.RunOptions{Data: answer}, false)
				if err != nil {
					t.Error(err)
				}
				if r.State == packet.StateRelated {
					related.Add(1)
				}
			})
		}
		both.Wait()
		if got := related.Load(); got != 1 {
			t.Fatalf("round %d: %d packets are RELATED", round, got)
		}
	}
}

// Whatever two CPUs do to one record, the index holds no more than its slots.
func TestTwoCPUsAnnounce(t *testing.T) {
	needRoot(t)
	alone(t)
	k := newTracker(t, resolve(t, trackingPolicy), Config{})
	asking, asked := netip.AddrPortFrom(client, 4000), netip.AddrPortFrom(server, 10080)
	run := func(frame []byte, out bool) TestResult {
		r, err := k.runNow(&ebpf.RunOptions{Data: frame}, out)
		if err != nil {
			t.Error(err)
		}
		return r
	}
	run(datagram(asking, asked, "x"), true)
	var all sync.WaitGroup
	for cpu := range 2 {
		all.Go(func() {
			s := &source{rand: rand.New(rand.NewPCG(uint64(cpu), 0))}
			for i := range 20_000 {
				if i%3 == 0 {
					h := []byte{0, 0, 0, 9, 0, 0, 0, 0, 5 << 4, 2, 0x20, 0, 0, 0, 0, 0}
					run(controlFrame(packet.ProtoTCP, netip.AddrPortFrom(client, uint16(s.between(1, 500))), netip.AddrPortFrom(server, uint16(s.between(1, 300))), h, nil), true)
					continue
				}
				run(datagram(asked, asking, string(amandaReply(s))), false)
			}
		})
	}
	all.Wait()
	var key, value []byte
	n := 0
	for entries := k.bed.maps["expectations"].Iterate(); entries.Next(&key, &value); {
		n++
	}
	if n == 0 || n > 4 {
		t.Errorf("%d targets lead to the slots of one Amanda connection, which has 4", n)
	}
}

func amandaReply(s *source) []byte {
	b := []byte("CONNECT")
	for range 3 {
		b = append(b, " DATA "...)
		b = append(b, byte('1'+s.between(0, 1)), byte('0'+s.between(0, 9)), byte('0'+s.between(0, 9)))
	}
	return append(b, '\n')
}

// What was announced remembers by whom.
func TestAnnouncedConnectionsKnowTheirMaster(t *testing.T) {
	needRoot(t)
	k := newTracker(t, resolve(t, trackingPolicy), Config{})
	asking := netip.AddrPortFrom(client, 4000)
	if _, err := k.Run(datagram(asking, netip.AddrPortFrom(server, 69), "\x00\x01f\x00"), true, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Run(datagram(netip.AddrPortFrom(server, 10000), asking, ""), false, 1); err != nil {
		t.Fatal(err)
	}
	type readers struct{ helper, announcedBy conntrack.Helper }
	got := map[readers]int{}
	for _, e := range k.entries(t) {
		got[readers{conntrack.Helper(k.member(t, e, "helper")), conntrack.Helper(k.member(t, e, "announced_by"))}]++
	}
	if want := map[readers]int{{helper: conntrack.TFTP}: 1, {announcedBy: conntrack.TFTP}: 1}; !maps.Equal(got, want) {
		t.Errorf("connections %v, want %v", got, want)
	}
	ports := func(key []byte) [2]uint16 { // of struct conn_key
		return [2]uint16{binary.NativeEndian.Uint16(key[6:]), binary.NativeEndian.Uint16(key[8:])}
	}
	var key, master []byte
	if !k.bed.maps["related"].Iterate().Next(&key, &master) || ports(key) != [2]uint16{4000, 10000} || ports(master) != [2]uint16{4000, 69} {
		t.Errorf("of % x the master is % x", key, master)
	}
}

// Two ports with the same addresses never meet.
func TestAnnouncementsBelongToAPort(t *testing.T) {
	needRoot(t)
	k := newTracker(t, resolve(t, trackingPolicy), Config{})
	asking := netip.AddrPortFrom(client, 4000)
	ask := datagram(asking, netip.AddrPortFrom(server, 69), "\x00\x01f\x00")
	answer := datagram(netip.AddrPortFrom(server, 10000), asking, "")
	if _, err := k.Run(ask, true, 1); err != nil {
		t.Fatal(err)
	}
	first := k.state.Port
	for _, step := range []struct {
		port uint32
		want packet.State
	}{{first + 1, packet.StateNew}, {first, packet.StateRelated}} {
		k.state.Port, k.bed.port = step.port, first+1
		if _, err := openPort(k.bed.maps[portsMap], step.port); err != nil {
			t.Fatal(err)
		}
		if err := k.test.Put(uint32(0), &k.state); err != nil {
			t.Fatal(err)
		}
		if r, err := k.Run(answer, false, 1); err != nil || r.State != step.want {
			t.Errorf("port %d: state %v (%v), want %v", step.port, r.State, err, step.want)
		}
	}
}
