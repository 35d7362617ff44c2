package conntrack

import "tapgate/internal/packet"

// maxRetransmissions of one ACK shorten a connection's life
// (nf_conntrack_tcp_max_retrans).
const maxRetransmissions = 3

const tcpHeader = 20 // bytes without options

// TCP is what is remembered of a TCP connection.
type TCP struct {
	State TCPState

	side            [2]tcpSide
	lastEvent       tcpEvent // of the last packet that was taken in or ignored
	lastDirection   int
	retransmissions uint8
	lastSeq         uint32
	lastACK         uint32
	lastEnd         uint32
	lastWindow      uint16   // as on the wire
	lastScale       uint8    // of the last ignored SYN
	lastFlags       sideFlag // likewise, and challengeACK, simultaneous
}

// sideFlag is a set of facts about one direction.
type sideFlag uint8

const (
	scaleSeen      sideFlag = 1 << iota // window scale option in the SYN
	sackPermitted                       // SACK-permitted option in the SYN
	closedFirst                         // sent the first FIN
	liberal                             // windows are not enforced
	unacknowledged                      // has sent data that is not acknowledged
	maxACKKnown
	challengeACK // only in lastFlags: an ACK answering an ignored SYN may come
	simultaneous // only in lastFlags: both sides sent a SYN
)

// tcpSide is what is remembered of one direction.
type tcpSide struct {
	end       uint32 // highest sequence end sent
	maxEnd    uint32 // highest sequence number that the peer's window allows
	maxWindow uint32 // largest scaled window announced; 0: nothing seen yet
	maxACK    uint32 // highest ACK sent, valid with maxACKKnown
	scale     uint8
	flags     sideFlag
}

// tcpVerdict is the TCP machine's opinion of a segment.
type tcpVerdict uint8

const (
	tcpAccept  tcpVerdict = iota
	tcpIgnore             // keeps its state, changes nothing
	tcpInvalid            // belongs to no connection
	tcpReopen             // ends the connection and may open another
)

// segment is what the machine looks at in a TCP packet with a valid header.
type segment struct {
	event      tcpEvent
	syn, ack   bool
	seq, end   uint32 // sequence space that it fills: seq up to, not including, end
	ackSeq     uint32
	sackEdge   uint32 // the higher of ackSeq and the right edges of SACK blocks
	window     uint16
	scale      uint8 // packet.NoTCPScale if not offered
	sack       bool  // SACK-permitted offered
	hasOptions bool  // of any kind
	isPartial  bool  // the first fragment of a longer segment: end is too low
}

func newSegment(p *packet.Packet) segment {
	s := segment{
		syn:        p.TCPFlags&flagSYN != 0,
		ack:        p.TCPFlags&flagACK != 0,
		seq:        p.TCPSeq,
		end:        p.TCPSeq + p.L4Length - p.L4Header,
		ackSeq:     p.TCPAck,
		sackEdge:   p.TCPSACK,
		window:     p.TCPWindow,
		scale:      p.TCPScale,
		sack:       p.TCPSACKPermitted,
		hasOptions: p.L4Header > tcpHeader,
		isPartial:  p.Fragment == packet.FragmentFirst,
	}
	s.event, _ = eventOf(p.TCPFlags)
	if s.syn {
		s.end++
	}
	if p.TCPFlags&flagFIN != 0 {
		s.end++
	}
	return s
}

// before and after compare sequence numbers modulo 2³² (RFC 9293 section 3.4).
func before(a, b uint32) bool { return int32(a-b) < 0 }
func after(a, b uint32) bool  { return before(b, a) }

// openTCP starts a connection with its first packet: a SYN, or with PickUp
// any segment from the middle of one.
func (c *Connection) openTCP(p *packet.Packet, config *Config) bool {
	s := newSegment(p)
	t := &c.TCP
	switch {
	case s.event == eventSYN:
		t.State = SynSent
		t.side[original].restart(&s)
		t.side[reply].setWindow(0, uint32(s.window))
	case s.event == eventACK && config.PickUp:
		t.State = Established
		t.openMidStream(&s)
	default:
		return false
	}
	if s.isPartial {
		t.beLiberal()
	}
	t.lastEvent, t.lastDirection = s.event, original
	c.refreshTCP(&s, NoTCPState, c.Created, &config.Timeouts)
	return true
}

// openMidStream guesses both sides of a connection whose history is unknown.
func (t *TCP) openMidStream(s *segment) {
	from, to := &t.side[original], &t.side[reply]
	from.end = s.end
	from.maxWindow = max(uint32(s.window), 1)
	from.maxEnd = s.end + from.maxWindow
	from.flags = sackPermitted | liberal
	to.flags = sackPermitted | liberal
	// The window check against a peer of which nothing is known: it succeeds
	// only around sequence number 0, else the segment passes as liberal ones do.
	if after(s.sackEdge, 0) || !after(s.sackEdge, -max(from.maxWindow, minACKWindow)-1) {
		return
	}
	from.maxWindow = max(from.maxWindow, uint32(s.window)+s.sackEdge-s.ackSeq)
	from.setMaxACK(s.ackSeq)
	to.setWindow(s.sackEdge, uint32(s.window))
	t.remember(s, original)
}

// remember keeps what a repeated ACK is compared with.
func (t *TCP) remember(s *segment, dir int) {
	t.lastDirection = dir
	t.lastSeq, t.lastACK, t.lastEnd, t.lastWindow = s.seq, s.ackSeq, s.end, s.window
	t.retransmissions = 0
}

func (t *TCP) beLiberal() {
	t.side[original].flags |= liberal
	t.side[reply].flags |= liberal
}

// tcpPacket is the machine for a segment of a live connection. With tcpInvalid
// comes the segment's fault.
func (c *Connection) tcpPacket(p *packet.Packet, dir int, timeouts *Timeouts) (tcpVerdict, packet.Invalid) {
	s := newSegment(p)
	t := &c.TCP
	if s.isPartial {
		t.beLiberal()
	}
	old := t.State
	next := tcpNext[dir][s.event][old]
	if next == SynSent && old >= TimeWait {
		if t.mayReopen(dir) {
			return tcpReopen, packet.NotInvalid
		}
		next = ignored
	}
	check := true // against the windows
	switch {
	case next == invalid:
		return tcpInvalid, packet.InvalidTCPState
	case next == ignored:
		if !t.outOfStep(&s, dir) {
			t.ignore(&s, dir)
			return tcpIgnore, packet.NotInvalid
		}
		t.resync(dir)
		old, next = SynSent, SynReceived
	case next == TimeWait && t.isChallengeACK(&s, dir):
		t.lastFlags &^= challengeACK
		return tcpIgnore, packet.NotInvalid
	case next == SynSent2:
		t.lastFlags |= simultaneous
	case next == SynReceived && dir == reply && s.event == eventACK && t.lastFlags&simultaneous != 0:
		next = Established
	case s.event == eventRST:
		switch c.judgeReset(&s, dir) {
		case resetForged:
			return tcpInvalid, packet.InvalidTCPReset
		case resetBelieved:
			check = false
		case resetChallenged:
			next = old
		}
	}
	if check {
		switch verdict := t.inWindow(&s, dir); verdict {
		case tcpInvalid:
			c.shrink(&s, dir, p.Now, timeouts)
			return verdict, packet.InvalidTCPWindow
		case tcpIgnore:
			return verdict, packet.NotInvalid
		}
	}
	t.lastEvent, t.lastDirection = s.event, dir
	t.State = next
	if next == FinWait && old != FinWait {
		t.side[dir].flags |= closedFirst
	}
	c.refreshTCP(&s, old, p.Now, timeouts)
	return tcpAccept, packet.NotInvalid
}

// mayReopen tells whether a SYN in TIME_WAIT or CLOSE opens a new connection:
// after a regular close, or after the same side's reset.
func (t *TCP) mayReopen(dir int) bool {
	return (t.side[original].flags|t.side[reply].flags)&closedFirst != 0 ||
		t.lastDirection == dir && t.lastEvent == eventRST
}

// outOfStep tells a SYN-ACK that answers a SYN which was ignored: both hosts
// opened a connection anew, only the tracker did not see it.
func (t *TCP) outOfStep(s *segment, dir int) bool {
	return s.event == eventSYNACK && t.lastEvent == eventSYN && t.lastDirection != dir && s.ackSeq == t.lastEnd
}

// resync takes over the ignored SYN; the window check that follows fills in
// the side of its SYN-ACK, which is going in direction dir.
func (t *TCP) resync(dir int) {
	t.lastFlags &^= challengeACK
	t.side[1-dir] = tcpSide{
		end:       t.lastEnd,
		maxEnd:    t.lastEnd,
		maxWindow: max(uint32(t.lastWindow), 1),
		scale:     t.lastScale,
		flags:     t.lastFlags &^ simultaneous,
	}
	t.side[dir] = tcpSide{flags: t.side[dir].flags & liberal}
}

// ignore remembers a segment that may show later that the tracker is out of
// step.
func (t *TCP) ignore(s *segment, dir int) {
	t.lastEvent, t.lastDirection = s.event, dir
	t.lastSeq, t.lastEnd, t.lastWindow = s.seq, s.end, s.window
	if s.event == eventSYN && dir == original {
		t.lastScale, t.lastFlags = s.offers()
		// The answer may be an ACK that must not be taken for the last one
		// (RFC 5961 section 4).
		if t.State == LastACK {
			t.lastFlags |= challengeACK
		}
	}
	if s.event == eventACK && dir == reply && t.State == SynSent {
		t.lastACK = s.ackSeq
	}
}

func (t *TCP) isChallengeACK(s *segment, dir int) bool {
	return t.State == LastACK && s.event == eventACK && t.lastDirection != dir &&
		t.lastEvent == eventSYN && t.lastFlags&challengeACK != 0
}

// refreshTCP moves the connection's end after an accepted segment that found
// it in the state old. A bound that changes nothing leaves its turn to the next.
func (c *Connection) refreshTCP(s *segment, old TCPState, now int64, timeouts *Timeouts) {
	t := &c.TCP
	timeout := timeouts.TCP[t.State]
	switch {
	case t.retransmissions >= maxRetransmissions && timeout > timeouts.TCPMaxRetrans:
		timeout = timeouts.TCPMaxRetrans
	case s.event == eventRST:
		timeout = timeouts.TCP[Close]
	case (t.side[original].flags|t.side[reply].flags)&unacknowledged != 0 && timeout > timeouts.TCPUnacknowledged:
		timeout = timeouts.TCPUnacknowledged
	case t.lastWindow == 0 && timeout > timeouts.TCPMaxRetrans:
		timeout = timeouts.TCPMaxRetrans
	}
	switch {
	case c.SeenReply:
		if (old == SynReceived || old == Established) && t.State == Established {
			c.Assured = true
		}
	case s.event == eventRST:
		c.Expires = now
		return
	case s.event == eventSYN && old == SynSent:
		return
	case t.State == Established:
		timeout = min(timeout, timeouts.TCPUnacknowledged)
	}
	c.Expires = now + int64(timeout)
}
