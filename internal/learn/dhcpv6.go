package learn

import (
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// request6 is a message of the guest that a DHCPv6 server may answer with
// addresses. Its members have fixed sizes, so that encoding/binary can write them
// down.
type request6 struct {
	XID    [3]byte
	Rapid  bool // a SOLICIT with rapid commit
	Client duid
	Server duid  // the one that it is for; zero for any
	At     int64 // unix, nanoseconds
}

// answeredBy tells whether a reply answers the request (RFC 8415 section 16.10).
func (r *request6) answeredBy(m *dhcpv6Message) bool {
	return r.XID == m.xid && r.Client == m.client && r.Rapid == m.rapid &&
		m.server != duid{} && (r.Server == duid{} || r.Server == m.server)
}

// request6 is told what the guest sends. A CONFIRM or an INFORMATION-REQUEST is
// answered without addresses.
func (p *Port) request6(f *frame, m *dhcpv6Message) {
	switch m.kind {
	case dhcpv6.MessageTypeSolicit:
		if m.rapid && f.passed {
			p.open6(f, m)
		}
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		if f.passed {
			m.rapid = false
			p.open6(f, m)
		}
	case dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		for _, g := range m.grants {
			p.take(g.address, g.source)
		}
	}
}

func (p *Port) open6(f *frame, m *dhcpv6Message) {
	r := request6{XID: m.xid, Rapid: m.rapid, Client: m.client, Server: m.server, At: f.now.UnixNano()}
	p.memory.requests6 = slices.DeleteFunc(p.memory.requests6, func(other request6) bool {
		other.At = r.At
		return other == r
	})
	p.memory.requests6 = bounded(append(p.memory.requests6, r), maxRequests)
}

// reply6 is told what the guest receives. A REPLY teaches if it answers what the
// guest asked for and comes from a trusted server or relay agent; which of them
// sent it, the guest cannot see (RFC 8415 section 19.2).
func (p *Port) reply6(f *frame, m *dhcpv6Message) {
	if m.kind != dhcpv6.MessageTypeReply || len(m.grants) == 0 {
		return
	}
	if !p.config.trusts(f.source()) {
		p.notes.add("%s is no trusted DHCPv6 server: its REPLY teaches nothing", f.source())
		return
	}
	i := slices.IndexFunc(p.memory.requests6, func(r request6) bool { return r.answeredBy(m) })
	if i < 0 {
		p.notes.add("the DHCPv6 REPLY of %s answers nothing that the guest asked for: it teaches nothing", f.source())
		return
	}
	p.memory.requests6 = slices.Delete(p.memory.requests6, i, i+1)
	for _, g := range m.grants {
		if g.failed || g.bad {
			continue
		}
		if g.lifetime == 0 {
			p.take(g.address, g.source)
			continue
		}
		l := Lease{Address: g.address, Source: g.source, Server: f.source()}
		if g.lifetime != infinite*time.Second {
			l.End = f.now.Add(g.lifetime)
		}
		p.give(l, f.now)
	}
}
