package learn

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// UDP ports of DHCP (RFC 2131 section 4.1).
const (
	dhcpServer = 67
	dhcpClient = 68
)

// infinite is the lease time, or lifetime, of what has no end (RFC 2131 section
// 3.3, RFC 8415 section 7.7, RFC 4861 section 4.6.2).
const infinite = 0xffffffff

// dhcpMessage is a DHCP message of the guest or to it, as far as it matters here.
type dhcpMessage struct {
	kind      dhcpv4.MessageType
	xid       uint32
	client    netip.Addr // ciaddr: the address that the client has
	yours     netip.Addr // yiaddr: the address that it is given
	requested netip.Addr // option 50; not valid without
	server    netip.Addr // option 54; not valid without
	seconds   uint32     // option 51
	timed     bool       // there is an option 51
	rapid     bool       // option 80, rapid commit (RFC 4039)
}

// dhcp reads a well-formed DHCP message that the guest sent or that is for it.
// Relay agents and servers change nothing that a guest sees (RFC 2131 section
// 4.1): giaddr and the server's name for itself are not asked for.
func (f *frame) dhcp(mac net.HardwareAddr) (dhcpMessage, bool) {
	from, to, op := uint16(dhcpClient), uint16(dhcpServer), dhcpv4.OpcodeBootRequest
	if !f.Out {
		from, to, op = dhcpServer, dhcpClient, dhcpv4.OpcodeBootReply
		if !f.to(mac) && !f.to(broadcast) {
			return dhcpMessage{}, false
		}
	}
	b, ok := f.datagram(from, to)
	if !ok {
		return dhcpMessage{}, false
	}
	m, err := dhcpv4.FromBytes(b)
	if err != nil || m.OpCode != op || m.HWType != iana.HWTypeEthernet || !bytes.Equal(m.ClientHWAddr, mac) {
		return dhcpMessage{}, false
	}
	if !readOptions(b, m.Options) {
		return dhcpMessage{}, false
	}
	r := dhcpMessage{
		xid:    binary.BigEndian.Uint32(m.TransactionID[:]),
		client: netip.AddrFrom4([4]byte(m.ClientIPAddr)),
		yours:  netip.AddrFrom4([4]byte(m.YourIPAddr)),
		rapid:  m.Options.Has(dhcpv4.OptionRapidCommit),
	}
	kind := m.Options.Get(dhcpv4.OptionDHCPMessageType)
	if len(kind) != 1 {
		return dhcpMessage{}, false
	}
	r.kind = dhcpv4.MessageType(kind[0])
	fit := true
	four := func(code dhcpv4.OptionCode) ([4]byte, bool) {
		value := m.Options.Get(code)
		if len(value) != 4 {
			fit = fit && value == nil
			return [4]byte{}, false
		}
		return [4]byte(value), true
	}
	if value, ok := four(dhcpv4.OptionRequestedIPAddress); ok {
		r.requested = netip.AddrFrom4(value)
	}
	if value, ok := four(dhcpv4.OptionServerIdentifier); ok {
		r.server = netip.AddrFrom4(value)
	}
	if value, ok := four(dhcpv4.OptionIPAddressLeaseTime); ok {
		r.seconds, r.timed = binary.BigEndian.Uint32(value[:]), true
	}
	return r, fit
}

// Where a message has options (RFC 2131 section 2).
const (
	snameField   = 44
	fileField    = 108
	optionsField = 240
)

// readOptions checks the options of a message and adds those that stand in the
// fields for a file and for a server's name (option overload, RFC 2132 section
// 9.3). The library knows no overload, and puts repeated options together; none
// that matters here may be repeated, since clients differ in which one they take.
func readOptions(b []byte, options dhcpv4.Options) bool {
	var count [256]int
	if !countOptions(b[optionsField:], &count) {
		return false
	}
	if options.Has(dhcpv4.OptionOptionOverload) {
		value := options.Get(dhcpv4.OptionOptionOverload)
		if len(value) != 1 || value[0] < 1 || value[0] > 3 {
			return false
		}
		fields := [][]byte{1: b[fileField : optionsField-4], 2: b[snameField:fileField]}
		for bit, field := range fields {
			if bit&int(value[0]) != 0 && (!countOptions(field, &count) || options.FromBytes(field) != nil) {
				return false
			}
		}
	}
	for _, code := range []dhcpv4.OptionCode{
		dhcpv4.OptionDHCPMessageType, dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRequestedIPAddress,
		dhcpv4.OptionServerIdentifier, dhcpv4.OptionOptionOverload, dhcpv4.OptionRapidCommit,
	} {
		if count[code.Code()] > 1 {
			return false
		}
	}
	return true
}

// countOptions counts the options of a field, which ends with an end mark.
func countOptions(field []byte, count *[256]int) bool {
	for i := 0; i < len(field); {
		code := field[i]
		switch code {
		case dhcpv4.OptionPad.Code():
			i++
			continue
		case dhcpv4.OptionEnd.Code():
			return true
		}
		if i+1 >= len(field) || i+2+int(field[i+1]) > len(field) {
			return false
		}
		count[code]++
		i += 2 + int(field[i+1])
	}
	return false
}
