package learn

import (
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	// maxRequests open exchanges of each protocol are remembered, each for
	// requestTime: clients send again before that (RFC 2131 section 4.1, RFC 8415
	// section 15).
	maxRequests = 16
	requestTime = time.Minute
	// offerTime is how long an offered address waits to be confirmed.
	offerTime = time.Minute
)

// request is a DISCOVER or REQUEST of the guest that nobody has answered yet. Its
// members have fixed sizes, so that encoding/binary can write them down.
type request struct {
	XID    uint32
	Kind   uint8 // dhcpv4.MessageType
	Rapid  bool  // a DISCOVER with rapid commit
	Asked  [4]byte
	Server [4]byte // the one that a REQUEST is for; 0.0.0.0 for any
	At     int64   // unix, nanoseconds
}

// answeredBy tells whether a message answers the request. An INFORM is answered
// without an address, so it is none.
func (r *request) answeredBy(m *dhcpMessage) bool {
	if r.XID != m.xid {
		return false
	}
	chosen := netip.AddrFrom4(r.Server)
	fromChosen := chosen.IsUnspecified() || chosen == m.server
	switch kind := dhcpv4.MessageType(r.Kind); m.kind {
	case dhcpv4.MessageTypeOffer:
		return kind == dhcpv4.MessageTypeDiscover
	case dhcpv4.MessageTypeAck:
		return kind == dhcpv4.MessageTypeRequest && fromChosen && m.yours == netip.AddrFrom4(r.Asked) ||
			kind == dhcpv4.MessageTypeDiscover && r.Rapid && m.rapid
	case dhcpv4.MessageTypeNak:
		return kind == dhcpv4.MessageTypeRequest && fromChosen
	}
	return false
}

// request is told what the guest sends. What did not pass, nobody answers; but a
// guest that gives an address up does so in any case.
func (p *Port) request(f *frame, m *dhcpMessage) {
	switch m.kind {
	case dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest:
		if f.passed {
			p.open(f, m)
		}
	case dhcpv4.MessageTypeDecline:
		p.giveUp(m.requested)
	case dhcpv4.MessageTypeRelease:
		p.giveUp(m.client)
	}
}

func (p *Port) open(f *frame, m *dhcpMessage) {
	r := request{XID: m.xid, Kind: uint8(m.kind), At: f.now.UnixNano()}
	if m.kind == dhcpv4.MessageTypeDiscover {
		r.Rapid = m.rapid
	} else {
		// A client that has no address yet asks by option, one that renews by ciaddr
		// (RFC 2131 section 4.3.2).
		asked := m.requested
		if !asked.IsValid() {
			asked = m.client
		}
		r.Asked = asked.As4()
		if m.server.IsValid() {
			r.Server = m.server.As4()
		}
	}
	p.memory.requests = slices.DeleteFunc(p.memory.requests, func(other request) bool {
		other.At = r.At
		return other == r
	})
	p.memory.requests = bounded(append(p.memory.requests, r), maxRequests)
}

// giveUp takes back the lease of an address, and what is asked for it.
func (p *Port) giveUp(a netip.Addr) {
	if !a.IsValid() {
		return
	}
	p.take(whole(a), DHCP, Offer)
	p.memory.requests = slices.DeleteFunc(p.memory.requests, func(r request) bool {
		return dhcpv4.MessageType(r.Kind) == dhcpv4.MessageTypeRequest && netip.AddrFrom4(r.Asked) == a
	})
}

// reply is told what the guest receives. It teaches if it answers what the guest
// asked for and comes from a trusted server.
func (p *Port) reply(f *frame, m *dhcpMessage) {
	switch m.kind {
	case dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck:
		if !unicast4(m.yours) { // the answer to an INFORM has none
			return
		}
	case dhcpv4.MessageTypeNak:
	default:
		return
	}
	if !p.config.trusts(f.source()) {
		p.notes.add("%s is no trusted DHCP server: its DHCP%s%s teaches nothing", f.source(), m.kind, about(m))
		return
	}
	i := slices.IndexFunc(p.memory.requests, func(r request) bool { return r.answeredBy(m) })
	if i < 0 {
		p.notes.add("the DHCP%s of %s%s answers nothing that the guest asked for: it teaches nothing", m.kind, f.source(), about(m))
		return
	}
	answered := p.memory.requests[i]
	switch m.kind {
	case dhcpv4.MessageTypeOffer:
		p.offer(f, m)
	case dhcpv4.MessageTypeAck:
		if m.timed {
			p.memory.requests = slices.Delete(p.memory.requests, i, i+1)
			p.acknowledge(f, m)
		}
	case dhcpv4.MessageTypeNak:
		p.memory.requests = slices.Delete(p.memory.requests, i, i+1)
		p.take(whole(netip.AddrFrom4(answered.Asked)), DHCP, Offer)
	}
}

func about(m *dhcpMessage) string {
	if m.kind == dhcpv4.MessageTypeNak {
		return ""
	}
	return " for " + m.yours.String()
}

// trusts tells whether the replies of a sender teach.
func (c *Config) trusts(sender netip.Addr) bool {
	family := slices.DeleteFunc(slices.Clone(c.Servers), func(s netip.Addr) bool { return s.Is4() != sender.Is4() })
	return len(family) == 0 || slices.Contains(family, sender)
}

// offer takes an offered address for a while, in the mode Any: of several offers
// the first one.
func (p *Port) offer(f *frame, m *dhcpMessage) {
	l := Lease{Address: whole(m.yours), Source: Offer, Server: m.from(f), End: f.now.Add(offerTime)}
	if p.config.Mode != Any {
		return
	}
	for _, other := range p.leases {
		if other.Source == Offer && other.Address != l.Address {
			return
		}
	}
	p.give(l, f.now)
}

// acknowledge takes the address that the guest was given. Its lease time counts
// even where it is shorter than what remains of an earlier one: the server will
// give the address to somebody else from then on. In the mode Any there is one
// address, whose end nobody watches any more.
func (p *Port) acknowledge(f *frame, m *dhcpMessage) {
	l := Lease{Address: whole(m.yours), Source: DHCP, Server: m.from(f)}
	switch {
	case m.seconds == 0:
		p.take(l.Address, DHCP, Offer)
		return
	case p.config.Mode == Any:
		p.withdrawOffers()
	case m.seconds != infinite:
		l.End = f.now.Add(time.Duration(m.seconds) * time.Second)
	}
	p.give(l, f.now)
}

// from is who gave the address: a relay agent's reply names the server.
func (m *dhcpMessage) from(f *frame) netip.Addr {
	if m.server.IsValid() {
		return m.server
	}
	return f.source()
}

func (p *Port) withdrawOffers() {
	for a := range p.leases {
		p.take(a, Offer)
	}
}
