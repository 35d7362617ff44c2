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
// in capitals, each followed by a blank, and each wherever it stands; a port
// has at most five digits. Only the first CONNECT counts.
func amandaGrammar() (g *grammar, start state) {
	g = &grammar{}
	start = g.message()
	list := g.search(start, actNone, "CONNECT ")[0]
	for _, keyword := range g.search(list, actOwn, "DATA ", "MESG ", "INDEX ", "STATE ") {
		g.rows[keyword] = g.rows[list]
		at := keyword
		for range 5 {
			number := g.then(list)
			g.rows[number] = g.rows[list]
			g.ends(number, actAnnounce)
			g.on(at, digits, number, actPortDigit)
			at = number
		}
		long := g.then(list)
		g.rows[long] = g.rows[list]
		for c := range g.rows[long] {
			g.rows[long][c].do = actLine
		}
		g.on(at, digits, long, actNone)
		g.on(long, digits, long, actNone)
	}
	for s := range g.rows[list:] {
		g.rows[int(list)+s]['\n'].next = g.skip(list)
	}
	return g, start
}
