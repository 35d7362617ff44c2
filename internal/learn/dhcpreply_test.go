package learn

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestAcknowledgementAnswersARequest has a REQUEST, and a reply to it.
func TestAcknowledgementAnswersARequest(t *testing.T) {
	selecting := dhcpOut(ask, 7, asking("10.0.0.5"), serverID(server))
	for _, test := range []struct {
		name           string
		request, reply []byte
		want           string // of the lease of 10.0.0.5
	}{
		{"selecting", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), "10.0.0.5 dhcp 1h0m0s"},
		{"after a boot", dhcpOut(ask, 7, asking("10.0.0.5")), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), "10.0.0.5 dhcp 1h0m0s"},
		{"renewing", dhcpOut(ask, 7, client("10.0.0.5")), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), "10.0.0.5 dhcp 1h0m0s"},
		{"renewing, with both", dhcpOut(ask, 7, client("10.0.0.5"), asking("10.0.0.5")), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), "10.0.0.5 dhcp 1h0m0s"},
		{"to everybody", selecting, retarget(dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), broadcast), "10.0.0.5 dhcp 1h0m0s"},
		{"through a relay agent", selecting, relayed(ack, 7, yours("10.0.0.5"), leaseTime(hour)), "10.0.0.5 dhcp 1h0m0s"},
		{"without an end", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), option(51, 0xff, 0xff, 0xff, 0xff)), "10.0.0.5 dhcp"},
		{"for longer than a signed number has", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), option(51, 0xff, 0xff, 0xff, 0xfe)), "10.0.0.5 dhcp 1193046h28m14s"},
		{"with rapid commit", dhcpOut(discover, 7, rapidCommit), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), rapidCommit), "10.0.0.5 dhcp 1h0m0s"},
		{"with options in the field for a file", selecting, overloaded(1, fileField), "10.0.0.5 dhcp 1h0m0s"},
		{"with options in the field for a name", selecting, overloaded(2, snameField), "10.0.0.5 dhcp 1h0m0s"},
		{"with options in both", selecting, overloaded(3, snameField, fileField), "10.0.0.5 dhcp 1h0m0s"},
		{"with a long host name", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), option(12, make([]byte, 255)...)), "10.0.0.5 dhcp 1h0m0s"},

		{"to an INFORM", dhcpOut(inform, 7, client("10.0.0.5")), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), ""},
		{"to a DISCOVER", dhcpOut(discover, 7), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), ""},
		{"rapid to a plain DISCOVER", dhcpOut(discover, 7), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), rapidCommit), ""},
		{"plain to a rapid DISCOVER", dhcpOut(discover, 7, rapidCommit), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), ""},
		{"to another exchange", selecting, dhcpIn(ack, 8, yours("10.0.0.5"), leaseTime(hour)), ""},
		{"for another address", selecting, dhcpIn(ack, 7, yours("10.0.0.6"), leaseTime(hour)), ""},
		{"for no address", dhcpOut(ask, 7, asking("0.0.0.0")), dhcpIn(ack, 7, yours("0.0.0.0"), leaseTime(hour)), ""},
		{"for a group", dhcpOut(ask, 7, asking("224.0.0.5")), dhcpIn(ack, 7, yours("224.0.0.5"), leaseTime(hour)), ""},
		{"for a loopback address", dhcpOut(ask, 7, asking("127.0.0.5")), dhcpIn(ack, 7, yours("127.0.0.5"), leaseTime(hour)), ""},
		{"of another server than chosen", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), serverID(netip.MustParseAddr("10.0.0.66"))), ""},
		{"of no server", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), without(dhcpv4.OptionServerIdentifier)), ""},
		{"of a server with a long name", dhcpOut(ask, 7, asking("10.0.0.5")), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), option(54, 10, 0, 0, 1, 0)), ""},
		{"without a lease time", selecting, dhcpIn(ack, 7, yours("10.0.0.5")), ""},
		{"of no time", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(0)), ""},
		{"with a short lease time", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), option(51, 0, 0, 14)), ""},
		{"of more bytes than a copy has", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), option(43, make([]byte, 2000)...)), ""},
		{"an OFFER", selecting, dhcpIn(offer, 7, yours("10.0.0.5"), leaseTime(hour)), ""},
		{"as a request", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootRequest }), ""},
		{"for another guest", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), dhcpv4.WithHwAddr(peerMAC)), ""},
		{"for another kind of hardware", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), func(m *dhcpv4.DHCPv4) { m.HWType = 6 }), ""},
		{"with a longer hardware address", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), dhcpv4.WithHwAddr(append(net.HardwareAddr{}, append(guestMAC, 0, 0)...))), ""},
		{"to another machine", selecting, retarget(dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), peerMAC), ""},
		{"without a type", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), without(dhcpv4.OptionDHCPMessageType)), ""},
		{"with overload of nothing known", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), option(52, 4)), ""},
		{"with overload of nothing", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), option(52)), ""},
		{"with a type of two bytes", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), option(53, 5, 5)), ""},
		{"with overload and no options there", selecting, dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour), option(52, 1), func(m *dhcpv4.DHCPv4) { m.BootFileName = strings.Repeat("x", 127) }), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t, dhcpIPv4)
			if e := k.out(test.request); e.Renewed {
				t.Errorf("asking gives %+v", e)
			}
			event := k.in(test.reply)
			if event.Changed != (test.want != "") || event.Renewed != event.Changed {
				t.Errorf("the event is %+v", event)
			}
			if test.want == "" {
				k.want()
			} else {
				k.want(test.want)
			}
			k.now = k.now.Add(time.Second)
			if again := k.in(test.reply); again.Renewed {
				t.Errorf("the same reply again gives %+v", again)
			}
		})
	}
}

// retarget sends a frame to another receiver.
func retarget(frame []byte, to net.HardwareAddr) []byte {
	copy(frame, to)
	return frame
}

// relayed is a reply that a relay agent hands on: from its address, with the
// server's name in it (RFC 2131 section 4.1, RFC 5107 aside).
func relayed(kind dhcpv4.MessageType, xid uint32, modifiers ...dhcpv4.Modifier) []byte {
	m := message(kind, xid, append([]dhcpv4.Modifier{reply, serverID(server), dhcpv4.WithGatewayIP(net.IPv4(10, 0, 0, 254))}, modifiers...)...)
	return udp(peerMAC, guestMAC, netip.MustParseAddrPort("10.0.0.254:67"), netip.MustParseAddrPort("10.0.0.5:68"), m.ToBytes())
}

// overloaded is an ACK with its lease time in one of the fields for other things,
// and a mere end mark in the others that are said to have options.
func overloaded(value byte, fields ...int) []byte {
	b := message(ack, 7, reply, serverID(server), yours("10.0.0.5"), option(52, value)).ToBytes()
	for i, at := range fields {
		options := []byte{51, 4, 0, 0, 14, 16, 255}
		if i > 0 {
			options = []byte{0, 0, 255}
		}
		copy(b[at:], options)
	}
	return udp(peerMAC, guestMAC, netip.AddrPortFrom(server, dhcpServer), netip.MustParseAddrPort("10.0.0.5:68"), b)
}

// TestMalformedReplyTeachesNothing takes a good reply and breaks its bytes.
func TestMalformedReplyTeachesNothing(t *testing.T) {
	good := func() []byte { return dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)) }
	const udpAt, dhcpAt = 34, 42
	optionsAt := dhcpAt + optionsField
	for name, spoil := range map[string]func(b []byte) []byte{
		"magic":                    func(b []byte) []byte { b[optionsAt-1]++; return b },
		"hardware address length":  func(b []byte) []byte { b[dhcpAt+2] = 16; return b },
		"an option without an end": func(b []byte) []byte { b[optionsAt+1] = 250; return b },
		"no end mark": func(b []byte) []byte {
			for i := optionsAt; i < len(b); i++ {
				if b[i] == 255 {
					b[i] = 0
				}
			}
			return b
		},
		"two types": func(b []byte) []byte {
			return options(b, 53, 1, 5, 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 255)
		},
		"a type twice, once empty": func(b []byte) []byte {
			return options(b, 53, 1, 5, 53, 0, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 255)
		},
		"two lease times": func(b []byte) []byte {
			return options(b, 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 51, 4, 0, 0, 14, 16, 255)
		},
		"a lease time in halves": func(b []byte) []byte {
			return options(b, 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 2, 0, 0, 51, 2, 14, 16, 255)
		},
		"two servers": func(b []byte) []byte {
			return options(b, 53, 1, 5, 54, 4, 10, 0, 0, 1, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 255)
		},
		"a type in the field for a file too": func(b []byte) []byte {
			copy(b[dhcpAt+fileField:], []byte{53, 1, 5, 255})
			return options(b, 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 52, 1, 1, 255)
		},
		"an overloaded field without an end mark": func(b []byte) []byte {
			copy(b[dhcpAt+fileField:], []byte{12, 1, 'x'})
			return options(b, 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 52, 1, 1, 255)
		},
		"an option that leaves an overloaded field": func(b []byte) []byte {
			copy(b[dhcpAt+snameField:], []byte{12, 63})
			b[dhcpAt+fileField] = 255
			return options(b, 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 52, 1, 2, 255)
		},
		"an overloaded field that ends within an option": func(b []byte) []byte {
			b[dhcpAt+fileField-1] = 12
			return options(b, 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 52, 1, 2, 255)
		},
		"an overloaded field filled to its end": func(b []byte) []byte {
			copy(b[dhcpAt+snameField:], []byte{12, 62})
			return options(b, 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 52, 1, 2, 255)
		},
		"overload in an overloaded field": func(b []byte) []byte {
			copy(b[dhcpAt+fileField:], []byte{52, 1, 2, 255})
			return options(b, 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 52, 1, 1, 255)
		},
		"a UDP length beyond the packet": func(b []byte) []byte { b[udpAt+4] = 0xff; return b },
		"a UDP length below its header":  func(b []byte) []byte { b[udpAt+4], b[udpAt+5] = 0, 7; return b },
		"a UDP length inside the header": func(b []byte) []byte { b[udpAt+4], b[udpAt+5] = 0, 200; return b },
		"a fragment":                     func(b []byte) []byte { return header(b, func(h []byte) { h[6] = 0x20 }) },
		"a later fragment":               func(b []byte) []byte { return header(b, func(h []byte) { h[7] = 1 }) },
		"another protocol":               func(b []byte) []byte { return header(b, func(h []byte) { h[9] = 136 }) },
		"a broken IP header":             func(b []byte) []byte { b[14+8]--; return b },
		"from another port":              func(b []byte) []byte { b[udpAt+1]++; return b },
		"to another port":                func(b []byte) []byte { b[udpAt+3]++; return b },
		"a tag": func(b []byte) []byte {
			return append(append(append([]byte{}, b[:12]...), 0x81, 0, 0, 7), b[12:]...)
		},
		"cut off": func(b []byte) []byte { return b[:len(b)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, dhcpIPv4)
			k.out(dhcpOut(ask, 7, asking("10.0.0.5"), serverID(server)))
			if event := k.in(spoil(good())); event.Renewed {
				t.Errorf("the event is %+v", event)
			}
			k.want()
			k.in(good())
			k.want("10.0.0.5 dhcp 1h0m0s")
		})
	}
}

// options puts options into a message in place of its own.
func options(frame []byte, b ...byte) []byte {
	at := frame[42+optionsField:]
	clear(at)
	copy(at, b)
	return frame
}

// header changes an IPv4 header and its checksum.
func header(frame []byte, change func(h []byte)) []byte {
	h := frame[14:34]
	change(h)
	h[10], h[11] = 0, 0
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(h[i])<<8 | uint32(h[i+1])
	}
	sum = sum&0xffff + sum>>16
	sum = ^(sum + sum>>16)
	h[10], h[11] = byte(sum>>8), byte(sum)
	return frame
}

func TestWhatDidNotPassTeachesNothing(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	request, answer := dhcpOut(ask, 7, asking("10.0.0.5")), dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour))
	k.dropped(request)
	k.in(answer)
	k.want()
	k.out(request)
	k.Observe(answer, false, false, k.now)
	k.want()
	spoofed := append([]byte{}, request...)
	copy(spoofed[6:], peerMAC)
	k = newKit(t, dhcpIPv4)
	k.out(spoofed)
	k.in(answer)
	k.want()
	k.out(request)
	k.out(answer) // that the guest sends itself
	k.want()
	if k.in(answer); len(k.Leases()) != 1 {
		t.Error("the good exchange teaches nothing")
	}
}

func TestOnlyTrustedServersTeach(t *testing.T) {
	trusting := func(servers ...string) Config {
		c := dhcpIPv4
		for _, s := range servers {
			c.Servers = append(c.Servers, netip.MustParseAddr(s))
		}
		return c
	}
	direct, relay := dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), relayed(ack, 7, yours("10.0.0.5"), leaseTime(hour))
	for _, test := range []struct {
		name   string
		config Config
		reply  []byte
		note   string
	}{
		{"the server", trusting("10.0.0.2", "10.0.0.1"), direct, ""},
		{"the server, written as IPv6", trusting("::ffff:10.0.0.1"), direct, ""},
		{"the relay agent", trusting("10.0.0.254"), relay, ""},
		{"one of IPv6", trusting("fe80::1"), direct, ""},
		{"another", trusting("10.0.0.2"), direct, "10.0.0.1 is no trusted DHCP server: its DHCPACK for 10.0.0.5 teaches nothing"},
		{"the server behind the relay agent", trusting("10.0.0.1"), relay, "10.0.0.254 is no trusted DHCP server: its DHCPACK for 10.0.0.5 teaches nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t, test.config)
			k.out(dhcpOut(ask, 7, asking("10.0.0.5"), serverID(server)))
			event := k.in(test.reply)
			if got := strings.Join(event.Notes, "\n"); got != test.note {
				t.Errorf("the notes are %q, want %q", got, test.note)
			}
			if event.Changed != (test.note == "") {
				t.Errorf("the event is %+v", event)
			}
		})
	}
	t.Run("nor does the NAK of another take anything back", func(t *testing.T) {
		k := newKit(t, trusting("10.0.0.254"))
		k.out(dhcpOut(ask, 7, asking("10.0.0.5"), serverID(server)))
		k.in(relay)
		k.out(dhcpOut(ask, 8, client("10.0.0.5")))
		if event := k.in(dhcpIn(nak, 8)); event.Renewed || len(event.Notes) != 1 {
			t.Errorf("the event is %+v", event)
		}
		k.want("10.0.0.5 dhcp 1h0m0s")
	})
}

func TestUnaskedReplyIsNoted(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	event := k.in(dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)))
	if want := "the DHCPACK of 10.0.0.1 for 10.0.0.5 answers nothing that the guest asked for: it teaches nothing"; len(event.Notes) != 1 || event.Notes[0] != want {
		t.Errorf("the notes are %q, want %q", event.Notes, want)
	}
	if event := k.in(dhcpIn(ack, 0, yours("0.0.0.0"))); len(event.Notes) > 0 {
		t.Errorf("the answer to an INFORM is noted: %q", event.Notes)
	}
}
