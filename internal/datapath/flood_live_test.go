package datapath

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tapgate/internal/lab"
)

// floodable lets a web server be reached, and the guest send datagrams and
// pings; every connection is tracked.
const floodable = `<filter name="floodable">
  <rule action="accept" direction="in"><tcp dstportstart="80"/></rule>
  <rule action="accept" direction="out"><udp/></rule>
  <rule action="accept" direction="out"><icmp/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`

// floodRate is the number of frames a second that a flood tries to send.
const floodRate = 110_000

// clientTimeout is long enough for a SYN to be sent again.
const clientTimeout = 4 * time.Second

// flooded is a guest with a server whose port is flooded, and its twin in
// another network: a port with the same addresses, and the same peer, on the
// same host.
type flooded struct {
	*live
	attacker *lab.Guest
	other    *lab.Lab
	twin     *lab.Guest
}

func newFlooded(t *testing.T, filter string) *flooded {
	t.Helper()
	f := &flooded{live: newLive(t, Automatic)}
	var err error
	if f.attacker, err = f.AddAttacker(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.other, err = lab.New(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.other.Close)
	port, err := f.other.Host.Links().LinkByName(f.other.Guest.Port)
	if err == nil {
		err = f.other.Host.Links().LinkSetNoMaster(port)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.twin, err = f.other.AddGuest(t.Context(), lab.GuestConfig{
		Name: "twin", MAC: f.Guest.MAC, IPv4: netip.PrefixFrom(f.Guest.IPv4, 24),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.guard(f.Guest.Port, resolve(t, filter))
	f.inOther(func() error {
		_, err := f.host.Guard(t.Context(), f.twin.Port, resolve(t, filter), Meta{BoundAt: time.Unix(1, 0)})
		return err
	})
	if err := f.ServeTCPEcho(f.Guest, lab.HTTPPort); err != nil {
		t.Fatal(err)
	}
	if err := f.other.ServeTCPEcho(f.twin, lab.HTTPPort); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *flooded) inOther(fn func() error) {
	f.t.Helper()
	if err := f.other.Host.Do(fn); err != nil {
		f.t.Fatal(err)
	}
}

// connect opens a connection and uses it.
func connect(ctx context.Context, from, to *lab.Guest) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", to.At(lab.HTTPPort))
	if err != nil {
		return nil, err
	}
	if err := lab.EchoTCP(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (f *flooded) ping(conn net.Conn) error {
	ctx, cancel := context.WithTimeout(f.t.Context(), clientTimeout)
	defer cancel()
	return lab.EchoTCP(ctx, conn)
}

// bystander watches a connection of the twin while the flood goes on.
func (f *flooded) bystander(ctx context.Context) func() {
	f.t.Helper()
	conn, err := connect(ctx, f.other.Neighbour, f.twin)
	if err != nil {
		f.t.Fatalf("the twin's connection: %v", err)
	}
	var echoes, wrong atomic.Int32
	ctx, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		defer conn.Close()
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := f.ping(conn); err != nil {
				f.t.Errorf("the twin's connection: %v", err)
				return
			}
			echoes.Add(1)
			f.inOther(func() error {
				stats, err := f.host.Stats(context.WithoutCancel(ctx), f.twin.Port)
				if err == nil && (stats.Connections != 1 || stats.Refused != 0 || stats.GivenUp != 0) {
					wrong.Add(1)
				}
				return err
			})
		}
	})
	return func() {
		f.t.Helper()
		stop()
		watch.Wait()
		f.t.Logf("meanwhile %d echoes in the twin's only connection", echoes.Load())
		if wrong.Load() > 0 {
			f.t.Errorf("%d times the twin had another number of connections than its one", wrong.Load())
		}
	}
}

// full waits until the guest's quota is used up, as ready tells.
func (f *flooded) full(ready func(*Stats) bool) {
	f.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !ready(f.stats(f.Guest.Port)); {
		select {
		case <-tick.C:
		case <-deadline:
			f.t.Fatalf("the quota is not full after 30 s: %+v", f.stats(f.Guest.Port))
		}
	}
}

// honest opens 100 connections, ten at a time, and tells how many work, then
// and a moment later.
func (f *flooded) honest() int32 {
	var clients sync.WaitGroup
	var works atomic.Int32
	for range 10 {
		clients.Go(func() {
			for range 10 {
				conn, err := connect(f.t.Context(), f.Neighbour, f.Guest)
				if err != nil {
					f.t.Logf("a client: %v", err)
					continue
				}
				time.Sleep(100 * time.Millisecond) // the flood goes on
				if err := f.ping(conn); err != nil {
					f.t.Errorf("a client that was connected: %v", err)
				}
				works.Add(1)
				conn.Close()
			}
		})
	}
	clients.Wait()
	return works.Load()
}

func TestFloods(t *testing.T) {
	for _, test := range []struct {
		name  string
		flood func(*flooded) *lab.Flood
		full  func(*Stats) bool
	}{
		{"SYNs to the guest",
			func(f *flooded) *lab.Flood { return lab.SYNs(f.attacker, f.Guest, lab.HTTPPort) },
			func(s *Stats) bool { return s.GivenUp > 0 }},
		{"datagrams from the guest",
			func(f *flooded) *lab.Flood { return lab.Datagrams(f.Guest, f.attacker, lab.DNSPort) },
			func(s *Stats) bool { return s.Refused > 0 }},
		{"pings from the guest",
			func(f *flooded) *lab.Flood { return lab.Pings(f.Guest, f.attacker) },
			func(s *Stats) bool { return s.Refused > 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFlooded(t, floodable)
			before, err := connect(t.Context(), f.Neighbour, f.Guest)
			if err != nil {
				t.Fatal(err)
			}
			defer before.Close()
			calm := f.bystander(t.Context())

			ctx, stop := context.WithCancel(t.Context())
			var attack sync.WaitGroup
			attack.Go(func() {
				rate, err := test.flood(f).Run(ctx, floodRate)
				if err != nil {
					t.Error(err)
				}
				t.Logf("%.0f frames a second", rate)
			})
			begin := time.Now()
			f.full(test.full)
			t.Logf("full after %v", time.Since(begin).Round(time.Millisecond))
			works := f.honest()
			if works < 99 {
				t.Errorf("%d of 100 new connections worked, want 99", works)
			}
			for range 20 {
				if err := f.ping(before); err != nil {
					t.Fatalf("the connection of before the flood: %v", err)
				}
			}
			stop()
			attack.Wait()
			calm()
			s := f.stats(f.Guest.Port)
			t.Logf("%d of 100 connected in %v; %d connections, %d opened, %d given up, %d refused", works,
				time.Since(begin).Round(time.Millisecond), s.Connections, s.Opened, s.GivenUp, s.Refused)
			if s.Connections > DefaultMaxConnections {
				t.Errorf("%d connections, quota %d", s.Connections, DefaultMaxConnections)
			}
		})
	}
}

func TestPortsWithTheSameAddressesNeverMeet(t *testing.T) {
	f := newFlooded(t, replies)
	f.arrives(f.Guest, f.Neighbour, f.udp(53, "question"), true)
	f.arrives(f.other.Neighbour, f.twin, f.reply(53, "answer to another's question"), false)
	f.arrives(f.Neighbour, f.Guest, f.reply(53, "answer"), true)
	f.arrives(f.twin, f.other.Neighbour, f.udp(53, "question of its own"), true)
	f.arrives(f.other.Neighbour, f.twin, f.reply(53, "answer"), true)
	f.release(f.Guest.Port)
	f.arrives(f.other.Neighbour, f.twin, f.reply(53, "answer after the other was released"), true)
}
