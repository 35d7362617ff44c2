package conntrack

// resetVerdict is how much a reset is believed.
type resetVerdict uint8

const (
	resetChecked    resetVerdict = iota // closes the connection if it is in the window
	resetBelieved                       // closes it anyway
	resetChallenged                     // if in the window, the peer may answer with a challenge ACK
	resetForged                         // invalid
)

// judgeReset tells resets of the connection's own hosts from those that a
// third party guesses (RFC 5961 section 3).
func (c *Connection) judgeReset(s *segment, dir int) resetVerdict {
	t := &c.TCP
	if t.State >= FinWait && t.State <= Close { // what is remembered may be out of date
		return resetBelieved
	}
	settled := t.State == Established && c.Assured
	peer := &t.side[1-dir]
	if peer.flags&maxACKKnown != 0 && t.lastEvent != eventSYN {
		train := t.lastEvent == eventACK && t.lastDirection == dir && s.seq == t.lastEnd
		switch {
		case s.seq == 0 && !settled:
			return resetChecked
		case before(s.seq, peer.maxACK):
			return resetForged
		case !settled || s.seq == peer.maxACK || train:
			return resetChecked
		}
		return resetChallenged
	}
	answersSYN := c.SeenReply && t.lastEvent == eventSYN && t.lastDirection != dir
	answersACK := !c.Assured && t.lastEvent == eventACK
	if (answersSYN || answersACK) && s.ackSeq == t.lastEnd {
		return resetBelieved
	}
	if t.State == SynSent && t.lastEvent == eventACK && t.lastDirection == reply && s.seq == t.lastACK {
		return resetBelieved
	}
	return resetChecked
}

// shrink brings the end of an established connection nearer after a FIN or RST
// that the windows refused, once its other side tries to end it too: the
// tracker is probably wrong.
func (c *Connection) shrink(s *segment, dir int, now int64, timeouts *Timeouts) {
	t := &c.TCP
	if !c.Assured || s.event != eventFIN && s.event != eventRST {
		return
	}
	if t.lastDirection == dir || t.lastEvent != eventFIN && t.lastEvent != eventRST {
		t.lastEvent, t.lastDirection = s.event, dir
		return
	}
	if c.Expires-now >= tcpShrinkFloor {
		c.Expires = min(c.Expires, now+int64(timeouts.TCPUnacknowledged))
	}
}
