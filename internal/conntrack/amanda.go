package conntrack

import "tapgate/internal/packet"

// amanda reads what an Amanda client, which is the server of its control
// connection, tells of its data connections.
var amanda = func() *Automaton {
	g, start := amandaGrammar()
	return g.compile(Automaton{
		start: [2]state{start, start}, dead: g.skip(start), reads: packet.Reply, timeout: 300,
		kinds: [automatonKinds]kind{{slots: 4, proto: packet.ProtoTCP, lifetime: 180}},
	})
}()

// amandaGrammar:
//
//	… CONNECT … DATA|MESG|INDEX|STATE port … LF
//
// in capitals, each followed by a blank, and each wherever it stands. Of a port
// the first five digits count; behind a keyword without one, or with port 0,
// nothing does. Only the first CONNECT counts.
func amandaGrammar() (g *grammar, start state) {
	g = &grammar{}
	start = g.message()
	list := g.search(start, actNone, "CONNECT ")[0]
	for _, keyword := range g.search(list, actOwn, "DATA ", "MESG ", "INDEX ", "STATE ") {
		zeros, number := keyword, keyword
		for n := range 5 {
			more := g.then(list)
			g.rows[more] = g.rows[list]
			g.ends(more, actAnnounce)
			g.on(zeros, digits[1:], more, actPortDigit)
			if n > 0 {
				g.on(number, digits, more, actPortDigit)
			}
			number = more
			if n < 4 {
				zero := g.then(list)
				g.on(zeros, "0", zero, actNone)
				zeros = zero
			}
		}
		g.completing(number, digits, actAnnounce)
	}
	for s := range g.rows[list:] {
		g.rows[int(list)+s]['\n'].next = g.skip(list)
	}
	return g, start
}
