package policy

import (
	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

// noState is the bit of NONE in a state attribute.
const noState = 1 << 4

// tracking is what a clause asks of the connection.
type tracking struct {
	states    packet.State // 0: anything
	negated   bool
	direction packet.Direction // 0: anything
}

func (t tracking) conditions() []Condition {
	var conds []Condition
	if t.states != 0 {
		conds = append(conds, Condition{Attribute: "state", Negated: t.negated, Terms: []Term{anyBit(packet.ConnState, uint64(t.states))}})
	}
	if t.direction != 0 {
		conds = append(conds, must(equals(packet.ConnDirection, uint64(t.direction))))
	}
	return conds
}

// addNetwork puts the copies of a network-stage rule into the two lists.
func (b *builder) addNetwork(c *concrete) error {
	r := c.rule
	if r.Action == nwfilter.Continue {
		return c.fault(nil, "action=\"continue\" has no meaning for <%s>, which is judged at the network stage", r.Protocol.Name)
	}
	if a := c.attr("comment"); a != nil && a.Value.Variable != nil {
		return c.fault(a, "<%s> comment cannot hold the variable $%s", r.Protocol.Name, a.Value.Variable)
	}
	icmp := r.Protocol.Name == "icmp" || r.Protocol.Name == "icmpv6"
	typed := icmp && c.attr("type") != nil
	if typed && r.Direction == nwfilter.InOut {
		return nil // libvirt makes no rule of these (gap 15)
	}
	// Neighbour discovery has no answers that say the same, and no state.
	discovery := c.discovery() != nil
	var explicit packet.State
	state := c.attr("state")
	if state != nil && r.StateMatch && state.Value.Variable == nil {
		explicit = packet.State(state.Value.Number)
	}
	for _, d := range []Direction{Out, In} {
		own := r.Direction == nwfilter.InOut || r.Direction == nwfilter.Direction(d)
		mirrored := r.Direction == nwfilter.InOut && d == Out
		var t tracking
		switch {
		case explicit != 0: // mode S: one-way
			if !own {
				continue
			}
			if explicit&noState == 0 {
				t = tracking{states: explicit, negated: state.Negated}
			}
		default: // mode D: both ways
			mirrored = mirrored || !own
			if (typed || discovery) && !own {
				continue
			}
			if r.Action == nwfilter.Accept && r.Direction != nwfilter.InOut && r.StateMatch && !discovery {
				t = tracking{states: packet.StateNew | packet.StateEstablished, direction: packet.Original}
				if mirrored {
					t = tracking{states: packet.StateEstablished, direction: packet.Reply}
				}
				if typed {
					t.direction = 0
				}
			}
		}
		if err := b.addNetworkCopy(d, c, mirrored, t); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) addNetworkCopy(d Direction, c *concrete, mirrored bool, t tracking) error {
	limit := c.connLimit()
	if limit != nil {
		if mirrored {
			return nil
		}
		if c.rule.Action == nwfilter.Accept {
			t = tracking{}
		}
	}
	conds, err := c.conditions(mirrored)
	if err != nil {
		return err
	}
	if mirrored && c.attr("srcmacaddr") != nil {
		// The guest's peer has another address: the condition is lost, and
		// the copy with it if nothing else is compared.
		if conds = withoutMAC(conds); !c.compares(conds) {
			return nil
		}
	}
	clause := c.clause(append(conds, t.conditions()...), mirrored)
	clause.ConnLimit = limit
	clause.IPSet = c.ipset(mirrored)
	b.network[d] = append(b.network[d], clause)
	return nil
}

func withoutMAC(conds []Condition) []Condition {
	kept := conds[:0:0]
	for _, cond := range conds {
		if cond.Attribute != "srcmacaddr" {
			kept = append(kept, cond)
		}
	}
	return kept
}

// compares tells whether any attribute of the packet is compared, beyond what
// the protocol implies.
func (c *concrete) compares(conds []Condition) bool {
	for _, cond := range conds {
		if cond.Attribute != "" {
			return true
		}
	}
	return false
}

func (c *concrete) connLimit() *ConnLimit {
	a := c.attr("connlimit-above")
	if a == nil {
		return nil
	}
	return &ConnLimit{Above: a.Value.Number, Negated: a.Negated}
}

// ipset has src and dst exchanged in mirrored copies; flags given by a
// variable are used as they are.
func (c *concrete) ipset(mirrored bool) *IPSet {
	name, flags := c.attr("ipset"), c.attr("ipsetflags")
	if name == nil || flags == nil {
		return nil
	}
	s := &IPSet{Name: name.Value.Text, Flags: flags.Value.Text, Negated: name.Negated}
	literal := true
	for _, a := range c.rule.Attributes {
		if a.Spec.Name == "ipsetflags" {
			literal = a.Value.Variable == nil
		}
	}
	if mirrored && literal {
		s.Flags = exchangeFlags(s.Flags)
	}
	return s
}
