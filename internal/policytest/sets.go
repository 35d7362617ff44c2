package policytest

import (
	"fmt"

	"tapgate/internal/ipset"
	"tapgate/internal/policy"
)

var families = map[string]uint8{"": 4, "inet": 4, "inet6": 6}

// sets makes the sets of the test's environment, which must have all that the
// policy names.
func (t *Test) sets(p *policy.Policy) (ipset.Sets, error) {
	sets := ipset.Sets{}
	if t.Environment != nil {
		for _, described := range t.Environment.IPSets {
			family, ok := families[described.Family]
			if !ok {
				return nil, fmt.Errorf("the set %q is of family %q; expected inet or inet6", described.Name, described.Family)
			}
			set, err := ipset.New(described.Name, described.Type, family)
			if err != nil {
				return nil, err
			}
			for _, member := range described.Members {
				if err := set.Add(member); err != nil {
					return nil, err
				}
			}
			sets[set.Name] = set
		}
	}
	for _, name := range p.SetNames() {
		if sets[name] == nil {
			return nil, fmt.Errorf("the filters name the set %q, which the environment does not have", name)
		}
	}
	return sets, nil
}
