package policy

import (
	"cmp"
	"slices"
	"strings"

	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

// linkTree collects one direction's link stage.
type linkTree struct {
	root   []*Clause
	chains map[string]*Chain
}

// addLink puts the copies of a link-stage rule into their trees: as written
// for its own direction, for inout mirrored on the way out.
func (b *builder) addLink(c *concrete) error {
	if c.rule.Direction != nwfilter.In {
		mirrored := c.rule.Direction == nwfilter.InOut
		if mirrored && c.rule.Protocol != nil && c.rule.Protocol.Name == "stp" {
			if a := c.attr("srcmacaddr"); a != nil {
				return c.fault(a, "<stp> srcmacaddr cannot be used with direction=\"inout\", where it would also have to be the destination")
			}
		}
		if err := b.addLinkCopy(Out, c, mirrored); err != nil {
			return err
		}
	}
	if c.rule.Direction != nwfilter.Out {
		return b.addLinkCopy(In, c, false)
	}
	return nil
}

func (b *builder) addLinkCopy(d Direction, c *concrete, mirrored bool) error {
	conds, err := c.conditions(mirrored)
	if err != nil {
		return err
	}
	tree := &b.link[d]
	clause := c.clause(conds, mirrored)
	if c.filter.Chain == nwfilter.RootChain {
		tree.root = append(tree.root, clause)
		return nil
	}
	if tree.chains == nil {
		tree.chains = map[string]*Chain{}
	}
	chain := tree.chains[c.filter.Chain]
	if chain == nil {
		chain = &Chain{Name: c.filter.Chain, Conditions: jumpConditions(c.filter.Chain)}
		tree.chains[chain.Name] = chain
	}
	// Filters may disagree about a chain's priority: the last rule's counts.
	chain.Priority = c.filter.ChainPriority
	chain.Clauses = append(chain.Clauses, clause)
	return nil
}

// jumpConditions tell by the prefix of a chain's name which frames enter it.
func jumpConditions(chain string) []Condition {
	switch {
	case strings.HasPrefix(chain, "stp"):
		return []Condition{must(equals(packet.DstMAC, stpGroup))}
	case strings.HasPrefix(chain, "mac"):
		return nil
	}
	for _, p := range []struct {
		prefix string
		typ    uint64
	}{
		{"vlan", packet.EtherTypeVLAN}, {"arp", packet.EtherTypeARP}, {"rarp", packet.EtherTypeRARP},
		{"ipv4", packet.EtherTypeIPv4}, {"ipv6", packet.EtherTypeIPv6},
	} {
		if strings.HasPrefix(chain, p.prefix) {
			return []Condition{must(equals(packet.EtherType, p.typ))}
		}
	}
	return nil
}

// list merges the jumps into the root clauses: a jump stands before the first
// root clause whose priority is not below the chain's. Chains of equal
// priority go by name.
func (t *linkTree) list(d Direction) *List {
	l := &List{Direction: d, Stage: nwfilter.LinkStage}
	chains := make([]*Chain, 0, len(t.chains))
	for _, c := range t.chains {
		chains = append(chains, c)
	}
	slices.SortFunc(chains, func(a, b *Chain) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Name, b.Name))
	})
	for _, clause := range t.root {
		for len(chains) > 0 && chains[0].Priority <= clause.Priority {
			l.Items = append(l.Items, Item{Chain: chains[0]})
			chains = chains[1:]
		}
		l.Items = append(l.Items, Item{Clause: clause})
	}
	for _, c := range chains {
		l.Items = append(l.Items, Item{Chain: c})
	}
	return l
}
