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
	fault      packet.Invalid // what take found, with sctpInvalid
	tag        uint32
	initTag    uint32      // of the INIT or INIT-ACK
	seen       chunkSet    // all chunks
	controls   []sctpChunk // those that the table knows, in their order
	heartbeats int         // of them HEARTBEAT or HEARTBEAT-ACK

	// Whether an ABORT or SHUTDOWN-COMPLETE has the T bit, which stands for
	// the receiver's tag instead of the sender's, and whether one has not.
	reflected, unreflected bool
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

	// Chunks whose packet need not have its direction's tag (RFC 9260 section
	// 8.5.1).
	exemptChunks = []sctpChunk{chunkInit, chunkAbort, chunkShutdownComplete, chunkShutdownACK, chunkHeartbeat, chunkHeartbeatACK}

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
		switch chunk {
		case chunkInit, chunkInitACK:
			if len(b) < chunkHeader+initHeader {
				return s, false
			}
			s.initTag = be.Uint32(b[chunkHeader:])
		case chunkAbort, chunkShutdownComplete:
			s.reflected = s.reflected || b[1]&1 == 1
			s.unreflected = s.unreflected || b[1]&1 == 0
		case chunkHeartbeat, chunkHeartbeatACK:
			s.heartbeats++
		}
		if chunk != chunkOther && chunk != chunkData {
			if len(s.controls) == maxControls {
				return s, false
			}
			s.controls = append(s.controls, chunk)
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
	// association, or from another path of one: an answer reflects the tag.
	if s.seen.has(chunkHeartbeat) {
		x.tag[original] = s.tag
	}
	if s.seen != setOf(chunkHeartbeat) {
		x.tag[reply] = s.tag
	}
	if x.take(&s, original) != sctpAccept {
		return false
	}
	c.Expires = c.Created + int64(timeouts.SCTP[x.State])
	return true
}

// sctpPacket is the machine for a packet of a live association. One that turns
// out invalid leaves it as it was.
func (c *Connection) sctpPacket(p *packet.Packet, dir int, timeouts *Timeouts) (sctpVerdict, packet.Invalid) {
	s, _ := readSCTP(p)
	next := c.SCTP
	verdict := next.take(&s, dir)
	if verdict == sctpInvalid {
		return verdict, s.fault
	}
	if next.State == SCTPEstablished && c.SCTP.State != SCTPEstablished {
		c.Assured = true
	}
	c.SCTP = next
	if verdict == sctpAccept {
		c.Expires = p.Now + int64(timeouts.SCTP[next.State])
	}
	return verdict, packet.NotInvalid
}

// take judges a packet and takes it in. After sctpInvalid x is of no use.
//
// nf_conntrack goes on from chunk to chunk; here a packet's tag is judged once,
// by what was known before it, which only bundles that no host sends can tell:
// they are invalid.
func (x *SCTP) take(s *sctpPacket, dir int) sctpVerdict {
	verdict := sctpAccept
	old := x.State
	s.fault = packet.InvalidSCTPTag
	if !x.hasTag(s, dir) || !x.announce(s, dir) {
		return sctpInvalid
	}
	if s.heartbeats > 0 {
		verdict = x.heartbeat(s, dir)
	}
	for _, chunk := range s.controls {
		x.State = sctpNext[dir][chunk][x.State]
		if x.State == sctpInvalidState {
			s.fault = packet.InvalidSCTPState
			return sctpInvalid
		}
	}
	// A repeated INIT keeps nothing alive.
	if s.seen.has(chunkInit) && old == SCTPClosed && x.State == SCTPClosed {
		return sctpIgnore
	}
	return verdict
}

// hasTag tells whether a packet has the tag that its chunks ask for (RFC 9260
// section 8.5).
func (x *SCTP) hasTag(s *sctpPacket, dir int) bool {
	if s.seen.has(chunkInit) {
		return s.tag == 0
	}
	own := s.seen.has(chunkCookieEcho) || s.unreflected || !s.seen.has(exemptChunks...)
	if own && s.tag != x.tag[dir] {
		return false
	}
	return !s.reflected || s.tag == x.tag[1-dir]
}

// announce learns from INIT and INIT-ACK the tag of the other direction's
// packets. An INIT-ACK may announce the one that is known already, or another
// if the peer has asked for it.
func (x *SCTP) announce(s *sctpPacket, dir int) bool {
	switch {
	case s.seen.has(chunkInit):
		if x.init[dir] {
			x.init[1-dir] = false
		}
		x.init[dir] = true
	case s.seen.has(chunkInitACK):
		known := x.tag[1-dir]
		refused := known != 0
		if x.init[1-dir] {
			refused = x.init[dir]
		}
		if s.initTag != known && refused {
			return false
		}
	default:
		if s.seen.has(chunkCookieACK) {
			x.init = [2]bool{}
		}
		return true
	}
	x.tag[1-dir] = s.initTag
	return true
}

// heartbeat judges the tag of a HEARTBEAT or its answer. With another tag than
// the known one either may show that a host has begun anew, unseen by the
// tracker: only both together are believed.
func (x *SCTP) heartbeat(s *sctpPacket, dir int) sctpVerdict {
	switch {
	case x.tag[dir] == 0:
		x.tag[dir] = s.tag
	case x.tag[dir] == s.tag:
		x.probe = 0
	case s.seen.has(chunkData) || s.heartbeats > 1:
		return sctpInvalid
	case s.seen.has(chunkHeartbeat):
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
