package eval

import (
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

type outcome uint8

const (
	matches outcome = iota
	differs
	// undecidable: a fragment came before its first one, or the first one lacks
	// a part of its transport header, and only what is missing is left to
	// compare.
	undecidable
)

// match compares what the fragment tells before what it lacks.
func match(p *packet.Packet, c *policy.Clause) (outcome, *policy.Condition) {
	var transport *policy.Condition
	for i := range c.Conditions {
		cond := &c.Conditions[i]
		if cond.Lacks(p) {
			transport = cond
			continue
		}
		if !cond.Holds(p) {
			return differs, cond
		}
	}
	if transport != nil || c.ConnLimit != nil && p.Fragment >= packet.FragmentOrphan {
		return undecidable, transport
	}
	return matches, nil
}
