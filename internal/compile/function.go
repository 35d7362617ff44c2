package compile

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// function collects the instructions of one subprogram.
type function struct {
	*compiler
	name    string
	code    asm.Instructions
	pending string // label of the next instruction
	labels  int
	// dead: the instruction before ended the function or jumped away.
	dead       bool
	referenced map[string]bool
	err        error
	// A part holds a piece of a list; one of a chain hands a return back to
	// its caller as a code.
	isPart, inChain bool
}

// emit appends instructions, but nothing that could not be reached: the
// verifier refuses a program with dead code.
func (f *function) emit(ins ...asm.Instruction) {
	for _, in := range ins {
		if f.dead {
			return
		}
		if f.pending != "" {
			in = in.WithSymbol(f.pending)
			f.pending = ""
		}
		f.code = append(f.code, in)
		if target := in.Reference(); target != "" {
			f.referenced[target] = true
		}
		op := in.OpCode.JumpOp()
		f.dead = op == asm.Exit || op == asm.Ja
	}
}

// label names the next instruction, if anything jumps there. Two names for one
// place are joined by a move of nothing.
func (f *function) label(name string) {
	if !f.referenced[name] {
		return
	}
	if f.pending != "" {
		f.emit(asm.Mov.Reg(ctx, ctx))
	}
	f.dead = false
	f.pending = name
}

func (f *function) newLabel() string {
	f.labels++
	return fmt.Sprintf("%s_l%d", f.name, f.labels)
}

const (
	ctx      = asm.R6
	orphan   = asm.R7
	have     = asm.R8
	value    = asm.R0
	scratch  = asm.R1
	constant = asm.R2
)

// begin checks the pointer, as the verifier asks of a global function, and
// loads what most clauses need.
func (f *function) begin() {
	f.emit(
		asm.Mov.Reg(ctx, asm.R1),
		asm.JNE.Imm(ctx, 0, f.name+"_start"),
	)
	f.exit(codeDrop, noClause)
	f.label(f.name + "_start")
	f.load(have, "have", 0, asm.Word)
	f.load(orphan, "fragment", 0, asm.Byte)
	whole := f.newLabel()
	f.emit(asm.JGE.Imm(orphan, int32(packet.FragmentOrphan), whole), asm.Mov.Imm(orphan, 0))
	f.label(whole)
}

func (f *function) load(dst asm.Register, member string, offset int16, size asm.Size) {
	at, ok := f.layout[member]
	if !ok && f.err == nil {
		f.err = fmt.Errorf("the skeleton's struct packet has no member %q", member)
	}
	f.emit(asm.LoadMem(dst, ctx, at+offset, size))
}

func (f *function) exit(code, clause uint32) {
	f.emit(asm.Mov.Imm32(asm.R0, int32(code<<28|clause)), asm.Return())
}

// call runs a part and leaves if it decided; its return leads to after.
func (f *function) call(part, after string) {
	next := f.newLabel()
	f.emit(
		asm.Mov.Reg(asm.R1, ctx),
		asm.Call.Label(part),
		asm.Mov.Reg32(scratch, asm.R0),
		asm.RSh.Imm(scratch, 28),
		asm.JEq.Imm(scratch, codeNext, next),
	)
	if after != "" {
		f.emit(asm.JEq.Imm(scratch, codeReturn, after))
	}
	f.emit(asm.Return())
	f.label(next)
}

// clause falls through to its result when all conditions hold.
func (f *function) clause(c *policy.Clause, after string) {
	next := f.newLabel()
	for i := range c.Conditions {
		if !c.Conditions[i].NeedsTransport() {
			f.condition(&c.Conditions[i], next)
		}
	}
	id := uint32(c.ID)
	if c.IPSet != nil {
		f.set(c.IPSet, id, next)
	}
	// Ports come before TCP flags, flags before options, these before states:
	// what lacks one lacks all that follow, so that the first decides.
	checked := map[packet.Have]bool{}
	for i := range c.Conditions {
		if !c.Conditions[i].NeedsTransport() {
			continue
		}
		for _, t := range c.Conditions[i].Terms {
			if needs := t.Field.Info().Needs; !checked[needs] {
				f.undecidedWithout(needs, id)
				checked[needs] = true
			}
		}
		f.condition(&c.Conditions[i], next)
	}
	if c.ConnLimit != nil {
		f.undecidedWithout(0, id)
		f.limit(c.ConnLimit, id, next)
	}
	switch {
	case c.Action == nwfilter.Accept:
		f.exit(codePass, id)
	case c.Action == nwfilter.Drop, c.Action == nwfilter.Reject && f.stage == nwfilter.LinkStage:
		f.exit(codeDrop, id)
	case c.Action == nwfilter.Reject:
		f.exit(codeReject, id)
	case c.Action == nwfilter.Continue:
		f.count(id)
	case after == "":
		f.exit(codePass, id) // return from the root list leaves the stage
	case f.isPart:
		f.count(id)
		f.exit(codeReturn, noClause)
	default:
		f.count(id)
		f.emit(asm.Ja.Label(after))
	}
	f.label(next)
}

// undecidedWithout leaves for a fragment that has none of the groups; a state
// needs all of them.
func (f *function) undecidedWithout(needs packet.Have, id uint32) {
	known := f.newLabel()
	f.emit(asm.JEq.Imm(orphan, 0, known))
	if needs != 0 {
		f.emit(asm.JSet.Imm(have, int32(needs), known))
	}
	f.exit(codeUndecided, id)
	f.label(known)
}

func (f *function) count(id uint32) {
	f.emit(asm.Mov.Imm(asm.R1, int32(id)), asm.Call.Label(CountFunction))
}

// limit falls through if the source has more connections than the limit allows
// (negated: if not), else jumps to fail.
func (f *function) limit(l *policy.ConnLimit, id uint32, fail string) {
	counted := f.newLabel()
	f.emit(
		asm.LoadImm(asm.R1, int64(l.ID), asm.DWord),
		asm.Mov.Imm(asm.R2, int32(l.Above)),
		asm.Call.Label(LimitFunction),
		asm.JLE.Imm32(value, maxExceeded, counted),
		asm.LSh.Imm32(value, 28),
		asm.Or.Imm32(value, int32(id)),
		asm.Return(),
	)
	f.label(counted)
	if l.Negated {
		f.emit(asm.JNE.Imm32(value, 0, fail))
	} else {
		f.emit(asm.JEq.Imm32(value, 0, fail))
	}
}
