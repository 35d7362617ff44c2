package conntrack

import (
	"time"

	"tapgate/internal/packet"
)

const (
	// followedConnections bounds the control connections of one port that are
	// followed at a time.
	followedConnections = 1024
	// slotTries is how many slots are looked at for one whose connection is
	// over before a live one has to give way.
	slotTries = 8
	// maxSegment is the longest payload that is read; a longer one, which only
	// segmentation offload beyond 64 KiB makes, counts as a gap.
	maxSegment = 65535

	ftpLifetime = 300 * time.Second
)

// half is one direction of a followed stream. Mirrors struct half of stream.h.
type half struct {
	next      uint32 // sequence number of the next byte, valid if known
	known     bool
	registers registers
}

// stream is a followed control connection.
type stream struct {
	halves   [2]half
	announce target // what it announced last; zero: nothing
}

// Streams follow the control connections of one port and turn what they
// announce into expectations. Mirrored by stream.h and segment.h.
//
// A direction is read from its first byte if the tracker saw the connection
// open, otherwise from the first line that starts in sight. Bytes count once:
// of a repeated segment only what is new is read. After a gap the rest of the
// line is skipped.
type Streams struct {
	Expectations Expectations

	table   *Table
	streams map[Key]*stream
	slots   [followedConnections]Key
	turn    uint32 // of the slots
}

// NewStreams returns an empty set that follows the table's connections and
// tells it which connections were announced.
func NewStreams(t *Table) *Streams {
	s := &Streams{table: t, streams: map[Key]*stream{}}
	s.Expectations = Expectations{entries: map[target]expectation{}, standing: s.standing}
	t.Expect = s.Expectations.Take
	return s
}

func (s *Streams) standing(master Key, t target, now int64) bool {
	c, st := s.table.lookup(master, now), s.streams[master]
	return c != nil && st != nil && c.begun != [2]bool{} && st.announce == t
}

// Watch reads the payload of a packet that every stage has accepted. Packets
// that are not the helper's business are ignored.
func (s *Streams) Watch(p *packet.Packet) {
	const synRST = 0x02 | 0x04
	if p.LinkProto != packet.ProtoTCP || p.State != packet.StateEstablished || p.Direction == 0 ||
		p.Fragment != packet.FragmentNone || p.Have&packet.HaveTCPOptions == 0 || p.TCPFlags&synRST != 0 ||
		servicePort(p) != ftpPort || p.L4Length <= p.L4Header {
		return
	}
	key, _, _ := packetKey(p)
	c := s.table.lookup(key, p.Now)
	if c == nil {
		return
	}
	st := s.follow(p, c)
	if port := st.halves[p.Direction-1].read(p, ftp); port != 0 {
		s.announce(p, key, st, port)
	}
}

// servicePort is the port that the connection's first packet went to.
func servicePort(p *packet.Packet) uint16 {
	if p.Direction == packet.Original {
		return p.DstPort
	}
	return p.SrcPort
}

// follow finds or makes the connection's record, with the packet's direction
// ready to read.
func (s *Streams) follow(p *packet.Packet, c *Connection) *stream {
	st := s.streams[c.Key]
	if st == nil {
		st = &stream{}
		s.claimSlot(c.Key, p.Now)
		s.streams[c.Key] = st
	}
	if c.begun == [2]bool{} { // the record may be of an earlier connection
		s.Expectations.remove(st.announce, c.Key)
		st.announce = target{}
	}
	h := &st.halves[p.Direction-1]
	if !c.begun[p.Direction-1] {
		*h = half{registers: registers{state: state(p.Direction) - 1}}
		if c.TCP.isLiberal() {
			h.registers.state = state(p.Direction) + 1
		}
		c.begun[p.Direction-1] = true
	} else if !h.known { // it had to give way in between
		h.registers.state = state(p.Direction) + 1
	}
	return st
}

// isLiberal tells whether the tracker guesses the connection's sequence
// numbers: it did not see it open, or saw parts of segments.
func (t *TCP) isLiberal() bool {
	return (t.side[original].flags|t.side[reply].flags)&liberal != 0
}

// read feeds the payload's new bytes; it returns the last port announced.
func (h *half) read(p *packet.Packet, a *Automaton) (port uint16) {
	payload := p.Frame[p.L4Offset+p.L4Header : p.L4Offset+p.L4Length]
	end := p.TCPSeq + uint32(len(payload))
	skip := state(p.Direction) + 1
	if h.known {
		switch old := h.next - p.TCPSeq; { // modulo 2³²
		case int32(old) < 0:
			h.registers = registers{state: skip}
		case old >= uint32(len(payload)):
			return 0
		default:
			payload = payload[old:]
		}
	}
	h.next, h.known = end, true
	if len(payload) > maxSegment {
		h.registers = registers{state: skip}
		return 0
	}
	who := speaker{address: p.SrcIP, family: p.Family, skip: skip}
	for _, c := range payload {
		if told := h.registers.feed(a, &who, c); told != 0 {
			port = told
		}
	}
	return port
}

// announce replaces the connection's expectation. Both of FTP's ways expect
// the listener's peer: PORT and EPRT the server at the client's port, 227 and
// 229 the client at the server's.
func (s *Streams) announce(p *packet.Packet, key Key, st *stream, port uint16) {
	t := target{p.Family, packet.ProtoTCP, port, p.DstIP, p.SrcIP}
	s.Expectations.remove(st.announce, key)
	st.announce = t
	s.Expectations.add(t, key, p.Now, ftpLifetime)
}

// claimSlot makes room for one more connection: slots are taken in turn, but
// those of connections that are over, if there are any just ahead, first.
func (s *Streams) claimSlot(key Key, now int64) {
	var slot *Key
	for i := range uint32(slotTries) {
		slot = &s.slots[(s.turn+slotTries-1-i)%followedConnections]
		if s.table.lookup(*slot, now) == nil {
			break
		}
	}
	s.turn++
	if old := s.streams[*slot]; old != nil {
		s.Expectations.remove(old.announce, *slot)
		delete(s.streams, *slot)
	}
	*slot = key
}
