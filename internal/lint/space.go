package lint

import (
	"math/bits"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// space is an axis along which conditions limit packets: a field, or a part of
// one that the language always compares apart from the rest.
type space struct {
	field packet.Field
	// part is ipv4 for an address of that family, option+n for the option
	// kind n of a word of TCP options, else 0.
	part uint8
}

const (
	ipv4   = 4
	option = 64
)

// all is every value that a packet may have there.
func (s space) all() set {
	switch s.field {
	case packet.ConnState: // one bit at most
		return where(255, func(v uint64) bool { return v < 32 && v&(v-1) == 0 })
	case packet.ConnDirection:
		return where(2, func(uint64) bool { return true })
	}
	width := s.field.Info().Bits
	switch {
	case s.part == ipv4:
		width = 32
	case s.part >= option:
		width = 1
	case isMAC(s.field):
		width = 48
	}
	return set{{hi: ones(width)}}
}

func isMAC(f packet.Field) bool {
	switch f {
	case packet.SrcMAC, packet.DstMAC, packet.ARPSrcMAC, packet.ARPDstMAC, packet.STPRootAddress, packet.STPSenderAddress, packet.NDMAC:
		return true
	}
	return false
}

func ones(width int) packet.U128 {
	switch {
	case width >= 128:
		return packet.U128{Hi: ^uint64(0), Lo: ^uint64(0)}
	case width >= 64:
		return packet.U128{Hi: 1<<(width-64) - 1, Lo: ^uint64(0)}
	}
	return packet.U128{Lo: 1<<width - 1}
}

// valuesOf are exactly the values for which the term holds; ok is false for a
// shape that no rule of the language gives.
func valuesOf(t policy.Term) (s space, values set, ok bool) {
	s.field = t.Field
	if t.Field == packet.SrcIP || t.Field == packet.DstIP {
		if t.Mask.Hi == 0 && t.Mask.Lo>>32 == 0 {
			s.part = ipv4
		}
	}
	if t.Field.Info().Bits == 8 {
		return s, where(255, func(v uint64) bool {
			v &= t.Mask.Lo
			if t.Op == policy.AnyBit {
				return v != 0
			}
			return t.Lo.Lo <= v && v <= t.Hi.Lo
		}).intersect(s.all()), true
	}
	if t.Op == policy.AnyBit {
		if bits.OnesCount64(t.Mask.Lo) != 1 || t.Mask.Hi != 0 {
			return s, nil, false
		}
		s.part = option + uint8(bits.TrailingZeros64(t.Mask.Lo))
		return s, set{{packet.U128{Lo: 1}, packet.U128{Lo: 1}}}, true
	}
	// Under a mask of leading ones the values that agree follow one another.
	last := s.all()[0].hi
	rest := packet.U128{Hi: last.Hi &^ t.Mask.Hi, Lo: last.Lo &^ t.Mask.Lo}
	if after := next(rest); after.Hi&rest.Hi|after.Lo&rest.Lo != 0 {
		return s, nil, false
	}
	if compare(t.Lo, t.Hi) > 0 {
		return s, nil, true
	}
	hi := packet.U128{Hi: t.Hi.Hi | rest.Hi, Lo: t.Hi.Lo | rest.Lo}
	return s, set{{t.Lo, hi}}.intersect(s.all()), true
}
