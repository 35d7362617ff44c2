package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket/layers"
)

var (
	tapMAC  = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x30}
	tapIPv4 = netip.MustParseAddr("10.77.0.30")
)

func TestTapPlaysAGuest(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 64)
	for _, test := range []struct {
		name   string
		config TapConfig
		parts  []int // where the frame is cut
	}{
		{"whole frames", TapConfig{Name: "tap0"}, nil},
		{"frames in parts", TapConfig{Name: "tap0"}, []int{14, 34}},
		{"page fragments", TapConfig{Name: "tap0", Fragments: true}, []int{14, 34, 42, 500}},
		{"virtio-net header", TapConfig{Name: "tap0", VnetHeader: true}, nil},
		{"page fragments with virtio-net header", TapConfig{Name: "tap0", Fragments: true, VnetHeader: true}, []int{42}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t)
			tap, err := l.AddTap(t.Context(), test.config)
			if err != nil {
				t.Fatal(err)
			}
			introduce(t, l, tap)
			frame := UDPFrame(tapMAC, l.Neighbour.MAC, netip.AddrPortFrom(tapIPv4, 1024), l.Neighbour.At(EchoPort), payload)
			if err := tap.Send(cut(frame, test.parts)...); err != nil {
				t.Fatal(err)
			}
			receive(t, tap, func(frame []byte) bool { return bytes.HasSuffix(frame, payload) })
		})
	}
}

func TestTapLeavesTheChecksumToTheKernel(t *testing.T) {
	l := newLab(t)
	tap, err := l.AddTap(t.Context(), TapConfig{Name: "tap0", VnetHeader: true})
	if err != nil {
		t.Fatal(err)
	}
	introduce(t, l, tap)
	frame := UDPFrame(tapMAC, l.Neighbour.MAC, netip.AddrPortFrom(tapIPv4, 1024), l.Neighbour.At(EchoPort), []byte("no checksum"))
	frame[40], frame[41] = 0xab, 0xcd // wrong
	if err := tap.SendVnet(VnetHeader{Flags: 1 /* NEEDS_CSUM */, CsumStart: 34, CsumOffset: 6}, frame); err != nil {
		t.Fatal(err)
	}
	receive(t, tap, func(frame []byte) bool { return bytes.HasSuffix(frame, []byte("no checksum")) })
}

func TestTapRefusesWhatTheKernelWouldMisread(t *testing.T) {
	l := newLab(t)
	plain, err := l.AddTap(t.Context(), TapConfig{Name: "tap0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.SendVnet(VnetHeader{Flags: 1}, make([]byte, 60)); err == nil {
		t.Error("a header was taken by a tap without one")
	}
	if err := plain.Send([]byte{1, 2, 3}); err == nil {
		t.Error("three bytes were taken as a frame")
	}
}

// TestOnlyTheFirstPartIsLinear looks at the packet from where a filter sees it.
func TestOnlyTheFirstPartIsLinear(t *testing.T) {
	l := newLab(t)
	frame := EtherTypeFrame(tapMAC, l.Neighbour.MAC, UnknownEtherType, make([]byte, 586))
	for _, test := range []struct {
		name   string
		config TapConfig
		linear uint32
	}{
		{"page fragments", TapConfig{Name: "tap0", Fragments: true}, 100},
		{"page fragments with virtio-net header", TapConfig{Name: "tap1", Fragments: true, VnetHeader: true}, 100},
		{"no fragments", TapConfig{Name: "tap2"}, 600},
	} {
		t.Run(test.name, func(t *testing.T) {
			tap, err := l.AddTap(t.Context(), test.config)
			if err != nil {
				t.Fatal(err)
			}
			lengths := measure(t, l, tap.Name)
			if err := Arrived(t.Context(), l.Neighbour, frame, func() error { return tap.Send(cut(frame, []int{100, 350})...) }); err != nil {
				t.Fatal(err)
			}
			var length, linear uint32
			if err := errors.Join(lengths.Lookup(uint32(0), &length), lengths.Lookup(uint32(1), &linear)); err != nil {
				t.Fatal(err)
			}
			if length != 600 || linear != test.linear {
				t.Errorf("%d bytes, %d of them linear; want 600, %d", length, linear, test.linear)
			}
		})
	}
}

// measure attaches a program to the port that notes the length of a packet and of its linear part.
func measure(t *testing.T, l *Lab, port string) *ebpf.Map {
	t.Helper()
	lengths, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lengths.Close() })
	// Offsets in struct __sk_buff of <linux/bpf.h>.
	const length, data, dataEnd = 0, 76, 80
	store := func(key int64, value asm.Register) asm.Instructions {
		return asm.Instructions{
			asm.StoreImm(asm.RFP, -4, key, asm.Word),
			asm.StoreMem(asm.RFP, -8, value, asm.Word),
			asm.LoadMapPtr(asm.R1, lengths.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
			asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -8),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnMapUpdateElem.Call(),
		}
	}
	program := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, length, asm.Word),
		asm.LoadMem(asm.R7, asm.R1, dataEnd, asm.Word),
		asm.LoadMem(asm.R8, asm.R1, data, asm.Word),
		asm.Sub.Reg(asm.R7, asm.R8),
	}
	program = append(program, store(0, asm.R6)...)
	program = append(program, store(1, asm.R7)...)
	program = append(program, asm.Mov.Imm(asm.R0, -1), asm.Return()) // TCX_NEXT
	loaded, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: program, License: "GPL"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loaded.Close() })
	err = l.Host.Do(func() error {
		device, err := net.InterfaceByName(port)
		if err != nil {
			return err
		}
		attached, err := link.AttachTCX(link.TCXOptions{Interface: device.Index, Program: loaded, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return err
		}
		t.Cleanup(func() { attached.Close() })
		return nil
	})
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("needs tcx (Linux 6.6) to look at packets")
	}
	if err != nil {
		t.Fatal(err)
	}
	return lengths
}

// introduce tells the neighbour who has tapIPv4.
func introduce(t *testing.T, l *Lab, tap *Tap) {
	t.Helper()
	frame := ARPFrame(tapMAC, Broadcast, layers.ARPRequest, tapMAC, tapIPv4, make([]byte, 6), l.Neighbour.IPv4)
	if err := tap.Send(frame); err != nil {
		t.Fatal(err)
	}
	receive(t, tap, func(frame []byte) bool {
		return binary.BigEndian.Uint16(frame[12:]) == 0x0806 && bytes.Equal(frame[:6], tapMAC)
	})
}

func receive(t *testing.T, tap *Tap, match func([]byte) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ProbeTimeout)
	defer cancel()
	if _, err := tap.Receive(ctx, match); err != nil {
		t.Fatal(err)
	}
}

func cut(frame []byte, at []int) [][]byte {
	var parts [][]byte
	from := 0
	for _, to := range at {
		parts = append(parts, frame[from:to])
		from = to
	}
	return append(parts, frame[from:])
}
