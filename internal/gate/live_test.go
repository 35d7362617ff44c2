package gate

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
)

// Frames of these types are the tests' own (IEEE 802, local experiments); the other end of a cable
// never sends any.
const (
	fromGuest = 0x88b5
	toGuest   = 0x88b6
)

// arrival is how long a frame may take. It bounds failures only: what is lost is told by counters.
const arrival = 2 * time.Second

// host is a namespace for gates, a namespace for the guests behind its devices, and sockets that
// see what gets through.
type host struct {
	t             testing.TB
	ns, guests    *lab.Namespace
	inside, guest *wire
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, ns: newNamespace(t, "host"), guests: newNamespace(t, "guests")}
	h.inside, h.guest = openWire(t, h.ns, fromGuest), openWire(t, h.guests, toGuest)
	return h
}

func newNamespace(t testing.TB, name string) *lab.Namespace {
	t.Helper()
	ns, err := lab.NewNamespace(name)
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	// The kernel's own frames would be counted.
	if err := ns.SetSysctl("ipv6/conf/default/disable_ipv6", "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return ns
}

// open opens a gate. A kernel that is too old skips the test; one that says so though it is new
// enough fails it.
func (h *host) open(options Options) *Gate {
	h.t.Helper()
	g, err := openIn(h.ns, options)
	var unsupported *UnsupportedError
	if errors.As(err, &unsupported) && !atLeast(6, 17) {
		h.t.Skip(err)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = g.Close(false) })
	return g
}

func openIn(ns *lab.Namespace, options Options) (g *Gate, err error) {
	doErr := ns.Do(func() error {
		g, err = Open(options)
		return nil
	})
	return g, errors.Join(doErr, err)
}

func atLeast(major, minor int) bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var a, b int
	for i, part := 0, &a; i < len(name.Release) && name.Release[i] != '-'; i++ {
		switch c := name.Release[i]; {
		case c >= '0' && c <= '9':
			*part = *part*10 + int(c-'0')
		case part == &a:
			part = &b
		default:
			return a > major || a == major && b >= minor
		}
	}
	return a > major || a == major && b >= minor
}

// cable is a veth pair: a device of the host and its guest's card.
type cable struct {
	name        string
	index, peer int
}

// plug lays a cable that is up on both ends, with an index for the host's device, or 0 for any.
func (h *host) plug(name string, index int) cable {
	h.t.Helper()
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name, Index: index},
		PeerName:      name,
		PeerNamespace: netlink.NsFd(h.guests.FD()),
	}
	if err := h.ns.Links().LinkAdd(veth); err != nil {
		h.t.Fatal(err)
	}
	return h.connect(name)
}

// connect sets both ends of a cable up and returns when frames pass.
func (h *host) connect(name string) cable {
	h.t.Helper()
	return cable{name: name, peer: setUp(h.t, h.guests, name), index: setUp(h.t, h.ns, name)}.running(h)
}

func setUp(t testing.TB, ns *lab.Namespace, name string) (index int) {
	t.Helper()
	link, err := ns.Links().LinkByName(name)
	if err == nil {
		err = ns.Links().LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().Index
}

// running waits for the queues of both ends, which the kernel makes some time after a device has
// got its carrier (linkwatch); what is sent before is lost.
func (c cable) running(h *host) cable {
	h.t.Helper()
	until := time.Now().Add(arrival)
	for {
		inside, err := h.ns.Links().LinkByIndex(c.index)
		guest, guestErr := h.guests.Links().LinkByIndex(c.peer)
		if err := errors.Join(err, guestErr); err != nil {
			h.t.Fatal(err)
		}
		if inside.Attrs().OperState == netlink.OperUp && guest.Attrs().OperState == netlink.OperUp {
			return c
		}
		if time.Now().After(until) {
			h.t.Fatalf("%s does not run", c.name)
		}
	}
}

func (h *host) unplug(c cable) {
	h.t.Helper()
	if err := h.ns.Links().LinkDel(h.link(c)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) link(c cable) netlink.Link {
	h.t.Helper()
	link, err := h.ns.Links().LinkByIndex(c.index)
	if err != nil {
		h.t.Fatal(err)
	}
	return link
}

func (h *host) rename(c cable, name string) {
	h.t.Helper()
	if err := h.ns.Links().LinkSetName(h.link(c), name); err != nil {
		h.t.Fatal(err)
	}
}

// wantOpen fails unless a frame passes each way.
func (h *host) wantOpen(c cable) {
	h.t.Helper()
	h.guest.send(h.t, c.peer, fromGuest, 1)
	if !h.inside.wait(c.index) {
		h.t.Errorf("%s is shut at ingress", c.name)
	}
	h.inside.send(h.t, c.index, toGuest, 1)
	if !h.guest.wait(c.peer) {
		h.t.Errorf("%s is shut at egress", c.name)
	}
}

// wantShut fails unless the gate has dropped a frame each way; it is told so by the counters.
func (h *host) wantShut(g *Gate, c cable) {
	h.t.Helper()
	before := shutouts(h.t, g)
	h.guest.send(h.t, c.peer, fromGuest, 1)
	h.inside.send(h.t, c.index, toGuest, 1)
	until := time.Now().Add(arrival)
	for time.Now().Before(until) {
		now := shutouts(h.t, g)
		if now.Ingress.Packets == before.Ingress.Packets+1 && now.Egress.Packets == before.Egress.Packets+1 {
			return
		}
	}
	h.t.Errorf("%s is open: before a frame each way, the gate had dropped %+v, and then %+v", c.name, before, shutouts(h.t, g))
}

func shutouts(t testing.TB, g *Gate) Shutouts {
	t.Helper()
	counts, err := g.Shutouts()
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// wire sends frames through any device of a namespace, and receives those of one type that any of
// its devices receives. It is not told of frames that are sent: these are for sockets of all types.
type wire struct{ fd int }

func openWire(t testing.TB, ns *lab.Namespace, etherType uint16) *wire {
	t.Helper()
	w := &wire{fd: -1}
	err := ns.Do(func() error {
		var err error
		protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, etherType))
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(w.fd) })
	timeout := unix.NsecToTimeval(arrival.Nanoseconds())
	if err := unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20); err != nil {
		t.Fatal(err)
	}
	return w
}

func frame(etherType uint16, number uint32) []byte {
	f := make([]byte, 60)
	copy(f, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 1})
	binary.BigEndian.PutUint16(f[10:], uint16(number)) // each number from an address of its own
	binary.BigEndian.PutUint16(f[12:], etherType)
	binary.BigEndian.PutUint32(f[14:], number)
	return f
}

func (w *wire) trySend(index int, frame []byte) error {
	return unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: index, Halen: 6})
}

func (w *wire) send(t testing.TB, index int, etherType uint16, number uint32) {
	t.Helper()
	if err := w.trySend(index, frame(etherType, number)); err != nil && !errors.Is(err, unix.ENOBUFS) {
		t.Fatal(err)
	}
}

// receive gives the number of the next frame and the device that received it.
func (w *wire) receive(flags int) (number uint32, index int, ok bool) {
	buffer := make([]byte, 128)
	for {
		n, from, err := unix.Recvfrom(w.fd, buffer, flags)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n < 18 {
			return 0, 0, false
		}
		return binary.BigEndian.Uint32(buffer[14:]), from.(*unix.SockaddrLinklayer).Ifindex, true
	}
}

// wait tells whether a frame comes through a device.
func (w *wire) wait(index int) bool {
	for {
		_, got, ok := w.receive(0)
		if !ok || got == index {
			return ok
		}
	}
}

// drain takes what has arrived.
func (w *wire) drain() (count int) {
	for {
		if _, _, ok := w.receive(unix.MSG_DONTWAIT); !ok {
			return count
		}
		count++
	}
}
