package datapath

import (
	"context"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"tapgate/internal/device"
	"tapgate/internal/packet"
)

// MaxInjected is the longest frame that Inject takes.
const MaxInjected = 2048

// Inject puts a frame into a port as if its guest had sent it just then (out), or
// as if it had come for the guest. It passes the port's programs, which judge and
// count it as any other, and goes on from there. A frame that they drop is no
// error. A checksum of TCP, UDP or ICMPv6 that the guest left to its network
// card is finished first. The device is that of the calling thread's network
// namespace.
func (h *Host) Inject(ctx context.Context, port string, frame []byte, out bool) error {
	if err := h.inject(ctx, port, frame, out); err != nil {
		return portError("put a frame into", port, err)
	}
	return nil
}

func (h *Host) inject(ctx context.Context, port string, frame []byte, out bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(frame) > MaxInjected {
		return fmt.Errorf("it has %d bytes, and %d is the most", len(frame), MaxInjected)
	}
	dev, err := device.ByName(port)
	if err != nil {
		return err
	}
	prog, err := h.openInjector()
	if err != nil {
		return err
	}
	at := runContext{Ifindex: uint32(dev.Index)}
	if received := out != swapped(dev.Kind); received {
		at.Flags = unix.BPF_F_INGRESS
	}
	code, err := prog.Run(&ebpf.RunOptions{Data: packet.FinishChecksum(frame), Context: &at})
	switch {
	case errors.Is(err, unix.EINVAL):
		return errors.New("it is no Ethernet frame that the kernel takes")
	case err != nil:
		return needsRoot(err)
	case int32(code) < 0:
		return unix.Errno(-int32(code))
	case code != 0 && (at.Flags != 0 || code != xmitDrop):
		// NET_RX_DROP or NET_XMIT_CN. A program drops what the device receives
		// later, in the backlog.
		return errors.New("the device did not take it: it is down, or has too much to do")
	}
	return nil
}

// runContext is struct __sk_buff as far as a test run is told of it
// (linux/bpf.h).
type runContext struct {
	_       [40]byte
	Ifindex uint32
	_       uint32
	_       [4]uint32 // cb[0] to cb[3]
	Flags   uint32    // cb[4]
}

// xmitDrop is NET_XMIT_DROP (linux/netdevice.h), with which a program's drop of
// what is transmitted ends.
const xmitDrop = 1

// Offsets in struct __sk_buff.
const (
	skbIfindex = 40
	skbFlags   = 64
)

// openInjector loads, once, the program that puts a copy of the packet of a test
// run into a device. Neither a packet socket, which only sends and needs
// CAP_NET_RAW, nor an XDP program on live frames, which only receives, would do
// for both sides of a device.
func (h *Host) openInjector() (*ebpf.Program, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.injector != nil {
		return h.injector, nil
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "tapgate_inject", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, skbIfindex, asm.Word),
			asm.LoadMem(asm.R3, asm.R1, skbFlags, asm.Word),
			asm.Mov.Imm(asm.R4, 0),
			asm.StoreMem(asm.R1, skbFlags, asm.R4, asm.Word),
			asm.FnCloneRedirect.Call(),
			asm.Return(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("load the program that does it: %w", needsRoot(err))
	}
	h.injector = prog
	return prog, nil
}
