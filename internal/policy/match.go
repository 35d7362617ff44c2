package policy

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

var (
	all32  = packet.U128{Lo: 1<<32 - 1}
	all48  = packet.U128{Lo: 1<<48 - 1}
	all64  = packet.U128{Lo: ^uint64(0)}
	all128 = packet.U128{Hi: ^uint64(0), Lo: ^uint64(0)}
)

func number(n uint64) packet.U128 { return packet.U128{Lo: n} }

func fieldMask(f packet.Field) packet.U128 {
	if bits := f.Info().Bits; bits < 64 {
		return number(1<<bits - 1)
	} else if bits == 64 {
		return all64
	}
	return all128
}

func equals(f packet.Field, n uint64) Term {
	return Term{Field: f, Mask: fieldMask(f), Lo: number(n), Hi: number(n)}
}

func between(f packet.Field, lo, hi uint64) Term {
	return Term{Field: f, Mask: fieldMask(f), Lo: number(lo), Hi: number(hi)}
}

func underMask(f packet.Field, value, mask packet.U128) Term {
	v := packet.U128{Hi: value.Hi & mask.Hi, Lo: value.Lo & mask.Lo}
	return Term{Field: f, Mask: mask, Lo: v, Hi: v}
}

func anyBit(f packet.Field, bits uint64) Term {
	return Term{Field: f, Op: AnyBit, Mask: number(bits)}
}

func must(terms ...Term) Condition { return Condition{Terms: terms} }

func addrValue(a netip.Addr) packet.U128 {
	if a.Is4() {
		b := a.As4()
		return number(uint64(binary.BigEndian.Uint32(b[:])))
	}
	b := a.As16()
	return packet.U128{Hi: binary.BigEndian.Uint64(b[:]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// prefixMask is the mask of the first n bits of an address.
func prefixMask(a netip.Addr, n uint64) packet.U128 {
	switch {
	case a.Is4():
		return number(uint64(^uint32(0)) &^ (1<<(32-n) - 1))
	case n <= 64:
		return packet.U128{Hi: ^uint64(0) << (64 - n)}
	}
	return packet.U128{Hi: ^uint64(0), Lo: ^uint64(0) << (128 - n)}
}

func (c *concrete) attr(name string) *nwfilter.Attribute {
	if name == "" {
		return nil
	}
	for i := range c.attributes {
		if c.attributes[i].Spec.Name == name {
			return &c.attributes[i]
		}
	}
	return nil
}

func (c *concrete) fault(a *nwfilter.Attribute, format string, args ...any) error {
	e := &Error{Pos: c.rule.Pos, Path: c.path, Message: fmt.Sprintf(format, args...)}
	if a != nil {
		e.Pos = a.Pos
	}
	return e
}

// conditions are those of the rule's protocol and attributes; mirrored ones
// have source and destination exchanged.
func (c *concrete) conditions(mirrored bool) ([]Condition, error) {
	if c.rule.Protocol == nil {
		return nil, nil
	}
	conds, err := c.protocolConditions()
	if err != nil {
		return nil, err
	}
	if conds, err = c.joined(conds, joins, mirrored); err != nil {
		return nil, err
	}
	special, err := c.specialConditions()
	if err != nil {
		return nil, err
	}
	return c.joined(append(conds, special...), discoveryJoins, mirrored)
}

// joined adds the conditions of the attributes that joins name.
func (c *concrete) joined(conds []Condition, joins []join, mirrored bool) ([]Condition, error) {
	for i := range joins {
		cond, err := c.join(&joins[i], mirrored)
		if err != nil {
			return nil, err
		}
		if cond != nil {
			conds = append(conds, *cond)
		}
	}
	return conds, nil
}

// join makes the condition of one attribute; nil if the rule does not have it.
func (c *concrete) join(j *join, mirrored bool) (*Condition, error) {
	a := c.attr(j.attribute)
	if a == nil || a.Value.Variable != nil || c.attr(j.unless) != nil || c.isSpecial(a) {
		return nil, nil
	}
	field := j.field
	if mirrored {
		field = j.mirrored
	}
	partner := c.attr(j.partner)
	cond := &Condition{Attribute: j.attribute, Negated: a.Negated}
	v := a.Value
	var term Term
	switch j.shape {
	case exact:
		term = equals(field, v.Number)
	case flag:
		if v.Number == 0 {
			return nil, nil
		}
		term = equals(field, 1)
	case span:
		hi := v.Number
		if partner != nil {
			hi = partner.Value.Number
		}
		if hi < v.Number {
			return nil, c.fault(a, "<%s> %s=%q is above %s=%q: the range is empty", c.rule.Protocol.Name, j.attribute, v.Text, j.partner, partner.Value.Text)
		}
		term = between(field, v.Number, hi)
	case masked:
		mask := all48
		if partner != nil {
			mask = number(partner.Value.Number)
		}
		term = underMask(field, number(v.Number), mask)
	case prefix:
		mask := all128
		bits := uint64(v.Addr.BitLen())
		if partner != nil {
			bits = partner.Value.Number
		}
		if n, ok := c.prefixes[j.attribute]; ok {
			bits = min(bits, n)
		}
		if bits < 128 {
			mask = prefixMask(v.Addr, bits)
		}
		if a.Negated && bits == 0 && c.rule.Protocol.Stage == nwfilter.NetworkStage {
			return nil, c.fault(a, "<%s> %s is negated and covers every address, so the rule could never match", c.rule.Protocol.Name, j.attribute)
		}
		term = underMask(field, addrValue(v.Addr), mask)
	case addrSpan:
		to := v.Addr
		if partner != nil {
			to = partner.Value.Addr
		}
		if to.BitLen() != v.Addr.BitLen() {
			return nil, c.fault(partner, "<%s> %s=%q and %s=%q are of different families", c.rule.Protocol.Name, j.attribute, v.Text, j.partner, partner.Value.Text)
		}
		mask := all128
		if to.Is4() {
			mask = all32
		}
		term = Term{Field: field, Mask: mask, Lo: addrValue(v.Addr), Hi: addrValue(to)}
		if n, ok := c.prefixes[j.attribute]; ok && partner == nil {
			term = underMask(field, addrValue(v.Addr), prefixMask(v.Addr, n))
		}
	}
	cond.Terms = []Term{term}
	return cond, nil
}
