package conntrack

import "tapgate/internal/packet"

// irc reads what IRC clients offer each other directly (DCC). The offer goes
// through the server to somebody whose address nobody here knows: whoever
// connects is expected, at a port of the client's own address.
var irc = func() *Automaton {
	g, start := ircGrammar()
	return g.compile(Automaton{
		start: [2]state{start, start}, dead: noState, reads: packet.Original,
		kinds: [automatonKinds]kind{{slots: 8, proto: packet.ProtoTCP, flags: anySource, lifetime: 300}},
	})
}()

// ircGrammar:
//
//	[blanks] PRIVMSG … " :" \1DCC type word address port … LF
//
// PRIVMSG in either case; the first " :" counts; the type is SEND, CHAT, MOVE,
// TSEND or SCHAT, in capitals; the word is a name without blanks; the address
// is one decimal number, of IPv4.
func ircGrammar() (g *grammar, start state) {
	g = &grammar{}
	start = g.lines()
	g.on(start, " \r", start, actNone)

	to := g.word(start, "PRIVMSG ", actNone)
	blank := g.then(to)
	g.others(to, " ", to)
	g.on(to, " ", blank, actNone)
	g.others(blank, " :", to)
	g.on(blank, " ", blank, actNone)
	text := g.then(to)
	g.on(blank, ":", text, actNone)

	dcc, word, address := g.exact(text, "\x01DCC ", actIPv4), g.then(to), g.then(to)
	for _, kind := range []string{"SEND", "CHAT", "MOVE", "TSEND", "SCHAT"} {
		g.on(g.exact(dcc, kind, actNone), " ", word, actNone)
	}
	g.others(word, " ", word)
	g.on(word, " ", address, actNone)

	port, rest := g.then(to), g.then(to)
	g.on(g.number(address, actAddressDigit), " ", port, actNone)
	g.on(port, " ", port, actNone)
	number := g.number(port, actPortDigit)
	for _, from := range []state{number, rest} {
		but := ""
		if from == number {
			but = digits
		}
		g.others(from, but, rest)
		g.on(from, "\n", start, actAnnounce)
	}
	return g, start
}
