package compile

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"

	"tapgate/internal/ipset"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// SetMap is the name of the map, a longest-prefix trie, in which the policy's
// nth set (SetNames) is looked up. Its values are a byte: 1 for a member, 0 for
// an exception.
func SetMap(n int) string { return fmt.Sprintf("set_%d", n) }

// set falls through if the clause's condition on a set holds, else jumps to
// fail, or to undecided for a fragment that lacks what is looked up. It takes
// one look-up.
func (f *function) set(s *policy.IPSet, undecided, fail string) {
	set := f.sets[s.Name]
	if set == nil {
		if f.err == nil {
			f.err = fmt.Errorf("the set %q is not known", s.Name)
		}
		return
	}
	lookup, ok := set.Lookup(s.Flags)
	if !ok {
		if !s.Negated {
			f.emit(asm.Ja.Label(fail))
		}
		return
	}
	absent := fail
	if s.Negated {
		absent = f.newLabel()
	}
	key := -int16(4+lookup.KeySize()+7) &^ 7
	if lookup.Family != 0 {
		f.load(value, "family", 0, asm.Byte)
		f.emit(asm.JNE.Imm(value, int32(lookup.Family), absent))
	}
	f.emit(asm.StoreImm(asm.R10, key, int64(lookup.KeySize()*8), asm.Word))
	at := key + 4
	for _, part := range lookup.Parts {
		switch size := lookup.Size(part.Kind); {
		case part.Kind == ipset.Port:
			f.portPart(part, at, undecided, absent)
		case size == 4:
			f.load(value, part.Field.Info().Member, 8, asm.DWord)
			f.emit(asm.HostTo(asm.BE, value, asm.Word), asm.StoreMem(asm.R10, at, value, asm.Word))
		case size == 8:
			f.wordPart(part.Field, 0, at)
		default:
			f.wordPart(part.Field, 0, at)
			f.wordPart(part.Field, 8, at+8)
		}
		at += int16(lookup.Size(part.Kind))
	}
	n, _ := slices.BinarySearch(f.setNames, s.Name)
	f.emit(
		asm.LoadMapPtr(asm.R1, 0).WithReference(SetMap(n)),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, int32(key)),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(value, 0, absent),
		asm.LoadMem(value, asm.R0, 0, asm.Byte),
		asm.JEq.Imm(value, 0, absent),
	)
	if s.Negated {
		f.emit(asm.Ja.Label(fail))
		f.label(absent)
	}
}

// wordPart stores 64 bits in network order, in halves: the stack wants aligned
// stores, and parts begin at multiples of four.
func (f *function) wordPart(field packet.Field, offset, at int16) {
	f.load(value, field.Info().Member, offset, asm.DWord)
	f.emit(
		asm.HostTo(asm.BE, value, asm.DWord),
		asm.StoreMem(asm.R10, at, value, asm.Word),
		asm.RSh.Imm(value, 32),
		asm.StoreMem(asm.R10, at+4, value, asm.Word),
	)
}

// portPart stores protocol, 0 and port. A packet that lacks what it should
// have is in no set; a fragment is undecided.
func (f *function) portPart(part ipset.Part, at int16, undecided, absent string) {
	ports, icmp, lacking, done := f.newLabel(), f.newLabel(), f.newLabel(), f.newLabel()
	f.wants(packet.HaveLinkProto, lacking)
	f.load(value, packet.LinkProto.Info().Member, 0, asm.Byte)
	f.emit(
		asm.StoreMem(asm.R10, at, value, asm.Byte),
		asm.StoreImm(asm.R10, at+1, 0, asm.Byte),
		asm.Mov.Imm(scratch, 0),
	)
	for _, proto := range ipset.PortProtocols {
		f.emit(asm.JEq.Imm(value, int32(proto), ports))
	}
	for _, proto := range ipset.ICMPProtocols {
		f.emit(asm.JEq.Imm(value, int32(proto), icmp))
	}
	f.emit(asm.Ja.Label(done))
	f.label(ports)
	f.wants(packet.HavePorts, lacking)
	f.load(scratch, part.Field.Info().Member, 0, asm.Half)
	f.emit(asm.Ja.Label(done))
	f.label(icmp)
	f.wants(packet.HaveICMP|packet.HaveICMPv6, lacking)
	f.load(scratch, packet.ICMPType.Info().Member, 0, asm.Byte)
	f.load(constant, packet.ICMPCode.Info().Member, 0, asm.Byte)
	f.emit(asm.LSh.Imm(scratch, 8), asm.Or.Reg(scratch, constant), asm.Ja.Label(done))
	f.label(lacking)
	f.load(value, "lacks", 0, asm.Word)
	f.emit(asm.JEq.Imm(value, 0, absent), asm.Ja.Label(undecided))
	f.label(done)
	f.emit(asm.HostTo(asm.BE, scratch, asm.Half), asm.StoreMem(asm.R10, at+2, scratch, asm.Half))
}

// wants jumps to otherwise unless the packet has one of the groups.
func (f *function) wants(groups packet.Have, otherwise string) {
	ok := f.newLabel()
	f.load(constant, "have", 0, asm.Word)
	f.emit(asm.JSet.Imm(constant, int32(groups), ok), asm.Ja.Label(otherwise))
	f.label(ok)
}
