package conntrack

import "tapgate/internal/packet"

// tftp reads TFTP requests (RFC 1350): the server answers from a port of its
// own to the one that the client asked from.
var tftp = func() *Automaton {
	g, start := tftpGrammar()
	return g.compile(Automaton{
		start: [2]state{start, start}, dead: g.skip(start), reads: packet.Original | packet.Reply,
		kinds: [automatonKinds]kind{{slots: 1, proto: packet.ProtoUDP, flags: toOriginator, lifetime: 300}},
	})
}()

// tftpGrammar: opcode 1 (read) or 2 (write) in 16 bits. Either end may ask; it
// is always the originator who is answered.
func tftpGrammar() (g *grammar, start state) {
	g = &grammar{}
	start = g.message()
	low := g.then(start)
	g.on(start, "\x00", low, actNone)
	g.on(low, "\x01\x02", g.skip(low), actRequest)
	return g, start
}
