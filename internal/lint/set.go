package lint

import (
	"cmp"
	"math/bits"
	"slices"

	"tapgate/internal/packet"
)

// interval holds its ends.
type interval struct{ lo, hi packet.U128 }

// set is a set of values: ascending intervals with gaps between them.
type set []interval

func compare(a, b packet.U128) int {
	return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo))
}

func least(a, b packet.U128) packet.U128 {
	if compare(a, b) < 0 {
		return a
	}
	return b
}

func greatest(a, b packet.U128) packet.U128 {
	if compare(a, b) > 0 {
		return a
	}
	return b
}

func next(v packet.U128) packet.U128 {
	lo, carry := bits.Add64(v.Lo, 1, 0)
	return packet.U128{Hi: v.Hi + carry, Lo: lo}
}

func previous(v packet.U128) packet.U128 {
	lo, borrow := bits.Sub64(v.Lo, 1, 0)
	return packet.U128{Hi: v.Hi - borrow, Lo: lo}
}

func (s set) intersect(t set) set {
	var out set
	for len(s) > 0 && len(t) > 0 {
		lo, hi := greatest(s[0].lo, t[0].lo), least(s[0].hi, t[0].hi)
		if compare(lo, hi) <= 0 {
			out = append(out, interval{lo, hi})
		}
		if compare(s[0].hi, t[0].hi) < 0 {
			s = s[1:]
		} else {
			t = t[1:]
		}
	}
	return out
}

// minus is what of s is not in t.
func (s set) minus(t set) set {
	var out set
	for _, i := range s {
		lo := i.lo
		done := false
		for _, j := range t {
			if compare(j.hi, lo) < 0 {
				continue
			}
			if compare(j.lo, i.hi) > 0 {
				break
			}
			if compare(j.lo, lo) > 0 {
				out = append(out, interval{lo, previous(j.lo)})
			}
			if compare(j.hi, i.hi) >= 0 {
				done = true
				break
			}
			lo = next(j.hi)
		}
		if !done {
			out = append(out, interval{lo, i.hi})
		}
	}
	return out
}

// within tells whether every value of s is in t.
func (s set) within(t set) bool {
	for _, i := range s {
		// Intervals of t do not touch, so one of them must hold all of i.
		at, _ := slices.BinarySearchFunc(t, i.lo, func(j interval, v packet.U128) int { return compare(j.hi, v) })
		if at == len(t) || compare(t[at].lo, i.lo) > 0 || compare(i.hi, t[at].hi) > 0 {
			return false
		}
	}
	return true
}

// values are the given ones, ascending and apart.
func values(list ...uint64) set {
	var out set
	for _, v := range list {
		out = append(out, interval{packet.U128{Lo: v}, packet.U128{Lo: v}})
	}
	return out
}

// where enumerates the values up to last that keep holds.
func where(last uint64, keep func(uint64) bool) set {
	var out set
	for v := uint64(0); v <= last; v++ {
		switch n := len(out); {
		case !keep(v):
		case n > 0 && out[n-1].hi.Lo+1 == v:
			out[n-1].hi.Lo = v
		default:
			out = append(out, interval{packet.U128{Lo: v}, packet.U128{Lo: v}})
		}
	}
	return out
}
