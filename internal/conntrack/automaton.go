package conntrack

import (
	"encoding/binary"
	"math"

	"tapgate/internal/packet"
)

// The size of every automaton's tables, the same in automaton.h.
const (
	automatonStates  = 512
	automatonClasses = 64
	automatonKinds   = 4
)

// state is one of at most 512; step needs ten bits for it.
type state uint16

// noState is the dead state of an automaton that has none: what it reads
// announces something before it is over.
const noState state = 0xffff

// action is what a transition does to the registers. A value that does not
// fit spoils its line, which then announces nothing.
type action uint8

// The actions, numbered as in automaton.h.
const (
	actNone         action = iota
	actLine                // the line is over: forget what it said
	actIPv4                // an IPv4 address follows: spoilt over IPv6
	actIPv6                // an IPv6 address follows: spoilt over IPv4
	actOwn                 // no address follows: it is the speaker's
	actDelimiter           // this byte is the line's delimiter
	actOctetDigit          // a digit of a number up to 255
	actOctet               // an octet of the IPv4 address is complete
	actAddressDigit        // a digit of an IPv4 address as one number
	actPortDigit           // a digit of a number up to 65535
	actHigh                // the number is the upper byte of the port
	actHexDigit            // a digit of a group of an IPv6 address
	actGroup               // a group is complete, more follow: spoilt by the eighth
	actLastGroup           // the eighth group is complete: spoilt if it is another
	actTailGroup           // a group behind the gap is complete: spoilt by the eighth
	actAnnounce            // address and port are complete: tell, and forget the line
	actRequest             // a connection to the originator's own port is asked for

	// Those about messages: see message.go.
	actNumberDigit    // a digit of a number below 2³²; more are as much as the largest
	actRequestLine    // the first line is a request
	actResponseLine   // the first line is a response
	actInvite         // the message's method
	actUpdate         //
	actAck            //
	actPrack          //
	actBye            //
	actRegister       //
	actStatus         // the number is the response's status
	actSequence       // the number is CSeq's
	actLength         // the number is Content-Length
	actExpires        // the number is Expires
	actURI            // a contact begins
	actUser           // what was read of the contact's host was the user's name
	actContactPort    // the number is the contact's port
	actContactExpires // the number is the contact's lifetime
	actTransport      // the contact's transport protocol follows
	actUDP            // it is UDP
	actTCP            // it is TCP
	actHeaders        // the headers are over
	actMedium         // the description of a medium begins, and that of the one before is over
	actAudio          // the medium's sort
	actVideo          //
	actImage          //
	actMediumPort     // the number is the medium's port
	actAddressOctet   // the number ends an IPv4 address
	actAddressGroup   // the eighth group ends an IPv6 address
	actAddressGap     // "::" ends one
	actAddressTail    // a group behind the gap ends one
)

// step is one cell of the transition table.
type step struct {
	next state
	do   action
}

// Automaton reads one control protocol byte by byte. It is data only, run by
// registers.feed here and by the eBPF program.
type Automaton struct {
	classes [256]uint8 // of each byte; class 0 is the remembered delimiter
	start   [2]state   // where a direction's first line, or a datagram, begins
	skip    [2]state   // what is not understood up to the end of the line
	dead    state      // where every message of datagrams ends, and which nothing leads out of; or noState
	reads   packet.Direction
	timeout uint16 // seconds that a packet with payload leaves the control connection; 0: the tracker's own
	kinds   [automatonKinds]kind
	steps   [automatonStates][automatonClasses]step
}

// append lays the automaton out as struct automaton of automaton.h, numbers in
// the machine's order: a byte of class for each byte value; start and skip
// states, the dead state and the timeout in 16 bits each, the directions that
// are read in a byte and 3 bytes of nothing; the kinds (see kind.append); for
// each state and class a 16-bit number, the next state in its lower ten bits
// and the action above.
func (a *Automaton) append(b []byte) []byte {
	number := binary.NativeEndian.AppendUint16
	b = append(b, a.classes[:]...)
	for _, s := range []state{a.start[0], a.start[1], a.skip[0], a.skip[1], a.dead} {
		b = number(b, uint16(s))
	}
	b = number(b, a.timeout)
	b = append(b, uint8(a.reads), 0, 0, 0)
	for _, k := range a.kinds {
		b = k.append(b)
	}
	for _, row := range a.steps {
		for _, s := range row {
			b = number(b, uint16(s.do)<<10|uint16(s.next))
		}
	}
	return b
}

// registers are an automaton at work on one direction of a stream: where it
// is, and what it has read of the line so far. They hold no bytes of the
// stream, so a line may be as long as it likes. Mirrors struct registers of
// automaton.h.
type registers struct {
	head, tail packet.U128 // the address: its front from the left (IPv4: from the right), what follows "::" from the right
	value      uint32      // the number being read
	state      state
	delimiter  uint8 // of the line, 0 none
	groups     uint8 // of the IPv6 address, so far
	high       uint8 // upper byte of the port
	spoilt     bool  // the line announces nothing
	message    message
}

// speaker is who sends the bytes: an announcement must name its address.
type speaker struct {
	address packet.U128
	family  uint8
	proto   uint8
	port    uint16 // from which the connection was opened, by either end
	// The other end, and the port at which what it registered is expected, or 0.
	peer       packet.U128
	registered uint16
}

// event is what a byte completes.
type event struct {
	op       eventOp
	kind     uint8  // of an announcement: which of the automaton's kinds
	port     uint16 // of the announced connection's listener
	number   uint32 // of the request that it is about
	lifetime uint32 // of a registration, seconds
}

// feed takes one byte; ok if it completes an event.
func (r *registers) feed(a *Automaton, who *speaker, c byte) (e event, ok bool) {
	counted := r.message.flags&inBody != 0 && r.message.length != 0
	class := a.classes[c]
	if r.delimiter != 0 && r.delimiter == c {
		class = 0
	}
	s := a.steps[r.state][class]
	r.state = s.next
	spoilt := false
	switch s.do {
	case actNone:
	case actLine:
		*r = registers{state: r.state, message: r.message}
	case actIPv4:
		spoilt = who.family != 4
	case actIPv6:
		spoilt = who.family != 6
	case actOwn:
		r.head = who.address
	case actDelimiter:
		r.delimiter = c
	case actOctetDigit:
		r.value = r.value*10 + uint32(c-'0')
		spoilt = r.value > 255
	case actOctet:
		r.head.Lo = r.head.Lo<<8 | uint64(r.value)
		r.value = 0
	case actAddressDigit:
		r.head.Lo = r.head.Lo*10 + uint64(c-'0')
		spoilt = r.head.Lo > 0xffffffff
	case actPortDigit:
		r.value = r.value*10 + uint32(c-'0')
		spoilt = r.value > 65535
	case actHigh:
		r.high = uint8(r.value)
		r.value = 0
	case actHexDigit:
		r.value = r.value<<4 | nibble(c)
	case actGroup:
		spoilt = r.groups >= 7
		r.headGroup()
	case actLastGroup:
		spoilt = r.groups != 7
		r.headGroup()
	case actTailGroup:
		spoilt = r.groups >= 7
		r.tailGroup()
	case actAnnounce:
		e.port = uint16(r.high)<<8 | uint16(r.value)
		ok = !r.spoilt && r.head.Hi|r.tail.Hi == who.address.Hi && r.head.Lo|r.tail.Lo == who.address.Lo
		ok = ok && e.port != 0
		*r = registers{state: r.state}
	case actRequest:
		e.port = who.port
		ok = e.port != 0
	case actNumberDigit:
		r.value = uint32(min(uint64(r.value)*10+uint64(c-'0'), math.MaxUint32))
	default:
		e, ok = r.understand(a, who, s.do)
	}
	r.spoilt = r.spoilt || spoilt
	if counted {
		if r.message.length--; r.message.length == 0 {
			if last, more := r.message.expect(); more {
				e, ok = last, more
			}
			*r = registers{state: a.start[0]}
		}
	}
	return e, ok
}

// headGroup puts a group of an IPv6 address in its place counted from the
// left.
func (r *registers) headGroup() {
	shift := 48 - 16*(r.groups&3)
	if r.groups < 4 {
		r.head.Hi |= uint64(r.value) << shift
	} else {
		r.head.Lo |= uint64(r.value) << shift
	}
	r.groups++
	r.value = 0
}

// tailGroup puts a group of an IPv6 address behind those that follow "::".
func (r *registers) tailGroup() {
	r.tail.Hi = r.tail.Hi<<16 | r.tail.Lo>>48
	r.tail.Lo = r.tail.Lo<<16 | uint64(r.value)
	r.groups++
	r.value = 0
}

func nibble(c byte) uint32 {
	if c <= '9' {
		return uint32(c - '0')
	}
	return uint32(c|0x20-'a') + 10
}
