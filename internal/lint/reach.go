package lint

import (
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// reach is what can be reached in one list.
type reach struct {
	list *policy.List
	// dead are clauses that can never decide, deadChains chains that nothing
	// can enter, with the reason.
	dead       map[*policy.Clause]cause
	deadChains map[*policy.Chain]cause
	// closed are chains whose end cannot be reached.
	closed map[*policy.Chain]bool
}

// cause tells why something cannot be reached: by contradicts itself, or
// what stands before decides everything.
type cause struct {
	contradiction bool
	// by decide together, in order.
	by []*policy.Clause
	// chain is one whose end accepts what came so far.
	chain *policy.Chain
}

// region of a clause includes the condition of its chain.
func (l *linter) region(c *policy.Clause, chain *policy.Chain) *region {
	if r := l.regions[c]; r != nil {
		return r
	}
	r := regionOf(c.Conditions, l.guest.isUnknown(c))
	if chain != nil {
		enter := regionOf(chain.Conditions, nil)
		r = r.meet(&enter)
	}
	l.regions[c] = &r
	return &r
}

// ends tells whether a match of the clause surely ends its list or chain.
func ends(c *policy.Clause) bool {
	return c.Action != nwfilter.Continue && c.ConnLimit == nil && c.IPSet == nil
}

func (l *linter) walk(list *policy.List) *reach {
	w := &reach{list, map[*policy.Clause]cause{}, map[*policy.Chain]cause{}, map[*policy.Chain]bool{}}
	before := &stoppers{}
	for _, item := range list.Items {
		if c := item.Clause; c != nil {
			r := l.region(c, nil)
			if why, dead := covered(r, before); dead {
				w.dead[c] = why
			} else if ends(c) {
				before.add(stopper{region: *r, clause: c})
			}
			continue
		}
		l.walkChain(w, item.Chain, before)
	}
	return w
}

// walkChain adds what the chain decides to what stops packets before it.
func (l *linter) walkChain(w *reach, chain *policy.Chain, before *stoppers) {
	enter := regionOf(chain.Conditions, nil)
	if why, dead := covered(&enter, before); dead {
		w.deadChains[chain] = why
		for _, c := range chain.Clauses {
			w.dead[c] = why
		}
		return
	}
	inside := &stoppers{}
	var returns []region
	var decided []stopper
	for _, c := range chain.Clauses {
		r := l.region(c, chain)
		if why, dead := covered(r, before, inside); dead {
			w.dead[c] = why
			continue
		}
		if ends(c) {
			inside.add(stopper{region: *r, clause: c})
		}
		switch {
		case c.Action == nwfilter.Return:
			returns = append(returns, *r)
		case ends(c):
			decided = append(decided, stopper{region: *r, unless: returns[:len(returns):len(returns)], clause: c})
		}
	}
	_, w.closed[chain] = covered(&enter, before, inside)
	for _, s := range decided {
		before.add(s)
	}
	before.add(stopper{region: enter, unless: returns, chain: chain})
}

// covered tells whether nothing of the region gets past what stands before:
// one stopper takes all of it, or several that differ along one space do.
func covered(r *region, before ...*stoppers) (cause, bool) {
	if r.empty {
		return cause{contradiction: true}, true
	}
	var near []*stopper
	for _, list := range before {
		near = list.near(r, near)
	}
	for _, s := range near {
		if r.within(&s.region) && s.stops(r) {
			return causeOf(s), true
		}
	}
	return coveredTogether(r, near)
}

func causeOf(s *stopper) cause {
	if s.clause == nil {
		return cause{chain: s.chain}
	}
	return cause{by: []*policy.Clause{s.clause}}
}

func coveredTogether(r *region, before []*stopper) (cause, bool) {
	left := map[space]set{}
	by := map[space][]*policy.Clause{}
	for _, s := range before {
		if s.clause == nil {
			continue
		}
		at := s.region.only(r)
		if at == nil || !s.stops(r) {
			continue
		}
		rest, begun := left[*at]
		if !begun {
			rest = r.along(*at)
		}
		now := rest.minus(s.region.values(*at))
		if len(by[*at]) > 0 || !sameSet(now, rest) {
			by[*at] = append(by[*at], s.clause)
		}
		if left[*at] = now; len(now) == 0 {
			return cause{by: by[*at]}, true
		}
	}
	return cause{}, false
}

func sameSet(a, b set) bool { return a.within(b) && b.within(a) }

// only is the one space along which r reaches beyond s, nil if there is none
// or are several.
func (s *region) only(r *region) *space {
	var at *space
	for i := range s.limits {
		l := &s.limits[i]
		if r.along(l.space).within(l.values) {
			continue
		}
		if at != nil || len(r.along(l.space).intersect(l.values)) == 0 {
			return nil
		}
		at = &l.space
	}
	if at == nil || !r.withinBut(s, at) {
		return nil
	}
	return at
}
