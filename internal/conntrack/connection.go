package conntrack

import (
	"fmt"
	"net/netip"
	"strings"

	"tapgate/internal/packet"
)

// The two directions as indices.
const (
	original = 0
	reply    = 1
)

// Connection is one tracked connection. Index 0 of arrays is the original
// direction, 1 the reply direction.
type Connection struct {
	Key
	OriginB   bool  // end B sent the first packet
	Out       bool  // the guest sent the first packet
	SeenReply bool  // never unset
	Expected  bool  // announced by a helper: RELATED until a reply is seen
	Assured   bool  // traffic both ways, beyond the opening
	Created   int64 // nanoseconds on the tracker's clock
	Expires   int64 // not there any more from this moment on
	Packets   [2]uint64
	Bytes     [2]uint64 // whole frames
	TCP       TCP
	SCTP      SCTP
	Helper    Helper    // that reads it
	Announced Announced // by whom, valid if Expected
	// Admitted is the name of the clause that passed the first packet, 0 if none
	// did: it passed because nothing stopped it.
	Admitted uint64
	begun    [2]bool // a helper has seen payload
	stream   uint16  // 1 + the number of its record in Streams, 0: none
	ticket   uint32  // its place in the table's queue, 0 for none
}

// live tells whether the entry still counts.
func (c *Connection) live(now int64) bool { return now < c.Expires }

// ends tells which end of a key sent a packet.
type ends uint8

const (
	fromA ends = iota
	fromB
	sameEnds // both ends are equal: any packet after the first is a reply
)

// direction of a packet within the connection.
func (c *Connection) direction(e ends) int {
	if e == sameEnds || (e == fromB) != c.OriginB {
		return reply
	}
	return original
}

// inverse is the sender of the answer.
func (e ends) inverse() ends {
	switch e {
	case fromA:
		return fromB
	case fromB:
		return fromA
	}
	return e
}

// stateOf is the state of a packet in the given direction, judged by what was
// known before it.
func (c *Connection) stateOf(dir int) packet.State {
	switch {
	case dir == reply || c.SeenReply:
		return packet.StateEstablished
	case c.Expected:
		return packet.StateRelated
	}
	return packet.StateNew
}

func (c *Connection) count(p *packet.Packet, dir int) {
	c.Packets[dir]++
	c.Bytes[dir] += uint64(len(p.Frame))
}

// Originator is the end that sent the first packet, with its port, identifier
// or 0.
func (c *Connection) Originator() netip.AddrPort {
	if c.OriginB {
		return c.end(c.B, c.BPort)
	}
	return c.end(c.A, c.APort)
}

// Responder is the other end. An ICMP query has no port there.
func (c *Connection) Responder() netip.AddrPort {
	switch {
	case c.OriginB:
		return c.end(c.A, c.APort)
	case c.isICMP():
		return c.end(c.B, 0)
	}
	return c.end(c.B, c.BPort)
}

// HasPorts tells whether the ends have L4 ports.
func (k Key) HasPorts() bool { return hasPorts(k.Proto) }

// Query is what an ICMP connection asks: type, code and identifier.
func (k Key) Query() (kind, code uint8, id uint16) {
	return uint8(k.BPort >> 8), uint8(k.BPort), k.APort
}

func (k Key) isICMP() bool { return k.Proto == packet.ProtoICMP || k.Proto == packet.ProtoICMPv6 }

func (k Key) end(ip packet.U128, port uint16) netip.AddrPort {
	var b [16]byte
	for i := range 8 {
		b[i] = byte(ip.Hi >> (56 - 8*i))
		b[8+i] = byte(ip.Lo >> (56 - 8*i))
	}
	addr := netip.AddrFrom16(b)
	if k.Family == 4 {
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrPortFrom(addr, port)
}

// ProtoName is the usual name of an IP protocol, or its number.
func ProtoName(proto uint8) string {
	switch proto {
	case packet.ProtoICMP:
		return "icmp"
	case packet.ProtoTCP:
		return "tcp"
	case packet.ProtoUDP:
		return "udp"
	case packet.ProtoICMPv6:
		return "icmpv6"
	case packet.ProtoSCTP:
		return "sctp"
	case packet.ProtoUDPLite:
		return "udplite"
	case protoGRE:
		return "gre"
	}
	return fmt.Sprintf("proto-%d", proto)
}

// ProtoState names the protocol's own state, "" if it has none.
func (c *Connection) ProtoState() string {
	switch c.Proto {
	case packet.ProtoTCP:
		return c.TCP.State.String()
	case packet.ProtoSCTP:
		return c.SCTP.State.String()
	}
	return ""
}

// Ends are originator and responder as text; behind the latter stands what a
// protocol without ports has in their place.
func (c *Connection) Ends() (originator, responder string) {
	from, to := c.Originator(), c.Responder()
	if c.HasPorts() {
		return from.String(), to.String()
	}
	originator, responder = from.Addr().String(), to.Addr().String()
	if c.isICMP() {
		kind, code, id := c.Query()
		responder += fmt.Sprintf(" type %d code %d id %d", kind, code, id)
	} else if call := max(from.Port(), to.Port()); call != 0 {
		responder += fmt.Sprintf(" call %d", call)
	}
	return originator, responder
}

// String shows the connection as one line, originator first:
//
//	tcp 10.0.0.1:40000 > 10.0.0.2:80 ESTABLISHED replied assured
func (c *Connection) String() string {
	var b strings.Builder
	from, to := c.Ends()
	fmt.Fprintf(&b, "%s %s > %s", ProtoName(c.Proto), from, to)
	if state := c.ProtoState(); state != "" {
		b.WriteString(" " + state)
	}
	for _, word := range []struct {
		set  bool
		text string
	}{
		{c.Expected, " expected"},
		{c.SeenReply, " replied"},
		{c.Assured, " assured"},
	} {
		if word.set {
			b.WriteString(word.text)
		}
	}
	return b.String()
}
