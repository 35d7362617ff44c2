package eval

import (
	"tapgate/internal/ipset"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// UseSets gives the sets that the policy's conditions look in. One that is not
// there has no members.
func (e *Evaluator) UseSets(sets ipset.Sets) {
	e.sets = sets
	e.lookups = map[*policy.IPSet]*ipset.Lookup{}
	for _, c := range e.policy.Clauses {
		if c.IPSet == nil || sets[c.IPSet.Name] == nil {
			continue
		}
		if l, ok := sets[c.IPSet.Name].Lookup(c.IPSet.Flags); ok {
			e.lookups[c.IPSet] = &l
		}
	}
}

// InSet tells whether the condition holds for a packet.
func (e *Evaluator) InSet(s *policy.IPSet, p *packet.Packet) bool {
	in := false
	if l := e.lookups[s]; l != nil {
		key, complete := l.Key(p)
		in = complete && e.sets[s.Name].Contains(key)
	}
	return in != s.Negated
}

// setOutcome compares the packet with a clause's set.
func (e *Evaluator) setOutcome(s *policy.IPSet, p *packet.Packet) outcome {
	if l := e.lookups[s]; l != nil && l.Lacks(p) {
		return undecidable
	}
	if !e.InSet(s, p) {
		return differs
	}
	return matches
}
