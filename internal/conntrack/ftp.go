package conntrack

import "tapgate/internal/packet"

// ftp reads FTP control connections (RFC 959, RFC 2428). Both of its ways
// expect the listener's peer: PORT and EPRT the server at the client's port,
// 227 and 229 the client at the server's.
var ftp = func() *Automaton {
	g, start := ftpGrammar()
	return g.compile(Automaton{
		start: start, dead: noState, reads: packet.Original | packet.Reply,
		kinds: [automatonKinds]kind{{slots: 1, proto: packet.ProtoTCP, lifetime: 300}},
	})
}()

// ftpGrammar:
//
//	ORIGINAL  PORT h1,h2,h3,h4,p1,p2 CR or LF
//	          EPRT d n d address d port d     n: 1 IPv4, 2 IPv6; d any visible character but a digit
//	REPLY     227 … h1,h2,h3,h4,p1,p2         from the first digit on, ended by anything but a digit
//	          229 … ( d d d port d
//
// Commands count in either case and only at a line's start. A line that does
// not fit announces nothing; it is not this code's business to judge it.
func ftpGrammar() (g *grammar, start [2]state) {
	g = &grammar{}
	original, reply := g.lines(), g.lines()

	port := g.ftpNumbers(g.word(original, "PORT ", actIPv4))
	g.on(port, "\r", g.skip(port), actAnnounce)
	g.on(port, "\n", original, actAnnounce)

	g.ftpEPRT(g.word(original, "EPRT ", actNone))

	passive := g.word(reply, "227 ", actIPv4)
	g.others(passive, digits, passive)
	g.ends(g.ftpNumbers(passive), actAnnounce)

	extended := g.word(reply, "229 ", actNone)
	g.others(extended, "(", extended)
	first, second, third, number := g.then(extended), g.then(extended), g.then(extended), g.then(extended)
	g.on(extended, "(", first, actOwn)
	g.on(first, visible(), second, actDelimiter)
	g.onDelimiter(second, third, actNone)
	g.onDelimiter(third, number, actNone)
	g.onDelimiter(g.number(number, actPortDigit), g.skip(number), actAnnounce)
	return g, [2]state{original, reply}
}

// ftpNumbers reads h1,h2,h3,h4,p1,p2; the caller ends the last.
func (g *grammar) ftpNumbers(from state) state {
	high, low := g.then(from), g.then(from)
	g.on(g.octets(from, ","), ",", high, actOctet)
	g.on(g.number(high, actOctetDigit), ",", low, actHigh)
	return g.number(low, actOctetDigit)
}

// ftpEPRT reads what follows "EPRT ".
func (g *grammar) ftpEPRT(from state) {
	family, v4, v6 := g.then(from), g.then(from), g.then(from)
	g.on(from, visible(), family, actDelimiter)
	g.on(family, "1", v4, actIPv4)
	g.on(family, "2", v6, actIPv6)

	address4, address6, number := g.then(from), g.then(from), g.then(from)
	g.onDelimiter(v4, address4, actNone)
	g.onDelimiter(v6, address6, actNone)
	g.onDelimiter(g.octets(address4, "."), number, actOctet)
	last := g.number(number, actPortDigit)
	g.onDelimiter(last, g.skip(last), actAnnounce)

	number6 := g.then(address6)
	g.ipv6(address6).each(actLastGroup, actNone, actTailGroup, func(end state, do action) {
		g.onDelimiter(end, number6, do)
	})
	g.on(number6, digits, last, actPortDigit)
}
