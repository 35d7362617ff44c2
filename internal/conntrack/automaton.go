package conntrack

import (
	"encoding/binary"

	"tapgate/internal/packet"
)

// The size of every automaton's tables, the same in automaton.h.
const (
	automatonStates  = 256
	automatonClasses = 32
)

// The states that every grammar has: each direction has its own pair, the
// first for ORIGINAL, the second for REPLY. Direction d starts its lines in
// d-1 and skips to the end of a line in d+1.
const (
	lineOriginal state = iota
	lineReply
	skipOriginal
	skipReply
	firstOwnState
)

type state uint8

// action is what a transition does to the registers. Failing means that the
// rest of the line is skipped; it only ever happens inside a line, since no
// failing action stands on a line feed.
type action uint8

// The actions, numbered as in automaton.h.
const (
	actNone       action = iota
	actLine              // the line is over: forget what it said
	actIPv4              // an IPv4 address follows: fail on IPv6
	actIPv6              // an IPv6 address follows: fail on IPv4
	actOwn               // no address follows: it is the speaker's
	actDelimiter         // this byte is the line's delimiter
	actOctetDigit        // a digit of a number up to 255, fail above
	actOctet             // an octet of the IPv4 address is complete
	actPortDigit         // a digit of a number up to 65535, fail above
	actHigh              // the number is the upper byte of the port
	actHexDigit          // a digit of a group of an IPv6 address
	actGroup             // a group is complete, more follow: fail at the eighth
	actLastGroup         // the eighth group is complete: fail if it is another
	actTailGroup         // a group behind the gap is complete: fail at the eighth
	actAnnounce          // the port is complete: tell, and forget the line
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
	steps   [automatonStates][automatonClasses]step
}

// append lays the automaton out as struct automaton of automaton.h: a byte of
// class for each byte value, then for each state and class a 16-bit number in
// the machine's order, the next state in its lower and the action in its upper
// byte.
func (a *Automaton) append(b []byte) []byte {
	b = append(b, a.classes[:]...)
	for _, row := range a.steps {
		for _, s := range row {
			b = binary.NativeEndian.AppendUint16(b, uint16(s.do)<<8|uint16(s.next))
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
}

// speaker is who sends the bytes: an announcement must name its address.
type speaker struct {
	address packet.U128
	family  uint8
	skip    state // where a failed line goes on
}

// feed takes one byte. It returns a port number above 0 when the byte
// completes the announcement of a port at the speaker's own address.
func (r *registers) feed(a *Automaton, who *speaker, c byte) uint16 {
	class := a.classes[c]
	if r.delimiter != 0 && r.delimiter == c {
		class = 0
	}
	s := a.steps[r.state][class]
	r.state = s.next
	ok := true
	switch s.do {
	case actLine:
		*r = registers{state: r.state}
	case actIPv4:
		ok = who.family == 4
	case actIPv6:
		ok = who.family == 6
	case actOwn:
		r.head = who.address
	case actDelimiter:
		r.delimiter = c
	case actOctetDigit:
		r.value = r.value*10 + uint32(c-'0')
		ok = r.value <= 255
	case actOctet:
		r.head.Lo = r.head.Lo<<8 | uint64(r.value)
		r.value = 0
	case actPortDigit:
		r.value = r.value*10 + uint32(c-'0')
		ok = r.value <= 65535
	case actHigh:
		r.high = uint8(r.value)
		r.value = 0
	case actHexDigit:
		r.value = r.value<<4 | nibble(c)
	case actGroup:
		ok = r.groups < 7
		r.headGroup()
	case actLastGroup:
		ok = r.groups == 7
		r.headGroup()
	case actTailGroup:
		ok = r.groups < 7
		r.tail.Hi = r.tail.Hi<<16 | r.tail.Lo>>48
		r.tail.Lo = r.tail.Lo<<16 | uint64(r.value)
		r.groups++
		r.value = 0
	case actAnnounce:
		port := uint16(r.high)<<8 | uint16(r.value)
		own := r.head.Hi|r.tail.Hi == who.address.Hi && r.head.Lo|r.tail.Lo == who.address.Lo
		*r = registers{state: r.state}
		if own {
			return port
		}
	}
	if !ok {
		r.state = who.skip
	}
	return 0
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

func nibble(c byte) uint32 {
	if c <= '9' {
		return uint32(c - '0')
	}
	return uint32(c|0x20-'a') + 10
}
