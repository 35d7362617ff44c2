package lint

import (
	"fmt"

	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// order reports network-stage rules of filters with a chain that come after
// root rules in spite of their priority, where that decides.
func (l *linter) order() {
	for _, d := range policy.Directions {
		var root []*policy.Clause
		for c := range l.policy.Network[d].All {
			if c.Chain == nwfilter.RootChain {
				root = append(root, c)
				continue
			}
			for _, r := range root {
				if r.Priority > c.Priority && r.Action != c.Action && l.region(r, nil).meets(l.region(c, nil)) {
					l.clause(ChainedNetwork, Notice, c,
						fmt.Sprintf("this rule (priority %d) comes after %s (priority %d): network-stage rules of a filter with a chain, here %s, follow all of those in root, whatever their priorities",
							c.Priority, r.Origin, r.Priority, c.Chain),
						"give its filter the chain root")
					break
				}
			}
		}
	}
}
