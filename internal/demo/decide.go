package demo

import (
	"cmp"
	"slices"

	"tapgate/internal/policy"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

// grown is a clause whose counter has grown between two readings.
type grown struct {
	clause  *policy.Clause
	packets uint64
	// own is set for the direction of the attempt.
	own     bool
	network bool
}

// growth gives the clauses that have counted at least so many packets more in
// the second reading. Both are of one policy.
func growth(before, after reading, own policy.Direction, least uint64) []grown {
	var list []grown
	for _, d := range policy.Directions {
		for _, stage := range []nwfilter.Stage{nwfilter.LinkStage, nwfilter.NetworkStage} {
			for c := range after.policy.List(d, stage).All {
				n := after.stats.Clauses[c.ID].Packets - before.stats.Clauses[c.ID].Packets
				if n >= max(least, 1) {
					list = append(list, grown{c, n, d == own, stage == nwfilter.NetworkStage})
				}
			}
		}
	}
	return list
}

// decidedBy tells from the counters which rules decided the packets of an
// attempt. least is the number of equal packets that the attempt sends: a rule
// that counted fewer did not decide them.
func decidedBy(before, after reading, own policy.Direction, did Outcome, least uint64) []Decider {
	if before.policy == nil || before.policy != after.policy {
		return nil
	}
	list := growth(before, after, own, least)
	if did == Blocked {
		return dropped(before, after, list)
	}
	return accepted(list)
}

// dropped gives the rule that dropped the attempt: that in its direction rather
// than another, that of the network stage rather than of the link stage, that
// which dropped most. The others dropped what a kernel sent of its own accord:
// by IPv6, which is dropped at the link stage.
func dropped(before, after reading, list []grown) []Decider {
	list = slices.DeleteFunc(list, func(g grown) bool { return !drops(g.clause) })
	if len(list) == 0 {
		return droppedWithoutRule(before, after)
	}
	top := slices.MaxFunc(list, func(a, b grown) int {
		return cmp.Or(compareBools(a.own, b.own), compareBools(a.network, b.network), cmp.Compare(a.packets, b.packets))
	})
	return deciders([]grown{top})
}

func drops(c *policy.Clause) bool {
	return c.Action == nwfilter.Drop || c.Action == nwfilter.Reject
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func droppedWithoutRule(before, after reading) []Decider {
	var list []Decider
	for reason := verdict.Default; reason < verdict.NumReasons; reason++ {
		n := after.stats.In.Reasons[reason] - before.stats.In.Reasons[reason] +
			after.stats.Out.Reasons[reason] - before.stats.Out.Reasons[reason]
		if n > 0 {
			list = append(list, Decider{Reason: reason.String(), Packets: n})
		}
	}
	return list
}

// accepted gives the rules of the network stage by which the exchange passed
// in both directions. Where that stage has none, it is those of the link stage
// in the attempt's own.
func accepted(list []grown) []Decider {
	list = slices.DeleteFunc(list, func(g grown) bool { return g.clause.Action != nwfilter.Accept })
	atNetwork := slices.DeleteFunc(slices.Clone(list), func(g grown) bool { return !g.network })
	if len(atNetwork) > 0 {
		return deciders(atNetwork)
	}
	list = slices.DeleteFunc(list, func(g grown) bool { return !g.own })
	if len(list) > 0 {
		return deciders(list)
	}
	return []Decider{{Reason: verdict.Default.String()}}
}

// deciders puts the clauses of one rule together, and rules in the order in
// which they are written.
func deciders(list []grown) []Decider {
	var out []Decider
	for _, g := range list {
		d := Decider{File: g.clause.Origin.Pos.File, Line: g.clause.Origin.Pos.Line, Action: g.clause.Action.String()}
		i := slices.IndexFunc(out, func(o Decider) bool { return o.File == d.File && o.Line == d.Line })
		if i < 0 {
			i = len(out)
			out = append(out, d)
		}
		out[i].Packets += g.packets
	}
	slices.SortFunc(out, func(a, b Decider) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	return out
}
