package policy

import "tapgate/internal/packet"

// Holds tells whether the condition holds for a packet.
func (c *Condition) Holds(p *packet.Packet) bool {
	all := true
	for _, t := range c.Terms {
		v, ok := p.Value(t.Field)
		if !ok {
			return false
		}
		if !t.holds(v) {
			all = false
		}
	}
	return all != c.Negated
}

func (t Term) holds(v packet.U128) bool {
	v.Hi &= t.Mask.Hi
	v.Lo &= t.Mask.Lo
	if t.Op == AnyBit {
		return v.Hi|v.Lo != 0
	}
	return !less(v, t.Lo) && !less(t.Hi, v)
}

func less(a, b packet.U128) bool {
	return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo
}
