package learn

import (
	"crypto/sha256"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// UDP ports of DHCPv6 (RFC 8415 section 7.2).
const (
	dhcpv6Server = 547
	dhcpv6Client = 546
)

// optionRapidCommit has no name in the library.
const optionRapidCommit = dhcpv6.OptionCode(14)

// duid is a digest of a DHCP unique identifier, which has up to 130 bytes; zero for
// none.
type duid [16]byte

// dhcpv6Message is a DHCPv6 message of the guest or to it, as far as it matters
// here.
type dhcpv6Message struct {
	kind           dhcpv6.MessageType
	xid            [3]byte
	client, server duid
	rapid          bool
	grants         []grant
}

// grant is an address or prefix in a message.
type grant struct {
	address  netip.Prefix
	source   Source        // DHCPv6 or DHCPv6Prefix
	lifetime time.Duration // in whole seconds, infinite for no end
	failed   bool          // its status, or that of its association, is no success
	bad      bool          // no address that a client would take
}

// dhcpv6 reads a well-formed DHCPv6 message that the guest sent or that is for it.
func (f *frame) dhcpv6(mac net.HardwareAddr) (dhcpv6Message, bool) {
	from, to := uint16(dhcpv6Client), uint16(dhcpv6Server)
	if !f.Out {
		from, to = to, from
		if !f.to(mac) {
			return dhcpv6Message{}, false
		}
	}
	b, ok := f.datagram(from, to)
	if !ok || len(b) < dhcpv6.MessageHeaderSize {
		return dhcpv6Message{}, false
	}
	m := dhcpv6Message{kind: dhcpv6.MessageType(b[0]), xid: [3]byte(b[1:4])}
	var options dhcpv6.MessageOptions
	if options.FromBytesWithParser(b[dhcpv6.MessageHeaderSize:], parseOption) != nil {
		return dhcpv6Message{}, false
	}
	clients, servers := options.Get(dhcpv6.OptionClientID), options.Get(dhcpv6.OptionServerID)
	if len(clients) != 1 || len(servers) > 1 { // relay agents' messages have none
		return dhcpv6Message{}, false
	}
	m.client = digest(clients[0])
	if len(servers) == 1 {
		m.server = digest(servers[0])
	}
	m.rapid = options.GetOne(optionRapidCommit) != nil
	if !failed(options.Status()) {
		m.grants = grants(&options)
	}
	return m, true
}

func digest(name dhcpv6.Option) duid {
	sum := sha256.Sum256(name.ToBytes())
	return duid(sum[:])
}

// parseOption reads the options that matter, and leaves others as they are: a
// client ignores those that it does not know, whatever is in them.
func parseOption(code dhcpv6.OptionCode, b []byte) (dhcpv6.Option, error) {
	switch code {
	case dhcpv6.OptionIANA, dhcpv6.OptionIATA, dhcpv6.OptionIAPD, dhcpv6.OptionStatusCode:
		return dhcpv6.ParseOption(code, b)
	}
	return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: b}, nil
}

// grants are the addresses and prefixes of all identity associations.
func grants(options *dhcpv6.MessageOptions) []grant {
	var list []grant
	addresses := func(o *dhcpv6.IdentityOptions) {
		for _, a := range o.Addresses() {
			address, _ := netip.AddrFromSlice(a.IPv6Addr)
			list = append(list, grant{
				address: whole(address), source: DHCPv6, lifetime: a.ValidLifetime,
				failed: failed(o.Status()) || failed(a.Options.Status()),
				bad:    a.PreferredLifetime > a.ValidLifetime || !unicast6(address) || address.IsLinkLocalUnicast(),
			})
		}
	}
	for _, ia := range options.IANA() {
		addresses(&ia.Options)
	}
	for _, ia := range options.IATA() {
		addresses(&ia.Options)
	}
	for _, ia := range options.IAPD() {
		for _, x := range ia.Options.Prefixes() {
			g := grant{
				source: DHCPv6Prefix, lifetime: x.ValidLifetime,
				failed: failed(ia.Options.Status()) || failed(x.Options.Status()),
				bad:    x.PreferredLifetime > x.ValidLifetime,
			}
			g.address, g.bad = delegated(x.Prefix, g.bad)
			list = append(list, g)
		}
	}
	return list
}

// delegated is a prefix without the bits behind its length.
func delegated(x *net.IPNet, bad bool) (netip.Prefix, bool) {
	if x == nil || x.Mask == nil {
		return netip.Prefix{}, true
	}
	address, _ := netip.AddrFromSlice(x.IP)
	bits, _ := x.Mask.Size()
	p := netip.PrefixFrom(address, bits).Masked()
	return p, bad || !delegable(p)
}

func failed(status *dhcpv6.OptStatusCode) bool {
	return status != nil && status.StatusCode != iana.StatusSuccess
}
