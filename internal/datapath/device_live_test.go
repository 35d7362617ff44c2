package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/internal/device"
	"tapgate/internal/lab"
	"tapgate/internal/policy"
)

func TestADeviceThatGoesAndComesBack(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			tap, err := l.AddTap(t.Context(), lab.TapConfig{Name: "vnet0.1"})
			if err != nil {
				t.Fatal(err)
			}
			l.guard(tap.Name, resolve(t, dropAll))
			l.state(tap.Name, Guarded)
			number := l.binding(tap.Name).Number

			if err := tap.Close(); err != nil {
				t.Fatal(err)
			}
			l.state(tap.Name, DeviceGone)
			if tap, err = l.AddTap(t.Context(), lab.TapConfig{Name: tap.Name}); err != nil {
				t.Fatal(err)
			}
			l.state(tap.Name, Unguarded)
			if c := l.guard(tap.Name, resolve(t, dropAll)); c.Replaced {
				t.Errorf("guarded anew: %+v", c)
			}
			l.state(tap.Name, Guarded)
			if got := l.binding(tap.Name).Number; got == number {
				t.Errorf("the new device has the connections of the old one: number %d", got)
			}
			frame := l.udp(9, "from the new device")
			l.fate(lab.Arrived(t.Context(), l.Neighbour, frame, func() error { return tap.Send(frame) }), false)

			if err := tap.Close(); err != nil {
				t.Fatal(err)
			}
			l.release(tap.Name)
			l.empty()
		})
	}
}

func TestARenamedDeviceStaysGuarded(t *testing.T) {
	l := newLive(t, TCX)
	tap, err := l.AddTap(t.Context(), lab.TapConfig{Name: "tap0"})
	if err != nil {
		t.Fatal(err)
	}
	l.guard(tap.Name, resolve(t, dropAll))
	links := l.Lab.Host.Links()
	dev, err := links.LinkByName(tap.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(links.LinkSetDown(dev), links.LinkSetName(dev, "tap9"), links.LinkSetUp(dev)); err != nil {
		t.Fatal(err)
	}
	if p := l.port(tap.Name); p.State != Guarded || p.Device != "tap9" {
		t.Errorf("port %+v", p)
	}
	if _, err := l.AddTap(t.Context(), lab.TapConfig{Name: "tap0"}); err != nil {
		t.Fatal(err)
	}
	l.in(func() error {
		if _, err := l.host.Guard(t.Context(), tap.Name, resolve(t, acceptAll), Meta{}); err == nil {
			t.Error("the name's new device took the old one's guard")
		}
		return nil
	})
	l.release(tap.Name)
	l.empty()
}

func TestProgramsOfOthersAreSeen(t *testing.T) {
	l := newLive(t, TCX)
	port := l.Guest.Port
	l.guard(port, resolve(t, dropAll))
	s, err := openLink(l.host.portDir(port), policy.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer s.link.Close()
	other := loadSmall(t, asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()})
	if err := s.link.Update(other); err != nil {
		t.Fatal(err)
	}
	l.state(port, Foreign)
	l.guard(port, resolve(t, dropAll))
	l.state(port, Guarded)
	if err := s.link.Detach(); err != nil {
		t.Fatal(err)
	}
	l.state(port, Unguarded)
	l.guard(port, resolve(t, dropAll))
	l.state(port, Guarded)
}

func TestAnotherNetworkNamespace(t *testing.T) {
	for _, test := range []struct {
		mechanism Mechanism
		state     State
		guard     string
	}{
		{TCX, Guarded, "guard guest0: a device of this name is guarded in another network namespace; release it first"},
		{Clsact, Elsewhere, "guard guest0: the port was bound in another network namespace; release it there first"},
	} {
		t.Run(string(test.mechanism), func(t *testing.T) {
			l := newLive(t, test.mechanism)
			port := l.Guest.Port
			l.guard(port, resolve(t, dropAll))
			namesake := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: port}}
			if err := l.Neighbour.Links().LinkAdd(namesake); err != nil {
				t.Fatal(err)
			}
			err := l.Neighbour.Do(func() error {
				ports, err := l.host.Ports(t.Context())
				if err != nil {
					return err
				}
				if len(ports) != 1 || ports[0].State != test.state || ports[0].Device != "" {
					t.Errorf("seen from another namespace: %+v", ports)
				}
				if test.mechanism == Clsact {
					if err := l.host.Release(t.Context(), port); err == nil {
						t.Error("released from where its filters cannot be seen")
					}
				}
				_, err = l.host.Guard(t.Context(), port, resolve(t, acceptAll), Meta{})
				return err
			})
			if err == nil || err.Error() != test.guard {
				t.Errorf("got %v, want %s", err, test.guard)
			}
			l.state(port, Guarded)
			l.arrives(l.Guest, l.Neighbour, l.udp(9, "still dropped"), false)
		})
	}
}

// clsact programs of others stay, and so does the qdisc that they need.
func TestFiltersOfOthersStay(t *testing.T) {
	l := newLive(t, Clsact)
	port := l.Guest.Port
	other := loadSmall(t, asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()})
	links := l.Lab.Host.Links()
	dev, err := links.LinkByName(port)
	if err != nil {
		t.Fatal(err)
	}
	ours := &clsact{device.Device{Index: dev.Attrs().Index}}
	if err := links.QdiscAdd(ours.qdisc()); err != nil {
		t.Fatal(err)
	}
	// As other tools do: priority and handle 1.
	err = links.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: dev.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		Fd: other.FD(), Name: "other", DirectAction: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	l.guard(port, resolve(t, dropAll))
	l.arrives(l.Guest, l.Neighbour, l.udp(9, "dropped before the other sees it"), false)
	l.release(port)
	filters, err := links.FilterList(dev, netlink.HANDLE_MIN_INGRESS)
	if err != nil || len(filters) != 1 {
		t.Errorf("filters left: %v (%v), want the other's", filters, err)
	}
}

func loadSmall(t *testing.T, code asm.Instructions) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: code})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// What a guest sends through the character device of a macvtap is transmitted
// by the device; what is for it, the device receives.
func TestMacvtapDirections(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x77}
			addMacvtap(t, l.Guest, mac)
			p := resolve(t, `<filter name="m">
  <rule action="drop" direction="out"><udp dstportstart="9"/></rule>
  <rule action="drop" direction="in"><udp dstportstart="10"/></rule>
</filter>`)
			err := l.Guest.Do(func() error {
				_, err := l.host.Guard(t.Context(), "macvtap0", p, Meta{})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			counted := func() (out, in uint64) {
				t.Helper()
				err := l.Guest.Do(func() error {
					stats, err := l.host.Stats(t.Context(), "macvtap0")
					if err == nil {
						out, in = count(t, stats, "out", 2), count(t, stats, "in", 3)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return out, in
			}
			sender, err := l.Guest.OpenFrames("macvtap0")
			if err != nil {
				t.Fatal(err)
			}
			defer sender.Close()
			for port, want := range map[uint16]bool{9: false, 10: true} {
				frame := lab.UDPFrame(mac, l.Neighbour.MAC, l.Guest.At(1), l.Neighbour.At(port), []byte("out"))
				l.fate(lab.Arrived(t.Context(), l.Neighbour, frame, func() error {
					// The sender is told when a program drops what it transmits.
					if err := sender.Send(frame); !errors.Is(err, unix.ENOBUFS) {
						return err
					}
					return nil
				}), want)
			}
			if out, in := counted(); out != 1 || in != 0 {
				t.Errorf("counted %d out and %d in, want 1 and 0", out, in)
			}
			neighbour, err := l.Neighbour.OpenFrames("eth0")
			if err != nil {
				t.Fatal(err)
			}
			defer neighbour.Close()
			for _, port := range []uint16{9, 10} {
				if err := neighbour.Send(lab.UDPFrame(l.Neighbour.MAC, mac, l.Neighbour.At(1), l.Guest.At(port), []byte("in"))); err != nil {
					t.Fatal(err)
				}
			}
			if out, in := counted(); out != 1 || in != 1 {
				t.Errorf("counted %d out and %d in, want 1 and 1", out, in)
			}
		})
	}
}

// A tap with IFF_NAPI_FRAGS gives packets of which only the Ethernet header is
// linear. A program that believes data_end would take them for empty.
func TestHeadersInPageFragmentsAreRead(t *testing.T) {
	l := newLive(t, TCX)
	tap, err := l.AddTap(t.Context(), lab.TapConfig{Name: "tap0", Fragments: true})
	if err != nil {
		t.Fatal(err)
	}
	l.guard(tap.Name, resolve(t, `<filter name="f">
  <rule action="drop" direction="out"><udp dstportstart="9"/></rule>
  <rule action="drop" direction="out"><tcp dstportstart="9" flags="SYN/SYN"/></rule>
  <rule action="drop" direction="out"><arp arpdstipaddr="10.77.0.9"/></rule>
</filter>`))
	linear := l.watchLinear(tap.Name)
	for _, test := range []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"udp that passes", l.udp(10, "a payload"), true},
		{"udp that is dropped", l.udp(9, "a payload"), false},
		{"tcp that passes", l.tcp(10), true},
		{"tcp that is dropped", l.tcp(9), false},
		{"arp that passes", l.arp(10), true},
		{"arp that is dropped", l.arp(9), false},
	} {
		for _, cuts := range [][]int{{14}, {14, 20}, {14, 34}, {14, 30, 36}} {
			parts, at := [][]byte(nil), 0
			for _, cut := range append(cuts, len(test.frame)) {
				parts, at = append(parts, test.frame[at:cut]), cut
			}
			t.Run(test.name, func(t *testing.T) {
				l.fate(lab.Arrived(t.Context(), l.Neighbour, test.frame, func() error { return tap.Send(parts...) }), test.want)
			})
		}
	}
	if got := linear(); got >= 34 {
		t.Errorf("at least %d bytes of every packet were linear: the test shows nothing", got)
	}
}

// watchLinear attaches a program before ours that notes the smallest linear
// part of a packet that is longer than it.
func (l *live) watchLinear(port string) func() uint64 {
	l.t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: uint64(1 << 20)}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { m.Close() })
	const lenOffset, dataOffset, dataEndOffset = 0, 76, 80 // struct __sk_buff
	prog := loadSmall(l.t.(*testing.T), asm.Instructions{
		asm.LoadMem(asm.R7, asm.R1, lenOffset, asm.Word),
		asm.LoadMem(asm.R6, asm.R1, dataEndOffset, asm.Word),
		asm.LoadMem(asm.R2, asm.R1, dataOffset, asm.Word),
		asm.Sub.Reg(asm.R6, asm.R2),
		asm.JGE.Reg(asm.R6, asm.R7, "out"),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.JGE.Reg(asm.R6, asm.R1, "out"),
		asm.StoreMem(asm.R0, 0, asm.R6, asm.DWord),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("out"),
		asm.Return(),
	})
	l.in(func() error {
		dev, err := device.ByName(port)
		if err != nil {
			return err
		}
		attached, err := link.AttachTCX(link.TCXOptions{
			Interface: dev.Index, Program: prog, Attach: ebpf.AttachTCXIngress, Anchor: link.Head(),
		})
		if err == nil {
			l.t.Cleanup(func() { attached.Close() })
		}
		return err
	})
	return func() (smallest uint64) {
		if err := m.Lookup(uint32(0), &smallest); err != nil {
			l.t.Fatal(err)
		}
		return smallest
	}
}

// The kernel takes the outer VLAN tag off a received frame before a program
// sees it; test runs cannot show that.
func TestVLANTagsInMetadataAreRead(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			l.guard(l.Guest.Port, resolve(t, `<filter name="v" chain="vlan">
  <rule action="drop" direction="inout"><vlan vlanid="7"/></rule>
</filter>`))
			tagged := func(frame []byte, id uint16) []byte {
				tag := binary.BigEndian.AppendUint16([]byte{0x81, 0x00}, id)
				return append(append(bytes.Clone(frame[:12]), tag...), frame[12:]...)
			}
			for _, test := range []struct {
				id   uint16
				want bool
			}{{7, false}, {8, true}, {0x2007, false}} {
				out, in := l.udp(9, "tagged"), l.reply(9, "tagged")
				l.fate(l.arrivesUntagged(l.Guest, l.Neighbour, tagged(out, test.id), out), test.want)
				l.fate(l.arrivesUntagged(l.Neighbour, l.Guest, tagged(in, test.id), in), test.want)
			}
			l.arrives(l.Guest, l.Neighbour, l.udp(9, "not tagged"), true)
		})
	}
}

// arrivesUntagged is lab.Arrives for a frame whose tag the receiver's kernel
// takes off.
func (l *live) arrivesUntagged(from, to *lab.Guest, frame, untagged []byte) error {
	l.t.Helper()
	sender, err := from.OpenFrames("eth0")
	if err != nil {
		return err
	}
	defer sender.Close()
	return lab.Arrived(l.t.Context(), to, untagged, func() error { return sender.Send(frame) })
}
