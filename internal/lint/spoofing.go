package lint

import (
	"fmt"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// senderFields say who sent a frame, or whom it speaks for.
var senderFields = map[packet.Field]bool{
	packet.SrcMAC: true, packet.SrcIP: true, packet.ARPSrcMAC: true, packet.ARPSrcIP: true,
	packet.NDMAC: true, packet.NDTarget: true,
}

func comparesSender(c *policy.Clause) bool {
	for _, cond := range c.Conditions {
		for _, t := range cond.Terms {
			if senderFields[t.Field] {
				return true
			}
		}
	}
	return false
}

// guards tells whether a chain checks senders: it hands back the good ones
// and drops, or drops the bad ones.
func guards(chain *policy.Chain) bool {
	handsBack, drops := false, false
	for _, c := range chain.Clauses {
		switch {
		case c.Action == nwfilter.Return && comparesSender(c):
			handsBack = true
		case c.Action == nwfilter.Drop || c.Action == nwfilter.Reject:
			drops = drops || handsBack || dropsBadSenders(c)
		}
	}
	return drops
}

// dropsBadSenders is a drop of every sender but one.
func dropsBadSenders(c *policy.Clause) bool {
	if c.Action != nwfilter.Drop && c.Action != nwfilter.Reject {
		return false
	}
	for _, cond := range c.Conditions {
		if cond.Negated && senderFields[cond.Terms[0].Field] {
			return true
		}
	}
	return false
}

// spoofing reports what accepts frames of the guest before a check of their
// sender that they would have met.
func (l *linter) spoofing() {
	list := l.policy.Link[policy.Out]
	for i, item := range list.Items {
		var check region
		var first *policy.Clause
		switch {
		case item.Chain != nil && guards(item.Chain):
			check, first = regionOf(item.Chain.Conditions, nil), item.Chain.Clauses[0]
		case item.Clause != nil && dropsBadSenders(item.Clause):
			check, first = *l.region(item.Clause, nil), item.Clause
		default:
			continue
		}
		for _, before := range list.Items[:i] {
			l.acceptsBefore(before, &check, first)
		}
	}
}

func (l *linter) acceptsBefore(item policy.Item, check *region, first *policy.Clause) {
	clauses := []*policy.Clause{item.Clause}
	if item.Chain != nil {
		clauses = item.Chain.Clauses
	}
	for _, c := range clauses {
		handsOn := item.Chain != nil && c.Action == nwfilter.Return
		if !accepting(c) || handsOn || comparesSender(c) || l.dead(c) || !l.region(c, item.Chain).meets(check) {
			continue
		}
		l.clause(BeforeSpoofing, Problem, c,
			fmt.Sprintf("this rule accepts frames before filter %s (%s) has checked their sender", first.Origin.Filter, first.Origin),
			"give it a higher priority than the check, or compare the sender here, too")
	}
}
