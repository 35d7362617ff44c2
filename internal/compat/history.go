package compat

import (
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
)

// Observation is one packet of a sequence and what Tapgate made of it.
type Observation struct {
	// Packet is decoded, with the state that it was given.
	Packet  packet.Packet
	Verdict verdict.Verdict
	Reason  verdict.Reason
	// Clause decided, if any did; Matched are all that matched.
	Clause  *policy.Clause
	Matched []*policy.Clause
}

// History is a sequence of packets so far. Its last packet is the one in
// question.
type History struct {
	policy  *policy.Policy
	inSet   func(*policy.IPSet, *packet.Packet) bool
	packets []Observation
}

// NewHistory is the sequence without packets.
func NewHistory(p *policy.Policy) *History { return &History{policy: p} }

// UseSets tells how conditions on sets are decided. Without it they hold for
// the clauses that matched.
func (h *History) UseSets(inSet func(*policy.IPSet, *packet.Packet) bool) { h.inSet = inSet }

// Add appends the next packet.
func (h *History) Add(o Observation) { h.packets = append(h.packets, o) }

// Explain names the difference because of which the last packet's verdict may
// be another than libvirt's; "" if there is none.
func (h *History) Explain() string {
	for i := range differences {
		if may := differences[i].may; may != nil && may(h) {
			return differences[i].ID
		}
	}
	return ""
}

func (h *History) last() *Observation { return &h.packets[len(h.packets)-1] }

func (h *History) earlier() []Observation { return h.packets[:len(h.packets)-1] }

// follows tells whether the last packet's verdict may follow from an earlier
// packet of its connection for which cause holds: only where states count, and
// where the reading lets another state of this packet mean another verdict.
func (h *History) follows(cause func(*Observation) bool, r reading) bool {
	if !h.policy.Facts.States {
		return false
	}
	last := h.last()
	for i := range h.earlier() {
		if o := &h.packets[i]; cause(o) && h.connected(&o.Packet, &last.Packet) {
			return h.stateMatters(last, r)
		}
	}
	return false
}

// stateMatters tells whether the packet would meet another fate under the
// reading if it had another state or direction.
func (h *History) stateMatters(o *Observation, r reading) bool {
	ours := h.passes(o, reading{})
	for state := packet.StateNew; state <= packet.StateInvalid; state <<= 1 {
		for _, direction := range []packet.Direction{0, packet.Original, packet.Reply} {
			if h.passes(o, r.withState(state, direction)) != ours {
				return true
			}
		}
	}
	return false
}
