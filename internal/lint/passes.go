package lint

import (
	"fmt"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// way is how packets get through a list: by a clause, or else by the end of a
// chain or of the list.
type way struct {
	clause *policy.Clause
	chain  *policy.Chain
}

func (w way) String() string {
	switch {
	case w.clause != nil:
		return fmt.Sprintf("the rule %s of filter %s accepts them", w.clause.Origin, w.clause.Origin.Filter)
	case w.chain != nil:
		return "the end of chain " + w.chain.Name + " accepts them"
	}
	return "no rule drops them"
}

// passage tells how some packets of the region may get through the list; ok is
// false if all of them are dropped for certain.
func (l *linter) passage(list *policy.List, r *region) (w way, ok bool) {
	drops := &stoppers{}
	for _, item := range list.Items {
		clauses := []*policy.Clause{item.Clause}
		inside := *r
		if item.Chain != nil {
			clauses = item.Chain.Clauses
			enter := regionOf(item.Chain.Conditions, nil)
			if inside = r.meet(&enter); inside.empty {
				continue
			}
		}
		stopped := false
		var returns []region
		for _, c := range clauses {
			own := l.region(c, item.Chain)
			some := inside.meet(own)
			if _, dead := l.lists[list].dead[c]; dead || some.empty || c.Action == nwfilter.Continue {
				continue
			}
			_, dropped := covered(&some, drops)
			switch {
			case !accepting(c) && ends(c):
				drops.add(stopper{region: *own, unless: returns[:len(returns):len(returns)], clause: c})
			case !accepting(c) || dropped:
			case c.Action == nwfilter.Return && item.Chain != nil:
				returns = append(returns, *own)
			default:
				return way{clause: c}, true
			}
			if ends(c) && inside.within(own) {
				stopped = true
				break
			}
		}
		switch {
		case item.Chain == nil && stopped:
			return way{}, false
		case item.Chain == nil:
		case !stopped:
			return way{chain: item.Chain}, true
		case len(returns) == 0 && r.within(&inside):
			return way{}, false
		}
	}
	return way{}, true
}

// packetsWith makes a region of values that fields must have.
func packetsWith(pairs ...any) *region {
	var conds []policy.Condition
	for i := 0; i < len(pairs); i += 2 {
		n := packet.U128{Lo: uint64(pairs[i+1].(int))}
		f := pairs[i].(packet.Field)
		conds = append(conds, policy.Condition{Terms: []policy.Term{{Field: f, Mask: ones(f.Info().Bits), Lo: n, Hi: n}}})
	}
	r := regionOf(conds, nil)
	return &r
}

// closing is the clause of a network list that drops whatever is left of an IP
// family, nil if there is none.
func (l *linter) closing(list *policy.List, family nwfilter.Family) *policy.Clause {
	all := packetsWith(packet.Family, int(family))
	for _, item := range list.Items {
		c := item.Clause
		if c == nil || c.Action != nwfilter.Drop && c.Action != nwfilter.Reject || !ends(c) {
			continue
		}
		if all.within(l.region(c, nil)) {
			return c
		}
	}
	return nil
}

// has tells whether a network list has a clause for an IP family that keep
// accepts.
func (l *linter) has(list *policy.List, family nwfilter.Family, keep func(*policy.Clause) bool) bool {
	for c := range list.All {
		if c.Rule.Protocol.Family == family && keep(c) {
			return true
		}
	}
	return false
}

func accepting(c *policy.Clause) bool {
	return c.Action == nwfilter.Accept || c.Action == nwfilter.Return
}

func anything(*policy.Clause) bool { return true }
