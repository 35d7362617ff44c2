package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bridged is a host with a bridge and, behind it, a receiver in a namespace of its own.
type bridged struct {
	*host
	bridge int
	// sink sees what passes through a guest's device and the bridge; sinkIndex is the device by which
	// frames are sent back.
	sink      *wire
	sinkIndex int
}

func newBridged(t testing.TB) *bridged {
	t.Helper()
	h := newHost(t)
	b := &bridged{host: h}
	far := newNamespace(t, "far")
	b.sink = openWire(t, far, fromGuest)
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: &snooping}
	if err := h.ns.Links().LinkAdd(bridge); err != nil {
		t.Fatal(err)
	}
	b.bridge = setUp(t, h.ns, "br0")
	uplink := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: "uplink", MasterIndex: b.bridge},
		PeerName:      "far0",
		PeerNamespace: netlink.NsFd(far.FD()),
	}
	if err := h.ns.Links().LinkAdd(uplink); err != nil {
		t.Fatal(err)
	}
	b.sinkIndex = setUp(t, far, "far0")
	setUp(t, h.ns, "uplink")
	return b
}

// wantPath waits until frames pass both ways between a guest and the receiver: each device on the way,
// and the bridge's port, begins at a time of its own.
func (b *bridged) wantPath(c cable) {
	b.t.Helper()
	out, in := false, false
	for until := time.Now().Add(arrival); !out || !in; {
		if time.Now().After(until) {
			b.t.Fatalf("frames through %s: out %v, in %v", c.name, out, in)
		}
		_ = b.guest.trySend(c.peer, frame(fromGuest, ^uint32(0)))
		_ = b.sink.trySend(b.sinkIndex, frame(toGuest, ^uint32(0)))
		out, in = out || b.sink.drain() > 0, in || b.guest.drain() > 0
	}
}

// attach lays a cable in one breath: the guest's end is up first, and the host's end is up, and a
// port of the bridge, as soon as it is there.
func (b *bridged) attach(name string) (cable, error) {
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name, MasterIndex: b.bridge},
		PeerName:      name,
		PeerNamespace: netlink.NsFd(b.guests.FD()),
	}
	if err := b.ns.Links().LinkAdd(veth); err != nil {
		return cable{}, err
	}
	return cable{name: name, peer: setUp(b.t, b.guests, name), index: setUp(b.t, b.ns, name)}, nil
}

// storm sends frames without a pause, through devices that may not be there yet, until the test
// ends: out through every card that the guests' namespace will have, and in through the bridge.
func (b *bridged) storm(ctx context.Context, devices int) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	flood := func(w *wire, etherType uint16, first, count int) {
		for i := 0; ctx.Err() == nil; i = (i + 1) % count {
			err := w.trySend(first+i, frame(etherType, uint32(first+i)))
			// A device that is not there, or not up.
			if err != nil && !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENODEV) &&
				!errors.Is(err, unix.ENETDOWN) && !errors.Is(err, unix.ENOBUFS) {
				b.t.Error(err)
				return
			}
		}
	}
	// The namespace is new, so that its cards have the indices from 2 on.
	running.Go(func() { flood(b.guest, fromGuest, 2, devices) })
	running.Go(func() { flood(b.sink, toGuest, b.sinkIndex, 1) })
	return func() { cancel(); running.Wait() }
}

// What the gate is for: 200 devices appear, are set up and bridged while frames are sent through them
// from the first moment, and none arrives on either side before its device is admitted.
func TestNoFrameBeforeAdmission(t *testing.T) {
	const devices = 200
	b := newBridged(t)
	g := b.open(Options{Patterns: []string{"vnet*"}})
	stop := b.storm(t.Context(), devices)
	defer stop()
	var cables []cable
	for i := range devices {
		c, err := b.attach(fmt.Sprintf("vnet%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if c.peer != 2+i {
			t.Fatalf("%s has the index %d", c.name, c.peer)
		}
		cables = append(cables, c)
	}
	for _, c := range cables {
		c.running(b.host)
	}
	// Until each device can have been asked once more.
	before := shutouts(t, g)
	for until := time.Now().Add(arrival); ; {
		now := shutouts(t, g)
		if now.Ingress.Packets > before.Ingress.Packets+2*devices && now.Egress.Packets > before.Egress.Packets+2*devices {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("the flood does not get to the gate: dropped %+v, then %+v", before, now)
		}
	}
	t.Logf("dropped: %+v", shutouts(t, g))
	if out, in := b.sink.drain(), b.guest.drain(); out != 0 || in != 0 {
		t.Fatalf("before anything was admitted, %d frames got out and %d in", out, in)
	}

	// Every other one is admitted: their frames arrive, those of the others do not.
	admitted := map[int]bool{}
	for i, c := range cables {
		if i%2 == 0 {
			admitted[c.peer] = true
			if err := g.Admit(c.index); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, w := range map[string]*wire{"out": b.sink, "in": b.guest} {
		seen := map[int]bool{}
		for until := time.Now().Add(5 * arrival); len(seen) < len(admitted) && time.Now().Before(until); {
			number, index, ok := w.receive(0)
			if w == b.sink {
				index = int(number)
			}
			if ok && !admitted[index] {
				t.Fatalf("%s: a frame passed through card %d, which is not admitted", name, index)
			}
			if ok {
				seen[index] = true
			}
		}
		if len(seen) != len(admitted) {
			t.Errorf("%s: frames passed through %d of %d devices", name, len(seen), len(admitted))
		}
	}
}

// The test above can tell: without a gate, frames arrive as soon as a device is there.
func TestFramesWithoutAGate(t *testing.T) {
	b := newBridged(t)
	stop := b.storm(t.Context(), 1)
	defer stop()
	c, err := b.attach("vnet0")
	if err != nil {
		t.Fatal(err)
	}
	if number, _, ok := b.sink.receive(0); !ok || int(number) != c.peer {
		t.Error("no frame got out")
	}
	if !b.guest.wait(c.peer) {
		t.Error("no frame got in")
	}
}

// steady sends frames both ways through a device, some at a time so that no queue overflows, and
// counts those that do not arrive.
func (b *bridged) steady(ctx context.Context, c cable, sent, lost *atomic.Int64) {
	const window = 40
	for number := uint32(0); ctx.Err() == nil; number++ {
		for range window {
			_ = b.guest.trySend(c.peer, frame(fromGuest, number))
			_ = b.sink.trySend(b.sinkIndex, frame(toGuest, number))
		}
		for _, w := range []*wire{b.sink, b.guest} {
			got := 0
			for got < window {
				n, _, ok := w.receive(0)
				if !ok {
					break
				}
				if n == number {
					got++
				}
			}
			lost.Add(int64(window - got))
			sent.Add(window)
		}
	}
}

func TestAdmittedDeviceLosesNothing(t *testing.T) {
	b := newBridged(t)
	c, err := b.attach("vnet0")
	if err != nil {
		t.Fatal(err)
	}
	b.wantPath(c)
	others := make([]int, 0, 3000)
	for i := range cap(others) {
		others = append(others, 10_000+i)
	}
	b.open(Options{Patterns: []string{"tap*"}}).Close(true) // skips where there is no gate

	var g *Gate
	admitted := Options{Patterns: []string{"vnet*"}, Admitted: []int{c.index}}
	for _, test := range []struct {
		name string
		do   func() error
	}{
		{"open, close and remove", func() error {
			g, err := openIn(b.ns, admitted)
			if err != nil {
				return err
			}
			return g.Close(true)
		}},
		{"open and leave", func() error {
			g, err := openIn(b.ns, admitted)
			if err != nil {
				return err
			}
			return g.Close(false)
		}},
		{"open with what was left", func() error {
			g, err := openIn(b.ns, Options{Patterns: []string{"vnet*", "tap*"}})
			if err != nil {
				return err
			}
			return g.Close(false)
		}},
		{"set with many others and without", func() (err error) {
			if g == nil {
				if g, err = openIn(b.ns, admitted); err != nil {
					return err
				}
			}
			if err := g.SetAdmitted(append(others, c.index)); err != nil {
				return err
			}
			return g.SetAdmitted([]int{c.index})
		}},
		{"another is admitted and shut", func() error {
			return errors.Join(g.Admit(1), g.Shut(1))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var sent, lost atomic.Int64
			var running sync.WaitGroup
			running.Go(func() { b.steady(ctx, c, &sent, &lost) })
			times := 0
			for ; ctx.Err() == nil; times++ {
				if err := test.do(); err != nil {
					t.Error(err)
					break
				}
			}
			running.Wait()
			t.Logf("%d times, %d frames", times, sent.Load())
			if lost.Load() != 0 || sent.Load() == 0 {
				t.Errorf("%d of %d frames were lost", lost.Load(), sent.Load())
			}
		})
	}
	_ = g.Close(true)
}

// Nor does anything get through a device that is shut while one gate takes the place of another.
func TestShutDeviceStaysShutWhileGatesChange(t *testing.T) {
	b := newBridged(t)
	g := b.open(Options{Patterns: []string{"vnet*"}})
	stop := b.storm(t.Context(), 1)
	defer stop()
	if _, err := b.attach("vnet0"); err != nil {
		t.Fatal(err)
	}
	times := 0
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); times++ {
		if err := g.Close(false); err != nil {
			t.Fatal(err)
		}
		var err error
		if g, err = openIn(b.ns, Options{Patterns: []string{"vnet*", fmt.Sprintf("tap%d*", times%2)}}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d gates dropped %+v", times, shutouts(t, g))
	if counts := shutouts(t, g); counts.Ingress.Packets == 0 || counts.Egress.Packets == 0 {
		t.Errorf("the flood does not get to the gate: dropped %+v", counts)
	}
	if out, in := b.sink.drain(), b.guest.drain(); out != 0 || in != 0 {
		t.Errorf("while %d gates changed, %d frames got out and %d in", times, out, in)
	}
	if err := g.Close(true); err != nil {
		t.Error(err)
	}
}
