package conntrack

import "tapgate/internal/packet"

// The kinds of what SIP announces.
const (
	kindSignalling = iota
	kindAudio
	kindVideo
	kindImage
)

// sip reads telephone signalling (RFC 3261) and the session descriptions in it
// (RFC 4566). Both ends speak alike. What a phone tells of its media its peer
// is expected at, by RTP and RTCP; where it registers to be called, its
// registrar is, from when that agrees.
var sip = func() *Automaton {
	g, start := sipGrammar()
	media := kind{slots: 4, proto: packet.ProtoUDP, flags: paired, lifetime: 180}
	audio, video, image := media, media, media
	audio.first, video.first, image.first, image.slots = 1, 5, 9, 2
	return g.compile(Automaton{
		start: [2]state{start, start}, dead: noState, reads: packet.Original | packet.Reply, timeout: 3600,
		kinds: [automatonKinds]kind{{slots: 1, flags: registering, lifetime: 180, reader: SIP}, audio, video, image},
	})
}()

// sipGrammar, where a line may end in LF as well as in CR LF:
//
//	method " " letter …                   INVITE, UPDATE, ACK, PRACK, BYE, REGISTER
//	SIP/2.0 status …
//	CSeq: number method
//	Content-Length: number                l
//	Expires: number
//	Contact: … sip:host … , … sip:host …  m; see sipContact
//
//	v=                                    the session description begins
//	c=IN IP4 address                      or IP6
//	m=audio port …                        audio, video, image, or another
//
// Names count in either case, but not what follows "c=" and "m=". Blanks stand
// around a header's colon, behind which the line may be broken, too. Whatever
// else there is, even an unknown request, is passed over.
func sipGrammar() (g *grammar, start state) {
	g = &grammar{}
	headers, body, description := g.lines(), g.lines(), g.lines()
	start = g.linesBefore(headers)

	g.on(start, "\r\n", start, actNone)
	uri := g.then(start)
	g.on(uri, letters, g.skip(start), actRequestLine)
	g.sipMethods(start, func(behind state) { g.on(behind, " ", uri, actNone) })
	g.ends(g.number(g.word(start, "SIP/2.0 ", actResponseLine), actNumberDigit), actStatus)

	empty := g.then(headers)
	g.on(headers, "\r", empty, actNone)
	for _, from := range []state{headers, empty} {
		g.on(from, "\n", body, actHeaders)
	}
	broken := map[state]state{} // values by the states at the beginning of the line behind them
	header := func(names ...string) (value state) {
		value = g.then(headers)
		end, next := g.then(headers), g.then(headers)
		for _, name := range names {
			colon := g.word(headers, name, actNone)
			g.on(colon, " \t", colon, actNone)
			g.on(colon, ":", value, actNone)
		}
		g.on(value, " \t", value, actNone)
		g.on(value, "\r", end, actNone)
		for _, from := range []state{value, end} {
			g.on(from, "\n", next, actNone)
		}
		broken[next] = value
		return value
	}
	sequence := g.number(header("CSEQ"), actNumberDigit)
	g.ends(sequence, actSequence)
	method := g.then(headers)
	g.on(sequence, " \t", method, actSequence)
	g.on(method, " \t", method, actNone)
	g.sipMethods(method, func(state) {})
	g.ends(g.number(header("CONTENT-LENGTH", "L"), actNumberDigit), actLength)
	g.ends(g.number(header("EXPIRES"), actNumberDigit), actExpires)
	g.sipContact(header("CONTACT", "M"))
	for next, value := range broken {
		g.rows[next] = g.rows[headers]
		g.on(next, " \t", value, actNone)
	}

	g.on(g.word(body, "V", actNone), "=", g.skip(description), actNone)
	g.sipDescription(description)
	return g, start
}

// sipMethods reads the name of a method.
func (g *grammar) sipMethods(from state, behind func(state)) {
	for i, name := range []string{"INVITE", "UPDATE", "ACK", "PRACK", "BYE", "REGISTER"} {
		behind(g.word(from, name, actInvite+action(i)))
	}
}

// sipContact reads contacts up to the end of the line:
//
//	… sip:[user@]host[:port] … expires=number … transport=udp … , …
//
// What looks like a host is one unless "@" follows; a host is an IPv4 address
// or an IPv6 address in brackets.
func (g *grammar) sipContact(value state) {
	search, rest := g.then(value), g.then(value)
	_, uri := g.searchWord(search, "SIP:")
	g.inherit(value, search)
	host := uri[0]
	g.entering(host, actURI)
	names, parameter := g.searchWord(rest, "EXPIRES=", "TRANSPORT=")
	g.entering(parameter[1], actTransport)
	for _, s := range names {
		g.on(s, ",", search, actNone)
		g.on(s, "@", host, actUser)
	}

	own := state(len(g.rows)) // all that follow: what they do not read goes on in rest
	expires := g.number(parameter[0], actNumberDigit)
	g.word(parameter[1], "UDP", actUDP)
	g.word(parameter[1], "TCP", actTCP)
	port, v6, bracket := g.then(value), g.then(value), g.then(value)
	octet := g.octets(host, ".")
	g.on(host, "[", v6, actNone)
	g.ipv6(v6).each(actAddressGroup, actAddressGap, actAddressTail, func(s state, do action) {
		g.on(s, "]", bracket, do)
	})
	g.on(octet, ":", port, actAddressOctet)
	g.on(bracket, ":", port, actNone)
	number := g.number(port, actPortDigit)
	for _, s := range append([]state{host}, parameter...) {
		g.inherit(s, rest)
	}
	for s := own; s < state(len(g.rows)); s++ {
		g.inherit(s, rest)
	}
	const ends = " \t\r\n>;,?\""
	g.completing(expires, ends, actContactExpires)
	g.completing(octet, ends, actAddressOctet)
	g.completing(number, ends, actContactPort)
}

// sipDescription reads the lines of a session description.
func (g *grammar) sipDescription(start state) {
	const ends = " \t\r\n/"
	address := g.exact(g.word(start, "C=", actNone), "IN IP", actNone)
	v4, v6 := g.then(start), g.then(start)
	g.on(g.word(address, "4", actNone), " ", v4, actNone)
	g.on(g.word(address, "6", actNone), " ", v6, actNone)
	g.completing(g.octets(v4, "."), ends, actAddressOctet)
	g.ipv6(v6).each(actAddressGroup, actAddressGap, actAddressTail, func(s state, do action) {
		g.completing(s, ends, do)
	})

	medium := g.word(start, "M=", actMedium)
	port := g.then(start)
	for i, name := range []string{"audio ", "video ", "image "} {
		g.on(g.exact(medium, name, actAudio+action(i)), digits, port, actPortDigit)
	}
	g.on(port, digits, port, actPortDigit)
	g.ends(port, actMediumPort)
}
