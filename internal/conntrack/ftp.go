package conntrack

import "tapgate/internal/packet"

// ftpPort is where FTP servers listen by convention.
const ftpPort = 21

// ftp reads FTP control connections (RFC 959, RFC 2428).
var ftp = ftpGrammar().compile()

// ftpGrammar:
//
//	ORIGINAL  PORT h1,h2,h3,h4,p1,p2 CR or LF
//	          EPRT d n d address d port d     n: 1 IPv4, 2 IPv6; d any visible character but a digit
//	REPLY     227 … h1,h2,h3,h4,p1,p2         from the first digit on, ended by anything but a digit
//	          229 … ( d d d port d
//
// Commands count in either case and only at a line's start. A line that does
// not fit announces nothing; it is not this code's business to judge it.
func ftpGrammar() *grammar {
	g := newGrammar()

	port := g.ftpNumbers(g.word(packet.Original, "PORT ", actIPv4))
	g.on(port, "\r", skipOriginal, actAnnounce)
	g.on(port, "\n", lineOriginal, actAnnounce)

	g.ftpEPRT(g.word(packet.Original, "EPRT ", actNone))

	passive := g.word(packet.Reply, "227 ", actIPv4)
	g.others(passive, passive)
	g.end(g.ftpNumbers(passive))

	extended := g.word(packet.Reply, "229 ", actNone)
	for c := range 256 {
		if c != '\n' {
			g.rows[extended][c] = step{next: extended}
		}
	}
	first, second, third, number := g.then(extended), g.then(extended), g.then(extended), g.then(extended)
	g.on(extended, "(", first, actOwn)
	g.on(first, visible(), second, actDelimiter)
	g.onDelimiter(second, third, actNone)
	g.onDelimiter(third, number, actNone)
	g.onDelimiter(g.number(number, actPortDigit), skipReply, actAnnounce)
	return g
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
	g.onDelimiter(last, skipOriginal, actAnnounce)

	number6 := g.ipv6(address6)
	g.on(number6, digits, last, actPortDigit)
}

// Tables are the automata of all helpers in the order of enum helper in
// automaton.h, each as a value of the map `automata`: struct automaton, 16,640
// bytes (see Automaton.append).
func Tables() [][]byte {
	return [][]byte{ftp.append(nil)}
}
