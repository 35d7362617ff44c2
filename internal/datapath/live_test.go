package datapath

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
	"tapgate/internal/policy"
)

// live is a lab whose ports a test guards, and a bpffs of its own.
type live struct {
	*lab.Lab
	host *Host
	t    testing.TB
}

var mechanisms = []Mechanism{TCX, Clsact}

func newLive(t testing.TB, mechanism Mechanism) *live {
	t.Helper()
	needRoot(t)
	dir := newBPFFS(t)
	network, err := lab.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	return &live{network, openHost(t, dir, mechanism), t}
}

// newBPFFS mounts a bpffs for one test: what is pinned there ends with it.
func newBPFFS(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "tapgate")
}

func openHost(t testing.TB, dir string, mechanism Mechanism) *Host {
	t.Helper()
	h, err := Open(Options{Dir: dir, Mechanism: mechanism})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// in runs fn in the namespace of the ports.
func (l *live) in(fn func() error) {
	l.t.Helper()
	if err := l.Lab.Host.Do(fn); err != nil {
		l.t.Fatal(err)
	}
}

func (l *live) guard(port string, p *policy.Policy) (change Change) {
	l.t.Helper()
	l.in(func() (err error) {
		change, err = l.host.Guard(l.t.Context(), port, p, Meta{BoundAt: time.Unix(1, 0).UTC()})
		return err
	})
	return change
}

func (l *live) release(port string) {
	l.t.Helper()
	l.in(func() error { return l.host.Release(l.t.Context(), port) })
}

func (l *live) stats(port string) (stats *Stats) {
	l.t.Helper()
	l.in(func() (err error) {
		stats, err = l.host.Stats(l.t.Context(), port)
		return err
	})
	return stats
}

// port finds a port in the list.
func (l *live) port(name string) (port *Port) {
	l.t.Helper()
	l.in(func() error {
		ports, err := l.host.Ports(l.t.Context())
		for i := range ports {
			if ports[i].Name == name {
				port = &ports[i]
			}
		}
		return err
	})
	return port
}

// state checks the state of a port; empty if it must not be listed.
func (l *live) state(name string, want State) {
	l.t.Helper()
	got := State("")
	if p := l.port(name); p != nil {
		got = p.State
	}
	if got != want {
		l.t.Errorf("port %s: %q, want %q", name, got, want)
	}
}

// arrives checks the fate of a frame from one guest to another.
func (l *live) arrives(from, to *lab.Guest, frame []byte, want bool) {
	l.t.Helper()
	l.fate(lab.Arrives(l.t.Context(), from, to, frame), want)
}

func (l *live) fate(err error, want bool) {
	l.t.Helper()
	if err != nil && !lab.NoAnswer(err) {
		l.t.Fatal(err)
	}
	if got := err == nil; got != want {
		l.t.Errorf("the frame arrived: %v, want %v", got, want)
	}
}

// udp is a datagram from the guest to the neighbour.
func (l *live) udp(destinationPort uint16, payload string) []byte {
	return lab.UDPFrame(l.Guest.MAC, l.Neighbour.MAC, l.Guest.At(4000), l.Neighbour.At(destinationPort), []byte(payload))
}

// reply is a datagram from the neighbour to the guest.
func (l *live) reply(sourcePort uint16, payload string) []byte {
	return lab.UDPFrame(l.Neighbour.MAC, l.Guest.MAC, l.Neighbour.At(sourcePort), l.Guest.At(4000), []byte(payload))
}

const (
	dropAll   = `<filter name="drop-all"><rule action="drop" direction="inout"/></filter>`
	acceptAll = `<filter name="accept-all"><rule action="accept" direction="inout"/></filter>`
)

// tcp is a SYN from the guest to the neighbour.
func (l *live) tcp(destinationPort uint16) []byte {
	return lab.TCPFrame(l.Guest.MAC, l.Neighbour.MAC, l.Guest.IPv4, l.Neighbour.IPv4,
		layers.TCP{SrcPort: 4000, DstPort: layers.TCPPort(destinationPort), SYN: true, Window: 1000}, nil)
}

// arp asks who has 10.77.0.HOST.
func (l *live) arp(host byte) []byte {
	target := l.Guest.IPv4.As4()
	target[3] = host
	return lab.ARPFrame(l.Guest.MAC, l.Neighbour.MAC, 1,
		l.Guest.MAC, l.Guest.IPv4, make(net.HardwareAddr, 6), netip.AddrFrom4(target))
}
