package lint

import (
	"slices"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// region is the set of packets for which some conditions hold. What is said
// about regions also holds for fragments that lack what a condition compares:
// conclusions are drawn along one space at a time, and a fragment that cannot
// be judged by one condition on a field cannot be judged by another on it.
type region struct {
	limits []limit
	// others are conditions that are no limit along one space: negated ones
	// with several terms, and those with values that are not known yet.
	others []other
	empty  bool
}

type limit struct {
	space
	values set
}

type other struct {
	policy.Condition
	// unknown is set for a condition on a variable without a value. It is
	// equal to itself, and nothing else is known.
	unknown bool
}

// regionOf are the packets for which the conditions hold; unknown tells those
// whose values are placeholders.
func regionOf(conds []policy.Condition, unknown func(*policy.Condition) bool) region {
	var r region
	for i := range conds {
		r.add(&conds[i], unknown != nil && unknown(&conds[i]))
	}
	r.settle()
	return r
}

func (r *region) add(c *policy.Condition, unknown bool) {
	for _, t := range c.Terms {
		if types := etherTypes(t); types != nil {
			r.limit(space{field: packet.EtherType}, types)
		}
	}
	if unknown || c.Negated && len(c.Terms) != 1 {
		r.others = append(r.others, other{*c, unknown})
		return
	}
	for _, t := range c.Terms {
		s, values, ok := valuesOf(t)
		if !ok {
			r.others = append(r.others, other{*c, true})
			return
		}
		if c.Negated {
			values = s.all().minus(values)
		}
		r.limit(s, values)
	}
}

func (r *region) limit(s space, values set) {
	for i := range r.limits {
		if r.limits[i].space == s {
			r.limits[i].values = r.limits[i].values.intersect(values)
			return
		}
	}
	r.limits = append(r.limits, limit{s, values})
}

// common are the fields on which most rules agree.
func common(f packet.Field) bool {
	switch f {
	case packet.EtherType, packet.Family, packet.LinkProto, packet.NetProto, packet.ConnState, packet.ConnDirection:
		return true
	}
	return false
}

// settle finds out whether the region is empty. What tells most regions apart
// goes first.
func (r *region) settle() {
	slices.SortStableFunc(r.limits, func(a, b limit) int {
		switch {
		case common(a.field) == common(b.field):
			return 0
		case common(a.field):
			return 1
		}
		return -1
	})
	for _, l := range r.limits {
		r.empty = r.empty || len(l.values) == 0
	}
	for _, o := range r.others {
		r.empty = r.empty || !o.unknown && !slices.ContainsFunc(o.Terms, func(t policy.Term) bool { return !r.holds(t) })
	}
}

// holds tells whether the term holds all over the region.
func (r *region) holds(t policy.Term) bool {
	s, values, ok := valuesOf(t)
	known := r.values(s)
	return ok && known != nil && known.within(values)
}

// values is the limit along a space, nil if there is none.
func (r *region) values(s space) set {
	for i := range r.limits {
		if r.limits[i].space == s {
			return r.limits[i].values
		}
	}
	return nil
}

func (r *region) meet(t *region) region {
	out := region{limits: slices.Clone(r.limits), others: slices.Concat(r.others, t.others), empty: r.empty || t.empty}
	for _, l := range t.limits {
		out.limit(l.space, l.values)
	}
	out.settle()
	return out
}

func (r *region) meets(t *region) bool {
	m := r.meet(t)
	return !m.empty
}

// within tells whether every packet of r is surely in t.
func (r *region) within(t *region) bool {
	return r.withinBut(t, nil)
}

// withinBut is within for all spaces but one.
func (r *region) withinBut(t *region, but *space) bool {
	if t.empty {
		return false
	}
	for i := range t.limits {
		l := &t.limits[i]
		if but != nil && l.space == *but {
			continue
		}
		if !r.along(l.space).within(l.values) {
			return false
		}
	}
	for i := range t.others {
		if !r.agrees(&t.others[i]) {
			return false
		}
	}
	return true
}

// anywhere stands for packets that may not have the field at all.
var anywhere = set{{hi: ones(128)}}

// along are the values that packets of r may have in a space.
func (r *region) along(s space) set {
	if known := r.values(s); known != nil {
		return known
	}
	if r.has(s.field) {
		return s.all()
	}
	return anywhere
}

// has tells whether all packets of the region have the field.
func (r *region) has(f packet.Field) bool {
	needs := f.Info().Needs
	if needs == 0 {
		return true
	}
	for _, l := range r.limits {
		if l.field.Info().Needs == needs {
			return true
		}
	}
	for _, o := range r.others {
		for _, t := range o.Terms {
			if t.Field.Info().Needs == needs {
				return true
			}
		}
	}
	return false
}

func (r *region) agrees(o *other) bool {
	for i := range r.others {
		if mine := &r.others[i]; mine.unknown == o.unknown && mine.Negated == o.Negated && slices.Equal(mine.Terms, o.Terms) {
			return true
		}
	}
	if o.unknown {
		return false
	}
	// One term that never holds is enough, if every field is there.
	differs := false
	for _, t := range o.Terms {
		if !r.has(t.Field) {
			return false
		}
		s, values, ok := valuesOf(t)
		differs = differs || ok && len(r.along(s).intersect(values)) == 0
	}
	return differs
}

var (
	typesIPv4 = values(packet.EtherTypeIPv4)
	typesIPv6 = values(packet.EtherTypeIPv6)
	typesVLAN = values(packet.EtherTypeVLAN)
	typesARP  = values(packet.EtherTypeARP, packet.EtherTypeRARP)
	typesIP   = values(packet.EtherTypeIPv4, packet.EtherTypeIPv6)
	lengths   = set{{hi: packet.U128{Lo: 0x5ff}}}
)

// etherTypes are the ethertypes of all frames that have the term's field, nil
// for any.
func etherTypes(t policy.Term) set {
	switch needs := t.Field.Info().Needs; {
	case t.Field == packet.Family && t.Lo == t.Hi && t.Lo.Lo == 4:
		return typesIPv4
	case t.Field == packet.Family && t.Lo == t.Hi && t.Lo.Lo == 6:
		return typesIPv6
	case needs&packet.HaveVLAN != 0:
		return typesVLAN
	case needs&(packet.HaveSTP|packet.HaveSTPConfig) != 0:
		return lengths
	case needs&(packet.HaveARP|packet.HaveARPSrcMAC|packet.HaveARPDstMAC|packet.HaveARPIP) != 0:
		return typesARP
	case needs != 0:
		return typesIP
	}
	return nil
}
