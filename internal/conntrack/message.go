package conntrack

import "tapgate/internal/packet"

// message is what a SIP message (RFC 3261) has said so far; it outlives the
// lines. Mirrors struct message of message.h.
type message struct {
	sequence       uint32 // CSeq's number
	length         uint32 // Content-Length; with inBody the bytes to come, 0 in a datagram
	expires        uint32 // Expires, seconds
	contactExpires uint32 // that of the contact, if contactLimited
	status         uint16 // of a response
	contactPort    uint16
	mediumPort     uint16 // 0: none that counts
	flags          messageFlags
	is             uint8 // isRequest, isResponse, 0: not understood
	method         uint8 // actInvite … actRegister, a response's is CSeq's; 0: another
	kind           uint8 // of the medium
	media          uint8 // how many were described
}

const (
	isRequest  = 1
	isResponse = 2
)

const (
	sipPort     = 5060 // of a contact that names none
	lowestPort  = 1024 // that a contact or a medium may have
	mediaCounts = 3    // descriptions of media that count in one message
)

type messageFlags uint16

// The flags, as in message.h.
const (
	hasSequence    messageFlags = 1 << iota
	hasLength                   // Content-Length was there
	hasExpires                  // Expires was there
	inBody                      // the headers are over
	described                   // a session description in the body counts
	hasContact                  // one was there
	contactSettled              // further ones do not count
	contactOwn                  // it is at the address of whom registers
	contactForeign              // it is for another transport protocol
	contactLimited              // it has a lifetime of its own
	hasMedium                   // a medium is being described
	sessionGiven                // the session has an address,
	sessionOwn                  // which is the speaker's
	mediumGiven                 // the medium has one of its own,
	mediumOwn                   // which is the speaker's
)

func (f *messageFlags) put(flags messageFlags, on bool) {
	*f &^= flags
	if on {
		*f |= flags
	}
}

// understand does one of the actions that are about messages. Each but the
// digits ends a part of its line.
func (r *registers) understand(a *Automaton, who *speaker, do action) (e event, ok bool) {
	m := &r.message
	value, spoilt := r.value, r.spoilt
	own, valid := false, false
	if do >= actAddressOctet {
		own, valid = r.complete(who, do)
	}
	*r = registers{state: r.state, message: *m}
	switch do {
	case actRequestLine:
		m.is = isRequest
	case actResponseLine:
		m.is = isResponse
	case actInvite, actUpdate, actAck, actPrack, actBye, actRegister:
		if m.method == 0 {
			m.method = uint8(do)
		}
	case actStatus:
		m.status = uint16(min(value, 0xffff))
	case actSequence:
		if m.flags&hasSequence == 0 {
			m.sequence = value
			m.flags |= hasSequence
		}
	case actLength:
		if m.flags&hasLength == 0 {
			m.length = value
			m.flags |= hasLength
		}
	case actExpires:
		if m.flags&hasExpires == 0 {
			m.expires = value
			m.flags |= hasExpires
		}
	case actURI, actUser, actContactPort, actContactExpires, actTransport, actUDP, actTCP:
		m.contact(who, do, value, spoilt)
	case actHeaders:
		return r.headers(a, who)
	case actMedium:
		e, ok = m.expect()
		m.kind, m.mediumPort = 0, 0
		m.flags.put(mediumGiven|mediumOwn, false)
		m.flags |= hasMedium
	case actAudio, actVideo, actImage:
		m.kind = uint8(do-actAudio) + kindAudio
	case actMediumPort:
		if !spoilt && value >= lowestPort {
			m.mediumPort = uint16(value)
		}
	default:
		if valid {
			m.address(own)
		}
	}
	return e, ok
}

// contact takes a part of a contact's URI. A request registers its first
// contact; of those in a response the one counts that was registered.
func (m *message) contact(who *speaker, do action, value uint32, spoilt bool) {
	if do == actURI {
		settled := m.flags&hasContact != 0 && (m.is == isRequest || m.registered(who))
		m.flags.put(contactSettled, settled)
		m.flags |= hasContact
	}
	if m.flags&contactSettled != 0 {
		return
	}
	switch do {
	case actURI, actUser:
		m.contactPort = sipPort
		m.flags.put(contactOwn|contactForeign|contactLimited, false)
	case actContactPort:
		m.contactPort = uint16(value)
		if spoilt || value < lowestPort {
			m.flags.put(contactOwn, false)
		}
	case actContactExpires:
		if m.flags&contactLimited == 0 {
			m.contactExpires = value
			m.flags |= contactLimited
		}
	case actTransport:
		m.flags |= contactForeign
	case actUDP, actTCP:
		if (do == actUDP) == (who.proto == packet.ProtoUDP) {
			m.flags.put(contactForeign, false)
		}
	}
}

// registered tells whether the contact is the one that the connection has
// registered.
func (m *message) registered(who *speaker) bool {
	return m.flags&(contactOwn|contactForeign) == contactOwn && m.contactPort == who.registered
}

// lifetime of the contact in seconds.
func (m *message) lifetime() uint32 {
	switch {
	case m.flags&contactLimited != 0:
		return m.contactExpires
	case m.flags&hasExpires != 0:
		return m.expires
	}
	return 0
}

// complete ends an IP address. It is valid if it is one of the connection's
// family, and own if it is the speaker's; a response's contacts are to be those
// of the other end.
func (r *registers) complete(who *speaker, do action) (own, valid bool) {
	family := uint8(6)
	switch do {
	case actAddressOctet:
		r.head.Lo = r.head.Lo<<8 | uint64(r.value)
		family = 4
	case actAddressGroup:
		r.spoilt = r.spoilt || r.groups != 7
		r.headGroup()
	case actAddressTail:
		r.spoilt = r.spoilt || r.groups >= 7
		r.tailGroup()
	}
	at := who.address
	if r.message.is == isResponse && r.message.flags&inBody == 0 {
		at = who.peer
	}
	own = r.head.Hi|r.tail.Hi == at.Hi && r.head.Lo|r.tail.Lo == at.Lo
	return own, !r.spoilt && family == who.family
}

// address takes that of a contact, or that of the session or of one medium;
// there, the first counts.
func (m *message) address(own bool) {
	given, mine := sessionGiven, sessionOwn
	switch {
	case m.flags&inBody == 0:
		if m.flags&contactSettled == 0 {
			m.flags.put(contactOwn, own)
		}
		return
	case m.flags&hasMedium != 0:
		given, mine = mediumGiven, mediumOwn
	}
	if m.flags&given == 0 {
		m.flags |= given
		m.flags.put(mine, own)
	}
}

// headers ends the headers. In a stream only Content-Length tells where the
// message ends; one without is not looked at.
func (r *registers) headers(a *Automaton, who *speaker) (e event, ok bool) {
	m := &r.message
	stream := who.proto == packet.ProtoTCP
	if !stream || m.flags&hasLength != 0 {
		e, ok = m.meaning(who)
	}
	m.flags |= inBody
	switch {
	case !stream:
		m.length = 0
	case m.length == 0:
		*r = registers{state: a.start[0]}
	}
	return e, ok
}

// meaning of the headers, once they are complete.
func (m *message) meaning(who *speaker) (e event, ok bool) {
	e.number = m.sequence
	if m.flags&hasSequence == 0 || m.is == 0 || m.is == isResponse && m.status == 0 {
		return e, false
	}
	well := m.is == isRequest || m.status >= 100 && m.status < 300
	switch action(m.method) {
	case actInvite, actUpdate, actPrack:
		m.flags.put(described, well)
		if !well {
			e.op, ok = opFailed, true
		} else if m.is == isRequest && action(m.method) == actInvite {
			e.op, ok = opInvite, true
		}
	case actAck:
		m.flags.put(described, m.is == isRequest)
	case actBye:
		e.op, ok = opBye, m.is == isRequest
	case actRegister:
		e.port, e.lifetime = m.contactPort, m.lifetime()
		if m.is == isRequest {
			e.op = opRegister
			return e, m.flags&(contactOwn|contactForeign) == contactOwn
		}
		e.op = opRefused
		if well && m.registered(who) && e.lifetime > 0 {
			e.op = opRegistered
		}
		ok = !well || m.status >= 200
	}
	return e, ok
}

// expect ends the description of a medium: its port is expected if the address
// that goes with it is the speaker's.
func (m *message) expect() (event, bool) {
	if m.flags&described == 0 || m.mediumPort == 0 || m.media == mediaCounts {
		return event{}, false
	}
	m.media++
	own := m.flags&sessionOwn != 0
	if m.flags&mediumGiven != 0 {
		own = m.flags&mediumOwn != 0
	}
	return event{op: opExpect, kind: m.kind, port: m.mediumPort}, own
}

// finish ends a datagram, and with it a message and its last line.
func (r *registers) finish(a *Automaton, who *speaker) (event, bool) {
	if e, ok := r.feed(a, who, '\n'); ok {
		return e, ok
	}
	if r.message.flags&inBody == 0 {
		return r.message.meaning(who)
	}
	return r.message.expect()
}
