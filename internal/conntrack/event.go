package conntrack

import "tapgate/internal/packet"

// eventOp is what an event does to its connection's announcements. Mirrored by
// event.h.
type eventOp uint8

const (
	opExpect     eventOp = iota // announce a port
	opInvite                    // a call begins: what was told of media before is over
	opBye                       // a call is over
	opFailed                    // so it is if this was about the latest invitation
	opRegister                  // announce where calls are taken, once the registrar agrees
	opRegistered                // it does, for a lifetime
	opRefused                   // it does not, or not any more
)

// apply lets an event take effect.
func (s *Streams) apply(p *packet.Packet, c *Connection, st *stream, a *Automaton, e event) {
	switch e.op {
	case opExpect:
		k := &a.kinds[e.kind]
		if k.flags&paired != 0 {
			e.port &^= 1
			s.announce(p, c, st, k, e)
			e.port++
		}
		s.announce(p, c, st, k, e)
	case opInvite:
		st.retractMedia()
		st.invited = e.number
	case opBye:
		st.retractMedia()
	case opFailed:
		if st.invited == e.number {
			st.retractMedia()
		}
	case opRegister:
		if c.Expected { // what a registration opened registers nothing
			return
		}
		st.registering = e.number
		if e.lifetime > 0 {
			s.announce(p, c, st, &a.kinds[kindSignalling], e)
		}
	case opRegistered, opRefused:
		slot := &st.slots[a.kinds[kindSignalling].first]
		if st.registering != e.number || !slot.permanent || p.Now >= slot.expires {
			return
		}
		slot.expires = 0
		if e.op == opRegistered && slot.target.DstPort == e.port && slot.target.Dst == p.DstIP {
			slot.waiting = false
			slot.expires = p.Now + int64(e.lifetime)*second
		}
	}
}

// retractMedia takes back all that was announced to be used once.
func (st *stream) retractMedia() {
	for i := range st.slots {
		if !st.slots[i].permanent {
			st.slots[i].expires = 0
		}
	}
}

// registered is the port at which the connection's registrar may call, agreed
// or not; 0 if there is none.
func (st *stream) registered() uint16 {
	for i := range st.slots {
		if slot := &st.slots[i]; slot.permanent && slot.expires > 0 {
			return slot.target.DstPort
		}
	}
	return 0
}
