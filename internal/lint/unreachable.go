package lint

import (
	"fmt"
	"slices"
	"strings"

	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// unreachable reports rules of which no copy can decide, and chains that
// nothing enters.
func (l *linter) unreachable() {
	within := l.deadChains()
	copies := map[*nwfilter.Rule][]*policy.Clause{}
	for _, c := range l.policy.Clauses {
		copies[c.Rule] = append(copies[c.Rule], c)
	}
	for _, c := range l.policy.Clauses {
		list := copies[c.Rule]
		if list[0] != c || slices.ContainsFunc(list, func(c *policy.Clause) bool { return !l.dead(c) || within[c] }) {
			continue
		}
		// What stands there as written explains more than a mirrored copy.
		if i := slices.IndexFunc(list, func(c *policy.Clause) bool { return !c.Mirrored }); i >= 0 {
			c = list[i]
		}
		why := l.why(c)
		if why.contradiction {
			l.contradiction(c)
			continue
		}
		l.clause(Unreachable, Problem, c, "this rule can never match: "+why.text(), "")
	}
}

func (l *linter) dead(c *policy.Clause) bool {
	for _, w := range l.lists {
		if _, dead := w.dead[c]; dead {
			return true
		}
	}
	return false
}

func (l *linter) why(c *policy.Clause) cause {
	for _, w := range l.lists {
		if why, dead := w.dead[c]; dead {
			return why
		}
	}
	return cause{}
}

func (c cause) text() string {
	if c.chain != nil {
		return fmt.Sprintf("what it matches is in chain %s before, whose end accepts", c.chain.Name)
	}
	var places []string
	for i, by := range c.by {
		if i == 3 {
			places = append(places, fmt.Sprintf("%d more", len(c.by)-i))
			break
		}
		place := by.Origin.String()
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	if len(places) == 1 {
		return fmt.Sprintf("%s, which stands before, decides all of it (%s)", places[0], c.by[0])
	}
	return strings.Join(places, ", ") + ", which stand before, decide all of it together"
}

func (l *linter) contradiction(c *policy.Clause) {
	own := regionOf(c.Conditions, l.guest.isUnknown(c))
	if own.empty {
		l.clause(Contradiction, Problem, c, "this rule can never match: its conditions exclude each other ("+c.String()+")", "")
		return
	}
	l.clause(Contradiction, Problem, c, fmt.Sprintf("this rule can never match: no frame that it means enters chain %s, where it stands", c.Chain),
		"move it to a filter of another chain")
}

// deadChains reports chains that are entered in no list, and returns the
// clauses in them.
func (l *linter) deadChains() map[*policy.Clause]bool {
	alive := map[string]bool{}
	for _, w := range l.lists {
		for _, item := range w.list.Items {
			if item.Chain == nil {
				continue
			}
			if _, dead := w.deadChains[item.Chain]; !dead {
				alive[item.Chain.Name] = true
			}
		}
	}
	within, said := map[*policy.Clause]bool{}, map[string]bool{}
	for _, list := range l.all() {
		for _, item := range list.Items {
			chain := item.Chain
			if chain == nil || alive[chain.Name] {
				continue
			}
			why := l.lists[list].deadChains[chain]
			for _, c := range chain.Clauses {
				within[c] = true
			}
			if said[chain.Name] {
				continue
			}
			said[chain.Name] = true
			c := chain.Clauses[0]
			l.clause(UnreachableChain, Problem, c,
				fmt.Sprintf("chain %s (priority %d) is never entered: %s", chain.Name, chain.Priority, why.text()),
				"give the filter a priority below that of what stands before")
		}
	}
	return within
}
