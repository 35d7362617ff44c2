package learn

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestFirstClaimIsTheAddressInAny(t *testing.T) {
	for _, test := range []struct {
		text, want string
	}{
		{"arp request 10.0.0.5 > 10.0.0.9", "10.0.0.5 arp"},
		{"arp reply 10.0.0.5 > 10.0.0.9", "10.0.0.5 arp"},
		{"arp request 10.0.0.5 > 10.0.0.5", "10.0.0.5 arp"}, // an announcement
		{"arp request 0.0.0.0 > 10.0.0.5", ""},              // a probe
		{"arp request 10.0.0.5/02:00:00:00:00:07 > 10.0.0.9", ""},
		{"02:00:00:00:00:07 > ff:ff:ff:ff:ff:ff arp request 10.0.0.5 > 10.0.0.9", ""},
		{"rarp", ""},
		{"tcp 10.0.0.5:4000 > 10.0.0.9:22 syn", "10.0.0.5 ipv4"},
		{"proto 47 10.0.0.5 > 10.0.0.9", "10.0.0.5 ipv4"},
		{"vlan 7 udp 10.0.0.5:1 > 10.0.0.9:2", "10.0.0.5 ipv4"},
		{"vlan 7 vlan 8 udp 10.0.0.5:1 > 10.0.0.9:2", ""},
		{"vlan 7 arp request 10.0.0.5 > 10.0.0.9", ""},
		{"02:00:00:00:00:07 > 02:00:00:00:00:08 udp 10.0.0.5:1 > 10.0.0.9:2", ""},
		{"udp 0.0.0.0:68 > 255.255.255.255:67", ""},
		{"udp 0.1.2.3:1 > 10.0.0.9:2", ""},
		{"udp 127.0.0.1:1 > 10.0.0.9:2", ""},
		{"udp 224.0.0.1:1 > 10.0.0.9:2", ""},
		{"udp 255.255.255.255:1 > 10.0.0.9:2", ""},
		{"udp [fd00::5]:1 > [fd00::9]:2", ""},
		{"ether 0x88b5", ""},
	} {
		t.Run(test.text, func(t *testing.T) {
			k := newKit(t, anyIPv4)
			event := k.dropped(text(t, test.text))
			if event.Changed != (test.want != "") || event.Renewed != event.Changed || event.Remembered {
				t.Errorf("the event is %+v", event)
			}
			if test.want == "" {
				k.want()
				return
			}
			k.want(test.want)
			if event := k.dropped(text(t, "arp request 10.0.0.6 > 10.0.0.9")); event.Renewed {
				t.Errorf("a second claim gives %+v", event)
			}
			k.restart()
			k.dropped(text(t, "udp 10.0.0.7:1 > 10.0.0.9:2"))
			k.want(test.want)
		})
	}
}

// TestClaimOfALongPacket has copies of packets that were cut off.
func TestClaimOfALongPacket(t *testing.T) {
	for packet, want := range map[string]string{
		"udp 10.0.0.5:1 > 10.0.0.9:2 len 9000":        "10.0.0.5 ipv4",
		"udp [fd00::5]:1 > [fd00::9]:2 len 9000":      "fd00::5 ipv6",
		"vlan 7 udp 10.0.0.5:1 > 10.0.0.9:2 len 9000": "10.0.0.5 ipv4",
	} {
		for _, size := range []int{maxFrame, maxFrame - 100, 9000} {
			k := newKit(t, Config{MAC: guestMAC, Mode: Any, IPv4: true, IPv6: true})
			k.dropped(text(t, packet)[:size])
			if size >= maxFrame {
				k.want(want)
			} else {
				k.want()
			}
		}
	}
}

func TestClaimOfAFragmentedPacket(t *testing.T) {
	for offset, learned := range map[byte]bool{0: true, 1: false} {
		k := newKit(t, anyIPv4)
		k.dropped(header(text(t, "udp 10.0.0.5:1 > 10.0.0.9:2 len 64"), func(h []byte) { h[6], h[7] = 0x20, offset }))
		if got := len(k.Leases()) == 1; got != learned {
			t.Errorf("at offset %d: learned %t", offset, got)
		}
	}
}

func TestModes(t *testing.T) {
	for text, want := range map[string]Mode{"": Any, "any": Any, "DHCP": FromDHCP, "None": None} {
		if got, err := ParseMode(text); err != nil || got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	if _, err := ParseMode("arp"); err == nil || err.Error() != `"arp" is no way to learn addresses; expected any, dhcp or none` {
		t.Errorf("an unknown one: %v", err)
	}
	if got := FromDHCP.String(); got != "dhcp" {
		t.Errorf("its name is %q", got)
	}
}

func TestOddARPIsNoClaim(t *testing.T) {
	for name, change := range map[string]func(frame []byte) []byte{
		"RARP":                       func(b []byte) []byte { return set(b, 12, 0x80, 0x35) },
		"another kind of hardware":   func(b []byte) []byte { return set(b, 14, 0, 6) },
		"a longer hardware address":  func(b []byte) []byte { return append(set(b, 18, 8), 0, 0, 0, 0) },
		"another protocol":           func(b []byte) []byte { return set(b, 16, 0x86, 0xdd) },
		"an operation of no meaning": func(b []byte) []byte { return set(b, 20, 0, 3) },
		"cut off":                    func(b []byte) []byte { return b[:41] },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, anyIPv4)
			k.dropped(change(text(t, "arp request 10.0.0.5 > 10.0.0.9")))
			k.want()
		})
	}
}

func TestWhatTheGuestReceivesIsNoClaim(t *testing.T) {
	k := newKit(t, anyIPv4)
	k.in(text(t, "udp 10.0.0.5:1 > 10.0.0.9:2"))
	k.in(text(t, "arp request 10.0.0.5 > 10.0.0.9"))
	k.want()
}

func TestLeaseIsLearnedFromDHCP(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.out(dhcpOut(dhcpv4.MessageTypeDiscover, 1))
	k.in(dhcpIn(dhcpv4.MessageTypeOffer, 1, yours("10.0.0.5"), leaseTime(hour)))
	k.out(dhcpOut(dhcpv4.MessageTypeRequest, 1, asking("10.0.0.5"), serverID(server)))
	k.want()
	k.in(dhcpIn(dhcpv4.MessageTypeAck, 1, yours("10.0.0.5"), leaseTime(hour)))
	k.want("10.0.0.5 dhcp 1h0m0s")
}
