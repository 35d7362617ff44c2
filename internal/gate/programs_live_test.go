package gate

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

// attach runs instructions, after counting in a map, on each packet at tcx of a device.
func (h *host) attach(c cable, at ebpf.AttachType, instructions asm.Instructions) (seen func() uint64) {
	h.t.Helper()
	_ = rlimit.RemoveMemlock()
	counter, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = counter.Close() })
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:    ebpf.SchedCLS,
		License: "GPL",
		Instructions: append(asm.Instructions{
			asm.LoadMapValue(asm.R1, counter.FD(), 0),
			asm.Mov.Imm(asm.R2, 1),
			asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
		}, instructions...),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = program.Close() })
	err = h.ns.Do(func() error {
		attached, err := link.AttachTCX(link.TCXOptions{Interface: c.index, Program: program, Attach: at})
		if err == nil {
			h.t.Cleanup(func() { _ = attached.Close() })
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return func() (count uint64) {
		if err := counter.Lookup(uint32(0), &count); err != nil {
			h.t.Fatal(err)
		}
		return count
	}
}

// What a port's programs see of a device that is shut: what it receives, and nothing that is to be
// sent. An admitted packet passes through both.
func TestGateAndPrograms(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	c := h.plug("vnet0", 0)
	next := asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()} // TCX_NEXT
	in, out := h.attach(c, ebpf.AttachTCXIngress, next), h.attach(c, ebpf.AttachTCXEgress, next)
	h.wantShut(g, c)
	if in() != 1 || out() != 0 {
		t.Errorf("of a frame each way that the gate drops, programs see %d at ingress and %d at egress, want 1 and 0", in(), out())
	}
	if err := g.Admit(c.index); err != nil {
		t.Fatal(err)
	}
	h.wantOpen(c)
	if in() != 2 || out() != 1 {
		t.Errorf("programs have seen %d at ingress and %d at egress, want 2 and 1", in(), out())
	}
}

// A program that redirects to a device goes around the gate at its egress. Only root can have put it
// there; it is why the package's comment names it.
func TestRedirectionGoesAround(t *testing.T) {
	h := newHost(t)
	g := h.open(Options{Patterns: []string{"vnet*"}})
	shut, free := h.plug("vnet0", 0), h.plug("free0", 0)
	h.attach(free, ebpf.AttachTCXIngress, asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(shut.index)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
	})
	before := shutouts(t, g)
	if err := h.guest.trySend(free.peer, frame(toGuest, 1)); err != nil {
		t.Fatal(err)
	}
	if !h.guest.wait(shut.peer) {
		t.Error("the redirected frame did not arrive: the package's comment is out of date")
	}
	if now := shutouts(t, g); now != before {
		t.Errorf("dropped %+v, then %+v", before, now)
	}
}
