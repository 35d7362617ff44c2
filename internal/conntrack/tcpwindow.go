package conntrack

import "tapgate/internal/packet"

// minACKWindow is how far an ACK may at least lag behind.
const minACKWindow = 66000

// offers reads what a SYN's options offer.
func (s *segment) offers() (scale uint8, flags sideFlag) {
	if s.scale != packet.NoTCPScale {
		scale = s.scale
		flags |= scaleSeen
	}
	if s.sack {
		flags |= sackPermitted
	}
	return scale, flags
}

// restart begins a side's record with its SYN. What an earlier one offered
// stands if this one has no options at all.
func (x *tcpSide) restart(s *segment) {
	x.end, x.maxEnd = s.end, s.end
	x.maxWindow = max(uint32(s.window), 1)
	if s.hasOptions {
		var flags sideFlag
		x.scale, flags = s.offers()
		x.flags = x.flags&liberal | flags
	}
}

// restartWith is restart in a given direction. Windows are scaled only if both
// sides offered it, which the reply direction's SYN decides (RFC 7323 section
// 2.2).
func (t *TCP) restartWith(s *segment, dir int) {
	from, to := &t.side[dir], &t.side[1-dir]
	from.restart(s)
	if dir == reply && from.flags&to.flags&scaleSeen == 0 {
		from.scale, to.scale = 0, 0
	}
}

// setMaxACK keeps the highest ACK that the side sent.
func (x *tcpSide) setMaxACK(ack uint32) {
	if x.flags&maxACKKnown == 0 || after(ack, x.maxACK) {
		x.maxACK = ack
	}
	x.flags |= maxACKKnown
}

// setWindow lets the side send up to what its peer acknowledges and announces.
func (x *tcpSide) setWindow(ack, window uint32) {
	if after(ack+window, x.maxEnd-1) {
		x.maxEnd = ack + window
		if window == 0 {
			x.maxEnd++ // the window's probe
		}
	}
}

// inWindow tells whether a segment fits what both sides have sent and
// announced so far, and takes it in.
func (t *TCP) inWindow(s *segment, dir int) tcpVerdict {
	from, to := &t.side[dir], &t.side[1-dir]
	seq, end, ack, sack := s.seq, s.end, s.ackSeq, s.ackSeq
	window := uint32(s.window)
	if to.flags&sackPermitted != 0 {
		sack = s.sackEdge
	}
	switch {
	case from.maxWindow == 0 && s.syn:
		t.restartWith(s, dir)
		if !s.ack { // both sides open at once
			return tcpAccept
		}
	case from.maxWindow == 0:
		from.end = end
		from.maxWindow = max(window<<from.scale, 1)
		from.maxEnd = end + from.maxWindow
		if to.maxWindow == 0 {
			to.end, to.maxEnd = sack, sack
		} else if sack == to.end+1 {
			to.end++ // probably the answer to a keep-alive
		}
	case s.syn && after(end, from.end) && (t.State == SynSent || t.State == SynReceived):
		t.restartWith(s, dir)
		if dir == reply && !s.ack {
			return tcpAccept
		}
	}
	// Some stacks set ACK in a reset and leave the number 0.
	if !s.ack || s.event == eventRST && ack == 0 {
		ack, sack = to.end, to.end
	}
	if s.event == eventRST && seq == 0 && t.State == SynSent {
		seq, end = from.end, from.end
	}

	seqNotTooHigh := !after(seq, from.maxEnd)
	ackNotTooHigh := !after(sack, to.end)
	seqNotTooOld := to.maxWindow == 0 || after(end, from.end-to.maxWindow-1)
	ackNotTooOld := after(sack, to.end-max(from.maxWindow, minACKWindow)-1)
	if !seqNotTooHigh || !ackNotTooHigh || !seqNotTooOld || !ackNotTooOld {
		verdict := tcpIgnore
		if !seqNotTooHigh {
			// More than the window allows is let through without belief,
			// but its ACK is to pass as well.
			overshoot := end - from.maxEnd + 1
			if to.maxWindow != 0 && seqNotTooOld && ackNotTooOld && ackNotTooHigh && overshoot <= to.maxWindow {
				from.end = end
				from.flags |= unacknowledged
			} else {
				verdict = tcpInvalid
			}
		} else if !ackNotTooHigh {
			verdict = tcpInvalid
		}
		if from.flags&liberal != 0 {
			return tcpAccept
		}
		return verdict
	}

	if !s.syn {
		window <<= from.scale
	}
	from.maxWindow = max(from.maxWindow, window+sack-ack)
	if after(end, from.end) {
		from.end = end
		from.flags |= unacknowledged
	}
	if s.ack {
		from.setMaxACK(ack)
	}
	if to.maxWindow != 0 && after(end, from.maxEnd) {
		to.maxWindow += end - from.maxEnd
	}
	to.setWindow(sack, window)
	if ack == to.end {
		to.flags &^= unacknowledged
	}
	if s.event == eventACK {
		t.countRepeat(s, dir)
	}
	return tcpAccept
}

// countRepeat counts identical ACKs in a row.
func (t *TCP) countRepeat(s *segment, dir int) {
	if t.lastDirection == dir && t.lastSeq == s.seq && t.lastACK == s.ackSeq &&
		t.lastEnd == s.end && t.lastWindow == s.window {
		t.retransmissions++
		return
	}
	t.remember(s, dir)
}
