package learn

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
)

// TestClaimOfIPv6Address has what a guest sends, without any router, and what
// that teaches in both modes.
func TestClaimOfIPv6Address(t *testing.T) {
	for _, test := range []struct {
		name      string
		frame     []byte
		any, dhcp string
	}{
		{"detection, link-local", dad(guestMAC, "fe80::1:2"), "fe80::1:2 nd", "fe80::1:2 nd"},
		{"detection, global", dad(guestMAC, "2001:db8::5"), "2001:db8::5 nd", ""},
		{"solicitation, link-local", solicit(guestMAC, "fe80::1:2"), "fe80::1:2 nd", "fe80::1:2 nd"},
		{"solicitation, global", solicit(guestMAC, "2001:db8::5"), "2001:db8::5 nd", ""},
		{"advertisement", advertise(guestMAC, "fe80::1:2", "fe80::1:2"), "fe80::1:2 nd", "fe80::1:2 nd"},
		{"advertisement of another target", advertise(guestMAC, "fe80::1:2", "2001:db8::5"), "2001:db8::5 nd, fe80::1:2 nd", "fe80::1:2 nd"},
		{"packet, link-local", text(t, "udp [fe80::1:2]:1 > [fe80::9]:2"), "fe80::1:2 ipv6", ""},
		{"packet, global", text(t, "udp [fd00::5]:1 > [fd00::9]:2"), "fd00::5 ipv6", ""},
		{"packet behind extension headers", behindOptions(text(t, "udp [fd00::5]:1 > [fd00::9]:2")), "fd00::5 ipv6", ""},
		{"packet from nowhere", text(t, "udp [::]:1 > [fd00::9]:2"), "", ""},
		{"packet from a group", text(t, "udp [ff02::5]:1 > [fd00::9]:2"), "", ""},
		{"packet from the loopback address", text(t, "udp [::1]:1 > [fd00::9]:2"), "", ""},
		{"packet from an IPv4 address in disguise", mapped(text(t, "udp [fd00::5]:1 > [fd00::9]:2")), "", ""},
		{"packet in a tag", text(t, "vlan 7 udp [fd00::5]:1 > [fd00::9]:2"), "", ""},
		{"another's MAC address", dad(peerMAC, "fe80::1:2"), "", ""},
		{"IPv4", text(t, "udp 10.0.0.5:1 > 10.0.0.9:2"), "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for mode, want := range map[Mode]string{Any: test.any, FromDHCP: test.dhcp} {
				k := newKit(t, Config{MAC: guestMAC, Mode: mode, IPv6: true})
				event := k.dropped(test.frame)
				if event.Changed != (want != "") || event.Renewed != event.Changed {
					t.Errorf("%s: the event is %+v", mode, event)
				}
				if want == "" {
					k.want()
				} else {
					k.want(strings.Split(want, ", ")...)
				}
			}
		})
	}
}

// behindOptions puts a hop-by-hop header of padding in front of what is in a packet.
func behindOptions(frame []byte) []byte {
	b := append([]byte{}, frame[:54]...)
	b = append(b, frame[20], 0, 1, 4, 0, 0, 0, 0)
	b = append(b, frame[54:]...)
	b[20] = 0
	binary.BigEndian.PutUint16(b[18:], uint16(len(b)-54))
	return b
}

func mapped(frame []byte) []byte {
	copy(frame[22:], net.ParseIP("::ffff:10.0.0.5"))
	return frame
}

// TestInvalidNeighbourDiscoveryTeachesNothing breaks good messages of the guest, in
// the mode in which their being packets teaches nothing.
func TestInvalidNeighbourDiscoveryTeachesNothing(t *testing.T) {
	probe := func() []byte { return dad(guestMAC, "fe80::1:2") }
	answer := func() []byte { return advertise(guestMAC, "fe80::1:2", "fe80::1:2") }
	for name, frame := range map[string][]byte{
		"hop limit":                             set(probe(), 21, 254),
		"code":                                  set(probe(), 55, 1),
		"type":                                  set(probe(), 54, 137),
		"fragment":                              fragmented(probe()),
		"behind extension headers":              behindOptions(probe()),
		"detection to the target itself":        set(probe(), 38, netip.MustParseAddr("fe80::1:2").AsSlice()...),
		"detection to another group":            set(probe(), 53, 7),
		"detection with a link-layer address":   withOption(probe(), 1, 1, 0x52, 0x54, 0, 0, 0, 1),
		"option of length 0":                    withOption(probe(), 14, 0, 0, 0, 0, 0, 0, 0),
		"option beyond the message":             withOption(probe(), 14, 2, 0, 0, 0, 0, 0, 0),
		"half an option":                        withOption(probe(), 14),
		"a link-layer address that is too long": withOption(answer(), 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"target is a group":                     set(answer(), 62, 0xff, 2),
		"solicited, to all nodes":               set(answer(), 58, 0x60),
		"cut off":                               shortened(probe(), 1),
		"too short":                             raw6(guestMAC, group(all6), guestLL, all6, []byte{136, 0, 0, 0, 0, 0, 0, 0}),
		"a router's":                            icmp6(guestMAC, group(all6), guestLL, all6, &ndp.RouterAdvertisement{}),
		"a solicitation of a router, without claim": icmp6(guestMAC, group(all6), guestLL, all6, &ndp.RouterSolicitation{}),
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, dhcp6)
			if event := k.out(frame); event.Renewed {
				t.Errorf("the event is %+v", event)
			}
			k.want()
		})
	}
	t.Run("but options that nobody knows do not matter", func(t *testing.T) {
		k := newKit(t, dhcp6)
		k.out(withOption(probe(), append([]byte{14, 33}, make([]byte, 33*8-2)...)...)) // longer than the library reads
		k.want("fe80::1:2 nd")
	})
}

func set(frame []byte, at int, b ...byte) []byte {
	copy(frame[at:], b)
	return frame
}

func withOption(frame []byte, option ...byte) []byte {
	frame = append(frame, option...)
	binary.BigEndian.PutUint16(frame[18:], uint16(len(frame)-54))
	return frame
}

func shortened(frame []byte, n int) []byte {
	frame = frame[:len(frame)-n]
	binary.BigEndian.PutUint16(frame[18:], uint16(len(frame)-54))
	return frame
}

// fragmented makes a packet the only fragment of one (RFC 6946).
func fragmented(frame []byte) []byte {
	frame = behindOptions(frame)
	frame[20] = 44
	copy(frame[55:], []byte{0, 0, 1, 0, 0, 0, 7}) // more follow
	return frame
}

func TestAddressesOfAdvertisedPrefixes(t *testing.T) {
	k := newKit(t, any6)
	if event := k.in(routers(autonomousFor("2001:db8:1::/64", 3*hour), autonomousFor("2001:db8:2::/64", ndp.Infinity))); event.Renewed || !event.Remembered {
		t.Errorf("the advertisement gives %+v", event)
	}
	k.out(dad(guestMAC, "2001:db8:1::5"))
	k.dropped(text(t, "udp [2001:db8:1::6]:1 > [2001:db8::9]:2"))
	k.out(dad(guestMAC, "2001:db8:2::5"))
	k.out(dad(guestMAC, "fe80::5"))
	if event := k.dropped(text(t, "udp [2001:db8:3::5]:1 > [2001:db8::9]:2")); len(event.Notes) != 1 {
		t.Errorf("an address of another prefix: %+v", event)
	}
	k.want("2001:db8:1::5 nd 3h0m0s", "2001:db8:1::6 ipv6 3h0m0s", "2001:db8:2::5 nd", "fe80::5 nd")
	k.wait(hour)
	if event := k.in(routers(autonomousFor("2001:db8:1::/64", 4*hour))); event.Changed || !event.Renewed {
		t.Errorf("the next advertisement gives %+v", event)
	}
	k.want("2001:db8:1::5 nd 4h0m0s", "2001:db8:1::6 ipv6 4h0m0s", "2001:db8:2::5 nd", "fe80::5 nd")
	if event := k.wait(4 * hour); !event.Changed {
		t.Errorf("at the prefix's end: %+v", event)
	}
	k.want("2001:db8:2::5 nd", "fe80::5 nd")
	k.out(dad(guestMAC, "2001:db8:1::5"))
	k.want("2001:db8:2::5 nd", "fe80::5 nd")
}

// TestPrefixThatTeachesNothing has advertisements after which addresses of
// 2001:db8:1::/64 are as if no router had advertised any.
func TestPrefixThatTeachesNothing(t *testing.T) {
	good := func() *ndp.PrefixInformation { return autonomousFor("2001:db8:1::/64", hour) }
	changed := func(change func(p *ndp.PrefixInformation)) []byte {
		p := good()
		change(p)
		return routers(p)
	}
	for name, frame := range map[string][]byte{
		"not autonomous":                  changed(func(p *ndp.PrefixInformation) { p.AutonomousAddressConfiguration = false }),
		"without lifetime":                changed(func(p *ndp.PrefixInformation) { p.ValidLifetime, p.PreferredLifetime = 0, 0 }),
		"preferred for longer than valid": changed(func(p *ndp.PrefixInformation) { p.PreferredLifetime = 2 * hour }),
		"shorter":                         changed(func(p *ndp.PrefixInformation) { p.PrefixLength = 48 }),
		"longer":                          changed(func(p *ndp.PrefixInformation) { p.PrefixLength = 65 }),
		"link-local":                      changed(func(p *ndp.PrefixInformation) { p.Prefix = netip.MustParseAddr("fe80::") }),
		"multicast":                       changed(func(p *ndp.PrefixInformation) { p.Prefix = netip.MustParseAddr("ff0e::") }),
		"longer than an address":          set(routers(good()), 72, 200),
		"option too short":                withOption(routers(), append([]byte{3, 3, 64, 0xc0}, make([]byte, 20)...)...),
		"from a global address":           routersFrom(netip.MustParseAddr("2001:db8::1"), good()),
		"to another machine":              retarget(routers(good()), peerMAC),
		"hop limit":                       set(routers(good()), 21, 64),
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, any6)
			k.in(frame)
			k.dropped(solicit(guestMAC, "2001:db8:1::5"))
			k.want("2001:db8:1::5 nd")
		})
	}
	t.Run("what did not reach the guest", func(t *testing.T) {
		k := newKit(t, any6)
		k.Observe(routers(good()), false, false, k.now)
		k.dropped(solicit(guestMAC, "2001:db8:1::5"))
		k.want("2001:db8:1::5 nd")
	})
	t.Run("what the guest advertises", func(t *testing.T) {
		k := newKit(t, any6)
		k.out(set(routers(good()), 6, guestMAC...))
		k.dropped(solicit(guestMAC, "2001:db8:1::5"))
		k.want("2001:db8:1::5 nd")
	})
	t.Run("but to the guest alone is as good as to all", func(t *testing.T) {
		k := newKit(t, any6)
		k.in(retarget(routers(good()), guestMAC))
		k.dropped(solicit(guestMAC, "2001:db8:1::5"))
		k.want("2001:db8:1::5 nd 1h0m0s")
	})
}

// TestTwoHourRule is RFC 4862 section 5.5.3, e.
func TestTwoHourRule(t *testing.T) {
	const address = "2001:db8:1::5 nd"
	for _, test := range []struct {
		name       string
		left, next time.Duration
		want       string
	}{
		{"longer", hour, 90 * time.Minute, address + " 1h30m0s"},
		{"much longer", 3 * hour, 4 * hour, address + " 4h0m0s"},
		{"shorter, more than two hours", 9 * hour, 3 * hour, address + " 3h0m0s"},
		{"shorter than two hours", 9 * hour, hour, address + " 2h0m0s"},
		{"nothing", 9 * hour, 0, address + " 2h0m0s"},
		{"shorter, with less than two hours left", hour, time.Minute, address + " 1h0m0s"},
		{"nothing, with two hours left", 2 * hour, 0, address + " 2h0m0s"},
		{"for ever", hour, ndp.Infinity, address},
		{"no longer for ever", ndp.Infinity, 3 * hour, address + " 3h0m0s"},
		{"nothing instead of for ever", ndp.Infinity, 0, address + " 2h0m0s"},
		{"for ever again", ndp.Infinity, ndp.Infinity, address},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t, any6)
			k.in(routers(autonomousFor("2001:db8:1::/64", test.left)))
			k.out(dad(guestMAC, "2001:db8:1::5"))
			k.in(routers(autonomousFor("2001:db8:1::/64", test.next)))
			k.want(test.want)
		})
	}
}

func TestWithoutPrefixesTheFirstGlobalAddressCounts(t *testing.T) {
	k := newKit(t, any6)
	k.out(solicit(guestMAC, "fe80::5"))
	k.out(solicit(guestMAC, "fd00::5"))
	k.out(solicit(guestMAC, "fd00::6"))
	k.want("fd00::5 nd", "fe80::5 nd")
	k.in(routers(autonomousFor("fd00::/64", 3*hour))) // a router begins to advertise
	k.out(solicit(guestMAC, "fd00::6"))
	k.want("fd00::5 nd 3h0m0s", "fd00::6 nd 3h0m0s", "fe80::5 nd")
}

// TestDuplicate has what comes after the guest has begun to look for duplicates of
// fe80::5, and whether it still has the address then.
func TestDuplicate(t *testing.T) {
	for _, test := range []struct {
		name  string
		after time.Duration
		frame []byte
		gone  bool
	}{
		{"the owner answers", time.Second, advertise(peerMAC, "fe80::5", "fe80::5"), true},
		{"the owner answers late", probeTime, advertise(peerMAC, "fe80::5", "fe80::5"), false},
		{"the owner of another answers", time.Second, advertise(peerMAC, "fe80::6", "fe80::6"), false},
		{"somebody else looks too", time.Second, dad(peerMAC, "fe80::5"), true},
		{"somebody looks for another", time.Second, dad(peerMAC, "fe80::6"), false},
		{"the guest's own probe comes back", time.Second, dad(guestMAC, "fe80::5"), false},
		{"somebody only asks for it", time.Second, icmp6(peerMAC, group(solicitedNode(netip.MustParseAddr("fe80::5"))), router, solicitedNode(netip.MustParseAddr("fe80::5")),
			&ndp.NeighborSolicitation{TargetAddress: netip.MustParseAddr("fe80::5")}), false},
		{"an invalid answer", time.Second, set(advertise(peerMAC, "fe80::5", "fe80::5"), 21, 64), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t, dhcp6)
			k.out(dad(guestMAC, "fe80::5"))
			k.want("fe80::5 nd")
			k.wait(test.after)
			k.restart()
			if event := k.in(test.frame); event.Changed != test.gone {
				t.Errorf("the event is %+v", event)
			}
			if !test.gone {
				k.want("fe80::5 nd")
				return
			}
			k.want()
			if event := k.out(solicit(guestMAC, "fe80::5")); event.Renewed || len(event.Notes) != 1 {
				t.Errorf("using the duplicate gives %+v", event)
			}
			k.wait(3 * time.Second)
			k.out(dad(guestMAC, "fe80::5")) // and nobody objects this time
			k.wait(3 * time.Second)
			k.in(test.frame)
			k.want("fe80::5 nd")
		})
	}
	t.Run("of an address that the guest had before", func(t *testing.T) {
		k := newKit(t, dhcp6)
		k.out(solicit(guestMAC, "fe80::5"))
		k.out(dad(guestMAC, "fe80::5"))
		k.in(advertise(peerMAC, "fe80::5", "fe80::5"))
		k.want("fe80::5 nd")
	})
	t.Run("after several probes", func(t *testing.T) {
		k := newKit(t, dhcp6)
		for range 3 {
			k.out(dad(guestMAC, "fe80::5"))
			k.wait(time.Second)
		}
		event := k.in(advertise(peerMAC, "fe80::5", "fe80::5"))
		k.want()
		if want := "fe80::5 is somebody else's: the guest found a duplicate of it"; len(event.Notes) != 1 || event.Notes[0] != want {
			t.Errorf("the notes are %q", event.Notes)
		}
		if m := k.memory; len(m.probes) != 0 || len(m.others) != 1 {
			t.Errorf("%d probes are left and %d addresses of others", len(m.probes), len(m.others))
		}
	})
	t.Run("that did not reach the guest", func(t *testing.T) {
		k := newKit(t, dhcp6)
		k.out(dad(guestMAC, "fe80::5"))
		k.Observe(advertise(peerMAC, "fe80::5", "fe80::5"), false, false, k.now)
		k.want("fe80::5 nd")
	})
}

func TestRoutersAddressIsNotTheGuests(t *testing.T) {
	k := newKit(t, any6)
	k.in(routers())
	if event := k.in(routers()); event.Remembered || len(k.memory.others) != 1 {
		t.Errorf("once more: %+v", event)
	}
	for _, frame := range [][]byte{solicit(guestMAC, "fe80::99"), advertise(guestMAC, "fe80::99", "fe80::99"), text(t, "udp [fe80::99]:1 > [fe80::9]:2")} {
		k.out(frame)
	}
	k.want()
	k.out(dad(guestMAC, "fe80::99"))
	k.in(advertise(peerMAC, "fe80::99", "fe80::99")) // the router objects
	k.out(solicit(guestMAC, "fe80::99"))
	k.want()
	k.wait(othersTime) // it has been silent for longer than it said that it would be there
	k.out(solicit(guestMAC, "fe80::99"))
	k.want("fe80::99 nd")
}

func TestLeaseIsHeardOfNowAndThen(t *testing.T) {
	k := newKit(t, dhcp6)
	k.out(solicit(guestMAC, "fe80::5"))
	k.wait(heardEvery - 1)
	if event := k.out(solicit(guestMAC, "fe80::5")); event.Renewed {
		t.Errorf("just before: %+v", event)
	}
	k.wait(1)
	if event := k.out(solicit(guestMAC, "fe80::5")); !event.Renewed || event.Changed {
		t.Errorf("then: %+v", event)
	}
	if l := k.Leases()[0]; !l.Renewed.Equal(k.now) || !l.Learned.Equal(start) {
		t.Errorf("the lease is %+v", l)
	}
}
