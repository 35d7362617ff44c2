package conntrack

import "tapgate/internal/packet"

const (
	sctpHeader  = 12 // bytes
	chunkHeader = 4
	initHeader  = 16 // what INIT and INIT-ACK have behind the chunk's header

	// maxChunks bounds the walk; a packet with more is invalid. DATA takes at
	// least 20 bytes, so that not even a packet of 64 KiB needs as many.
	maxChunks = 4096

	// maxControls bounds likewise those of a packet's chunks that are no DATA
	// or SACK nor unknown. Hosts bundle two or three.
	maxControls = 8
)

// SCTP is what is remembered of an association. The tag of a direction is the
// one that its packets are to carry, 0 while it is not known.
type SCTP struct {
	State SCTPState

	tag   [2]uint32
	init  [2]bool // has sent an INIT that no COOKIE-ACK has settled
	probe uint8   // 1 + direction of a HEARTBEAT with another tag, 0 for none
}

// sctpVerdict is the SCTP machine's opinion of a packet.
type sctpVerdict uint8

const (
	sctpAccept  sctpVerdict = iota
	sctpIgnore              // keeps its state, prolongs nothing
	sctpInvalid             // belongs to no association
)

// sctpPacket is what the machine looks at.
type sctpPacket struct {
	fault    packet.Invalid // what takeSCTP found, with sctpInvalid
	tag      uint32
	initTag  uint32        // of the INIT or INIT-ACK
	seen     chunkSet      // all chunks
	controls []sctpControl // those that the table knows, in their order
}

// sctpControl is a chunk that the table knows.
type sctpControl struct {
	chunk sctpChunk

	// reflected is the T bit of an ABORT or SHUTDOWN-COMPLETE: the packet
	// carries the receiver's tag instead of the sender's.
	reflected bool
}

// chunkSet is a bit for each kind of chunk.
type chunkSet uint16

func setOf(chunks ...sctpChunk) (s chunkSet) {
	for _, c := range chunks {
		s |= 1 << c
	}
	return s
}

func (s chunkSet) has(some ...sctpChunk) bool { return s&setOf(some...) != 0 }

var (
	aloneChunks = []sctpChunk{chunkInit, chunkInitACK, chunkShutdownComplete}
	firstChunks = []sctpChunk{chunkCookieEcho, chunkCookieACK}

	// Chunks that judge the tag in their own way (RFC 9260 section 8.5.1).
	exemptChunks = []sctpChunk{chunkInit, chunkCookieEcho, chunkAbort, chunkShutdownComplete, chunkShutdownACK, chunkHeartbeat, chunkHeartbeatACK}

	// What neither opens an association nor comes with what does (RFC 9260
	// section 8.4).
	midChunks = []sctpChunk{chunkOther, chunkData, chunkAbort, chunkShutdownComplete, chunkCookieACK}
)

// readSCTP walks over a packet's chunks; ok is false if no host sends such.
// The first fragment of a packet is judged by the chunks that it holds. As in
// nf_conntrack, the last chunk may claim more bytes than are there, and a rest
// that is shorter than a chunk's header is not looked at.
func readSCTP(p *packet.Packet) (s sctpPacket, ok bool) {
	b := l4(p)
	if len(b) < sctpHeader {
		return s, false
	}
	s.tag = be.Uint32(b[4:])
	b = b[sctpHeader:]
	for n := 0; len(b) >= chunkHeader; n++ {
		chunk, size := chunkOther, int(be.Uint16(b[2:]))
		if int(b[0]) < len(sctpChunks) {
			chunk = sctpChunks[b[0]]
		}
		s.seen |= setOf(chunk)
		switch {
		case size == 0 || n == maxChunks:
			return s, false
		case n > 0 && (s.seen.has(aloneChunks...) || setOf(chunk).has(firstChunks...)):
			return s, false
		}
		if chunk == chunkInit || chunk == chunkInitACK {
			if len(b) < chunkHeader+initHeader {
				return s, false
			}
			s.initTag = be.Uint32(b[chunkHeader:])
		}
		if chunk != chunkOther && chunk != chunkData {
			if len(s.controls) == maxControls {
				return s, false
			}
			s.controls = append(s.controls, sctpControl{chunk, b[1]&1 == 1})
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return s, s.seen != 0
}

// openSCTP starts an association with its first packet.
func (c *Connection) openSCTP(p *packet.Packet, timeouts *Timeouts) bool {
	s, _ := readSCTP(p)
	x := &c.SCTP
	if s.seen.has(midChunks...) {
		return false
	}
	// What is no INIT and yet opens one comes from a host that has forgotten an
	// association, or from another path of one. A SHUTDOWN-COMPLETE reflects the
	// tag of its SHUTDOWN-ACK.
	if s.seen.has(chunkHeartbeat) {
		x.tag[original] = s.tag
	}
	if s.seen.has(chunkShutdownACK) {
		x.tag[reply] = s.tag
	}
	if c.takeSCTP(&s, original) != sctpAccept {
		return false
	}
	c.Expires = c.Created + int64(timeouts.SCTP[x.State])
	return true
}

// sctpPacket is the machine for a packet of a live association. With
// sctpInvalid comes the packet's fault.
func (c *Connection) sctpPacket(p *packet.Packet, dir int, timeouts *Timeouts) (sctpVerdict, packet.Invalid) {
	s, _ := readSCTP(p)
	verdict := c.takeSCTP(&s, dir)
	switch verdict {
	case sctpInvalid:
		return verdict, s.fault
	case sctpAccept:
		c.Expires = p.Now + int64(timeouts.SCTP[c.SCTP.State])
	}
	return verdict, packet.NotInvalid
}

// takeSCTP goes from chunk to chunk, as nf_conntrack does. What the chunks before an
// invalid one have told stays.
func (c *Connection) takeSCTP(s *sctpPacket, dir int) sctpVerdict {
	x := &c.SCTP
	s.fault = packet.InvalidSCTPTag
	if !s.seen.has(exemptChunks...) && s.tag != x.tag[dir] {
		return sctpInvalid
	}
	verdict := sctpAccept
	for _, control := range s.controls {
		switch x.judgeTag(s, control, dir, verdict == sctpIgnore) {
		case sctpInvalid:
			return sctpInvalid
		case sctpIgnore:
			verdict = sctpIgnore
			continue
		}
		old := x.State
		next := sctpNext[dir][control.chunk][old]
		if next == sctpInvalidState {
			s.fault = packet.InvalidSCTPState
			return sctpInvalid
		}
		if !x.announce(s, control.chunk, dir) {
			return sctpInvalid
		}
		// A repeated INIT keeps nothing alive.
		if control.chunk == chunkInit && old == SCTPClosed && next == SCTPClosed {
			verdict = sctpIgnore
		}
		if next == SCTPEstablished && old != SCTPEstablished {
			c.Assured = true
		}
		x.State = next
	}
	return verdict
}

// judgeTag tells whether the packet has the tag that one of its chunks asks for
// (RFC 9260 section 8.5). sctpIgnore: the chunk moves nothing, and the packet
// prolongs nothing.
func (x *SCTP) judgeTag(s *sctpPacket, control sctpControl, dir int, ignoring bool) sctpVerdict {
	valid := true
	switch control.chunk {
	case chunkInit:
		valid = s.tag == 0
	case chunkAbort, chunkShutdownComplete:
		of := dir
		if control.reflected {
			of = 1 - dir
		}
		valid = s.tag == x.tag[of]
	case chunkCookieEcho:
		valid = s.tag == x.tag[dir]
	case chunkHeartbeat, chunkHeartbeatACK:
		return x.heartbeat(s, control.chunk, dir, ignoring)
	}
	if !valid {
		return sctpInvalid
	}
	return sctpAccept
}

// announce learns from INIT and INIT-ACK the tag of the other direction's
// packets. An INIT-ACK may announce the one that is known already, or another
// if the peer has asked for it, which an INIT that is repeated does not.
func (x *SCTP) announce(s *sctpPacket, chunk sctpChunk, dir int) bool {
	known := x.tag[1-dir]
	switch chunk {
	case chunkInit:
		if x.State == NoSCTPState || s.initTag != known {
			if x.init[dir] {
				x.init[1-dir] = false
			}
			x.init[dir] = true
		}
	case chunkInitACK:
		refused := known != 0
		if x.init[1-dir] {
			refused = x.init[dir]
		}
		if s.initTag != known && refused {
			return false
		}
	case chunkCookieACK:
		x.init = [2]bool{}
		return true
	default:
		return true
	}
	x.tag[1-dir] = s.initTag
	return true
}

// heartbeat judges the tag of a HEARTBEAT or its answer. With another tag than
// the known one either may show that a host has begun anew, unseen by the
// tracker: only both together are believed.
func (x *SCTP) heartbeat(s *sctpPacket, chunk sctpChunk, dir int, ignoring bool) sctpVerdict {
	switch {
	case x.tag[dir] == 0:
		x.tag[dir] = s.tag
	case x.tag[dir] == s.tag:
		x.probe = 0
	case s.seen.has(chunkData) || ignoring:
		return sctpInvalid
	case chunk == chunkHeartbeat:
		x.probe = 1 + uint8(dir)
		return sctpIgnore
	case x.probe != 1+uint8(1-dir):
		return sctpInvalid
	default:
		x.probe = 0
		x.tag[dir], x.tag[1-dir] = s.tag, 0
	}
	return sctpAccept
}
