package lint

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// condition draws one over few fields and values, so that regions often are in
// one another.
func (d drawer) condition() policy.Condition {
	n := func(v uint64) packet.U128 { return packet.U128{Lo: v} }
	term := func() policy.Term {
		switch d.IntN(7) {
		case 0:
			lo := uint64(d.IntN(6))
			return policy.Term{Field: packet.DstPort, Mask: n(0xffff), Lo: n(lo), Hi: n(lo + uint64(d.IntN(4)))}
		case 1:
			return policy.Term{Field: packet.DstPort, Mask: n(0xffff), Hi: n(0xffff)}
		case 2:
			mask := pick(d, []uint64{0xffffffff, 0xfffffffe, 0xfffffffc, 0})
			v := uint64(d.IntN(8)) & mask
			return policy.Term{Field: packet.SrcIP, Mask: n(mask), Lo: n(v), Hi: n(v)}
		case 3:
			mask, v := uint64(d.IntN(4)), uint64(d.IntN(4))
			return policy.Term{Field: packet.TCPFlags, Mask: n(mask), Lo: n(v), Hi: n(v)}
		case 4:
			return policy.Term{Field: packet.ConnState, Op: policy.AnyBit, Mask: n(uint64(d.IntN(31) + 1))}
		case 5:
			return policy.Term{Field: packet.TCPOptions1, Op: policy.AnyBit, Mask: n(1 << d.IntN(2))}
		}
		v := uint64(d.IntN(3))
		return policy.Term{Field: pick(d, []packet.Field{packet.ICMPType, packet.ICMPCode}), Mask: n(0xff), Lo: n(v), Hi: n(v)}
	}
	c := policy.Condition{Negated: d.chance(40), Terms: []policy.Term{term()}}
	if d.chance(20) {
		c.Terms = append(c.Terms, term())
	}
	return c
}

func (d drawer) conditions() []policy.Condition {
	var list []policy.Condition
	for range d.IntN(4) {
		list = append(list, d.condition())
	}
	return list
}

// packet draws the fields that conditions compare, or lets them be absent.
func (d drawer) packet() *packet.Packet {
	p := &packet.Packet{EtherType: packet.EtherTypeIPv4, DstPort: uint16(d.IntN(10)), TCPFlags: uint8(d.IntN(4)), ICMPType: uint8(d.IntN(3)), ICMPCode: uint8(d.IntN(3))}
	p.SrcIP.Lo = uint64(d.IntN(8))
	p.TCPOptions[1] = uint64(d.IntN(4))
	p.State = packet.State(1<<d.IntN(6)) & 31
	for _, group := range []packet.Have{packet.HavePorts, packet.HaveTCP, packet.HaveTCPOptions, packet.HaveICMP} {
		if d.chance(80) {
			p.Have |= group
		}
	}
	return p
}

func hold(list []policy.Condition, p *packet.Packet) bool {
	for i := range list {
		if !list[i].Holds(p) {
			return false
		}
	}
	return true
}

func TestRegionsSayWhatConditionsDo(t *testing.T) {
	inside, empty := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 3))}
		for range 150 {
			a, b := d.conditions(), d.conditions()
			ra, rb := regionOf(a, nil), regionOf(b, nil)
			within := !ra.empty && ra.within(&rb)
			apart := !ra.meets(&rb)
			if within && len(b) > 0 {
				inside++
			}
			if ra.empty {
				empty++
			}
			for range 100 {
				p := d.packet()
				isA, isB := hold(a, p), hold(b, p)
				switch {
				case isA && ra.empty:
					t.Fatalf("%v is no contradiction: %+v", a, p)
				case isA && within && !isB:
					t.Fatalf("%v does not imply %v: %+v", a, b, p)
				case isA && isB && apart:
					t.Fatalf("%v and %v do not exclude each other: %+v", a, b, p)
				}
			}
		}
	})
	if !testing.Short() && (inside < 100 || empty < 100) {
		t.Errorf("%d regions within others, %d empty ones: the test shows little", inside, empty)
	}
}

// TestRegionsOfOneFieldAreExact enumerates a field of 8 bits.
func TestRegionsOfOneFieldAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawer{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 4))}
		draw := func() []policy.Condition {
			var list []policy.Condition
			for range d.IntN(3) + 1 {
				v := packet.U128{Lo: uint64(d.IntN(256))}
				c := policy.Condition{Negated: d.chance(50), Terms: []policy.Term{{Field: packet.ICMPType, Op: policy.Op(d.IntN(2)), Mask: packet.U128{Lo: uint64(d.IntN(256))}, Lo: v, Hi: packet.U128{Lo: v.Lo + uint64(d.IntN(99))}}}}
				list = append(list, c)
			}
			return list
		}
		a, b := draw(), draw()
		some, all := false, true
		for v := range 256 {
			p := &packet.Packet{Have: packet.HaveICMP, ICMPType: uint8(v)}
			if hold(a, p) {
				some = true
				all = all && hold(b, p)
			}
		}
		ra, rb := regionOf(a, nil), regionOf(b, nil)
		if ra.empty == some {
			t.Fatalf("%v: empty is %v", a, ra.empty)
		}
		if some && !rb.empty && ra.within(&rb) != all {
			t.Fatalf("%v within %v is %v, want %v", a, b, ra.within(&rb), all)
		}
	})
}
