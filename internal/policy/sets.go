package policy

import "slices"

// SetNames are the kernel sets that the policy looks in, sorted.
func (p *Policy) SetNames() []string {
	var names []string
	for _, c := range p.Clauses {
		if c.IPSet != nil {
			names = append(names, c.IPSet.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// String is the condition as a person reads it.
func (s *IPSet) String() string {
	text := "ipset=" + s.Name + "(" + s.Flags + ")"
	if s.Negated {
		return "not " + text
	}
	return text
}
