package lint

import (
	"fmt"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

func familyName(f nwfilter.Family) string { return fmt.Sprintf("IPv%d", f) }

func verb(directions ...policy.Direction) string {
	switch {
	case len(directions) > 1:
		return "the guest sends or receives"
	case directions[0] == policy.Out:
		return "the guest sends"
	}
	return "the guest receives"
}

// bypasses reports what gets around rules that drop all the rest of an IP
// family: tagged frames, which the network stage does not judge, and the other
// family.
func (l *linter) bypasses() {
	for _, family := range []nwfilter.Family{nwfilter.FamilyIPv4, nwfilter.FamilyIPv6} {
		l.bypass(family, packet.EtherTypeVLAN, func(*policy.List) bool { return true }, func(c *policy.Clause, who string, w way) {
			l.clause(VLANBypass, Problem, c,
				fmt.Sprintf("frames with a VLAN tag that %s get around this rule: the network stage does not look into tags, and at the link stage %s", who, w),
				"drop them with <vlan/> in a link-stage rule, or reference clean-traffic or no-other-l2-traffic")
		})
		other, typ, end := nwfilter.FamilyIPv6, packet.EtherTypeIPv6, "<all-ipv6/>"
		if family == nwfilter.FamilyIPv6 {
			other, typ, end = nwfilter.FamilyIPv4, packet.EtherTypeIPv4, "<all/>"
		}
		without := func(list *policy.List) bool { return !l.has(list, other, anything) }
		l.bypass(family, typ, without, func(c *policy.Clause, who string, w way) {
			l.clause(OtherFamily, Problem, c,
				fmt.Sprintf("this rule drops the rest of %s, but all %s that %s passes: there are no rules for it, and at the link stage %s", familyName(family), familyName(other), who, w),
				"add a rule with "+end)
		})
	}
}

// bypass calls report for each rule that closes a family where frames of the
// ethertype get around it.
func (l *linter) bypass(family nwfilter.Family, typ int, applies func(*policy.List) bool, report func(*policy.Clause, string, way)) {
	directions := map[*nwfilter.Rule][]policy.Direction{}
	ways := map[*nwfilter.Rule]way{}
	var closings []*policy.Clause
	for _, d := range policy.Directions {
		closing := l.closing(l.policy.Network[d], family)
		if closing == nil || !applies(l.policy.Network[d]) {
			continue
		}
		w, open := l.passage(l.policy.Link[d], packetsWith(packet.EtherType, typ))
		if !open {
			continue
		}
		if directions[closing.Rule] == nil {
			closings = append(closings, closing)
			ways[closing.Rule] = w
		}
		directions[closing.Rule] = append(directions[closing.Rule], d)
	}
	for _, c := range closings {
		report(c, verb(directions[c.Rule]...), ways[c.Rule])
	}
}

// ends reports where lists and chains end without a decision.
func (l *linter) ends() {
	for _, d := range policy.Directions {
		for _, family := range []nwfilter.Family{nwfilter.FamilyIPv4, nwfilter.FamilyIPv6} {
			l.networkEnd(l.policy.Network[d], family)
		}
		l.linkEnd(l.policy.Link[d])
		for _, item := range l.policy.Link[d].Items {
			if item.Chain != nil {
				l.chainEnd(l.policy.Link[d], item.Chain)
			}
		}
	}
}

// networkEnd looks for accepts that nothing is held against.
func (l *linter) networkEnd(list *policy.List, family nwfilter.Family) {
	var last *policy.Clause
	drops, after := false, false
	for c := range list.All {
		if c.Rule.Protocol.Family != family || c.Mirrored {
			continue
		}
		switch {
		case c.Action == nwfilter.Accept:
			last, after = c, false
		case !accepting(c):
			drops, after = true, true
		}
	}
	if last == nil || after || l.closing(list, family) != nil {
		return
	}
	severity := Problem
	if drops {
		severity = Notice
	}
	end := map[nwfilter.Family]string{nwfilter.FamilyIPv4: "<all/>", nwfilter.FamilyIPv6: "<all-ipv6/>"}[family]
	l.clause(DefaultAccept, severity, last,
		fmt.Sprintf("no rule drops %s after this one, and what no rule matches is accepted: this rule accepts what would pass anyway", familyName(family)),
		"end with <rule action='drop' direction='inout'>"+end+"</rule>")
}

func (l *linter) linkEnd(list *policy.List) {
	var last *policy.Clause
	for _, item := range list.Items {
		switch c := item.Clause; {
		case c == nil: // a chain for the same frames may drop them
			last = nil
		case c.Action == nwfilter.Accept:
			last = c
		case !accepting(c):
			last = nil
		}
	}
	if last != nil {
		l.clause(DefaultAccept, Notice, last,
			fmt.Sprintf("nothing is dropped after this rule, and what no rule matches is accepted: as long as nothing else follows, all other frames that %s pass as well", verb(list.Direction)),
			"no-other-l2-traffic drops the rest")
	}
}

// chainEnd reports a chain whose end can be reached.
func (l *linter) chainEnd(list *policy.List, chain *policy.Chain) {
	w := l.lists[list]
	if _, dead := w.deadChains[chain]; dead || w.closed[chain] {
		return
	}
	last := chain.Clauses[len(chain.Clauses)-1]
	message := fmt.Sprintf("what chain %s does not decide of all that %s is accepted at its end", chain.Name, verb(list.Direction))
	if skipped := l.skipped(list, chain); skipped != nil {
		message += fmt.Sprintf(", so that %s (%s) and what else comes later in root never sees it", skipped.Origin, skipped)
	} else {
		message += "; rules of root that come later never see it"
	}
	l.clause(ChainEnd, Notice, last, message, "end the chain with a rule that returns or drops")
}

// skipped is the first rule behind the chain that would drop some of it.
func (l *linter) skipped(list *policy.List, chain *policy.Chain) *policy.Clause {
	enter := regionOf(chain.Conditions, nil)
	behind := false
	for _, item := range list.Items {
		behind = behind || item.Chain == chain
		if c := item.Clause; behind && c != nil && !accepting(c) && enter.meets(l.region(c, nil)) {
			return c
		}
	}
	return nil
}
