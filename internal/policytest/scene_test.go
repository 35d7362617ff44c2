package policytest

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
	"tapgate/nwfilter"
)

// Who is there: the guest, and a neighbour that is its router and DHCP server.
var (
	guestMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	peerMAC  = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x99}
	server   = netip.MustParseAddr("10.0.0.1")
	router   = netip.MustParseAddr("fe80::99")
	guestLL  = lab.LinkLocal(guestMAC)
)

const (
	pass Expect = "pass"
	drop Expect = "drop"
)

// play is a policy test that is being written.
type play struct{ *Test }

// newPlay binds a filter; parameters are pairs of name and value.
func newPlay(name, filter string, parameters ...string) play {
	t := &Test{Version: Version, Name: name, Filters: []string{}, Binding: Binding{MAC: MAC(guestMAC), Filter: filter}}
	for i := 0; i < len(parameters); i += 2 {
		t.Binding.Parameters = append(t.Binding.Parameters, nwfilter.Parameter{Name: parameters[i], Value: parameters[i+1]})
	}
	return play{t}
}

// scene is a sequence of it.
type scene struct {
	test  *Test
	at    int
	after time.Duration
}

func (p play) scene(note string) *scene {
	p.Sequences = append(p.Sequences, Sequence{Note: note})
	return &scene{test: p.Test, at: len(p.Sequences) - 1}
}

// wait lets time pass before the next packet.
func (s *scene) wait(d time.Duration) { s.after += d }

// out is a packet of the guest's, what becomes of it, and what is known of the guest
// from then on.
func (s *scene) out(note string, frame []byte, expect Expect, learned ...string) {
	s.add("out", note, frame, expect, learned)
}

// in is a packet to the guest.
func (s *scene) in(note string, frame []byte, expect Expect, learned ...string) {
	s.add("in", note, frame, expect, learned)
}

func (s *scene) add(dir Direction, note string, frame []byte, expect Expect, learned []string) {
	text := packet.Text(frame, len(frame), 0)
	if note != "" {
		text = note + ": " + text
	}
	sequence := &s.test.Sequences[s.at]
	sequence.Packets = append(sequence.Packets, Packet{
		Dir: dir, Frame: frame, Note: text, Expect: expect, After: Duration(s.after), Learned: append([]string{}, learned...),
	})
	s.after = 0
}

// sent and got are frames in the notation of "tapgate explain".
func sent(text string) []byte { return textFrame(text, packet.Ends{Src: guestMAC, Dst: peerMAC}) }
func got(text string) []byte  { return textFrame(text, packet.Ends{Src: peerMAC, Dst: guestMAC}) }

func textFrame(text string, ends packet.Ends) []byte {
	frame, err := packet.FromText(text, ends)
	if err != nil {
		panic(text + ": " + err.Error())
	}
	return frame
}

// Messages of DHCP.
const (
	discover = dhcpv4.MessageTypeDiscover
	offer    = dhcpv4.MessageTypeOffer
	ask      = dhcpv4.MessageTypeRequest
	ack      = dhcpv4.MessageTypeAck
	nak      = dhcpv4.MessageTypeNak
	decline  = dhcpv4.MessageTypeDecline
	release  = dhcpv4.MessageTypeRelease
	inform   = dhcpv4.MessageTypeInform
)

// asks is a message of the guest's.
func asks(kind dhcpv4.MessageType, xid byte, modifiers ...dhcpv4.Modifier) []byte {
	return lab.DHCPRequest(guestMAC, kind, append([]dhcpv4.Modifier{transaction(xid)}, modifiers...)...)
}

// renews is a message of the guest's to its server alone, from the address that it
// has (RFC 2131 section 4.3.2).
func renews(kind dhcpv4.MessageType, xid byte, address string) []byte {
	m, err := dhcpv4.New(dhcpv4.WithHwAddr(guestMAC), dhcpv4.WithMessageType(kind), transaction(xid), dhcpv4.WithClientIP(net.ParseIP(address)))
	if err != nil {
		panic(err)
	}
	return lab.UDPFrame(guestMAC, peerMAC, netip.AddrPortFrom(netip.MustParseAddr(address), 68), netip.AddrPortFrom(server, 67), m.ToBytes())
}

// answers is a message of a server's, for a lease of a time; 0 for none.
func answers(from netip.Addr, kind dhcpv4.MessageType, xid byte, address string, lease time.Duration, modifiers ...dhcpv4.Modifier) []byte {
	modifiers = append([]dhcpv4.Modifier{transaction(xid)}, modifiers...)
	if lease == 0 {
		modifiers = append(modifiers, func(m *dhcpv4.DHCPv4) { m.DeleteOption(dhcpv4.OptionIPAddressLeaseTime) })
	}
	return lab.DHCPReply(peerMAC, from, guestMAC, kind, netip.MustParseAddr(address), lease, modifiers...)
}

func transaction(xid byte) dhcpv4.Modifier {
	return dhcpv4.WithTransactionID(dhcpv4.TransactionID{0, 0, 0, xid})
}

func forAddress(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(a)))
}

func toServer(a netip.Addr) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(a.AsSlice()))
}

// Messages of DHCPv6.
const (
	solicit6 = dhcpv6.MessageTypeSolicit
	request6 = dhcpv6.MessageTypeRequest
	renew6   = dhcpv6.MessageTypeRenew
	reply6   = dhcpv6.MessageTypeReply
	release6 = dhcpv6.MessageTypeRelease
)

func duid(mac net.HardwareAddr) dhcpv6.DUID { return &dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: mac} }

// asks6 is a message of the guest's to its server.
func asks6(kind dhcpv6.MessageType, xid byte, options ...dhcpv6.Option) []byte {
	group := netip.MustParseAddrPort("[ff02::1:2]:547")
	return lab.UDPFrame(guestMAC, net.HardwareAddr{0x33, 0x33, 0, 1, 0, 2}, netip.AddrPortFrom(guestLL, 546), group, message6(kind, xid, options))
}

// answers6 is a message of a server's.
func answers6(from netip.Addr, kind dhcpv6.MessageType, xid byte, options ...dhcpv6.Option) []byte {
	return lab.UDPFrame(peerMAC, guestMAC, netip.AddrPortFrom(from, 547), netip.AddrPortFrom(guestLL, 546), message6(kind, xid, options))
}

func message6(kind dhcpv6.MessageType, xid byte, options []dhcpv6.Option) []byte {
	m := dhcpv6.Message{MessageType: kind, TransactionID: dhcpv6.TransactionID{0, 0, xid}}
	m.AddOption(dhcpv6.OptClientID(duid(guestMAC)))
	if kind != solicit6 {
		m.AddOption(dhcpv6.OptServerID(duid(peerMAC)))
	}
	for _, o := range options {
		m.AddOption(o)
	}
	return m.ToBytes()
}

// address6 and prefix6 are associations of a single thing (RFC 8415 sections 21.4,
// 21.21).
func address6(a string, valid time.Duration) dhcpv6.Option {
	return &dhcpv6.OptIANA{Options: dhcpv6.IdentityOptions{Options: dhcpv6.Options{
		&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(a), PreferredLifetime: valid / 2, ValidLifetime: valid},
	}}}
}

func prefix6(p string, valid time.Duration) dhcpv6.Option {
	_, network, err := net.ParseCIDR(p)
	if err != nil {
		panic(err)
	}
	return &dhcpv6.OptIAPD{Options: dhcpv6.PDOptions{Options: dhcpv6.Options{
		&dhcpv6.OptIAPrefix{Prefix: network, PreferredLifetime: valid / 2, ValidLifetime: valid},
	}}}
}

// Messages of neighbour discovery.
func looksFor(a string) []byte { return lab.DuplicateSolicitation(guestMAC, netip.MustParseAddr(a)) }
func routerAsked() []byte {
	return sent("52:54:00:00:00:01 > 33:33:00:00:00:02 icmpv6 :: > ff02::2 router-solicitation")
}
func advertises(prefix string, valid time.Duration) []byte {
	return lab.RouterAdvertisement(peerMAC, router, netip.MustParsePrefix(prefix), valid)
}
func objects(a string) []byte {
	return lab.NeighbourAdvertisement(peerMAC, netip.MustParseAddr(a), netip.MustParseAddr(a), peerMAC)
}
func asksNeighbour(from, target string) []byte {
	return lab.NeighbourSolicitation(guestMAC, netip.MustParseAddr(from), netip.MustParseAddr(target))
}

// data is a datagram of the guest's to a neighbour, or to the guest.
func data(from string) []byte  { return sent("udp " + from + ":1000 > 10.0.0.9:2000") }
func dataTo(to string) []byte  { return got("udp 10.0.0.9:2000 > " + to + ":1000") }
func data6(from string) []byte { return sent("udp [" + from + "]:1000 > [2001:db8:9::9]:2000") }
func data6To(to string) []byte { return got("udp [2001:db8:9::9]:2000 > [" + to + "]:1000") }

func addr(a string) netip.Addr { return netip.MustParseAddr(a) }
