package compat

import (
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
)

// reading is one way to read a policy and a packet: libvirt's in one respect,
// Tapgate's in all others. The zero reading is Tapgate's.
type reading struct {
	// clause gives a clause's conditions; nil: as they are.
	clause func(*policy.Clause) []policy.Condition
	// packet changes what the conditions of a stage see.
	packet func(*packet.Packet, nwfilter.Stage)
	// beyond decides the conditions on sets and connection counts; actual is
	// what they came to.
	beyond func(c *policy.Clause, actual bool) bool
	// uncounted drops what reaches a count of connections.
	uncounted bool
	// reversed reverses the order of chains with equal priority.
	reversed bool
}

// withState is the reading for which the packet has another state.
func (r reading) withState(s packet.State, d packet.Direction) reading {
	inner := r.packet
	r.packet = func(p *packet.Packet, stage nwfilter.Stage) {
		if inner != nil {
			inner(p, stage)
		}
		p.State, p.Direction = s, d
	}
	return r
}

// walker decides one packet by the lists alone, with the state that the
// packet was given.
type walker struct {
	reading
	packet packet.Packet
	actual map[*policy.Clause]bool // clauses that matched
	inSet  func(*policy.IPSet, *packet.Packet) bool
}

// passes tells whether both stages let the packet pass under a reading.
func (h *History) passes(o *Observation, r reading) bool {
	w := walker{reading: r, packet: o.Packet, actual: map[*policy.Clause]bool{}, inSet: h.inSet}
	for _, c := range o.Matched {
		w.actual[c] = true
	}
	d := policy.In
	if o.Packet.Out {
		d = policy.Out
	}
	for _, l := range []*policy.List{h.policy.Link[d], h.policy.Network[d]} {
		judged := l.Stage == nwfilter.LinkStage || o.Packet.Family != 0 && o.Packet.Fragment != packet.FragmentLater
		w.packet = o.Packet
		if r.packet != nil {
			r.packet(&w.packet, l.Stage)
		}
		if judged && w.root(l) == dropped {
			return false
		}
	}
	return true
}

type fate uint8

const (
	undecided fate = iota
	passed
	dropped
	returned
)

func (w *walker) root(l *policy.List) fate {
	for _, item := range w.ordered(l.Items) {
		fate := undecided
		switch {
		case item.Clause != nil:
			fate = w.clause(item.Clause)
		case w.enters(item.Chain):
			fate = w.chain(item.Chain)
			if fate == returned {
				continue
			}
		default:
			continue
		}
		switch fate {
		case dropped:
			return dropped
		case passed, returned:
			return passed
		}
	}
	return passed
}

// chain decides by a chain whose end accepts.
func (w *walker) chain(c *policy.Chain) fate {
	for _, clause := range c.Clauses {
		if fate := w.clause(clause); fate != undecided {
			return fate
		}
	}
	return passed
}

func (w *walker) enters(c *policy.Chain) bool {
	for i := range c.Conditions {
		if !c.Conditions[i].Holds(&w.packet) {
			return false
		}
	}
	return true
}

func (w *walker) clause(c *policy.Clause) fate {
	conditions := c.Conditions
	if w.reading.clause != nil {
		conditions = w.reading.clause(c)
	}
	lacking := false
	for i := range conditions {
		if conditions[i].Lacks(&w.packet) {
			lacking = true
			continue
		}
		if !conditions[i].Holds(&w.packet) {
			return undecided
		}
	}
	if c.ConnLimit != nil && w.uncounted {
		return dropped
	}
	if c.ConnLimit != nil || c.IPSet != nil {
		holds := w.actual[c]
		if c.IPSet != nil && c.ConnLimit == nil && w.inSet != nil {
			holds = w.inSet(c.IPSet, &w.packet)
		}
		if w.beyond != nil {
			holds = w.beyond(c, holds)
		}
		if !holds {
			return undecided
		}
	}
	switch {
	case lacking:
		return dropped
	case c.Action == nwfilter.Accept:
		return passed
	case c.Action == nwfilter.Return:
		return returned
	case c.Action == nwfilter.Continue:
		return undecided
	}
	return dropped
}

// ordered are the items of a list with chains of equal priority in the order
// of the reading.
func (w *walker) ordered(items []policy.Item) []policy.Item {
	if !w.reversed {
		return items
	}
	items = append([]policy.Item(nil), items...)
	for start := 0; start < len(items); {
		end := start + 1
		for items[start].Chain != nil && end < len(items) && items[end].Chain != nil &&
			items[end].Chain.Priority == items[start].Chain.Priority {
			end++
		}
		for i, k := start, end-1; i < k; i, k = i+1, k-1 {
			items[i], items[k] = items[k], items[i]
		}
		start = end
	}
	return items
}
