package conntrack

import "tapgate/internal/packet"

// slotsOfStream is how many announcements of one control connection can stand
// at a time.
const slotsOfStream = 12

// target is what an expectation admits: one packet with exactly these
// addresses and this destination port, from any source port.
type target struct {
	Family, Proto uint8
	AnySource     bool // Src is zero: whoever it is
	DstPort       uint16
	Src, Dst      packet.U128
}

// announcement stands in a slot: a target that is expected once.
type announcement struct {
	target  target
	expires int64  // nanoseconds on the tracker's clock; 0: used up or taken back
	made    uint32 // how many announcements of the stream came before, and this one
	reader  Helper // of the announced connection
	// permanent: not used up; waiting: not expected before its registrar agrees.
	permanent, waiting bool
}

// place is where an announcement stands: a record's number and a slot in it. A
// slot's target leads here until the slot gets another one or another
// connection announces the same; whether it is expected only the slot tells.
type place struct{ record, slot int }

// Announced is what is known of a connection that a helper expected.
type Announced struct {
	Master Key    // the control connection
	By     Helper // which read it
	Reader Helper // that reads the announced connection, if any
}

// Take tells whether a helper announced the connection that p would open. The
// expectation is used up by it, whatever becomes of p. It counts only while its
// control connection lives. Mirrored by expectation.h.
func (s *Streams) Take(p *packet.Packet) (Announced, bool) {
	if p.Have&packet.HavePorts == 0 {
		return Announced{}, false
	}
	t := target{Family: p.Family, Proto: p.LinkProto, DstPort: p.DstPort, Src: p.SrcIP, Dst: p.DstIP}
	if taken, ok := s.take(t, p.Now); ok || p.LinkProto != packet.ProtoTCP {
		return taken, ok
	}
	t.AnySource, t.Src = true, packet.U128{}
	return s.take(t, p.Now)
}

func (s *Streams) take(t target, now int64) (Announced, bool) {
	at, ok := s.index[t]
	if !ok {
		return Announced{}, false
	}
	st := s.records[at.record]
	slot := &st.slots[at.slot]
	if slot.target != t || now >= slot.expires || slot.waiting {
		return Announced{}, false
	}
	if !slot.permanent {
		slot.expires = 0
	}
	if !s.lives(at.record, now) {
		return Announced{}, false
	}
	master := s.table.connections[st.master]
	return Announced{Master: st.master, By: master.Helper, Reader: slot.reader}, true
}

// announce makes or refreshes an expectation of the kind.
func (s *Streams) announce(p *packet.Packet, c *Connection, st *stream, k *kind, e event) {
	t := k.target(p, e.port)
	st.made++
	i := st.choose(k, t, p.Now)
	at := place{int(c.stream) - 1, i}
	slot := &st.slots[i]
	if slot.target != t && s.index[slot.target] == at {
		delete(s.index, slot.target)
	}
	registers := k.flags&registering != 0
	*slot = announcement{t, p.Now + int64(k.lifetime)*second, st.made, k.reader, registers, registers}
	s.index[t] = at
}

// choose finds the slot for an announcement: that of the same target, or else
// the first that is free, or else the oldest.
func (st *stream) choose(k *kind, t target, now int64) (chosen int) {
	oldest := ^uint32(0)
	for i := int(k.first); i < int(k.first+k.slots); i++ {
		slot := &st.slots[i]
		if slot.target == t {
			return i
		}
		made := slot.made
		if now >= slot.expires {
			made = 0
		}
		if made < oldest {
			chosen, oldest = i, made
		}
	}
	return chosen
}
