package lint

import (
	"slices"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// stopper decides all packets of its region, unless they are in one of the
// others: those handed back by a chain before.
type stopper struct {
	region region
	unless []region
	clause *policy.Clause
	chain  *policy.Chain
}

func (s *stopper) stops(r *region) bool {
	for i := range s.unless {
		if s.unless[i].meets(r) {
			return false
		}
	}
	return true
}

// stoppers are a list of them in order, with an index for those that differ in
// one value, as the copies of a rule for a long list do.
type stoppers struct {
	list []stopper
	// wide are the places of those without a single value, points of the
	// others by space and value.
	wide   []int
	points map[space]map[packet.U128][]int
}

func (b *stoppers) add(s stopper) {
	at := len(b.list)
	b.list = append(b.list, s)
	i := slices.IndexFunc(s.region.limits, func(l limit) bool { return !common(l.field) && l.values.single() })
	if i < 0 {
		b.wide = append(b.wide, at)
		return
	}
	l := &s.region.limits[i]
	if b.points == nil {
		b.points = map[space]map[packet.U128][]int{}
	}
	if b.points[l.space] == nil {
		b.points[l.space] = map[packet.U128][]int{}
	}
	value := l.values[0].lo
	b.points[l.space][value] = append(b.points[l.space][value], at)
}

// near appends those that may have anything in common with the region.
func (b *stoppers) near(r *region, out []*stopper) []*stopper {
	places := slices.Clone(b.wide)
	for s, byValue := range b.points {
		if values := r.values(s); values.single() {
			places = append(places, byValue[values[0].lo]...)
			continue
		}
		for _, list := range byValue {
			places = append(places, list...)
		}
	}
	slices.Sort(places)
	for _, at := range places {
		out = append(out, &b.list[at])
	}
	return out
}

func (s set) single() bool { return len(s) == 1 && s[0].lo == s[0].hi }
