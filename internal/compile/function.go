package compile

import (
	"fmt"
	"strconv"

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
	// after is where a chain's return leads; empty in the root list, where it
	// ends the stage. A part, which holds a piece of a list, hands a chain's
	// return back to its caller as a code.
	after  string
	isPart bool
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
	return f.name + "_l" + strconv.Itoa(f.labels)
}

const (
	ctx      = asm.R6
	value    = asm.R0
	scratch  = asm.R1
	constant = asm.R2
	// found is the clause that a search found, where all go on with the same
	// tests.
	found = asm.R9
)

const (
	icmp      = packet.HaveICMP | packet.HaveICMPv6
	transport = packet.HavePorts | packet.HaveTCP | packet.HaveTCPOptions | icmp | packet.HaveNDTarget | packet.HaveNDMAC
	// connection stands for the state of a connection in "lacks".
	connection packet.Have = 1 << 30
)

// begin checks the pointer, as the verifier asks of a global function.
func (f *function) begin() {
	f.emit(
		asm.Mov.Reg(ctx, asm.R1),
		asm.JNE.Imm(ctx, 0, f.name+"_start"),
	)
	f.exit(codeDrop, noClause)
	f.label(f.name + "_start")
}

// normalise works out which groups of fields the packet lacks because it is a
// fragment, and which are absent for good: a test is then one jump.
func (f *function) normalise() {
	one, whole, done := f.newLabel(), f.newLabel(), f.newLabel()
	f.load(value, "have", 0, asm.Word)
	f.emit(asm.Mov.Reg(scratch, value), asm.And.Imm(scratch, int32(icmp)), asm.JEq.Imm(scratch, 0, one))
	f.emit(asm.Or.Imm(value, int32(icmp))) // a field of ICMP is there with either
	f.label(one)
	f.emit(asm.Xor.Imm(value, -1))
	f.load(scratch, "fragment", 0, asm.Byte)
	f.emit(asm.JLT.Imm(scratch, int32(packet.FragmentOrphan), whole))
	f.emit(asm.Mov.Reg(scratch, value), asm.Or.Imm(scratch, int32(connection)), asm.And.Imm(value, ^int32(transport)))
	f.emit(asm.Ja.Label(done))
	f.label(whole)
	f.emit(asm.Mov.Imm(scratch, 0))
	f.label(done)
	f.store("lacks", scratch)
	f.store("absent", value)
}

func (f *function) load(dst asm.Register, member string, offset int16, size asm.Size) {
	at, ok := f.layout[member]
	if !ok && f.err == nil {
		f.err = fmt.Errorf("the skeleton's struct packet has no member %q", member)
	}
	f.emit(asm.LoadMem(dst, ctx, at+offset, size))
}

func (f *function) store(member string, src asm.Register) {
	at, ok := f.layout[member]
	if !ok && f.err == nil {
		f.err = fmt.Errorf("the skeleton's struct packet has no member %q", member)
	}
	f.emit(asm.StoreMem(ctx, at, src, asm.Word))
}

func (f *function) exit(code, clause uint32) {
	f.emit(asm.Mov.Imm32(asm.R0, int32(code<<28|clause)), asm.Return())
}

// call runs a part and leaves if it decided; its return leads on as in place.
func (f *function) call(part string) {
	next := f.newLabel()
	f.emit(
		asm.Mov.Reg(asm.R1, ctx),
		asm.Call.Label(part),
		asm.Mov.Reg32(scratch, asm.R0),
		asm.RSh.Imm(scratch, 28),
		asm.JEq.Imm(scratch, codeNext, next),
	)
	if f.after != "" {
		f.emit(asm.JEq.Imm(scratch, codeReturn, f.after))
	}
	f.emit(asm.Return())
	f.label(next)
}

// clause goes to its result when all tests hold, else to next. It may fall
// through to what lies behind next. If searched, found holds the clause's ID.
func (f *function) clause(e entry, next string, k known, searched bool) {
	undecided := f.newLabel()
	// Ports come before TCP flags, flags before options, ICMP types before what
	// neighbour discovery says, all of these before states: what lacks one lacks all
	// that follow, so that the first decides. A set is looked up before, and
	// connections are counted only by what is left.
	set := e.clause.IPSet
	for _, t := range e.tests {
		if t.transport && set != nil {
			f.set(set, undecided, next)
			set = nil
		}
		for _, term := range t.Terms {
			if t.transport {
				k = f.decides(term.Field.Info().Needs, undecided, k)
			}
		}
		f.condition(t.Condition, next, k)
		k.present |= t.needs
	}
	if set != nil {
		f.set(set, undecided, next)
	}
	if e.clause.ConnLimit != nil {
		f.decides(0, undecided, k)
		f.limit(e.clause.ConnLimit, uint32(e.clause.ID), next)
	}
	f.result(e.clause, searched)
	if f.referenced[undecided] {
		f.emit(asm.Ja.Label(next))
		f.label(undecided)
		f.leave(codeUndecided, e.clause, searched)
	}
}

func (f *function) result(c *policy.Clause, searched bool) {
	switch {
	case c.Action == nwfilter.Accept:
		f.leave(codePass, c, searched)
	case c.Action == nwfilter.Drop, c.Action == nwfilter.Reject && f.stage == nwfilter.LinkStage:
		f.leave(codeDrop, c, searched)
	case c.Action == nwfilter.Reject:
		f.leave(codeReject, c, searched)
	case c.Action == nwfilter.Continue:
		f.count(c, searched)
	case f.after == "":
		f.leave(codePass, c, searched) // return from the root list leaves the stage
	case f.isPart:
		f.count(c, searched)
		f.exit(codeReturn, noClause)
	default:
		f.count(c, searched)
		f.emit(asm.Ja.Label(f.after))
	}
}

// decides jumps to undecided for a fragment that has none of the groups; a
// state needs all of them.
func (f *function) decides(needs packet.Have, undecided string, k known) known {
	if needs == 0 {
		needs = connection
	}
	if k.decided&needs != needs {
		f.load(value, "lacks", 0, asm.Word)
		f.emit(asm.JSet.Imm(value, int32(needs), undecided))
		k.decided |= needs
	}
	return k
}

func (f *function) leave(code uint32, c *policy.Clause, searched bool) {
	if !searched {
		f.exit(code, uint32(c.ID))
		return
	}
	f.emit(asm.Mov.Reg32(asm.R0, found), asm.Or.Imm32(asm.R0, int32(code<<28)), asm.Return())
}

func (f *function) count(c *policy.Clause, searched bool) {
	id := asm.Mov.Imm(asm.R1, int32(c.ID))
	if searched {
		id = asm.Mov.Reg(asm.R1, found)
	}
	f.emit(id, asm.Call.Label(CountFunction))
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
