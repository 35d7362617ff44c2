package learn

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"tapgate/internal/packet"
)

const hour = time.Hour

var (
	guestMAC = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}
	peerMAC  = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x99}
	start    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	server   = netip.MustParseAddr("10.0.0.1")
	anyIPv4  = Config{MAC: guestMAC, Mode: Any, IPv4: true}
	dhcpIPv4 = Config{MAC: guestMAC, Mode: FromDHCP, IPv4: true}
	textEnds = packet.Ends{Src: guestMAC, Dst: peerMAC}
)

// kit is a machine and its clock.
type kit struct {
	t *testing.T
	*Port
	now time.Time
}

func newKit(t *testing.T, c Config) *kit { return &kit{t, New(c, nil, nil), start} }

// wait lets time pass and leases end.
func (k *kit) wait(d time.Duration) Event {
	k.now = k.now.Add(d)
	return k.Expire(k.now)
}

// out and in are frames that pass; dropped is one of the guest's that does not.
func (k *kit) out(frame []byte) Event     { return k.Observe(frame, true, true, k.now) }
func (k *kit) in(frame []byte) Event      { return k.Observe(frame, false, true, k.now) }
func (k *kit) dropped(frame []byte) Event { return k.Observe(frame, true, false, k.now) }

// want checks the leases: "10.0.0.5 dhcp 1h0m0s" with what remains of one that ends.
func (k *kit) want(want ...string) {
	k.t.Helper()
	var got []string
	for _, l := range k.Leases() {
		text := l.Text() + " " + string(l.Source)
		if !l.End.IsZero() {
			text += " " + l.End.Sub(k.now).String()
		}
		if l.Pinned {
			text += " pinned"
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) {
		k.t.Errorf("the leases are\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// restart makes the machine anew from what the old one leaves.
func (k *kit) restart() { k.Port = New(k.config, k.Leases(), k.Memory()) }

// text is a frame in the notation of policy tests, sent by the guest.
func text(t interface {
	Helper()
	Fatal(...any)
}, s string) []byte {
	t.Helper()
	frame, err := packet.FromText(s, textEnds)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// udp is a datagram in a frame.
func udp(src, dst net.HardwareAddr, from, to netip.AddrPort, payload []byte) []byte {
	eth := &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv4}
	head := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	var ip gopacket.SerializableLayer
	if from.Addr().Is4() {
		v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
		head.SetNetworkLayerForChecksum(v4)
		ip = v4
	} else {
		v6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
		head.SetNetworkLayerForChecksum(v6)
		eth.EthernetType, ip = layers.EthernetTypeIPv6, v6
	}
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, head, gopacket.Payload(payload)); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

// dhcpOut is a DHCP message of the guest.
func dhcpOut(kind dhcpv4.MessageType, xid uint32, modifiers ...dhcpv4.Modifier) []byte {
	m := message(kind, xid, modifiers...)
	from := netip.AddrPortFrom(netip.IPv4Unspecified(), dhcpClient)
	if a, ok := netip.AddrFromSlice(m.ClientIPAddr.To4()); ok {
		from = netip.AddrPortFrom(a, dhcpClient)
	}
	return udp(guestMAC, broadcast, from, netip.MustParseAddrPort("255.255.255.255:67"), m.ToBytes())
}

// dhcpIn is a server's reply.
func dhcpIn(kind dhcpv4.MessageType, xid uint32, modifiers ...dhcpv4.Modifier) []byte {
	m := message(kind, xid, append([]dhcpv4.Modifier{reply, serverID(server)}, modifiers...)...)
	return udp(peerMAC, guestMAC, netip.AddrPortFrom(server, dhcpServer), netip.MustParseAddrPort("255.255.255.255:68"), m.ToBytes())
}

func message(kind dhcpv4.MessageType, xid uint32, modifiers ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(guestMAC),
		dhcpv4.WithTransactionID([4]byte{byte(xid >> 24), byte(xid >> 16), byte(xid >> 8), byte(xid)}),
	}, modifiers...)...)
	if err != nil {
		panic(err)
	}
	return m
}

func reply(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootReply }

func serverID(a netip.Addr) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(a.AsSlice()))
}

func yours(a string) dhcpv4.Modifier  { return dhcpv4.WithYourIP(net.ParseIP(a)) }
func client(a string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(a)) }

func asking(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(a)))
}

func leaseTime(d time.Duration) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(d))
}

// without takes an option out of a message.
func without(code dhcpv4.OptionCode) dhcpv4.Modifier {
	return func(m *dhcpv4.DHCPv4) { m.DeleteOption(code) }
}

func option(code uint8, value ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), value)
}
