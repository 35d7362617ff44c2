package conntrack

import "tapgate/internal/packet"

const (
	// followedConnections bounds the control connections of one port that are
	// followed at a time.
	followedConnections = 1024
	// recordTries is how many records are looked at for one whose connection
	// is over before a live one has to give way.
	recordTries = 8
	// maxSegment is the longest payload that is read; a longer one, which only
	// segmentation offload beyond 64 KiB makes, counts as a gap.
	maxSegment = 65535
	// maxEvents is how many events of one packet count: the last ones.
	maxEvents = 16
)

// half is one direction of a followed stream. Mirrors struct half of stream.h.
type half struct {
	next      uint32 // sequence number of the next byte, valid if known
	known     bool
	registers registers
}

// stream is the record of a followed control connection.
type stream struct {
	master Key
	halves [2]half
	made   uint32 // announcements so far
	// The numbers of SIP's latest invitation and registration.
	invited, registering uint32
	slots                [slotsOfStream]announcement
}

// Streams follow the control connections of one port and turn what they
// announce into expectations. Mirrored by stream.h, segment.h and helper.h.
//
// A direction of a TCP connection is read from its first byte if the tracker
// saw the connection open, otherwise from the first line that starts in sight.
// Bytes count once: of a repeated segment only what is new is read. After a gap
// the rest of the line is skipped. A datagram is read by itself.
type Streams struct {
	table   *Table
	index   map[target]place
	records [followedConnections]*stream
	turn    uint32 // of the records
}

// NewStreams returns an empty set that follows the table's connections and
// tells it which connections were announced.
func NewStreams(t *Table) *Streams {
	s := &Streams{table: t, index: map[target]place{}}
	t.Expect = s.Take
	return s
}

// Watch reads the payload of a packet that every stage has accepted. Packets
// that are not a helper's business are ignored.
func (s *Streams) Watch(p *packet.Packet) {
	if p.Direction == 0 || p.Fragment != packet.FragmentNone {
		return
	}
	key, _, fault := packetKey(p)
	if fault != packet.NotInvalid {
		return
	}
	c := s.table.lookup(key, p.Now)
	if c == nil || c.Helper == NoHelper {
		return
	}
	a := helpers[c.Helper].automaton
	payload := controlPayload(p)
	if a.reads&p.Direction == 0 || len(payload) == 0 {
		return
	}
	var st *stream
	h := &half{registers: registers{state: a.start[p.Direction-1]}}
	if p.LinkProto == packet.ProtoTCP {
		st = s.follow(p, c, a)
		h = &st.halves[p.Direction-1]
	}
	who := speaker{
		address: p.SrcIP, peer: p.DstIP, family: p.Family, proto: p.LinkProto, port: c.originPort(),
	}
	if known := s.recordOf(c); known != nil {
		who.registered = known.registered()
	}
	events := h.read(p, payload, a, &who)
	if a.timeout != 0 {
		c.Expires = p.Now + int64(a.timeout)*second
	}
	if a.dead != noState && h.registers.state != a.dead {
		return // the datagram ended before its message
	}
	if len(events) > 0 && st == nil {
		st = s.record(c, p.Now)
	}
	for _, e := range events {
		s.apply(p, c, st, a, e)
	}
}

// controlPayload is what a helper may read of the packet.
func controlPayload(p *packet.Packet) []byte {
	const synRST = 0x02 | 0x04
	end := p.L4Length
	switch p.LinkProto {
	case packet.ProtoTCP:
		if p.State != packet.StateEstablished || p.Have&packet.HaveTCPOptions == 0 || p.TCPFlags&synRST != 0 {
			return nil
		}
	case packet.ProtoUDP:
		end = min(end, uint32(p.UDPLength))
	default:
		return nil
	}
	if end <= p.L4Header {
		return nil
	}
	return p.Frame[p.L4Offset+p.L4Header : p.L4Offset+end]
}

// originPort is the port that the connection was opened from.
func (c *Connection) originPort() uint16 {
	if c.OriginB {
		return c.BPort
	}
	return c.APort
}

// follow finds or makes the record of a TCP connection, with the packet's
// direction ready to read.
func (s *Streams) follow(p *packet.Packet, c *Connection, a *Automaton) *stream {
	dir := p.Direction - 1
	st := s.record(c, p.Now)
	h := &st.halves[dir]
	if !c.begun[dir] {
		h.registers = registers{state: a.start[dir]}
		if c.TCP.isLiberal() {
			h.registers.state = a.skip[dir]
		}
		c.begun[dir] = true
	} else if !h.known { // it had to give way in between
		h.registers.state = a.skip[dir]
	}
	return st
}

// isLiberal tells whether the tracker guesses the connection's sequence
// numbers: it did not see it open, or saw parts of segments.
func (t *TCP) isLiberal() bool {
	return (t.side[original].flags|t.side[reply].flags)&liberal != 0
}

// read feeds the payload's new bytes; it returns the last events.
func (h *half) read(p *packet.Packet, payload []byte, a *Automaton, who *speaker) (events []event) {
	skip := a.skip[p.Direction-1]
	end := p.TCPSeq + uint32(len(payload))
	if h.known {
		switch old := h.next - p.TCPSeq; { // modulo 2³²
		case int32(old) < 0:
			h.registers = registers{state: skip}
		case old >= uint32(len(payload)):
			return nil
		default:
			payload = payload[old:]
		}
	}
	h.next, h.known = end, true
	if len(payload) > maxSegment {
		h.registers = registers{state: skip}
		return nil
	}
	for _, c := range payload {
		if h.registers.state == a.dead {
			break
		}
		if e, ok := h.registers.feed(a, who, c); ok {
			events = append(events, e)
		}
	}
	if p.LinkProto != packet.ProtoTCP && a.dead == noState {
		if e, ok := h.registers.finish(a, who); ok {
			events = append(events, e)
		}
	}
	return events[max(0, len(events)-maxEvents):]
}

// record finds the connection's record or gives it one: records are taken in
// turn, but those of connections that are over, if there are any just ahead,
// first.
func (s *Streams) record(c *Connection, now int64) *stream {
	if st := s.recordOf(c); st != nil {
		return st
	}
	var number int
	for i := range uint32(recordTries) {
		number = int((s.turn + recordTries - 1 - i) % followedConnections)
		if s.records[number] == nil || !s.lives(number, now) {
			break
		}
	}
	s.turn++
	st := s.records[number]
	if st == nil {
		st = &stream{}
		s.records[number] = st
	}
	st.master, st.halves = c.Key, [2]half{}
	st.invited, st.registering = 0, 0
	for i := range st.slots {
		st.slots[i].expires = 0
	}
	c.stream = uint16(number + 1)
	return st
}

// recordOf is the connection's record, nil if it has none, or had to give it
// to another.
func (s *Streams) recordOf(c *Connection) *stream {
	if c.stream == 0 || s.records[c.stream-1].master != c.Key {
		return nil
	}
	return s.records[c.stream-1]
}

// lives tells whether the connection that a record is about does.
func (s *Streams) lives(number int, now int64) bool {
	c := s.table.lookup(s.records[number].master, now)
	return c != nil && int(c.stream) == number+1
}
