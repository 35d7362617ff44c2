package lint

import (
	"fmt"
	"slices"

	"tapgate/nwfilter"
)

// rules reports what single rules do that one would not expect.
func (l *linter) rules() {
	var before *nwfilter.Filter
	for i := range l.tree.rules {
		r := &l.tree.rules[i]
		if r.filter != before {
			l.stpPriority(r)
			before = r.filter
		}
		if r.Protocol == nil {
			continue
		}
		l.gratuitous(r)
		l.arpHardware(r)
		l.negatedLists(r)
		if r.Protocol.Stage == nwfilter.NetworkStage {
			l.mirrored(r)
		}
	}
}

func (r *treeRule) attribute(name string) *nwfilter.Attribute {
	i := slices.IndexFunc(r.Attributes, func(a nwfilter.Attribute) bool { return a.Spec.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Attributes[i]
}

func (l *linter) stpPriority(r *treeRule) {
	if f := r.filter; nwfilter.ChainPrefix(f.Chain) == "stp" && f.ChainPriority == 0 {
		l.rule(STPPriority, Notice, r, f.Pos,
			fmt.Sprintf("chain %s has priority 0, as chains of stp have if they give none: it comes after all other chains, and after root rules with priorities below 0", f.Chain),
			"give the filter a priority")
	}
}

func (l *linter) gratuitous(r *treeRule) {
	if a := r.attribute("gratuitous"); a != nil && a.Value.Variable == nil && a.Value.Number == 0 {
		l.rule(GratuitousFalse, Problem, r, a.Pos, "gratuitous='false' is no condition: this rule matches gratuitous ARP as well",
			"to mean all other ARP, write <"+r.Protocol.Name+" match='no' gratuitous='true'/>")
	}
}

// arpHardware reports drops that other hardware types than Ethernet's escape.
func (l *linter) arpHardware(r *treeRule) {
	if r.Action != nwfilter.Drop && r.Action != nwfilter.Reject || r.attribute("hwtype") != nil {
		return
	}
	for _, name := range []string{"arpsrcmacaddr", "arpdstmacaddr"} {
		if a := r.attribute(name); a != nil {
			l.rule(ARPHardware, Notice, r, a.Pos,
				fmt.Sprintf("%s is compared only in messages of hardware type 1: this rule does not drop others, whatever addresses they hold", name),
				"return or accept what is good, and drop all the rest, as no-arp-mac-spoofing does")
			return
		}
	}
}

// negatedLists reports a negated variable: all values but the first, and all
// but the second, together are all.
func (l *linter) negatedLists(r *treeRule) {
	for _, a := range r.Attributes {
		v := a.Value.Variable
		if !a.Negated || v == nil || a.Spec.NoVariable || v.Index >= 0 || a.Spec.SignOf != "" {
			continue
		}
		count := l.guest.count(v.Name)
		known := !l.guest.unknown[v.Name]
		if count < 2 && (known || v.Name == macVariable) {
			continue
		}
		severity, condition := Problem, fmt.Sprintf("with the %d values of $%s", count, v.Name)
		if !known {
			severity, condition = Notice, fmt.Sprintf("if $%s has several values", v.Name)
		}
		l.rule(NegatedList, severity, r, a.Pos,
			fmt.Sprintf("%s, this is one rule for each, and together they %s everything: what is not one value may be another", condition, r.Action),
			fmt.Sprintf("give the values to a rule without match='no' that comes before, and %s the rest", r.Action))
	}
}

// mirrored reports network-stage rules that do not keep to their direction.
func (l *linter) mirrored(r *treeRule) {
	state := r.attribute("state")
	explicit := state != nil && state.Value.Variable == nil && state.Value.Number != 0
	if explicit && !r.StateMatch {
		l.rule(StateIgnored, Problem, r, state.Pos, fmt.Sprintf("statematch='false' discards state=%q: this rule matches whatever the state", state.Value.Text),
			"leave one of the two out")
	}
	oneWay := explicit && r.StateMatch
	if a := r.discovery(); a != nil && oneWay && state.Value.Text != "NONE" {
		l.rule(NDUntracked, Problem, r, state.Pos, fmt.Sprintf("neighbour discovery has no state, so that %s is compared in no packet with state=%q", a.Spec.Name, state.Value.Text),
			"leave the state out")
	}
	icmp := r.Protocol.Name == "icmp" || r.Protocol.Name == "icmpv6"
	if icmp && r.attribute("type") != nil {
		if r.Direction == nwfilter.InOut {
			l.rule(NoRule, Problem, r, r.Pos, "an ICMP type with direction='inout' makes no rule at all",
				"write one rule with direction='in' and one with direction='out'")
		}
		return
	}
	if oneWay || r.Direction == nwfilter.InOut || r.discovery() != nil || r.attribute("connlimit-above") != nil || r.onlyMAC() {
		return
	}
	mirror := "with source and destination exchanged"
	if len(r.Attributes) == 0 {
		mirror = "all of it"
	}
	switch {
	case r.Action == nwfilter.Accept && !r.StateMatch:
		l.rule(BothWays, Notice, r, r.Pos, fmt.Sprintf("without states this rule accepts in both directions, %s: direction=%q says only which end is meant", mirror, r.Direction),
			"with statematch='true' only answers get through the other way")
	case r.Action != nwfilter.Accept:
		l.rule(BothWays, Notice, r, r.Pos, fmt.Sprintf("this %s works in both directions, in the other %s: direction=%q says only which end is meant", r.Action, mirror, r.Direction),
			"an explicit state makes it one-way, such as state='NEW'")
	}
}

// discovery is an attribute that compares what neighbour discovery says.
func (r *treeRule) discovery() *nwfilter.Attribute {
	if a := r.attribute("ndtargetipaddr"); a != nil {
		return a
	}
	return r.attribute("ndmacaddr")
}

// onlyMAC tells whether the source MAC is all that is compared, so that there
// is no mirrored copy.
func (r *treeRule) onlyMAC() bool {
	if r.attribute("srcmacaddr") == nil {
		return false
	}
	return !slices.ContainsFunc(r.Attributes, func(a nwfilter.Attribute) bool {
		return !slices.Contains([]string{"srcmacaddr", "comment", "state", "ipset", "ipsetflags"}, a.Spec.Name)
	})
}
