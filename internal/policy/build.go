package policy

import (
	"fmt"
	"strings"

	"tapgate/nwfilter"
)

// builder fills the lists of a policy from sorted rules.
type builder struct {
	policy  *Policy
	link    [2]linkTree
	network [2][]*Clause
	copies  int
}

func (b *builder) build(rules []flatRule) error {
	for _, r := range rules {
		copies, err := expand(r)
		if err != nil {
			return err
		}
		if b.copies += len(copies); b.copies > maxRules {
			return &Error{Pos: r.rule.Pos, Path: r.path, Message: fmt.Sprintf("the rules and their variables' lists multiply to more than %d rules", maxRules)}
		}
		add := b.addLink
		if r.rule.Protocol != nil && r.rule.Protocol.Stage == nwfilter.NetworkStage {
			add = b.addNetwork
		}
		for i := range copies {
			if err := add(&copies[i]); err != nil {
				return err
			}
		}
	}
	for _, d := range Directions {
		b.policy.Link[d] = b.link[d].list(d)
		l := &List{Direction: d, Stage: nwfilter.NetworkStage}
		for _, c := range b.network[d] {
			l.Items = append(l.Items, Item{Clause: c})
		}
		b.policy.Network[d] = l
	}
	return nil
}

func (c *concrete) clause(conds []Condition, mirrored bool) *Clause {
	clause := &Clause{
		Action:     c.rule.Action,
		Conditions: conds,
		Priority:   c.rule.Priority,
		Chain:      c.filter.Chain,
		Rule:       c.rule,
		Mirrored:   mirrored,
		Origin:     Origin{Filter: c.filter.Name, Pos: c.rule.Pos, Path: c.path, Values: c.values},
	}
	if a := c.attr("comment"); a != nil && a.Value.Variable == nil {
		clause.Comment = a.Value.Text
	}
	return clause
}

func exchangeFlags(flags string) string {
	items := strings.Split(flags, ",")
	for i, item := range items {
		switch strings.ToLower(item) {
		case "src":
			items[i] = "dst"
		case "dst":
			items[i] = "src"
		}
	}
	return strings.Join(items, ",")
}
