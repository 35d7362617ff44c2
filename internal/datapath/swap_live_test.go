package datapath

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"tapgate/internal/policy"
)

const (
	// Both drop UDP to port 9 in the same line, and differ in the next. No rule
	// needs connections, so that the programs load in no time.
	dropNine = `<filter name="f">
  <rule action="drop" direction="out"><ip protocol="udp" dstportstart="9"/></rule>
  <rule action="accept" direction="out"><ip protocol="udp" dstportstart="10"/></rule>
</filter>`
	dropNineToo = `<filter name="f">
  <rule action="drop" direction="out"><ip protocol="udp" dstportstart="9"/></rule>
  <rule action="accept" direction="out"><ip protocol="udp" dstportstart="11"/></rule>
</filter>`
	dropNineAndAll = `<filter name="f">
  <rule action="drop" direction="out"><ip protocol="udp" dstportstart="9"/></rule>
  <rule action="drop" direction="inout"/>
</filter>`
	// replies lets the guest's datagrams out and only answers in.
	replies = `<filter name="replies">
  <rule action="accept" direction="out"><udp state="NEW,ESTABLISHED"/></rule>
  <rule action="accept" direction="in"><udp state="ESTABLISHED"/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`
	// onlyTen needs a datagram's ports.
	onlyTen = `<filter name="only-ten">
  <rule action="accept" direction="out"><udp dstportstart="10"/></rule>
  <rule action="drop" direction="out"><all/></rule>
</filter>`
)

var onlyEleven = strings.ReplaceAll(onlyTen, `"10"`, `"11"`)

// swapsUnderFlood by mechanism.
var swapsUnderFlood = map[Mechanism]int{TCX: 500, Clsact: 100}

func TestNoFramePassesWhilePoliciesAreSwapped(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			port, swaps := l.Guest.Port, swapsUnderFlood[mechanism]
			if testing.Short() {
				swaps /= 10
			}
			policies := []*policy.Policy{resolve(t, dropNine), resolve(t, dropNineToo)}
			l.guard(port, policies[0])

			frame := l.udp(9, "flood")
			receiver, err := l.Neighbour.OpenFrames("eth0")
			if err != nil {
				t.Fatal(err)
			}
			defer receiver.Close()
			ctx, stop := context.WithCancel(t.Context())
			var sent atomic.Uint64
			flood, arrived := make(chan error, 1), make(chan error, 1)
			go func() { flood <- l.flood(ctx, frame, &sent) }()
			go func() {
				_, err := receiver.Receive(ctx, func(got []byte) bool { return bytes.Equal(got, frame) })
				arrived <- err
			}()
			for i := range swaps {
				if c := l.guard(port, policies[(i+1)%2]); !c.Replaced || c.Before != "f" || len(c.Notes) > 0 {
					t.Fatalf("swap %d: %+v", i, c)
				}
			}
			stop()
			if err := <-flood; err != nil {
				t.Fatal(err)
			}
			if err := <-arrived; err == nil {
				t.Error("a frame that both policies drop has arrived")
			}
			t.Logf("%d frames during %d swaps", sent.Load(), swaps)
			stats := l.stats(port)
			if got := count(t, stats, "out", 2); got != sent.Load() {
				t.Errorf("%d frames counted, want %d: counts must live on", got, sent.Load())
			}
			l.arrives(l.Guest, l.Neighbour, l.udp(10, "both pass this"), true)
		})
	}
}

// flood sends a frame at full rate until ctx ends.
func (l *live) flood(ctx context.Context, frame []byte, sent *atomic.Uint64) error {
	sender, err := l.Guest.OpenFrames("eth0")
	if err != nil {
		return err
	}
	defer sender.Close()
	for ctx.Err() == nil {
		if err := sender.Send(frame); err != nil {
			return err
		}
		sent.Add(1)
	}
	return nil
}

func TestCountersLiveOnUnlessTheRuleChanges(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	l.guard(port, resolve(t, dropNine))
	for range 3 {
		l.arrives(l.Guest, l.Neighbour, l.udp(9, "dropped"), false)
	}
	for range 2 {
		l.arrives(l.Guest, l.Neighbour, l.udp(10, "passes"), true)
	}
	expect := func(when string, dropped, accepted uint64) {
		t.Helper()
		stats := l.stats(port)
		if got := count(t, stats, "out", 2); got != dropped {
			t.Errorf("%s: %d packets counted by line 2, want %d", when, got, dropped)
		}
		if got := count(t, stats, "out", 3); got != accepted {
			t.Errorf("%s: %d packets counted by line 3, want %d", when, got, accepted)
		}
		if got := stats.Out.Dropped.Packets; got != dropped {
			t.Errorf("%s: %d packets dropped in total, want %d", when, got, dropped)
		}
	}
	expect("at first", 3, 2)
	number := l.binding(port).Number
	l.guard(port, resolve(t, dropNineToo))
	expect("after a swap", 3, 0)
	l.arrives(l.Guest, l.Neighbour, l.udp(9, "dropped"), false)
	expect("after a swap and another packet", 4, 0)
	l.guard(port, resolve(t, dropNineToo))
	expect("after the same policy", 4, 0)
	if got := l.binding(port).Number; got != number {
		t.Errorf("number %d, want %d: connections must live on", got, number)
	}
	l.release(port)
	l.guard(port, resolve(t, dropNine))
	expect("after a release", 0, 0)
	if got := l.binding(port).Number; got == number {
		t.Errorf("number %d is used a second time", got)
	}
}

// count gives the packets that the clause of a direction counted which comes
// from a line.
func count(t *testing.T, stats *Stats, direction string, line int) uint64 {
	t.Helper()
	for _, c := range stats.Clauses {
		if c.Direction == direction && c.Origin.Pos.Line == line {
			return c.Packets
		}
	}
	t.Fatalf("no clause comes from line %d: %+v", line, stats.Clauses)
	return 0
}

func TestConnectionsLiveOnWhenAPolicyIsSwapped(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	l.guard(port, resolve(t, replies))
	l.arrives(l.Neighbour, l.Guest, l.reply(53, "before the question"), false)
	l.arrives(l.Guest, l.Neighbour, l.udp(53, "question"), true)
	l.arrives(l.Neighbour, l.Guest, l.reply(53, "answer"), true)
	if s := l.stats(port); s.Connections != 1 || s.Opened != 1 {
		t.Errorf("%d connections, %d opened, want 1", s.Connections, s.Opened)
	}
	l.guard(port, resolve(t, replies))
	l.arrives(l.Neighbour, l.Guest, l.reply(53, "answer after a swap"), true)
	l.release(port)
	l.guard(port, resolve(t, replies))
	l.arrives(l.Neighbour, l.Guest, l.reply(53, "answer after a release"), false)
}

func TestFragmentsLiveOnWhenTheSamePolicyIsSwapped(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	l.guard(port, resolve(t, onlyTen))
	first, second := fragments(l.udp(10, "a datagram of two fragments"))
	third, fourth := fragments(l.udp(9, "a datagram that must not pass"))
	l.arrives(l.Guest, l.Neighbour, first, true)
	l.arrives(l.Guest, l.Neighbour, third, false)
	l.guard(port, resolve(t, onlyTen))
	l.arrives(l.Guest, l.Neighbour, second, true)
	l.arrives(l.Guest, l.Neighbour, fourth, false)
	// Another policy owes nothing to what the one before let through.
	l.guard(port, resolve(t, onlyEleven))
	l.arrives(l.Guest, l.Neighbour, second, false)
	l.guard(port, resolve(t, onlyTen))
	l.arrives(l.Guest, l.Neighbour, second, true)
}

// fragments cuts a UDP datagram in two, the first with 8 bytes of data behind
// the UDP header.
func fragments(frame []byte) (first, second []byte) {
	const ip, cut = 14, 16
	id := uint16(len(frame)) << 4
	make := func(data []byte, offset int, more bool) []byte {
		f := append(bytes.Clone(frame[:ip+20]), data...)
		flags := uint16(offset / 8)
		if more {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(f[ip+2:], uint16(20+len(data)))
		binary.BigEndian.PutUint16(f[ip+4:], id)
		binary.BigEndian.PutUint16(f[ip+6:], flags)
		binary.BigEndian.PutUint16(f[ip+10:], 0)
		sum := uint32(0)
		for i := ip; i < ip+20; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(f[i:]))
		}
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(f[ip+10:], ^uint16(sum+sum>>16))
		return f
	}
	data := frame[ip+20:]
	return make(data[:cut], 0, true), make(data[cut:], cut, false)
}

// An interrupted change leaves its traces at one of these points. What is in
// force must be the old or the new policy in each direction, and the next
// change or look must know.
func TestInterruptedChanges(t *testing.T) {
	for _, test := range []struct {
		name      string
		interrupt func(*live, *portState)
		// state before and whether frames that only the new policy drops pass.
		state     State
		passesOut bool
	}{
		{"while it was built", func(l *live, s *portState) {
			if err := os.Mkdir(filepath.Join(s.dir, asideName), 0o700); err != nil {
				l.t.Fatal(err)
			}
			b := s.last().binding
			b.Number++ // as of a device that was made anew
			if err := pinJSON(filepath.Join(s.dir, asideName, bindingPin), bindingPin, b); err != nil {
				l.t.Fatal(err)
			}
		}, Guarded, true},
		{"before it was attached", func(l *live, s *portState) {
			l.prepare(s, dropNineAndAll)
		}, Guarded, true},
		{"between the directions", func(l *live, s *portState) {
			l.prepare(s, dropNineAndAll)
			l.attachOne(s, policy.In)
		}, HalfSwapped, true},
		{"before the counts were taken over", func(l *live, s *portState) {
			l.prepare(s, dropNineAndAll)
			l.attachOne(s, policy.In)
			l.attachOne(s, policy.Out)
		}, Guarded, false},
		{"before the old one was removed", func(l *live, s *portState) {
			l.prepare(s, dropNineAndAll)
			l.attachOne(s, policy.In)
			l.attachOne(s, policy.Out)
			if err := carry(s.generations); err != nil {
				l.t.Fatal(err)
			}
		}, Guarded, false},
		{"while the old one was removed", func(l *live, s *portState) {
			l.prepare(s, dropNineAndAll)
			l.attachOne(s, policy.In)
			l.attachOne(s, policy.Out)
			if err := carry(s.generations); err != nil {
				l.t.Fatal(err)
			}
			if err := os.Rename(s.generations[0].dir, filepath.Join(s.dir, removedPrefix+"1")); err != nil {
				l.t.Fatal(err)
			}
		}, Guarded, false},
		{"while it was attached for the first time", func(l *live, s *portState) {
			for _, d := range policy.Directions {
				l.in(func() error { return (&tcx{portDir: s.dir}).detach(d) })
			}
			l.attachOne(s, policy.In)
		}, Unguarded, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLive(t, TCX)
			port := l.Guest.Port
			l.guard(port, resolve(t, dropNine))
			l.arrives(l.Guest, l.Neighbour, l.udp(9, "dropped"), false)

			test.interrupt(l, l.look(port))
			l.arrives(l.Guest, l.Neighbour, l.udp(10, "dropped by the new one"), test.passesOut)
			l.state(port, test.state)
			if got := count(t, l.stats(port), "out", 2); got != 1 {
				t.Errorf("%d packets counted, want 1", got)
			}

			l.guard(port, resolve(t, dropNineToo))
			l.state(port, Guarded)
			l.oneGeneration(port)
			if got := count(t, l.stats(port), "out", 2); got != 1 {
				t.Errorf("after the next change: %d packets counted, want 1", got)
			}
			l.arrives(l.Guest, l.Neighbour, l.udp(9, "dropped"), false)
			l.arrives(l.Guest, l.Neighbour, l.udp(10, "passes"), true)
			l.release(port)
			l.empty()
		})
	}
}

func (l *live) look(port string) (s *portState) {
	l.t.Helper()
	l.in(func() error {
		dev, err := deviceOf(port)
		if err == nil {
			s, err = l.host.look(port, dev)
		}
		return err
	})
	return s
}

// prepare builds the next generation and does not attach it.
func (l *live) prepare(s *portState, xml string) {
	l.t.Helper()
	l.in(func() error {
		dev, err := deviceOf(s.name)
		if err != nil {
			return err
		}
		p := resolve(l.t, xml)
		next := &Prepared{host: l.host, state: s, device: dev, replaces: s.newest()}
		if err := next.build(l.t.Context(), describe(p, Meta{}, dev), p, nil); err != nil {
			return err
		}
		s.generations = append(s.generations, next.generation)
		return nil
	})
	if got := filepath.Base(s.last().dir); got != strconv.Itoa(s.last().number) {
		l.t.Fatalf("generation %d is in %s", s.last().number, got)
	}
}

// attachOne puts the last generation in force in one direction.
func (l *live) attachOne(s *portState, d policy.Direction) {
	l.t.Helper()
	l.in(func() error {
		dev, err := deviceOf(s.name)
		if err != nil {
			return err
		}
		prog, err := s.last().program(d)
		if err != nil {
			return err
		}
		defer prog.Close()
		return newAttachment(TCX, s.dir, dev).attach(d, prog)
	})
}

func TestANewHostFindsWhatAnotherLeft(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	l.guard(port, resolve(t, dropNine))
	l.host = openHost(t, l.host.dir, Automatic)
	l.arrives(l.Guest, l.Neighbour, l.udp(9, "dropped"), false)
	stats := l.stats(port)
	if stats.State != Guarded || stats.Filter != "f" || count(t, stats, "out", 2) != 1 {
		t.Errorf("found %+v", stats)
	}
	if c := l.guard(port, resolve(t, acceptAll)); !c.Replaced || c.Before != "f" {
		t.Errorf("swap: %+v", c)
	}
}

func TestConnectionsOfAReleasedPortAreSwept(t *testing.T) {
	l := newLive(t, Automatic)
	l.guard(l.Neighbour.Port, resolve(t, acceptAll)) // keeps the table
	l.guard(l.Guest.Port, resolve(t, replies))
	l.arrives(l.Guest, l.Neighbour, l.udp(53, "question"), true)
	tables := filepath.Join(l.host.dir, l.binding(l.Guest.Port).State)
	if got := entries(t, tables); got != 1 {
		t.Fatalf("%d connections, want 1", got)
	}
	l.release(l.Guest.Port)
	l.swept(tables)
}

// swept waits until the connection table is empty.
func (l *live) swept(tables string) {
	l.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); entries(l.t, tables) > 0; {
		select {
		case <-tick.C:
		case <-deadline:
			l.t.Fatal("connections are still there after 20 s")
		}
	}
}

// entries counts what is in the connection table.
func entries(t testing.TB, dir string) (n int) {
	t.Helper()
	maps, err := openMaps(dir, []string{"connections"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeMaps(maps)
	for i := range maps["connections"].MaxEntries() {
		var shard *ebpf.Map
		if err := maps["connections"].Lookup(i, &shard); err != nil {
			t.Fatal(err)
		}
		var key, value []byte
		for all := shard.Iterate(); all.Next(&key, &value); {
			n++
		}
		shard.Close()
	}
	return n
}
