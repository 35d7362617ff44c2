package datapath

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"slices"
	"strings"
	"testing"

	"tapgate/internal/lab"
)

// injectable drops what goes to port 9 and counts what goes to port 10.
const injectable = `<filter name="i">
  <rule action="drop" direction="out" statematch="false"><udp dstportstart="9"/></rule>
  <rule action="accept" direction="out" statematch="false"><udp dstportstart="10"/></rule>
  <rule action="drop" direction="in" statematch="false"><udp dstportstart="9"/></rule>
  <rule action="accept" direction="in" statematch="false"><udp dstportstart="10"/></rule>
</filter>`

// A frame that is put into a port is judged and counted by the port's programs,
// and reaches whom it would have reached.
func TestInjectedFramesPassThePort(t *testing.T) {
	for _, mechanism := range mechanisms {
		for _, kind := range []string{"veth", "tap", "macvtap"} {
			t.Run(string(mechanism)+" "+kind, func(t *testing.T) {
				l := newLive(t, mechanism)
				i := newInjection(t, l, kind)
				for _, out := range []bool{true, false} {
					for port, want := range map[uint16]bool{9: false, 10: true} {
						frame := i.frame(out, port)
						err := i.inject(frame, out)
						l.fate(err, want || !out && i.receive == nil)
					}
				}
				stats := i.stats()
				for line, direction := range map[int]string{2: "out", 3: "out", 4: "in", 5: "in"} {
					if n := count(t, stats, direction, line); n != 1 {
						t.Errorf("the rule in line %d counted %d, want 1", line, n)
					}
				}
			})
		}
	}
}

// injection is a port of one kind, with means to see what arrives at its guest.
type injection struct {
	*live
	port string
	ns   *lab.Namespace // of the port
	mac  net.HardwareAddr
	// receive waits for a frame at the port's guest; nil where only counters tell what
	// comes through, since a packet socket is told before the programs are.
	receive func(ctx context.Context, match func([]byte) bool) ([]byte, error)
}

func newInjection(t *testing.T, l *live, kind string) *injection {
	i := &injection{live: l, port: l.Guest.Port, ns: l.Lab.Host, mac: l.Guest.MAC}
	switch kind {
	case "veth":
		conn, err := l.Guest.OpenFrames(lab.GuestDevice)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		i.receive = conn.Receive
	case "tap":
		tap, err := l.AddTap(t.Context(), lab.TapConfig{Name: "tap0"})
		if err != nil {
			t.Fatal(err)
		}
		i.port, i.mac, i.receive = tap.Name, net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x55}, tap.Receive
	case "macvtap":
		i.port, i.ns, i.mac = "macvtap0", l.Guest.Namespace, net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x77}
		addMacvtap(t, l.Guest, i.mac)
	}
	i.do(func() error {
		_, err := l.host.Guard(t.Context(), i.port, resolve(t, injectable), Meta{})
		return err
	})
	return i
}

func (i *injection) do(fn func() error) {
	i.t.Helper()
	if err := i.ns.Do(fn); err != nil {
		i.t.Fatal(err)
	}
}

func (i *injection) stats() (s *Stats) {
	i.t.Helper()
	i.do(func() (err error) {
		s, err = i.host.Stats(i.t.Context(), i.port)
		return err
	})
	return s
}

// frame is a datagram between the port's guest and the neighbour.
func (i *injection) frame(out bool, port uint16) []byte {
	if out {
		return lab.UDPFrame(i.mac, i.Neighbour.MAC, i.Guest.At(4000), i.Neighbour.At(port), []byte("injected"))
	}
	return lab.UDPFrame(i.Neighbour.MAC, i.mac, i.Neighbour.At(4000), i.Guest.At(port), []byte("injected"))
}

// inject puts a frame in and waits for it at its other end.
func (i *injection) inject(frame []byte, out bool) error {
	put := func() error {
		return i.ns.Do(func() error { return i.host.Inject(i.t.Context(), i.port, frame, out) })
	}
	if out {
		return lab.Arrived(i.t.Context(), i.Neighbour, frame, put)
	}
	if err := put(); err != nil || i.receive == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(i.t.Context(), lab.ArrivalTimeout)
	defer cancel()
	_, err := i.receive(ctx, func(got []byte) bool { return bytes.Equal(got, frame) })
	return err
}

// The frame of a guest that leaves checksums to its network card has none yet.
func TestInjectedFramesHaveTheirChecksum(t *testing.T) {
	l := newLive(t, TCX)
	i := newInjection(t, l, "tap")
	finished := i.frame(true, 10)
	unfinished := slices.Clone(finished)
	header := slices.Concat(finished[26:34], []byte{0, 17}, finished[38:40])
	binary.BigEndian.PutUint16(unfinished[40:], ^checksum(header))
	binary.BigEndian.PutUint16(unfinished[40:], ^binary.BigEndian.Uint16(unfinished[40:]))
	if bytes.Equal(finished, unfinished) {
		t.Fatal("the test's frame has its checksum")
	}
	l.fate(lab.Arrived(t.Context(), l.Neighbour, finished, func() error {
		return i.ns.Do(func() error { return l.host.Inject(t.Context(), i.port, unfinished, true) })
	}), true)
}

// A tag in the frame is one for the programs.
func TestInjectedFramesKeepTheirTag(t *testing.T) {
	l := newLive(t, TCX)
	tap, err := l.AddTap(t.Context(), lab.TapConfig{Name: "tap0"})
	if err != nil {
		t.Fatal(err)
	}
	l.guard(tap.Name, resolve(t, `<filter name="v" chain="root">
  <rule action="drop" direction="out"><vlan vlanid="5"/></rule>
</filter>`))
	plain := l.udp(10, "tagged")
	for _, id := range []byte{5, 6} {
		tagged := slices.Concat(plain[:12], []byte{0x81, 0, 0, id}, plain[12:])
		l.in(func() error { return l.host.Inject(t.Context(), tap.Name, tagged, true) })
	}
	if s := l.stats(tap.Name); s.Out.Dropped.Packets != 1 || s.Out.Passed.Packets != 1 {
		t.Errorf("counted %+v", s.Out)
	}
}

func TestWhatCannotBeInjected(t *testing.T) {
	l := newLive(t, TCX)
	port := l.Guest.Port
	down := func() error {
		links := l.Lab.Host.Links()
		dev, err := links.LinkByName(port)
		if err != nil {
			return err
		}
		return links.LinkSetDown(dev)
	}
	l.in(down)
	for _, test := range []struct {
		name, port string
		frame      []byte
		out        bool
		want       string
	}{
		{"no such device", "nowhere0", l.udp(9, ""), true, "nowhere0"},
		{"too long", port, make([]byte, MaxInjected+1), true, "2049 bytes"},
		{"too short", port, make([]byte, 13), true, "no Ethernet frame"},
		{"down, as the guest sends", port, l.udp(9, ""), true, "it is down"},
		{"down, to the guest", port, l.reply(9, ""), false, "it is down"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l.in(func() error {
				err := l.host.Inject(t.Context(), test.port, test.frame, test.out)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				return nil
			})
		})
	}
}
