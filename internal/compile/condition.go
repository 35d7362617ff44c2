package compile

import (
	"math"

	"github.com/cilium/ebpf/asm"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// known is what earlier tests on the way to a clause have settled.
type known struct {
	// present are groups that the packet has, or that it lacks as a fragment;
	// decided are those that it does not lack.
	present, decided packet.Have
}

// condition falls through if it holds, else jumps to fail.
func (f *function) condition(c *policy.Condition, fail string, k known) {
	for _, t := range c.Terms {
		k = f.has(t.Field.Info().Needs, fail, k)
	}
	if !c.Negated {
		for _, t := range c.Terms {
			f.term(t, fail)
		}
		return
	}
	holds := f.newLabel()
	for _, t := range c.Terms {
		f.term(t, holds)
	}
	f.emit(asm.Ja.Label(fail))
	f.label(holds)
}

// has jumps to fail if the packet has none of the groups, although it is not a
// fragment that lacks them.
func (f *function) has(needs packet.Have, fail string, k known) known {
	if k.present&needs != needs {
		f.load(value, "absent", 0, asm.Word)
		f.emit(asm.JSet.Imm(value, int32(needs), fail))
		k.present |= needs
	}
	return k
}

var sizes = map[int]asm.Size{8: asm.Byte, 16: asm.Half, 32: asm.Word, 64: asm.DWord}

// term falls through if it holds, else jumps to fail.
func (f *function) term(t policy.Term, fail string) {
	info := t.Field.Info()
	if info.Bits == 128 {
		f.wide(t, fail)
		return
	}
	f.load(value, info.Member, int16(info.Index*8), sizes[info.Bits])
	f.and(value, t.Mask.Lo, info.Bits)
	if t.Op == policy.AnyBit {
		f.emit(asm.JEq.Imm(value, 0, fail))
		return
	}
	f.within(value, t.Lo.Lo, t.Hi.Lo, t.Mask.Lo, fail)
}

// wide compares an IP address. IPv4 addresses have nothing in the upper half.
func (f *function) wide(t policy.Term, fail string) {
	member := t.Field.Info().Member
	if t.Mask.Hi == 0 && t.Mask.Lo <= math.MaxUint32 {
		f.load(value, member, 8, asm.Word)
		f.and(value, t.Mask.Lo, 32)
		f.within(value, t.Lo.Lo, t.Hi.Lo, t.Mask.Lo, fail)
		return
	}
	if t.Lo == t.Hi || t.Mask.Hi == 0 {
		if t.Mask.Hi != 0 {
			f.load(value, member, 0, asm.DWord)
			f.and(value, t.Mask.Hi, 64)
			f.within(value, t.Lo.Hi, t.Hi.Hi, t.Mask.Hi, fail)
		}
		if t.Mask.Lo != 0 {
			f.load(value, member, 8, asm.DWord)
			f.and(value, t.Mask.Lo, 64)
			f.within(value, t.Lo.Lo, t.Hi.Lo, t.Mask.Lo, fail)
		}
		return
	}
	// A range of IPv6 addresses: the lower halves count at the edges.
	f.load(value, member, 0, asm.DWord)
	f.load(scratch, member, 8, asm.DWord)
	aboveLow, belowHigh := f.newLabel(), f.newLabel()
	f.compare(asm.JLT, value, t.Lo.Hi, fail, false)
	f.compare(asm.JGT, value, t.Lo.Hi, aboveLow, false)
	f.compare(asm.JLT, scratch, t.Lo.Lo, fail, false)
	f.label(aboveLow)
	f.compare(asm.JGT, value, t.Hi.Hi, fail, false)
	f.compare(asm.JLT, value, t.Hi.Hi, belowHigh, false)
	f.compare(asm.JGT, scratch, t.Hi.Lo, fail, false)
	f.label(belowHigh)
}

func (f *function) and(r asm.Register, mask uint64, bits int) {
	switch {
	case bits < 64 && mask == 1<<bits-1, mask == math.MaxUint64:
	case mask <= math.MaxUint32:
		f.emit(asm.And.Imm32(r, int32(mask)))
	default:
		f.emit(asm.LoadImm(constant, int64(mask), asm.DWord), asm.And.Reg(r, constant))
	}
}

// within jumps to fail unless lo ≤ r ≤ hi; r has no bits outside mask.
func (f *function) within(r asm.Register, lo, hi, mask uint64, fail string) {
	narrow := mask <= math.MaxUint32
	if lo == hi {
		f.compare(asm.JNE, r, lo, fail, narrow)
		return
	}
	if lo > 0 {
		f.compare(asm.JLT, r, lo, fail, narrow)
	}
	if hi < mask {
		f.compare(asm.JGT, r, hi, fail, narrow)
	}
}

// compare jumps to label if r op n; narrow values have 32 bits at most.
// Immediates are sign-extended to 64 bits.
func (f *function) compare(op asm.JumpOp, r asm.Register, n uint64, label string, narrow bool) {
	switch {
	case narrow && n <= math.MaxUint32:
		f.emit(op.Imm32(r, int32(n), label))
	case n <= math.MaxInt32:
		f.emit(op.Imm(r, int32(n), label))
	default:
		f.emit(asm.LoadImm(constant, int64(n), asm.DWord), op.Reg(r, constant, label))
	}
}
