package learn

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

const (
	solicit6  = dhcpv6.MessageTypeSolicit
	request6t = dhcpv6.MessageTypeRequest
	renew6    = dhcpv6.MessageTypeRenew
	rebind6   = dhcpv6.MessageTypeRebind
	reply6t   = dhcpv6.MessageTypeReply
)

var (
	rapid6   = &dhcpv6.OptionGeneric{OptionCode: optionRapidCommit}
	toServer = dhcpv6.OptServerID(serverD)
	failure  = &dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail}
	success  = &dhcpv6.OptStatusCode{StatusCode: iana.StatusSuccess, StatusMessage: "here you are"}
	five     = iaNA(iaAddr("2001:db8::5", hour))
)

// TestReplyAnswersARequest has a message of the guest and a reply, and what is
// learned, in every mode.
func TestReplyAnswersARequest(t *testing.T) {
	request := dhcp6Out(request6t, 7, toServer, five)
	reply := dhcp6In(reply6t, 7, five)
	const want = "2001:db8::5 dhcpv6 1h0m0s"
	for _, test := range []struct {
		name           string
		request, reply []byte
		want           []string
	}{
		{"REQUEST", request, reply, []string{want}},
		{"RENEW", dhcp6Out(renew6, 7, toServer, five), reply, []string{want}},
		{"REBIND", dhcp6Out(rebind6, 7, five), reply, []string{want}},
		{"SOLICIT with rapid commit", dhcp6Out(solicit6, 7, rapid6), dhcp6In(reply6t, 7, rapid6, five), []string{want}},
		{"REQUEST that speaks of rapid commit", dhcp6Out(request6t, 7, toServer, rapid6), reply, []string{want}},
		{"with the status success", request, dhcp6In(reply6t, 7, success, iaNA(success, iaAddr("2001:db8::5", hour, success))), []string{want}},
		{"a temporary address", request, dhcp6In(reply6t, 7, iaTA(iaAddr("2001:db8::5", hour))), []string{want}},
		{"without an end", request, dhcp6In(reply6t, 7, iaNA(iaAddr("2001:db8::5", infinite*time.Second))), []string{"2001:db8::5 dhcpv6"}},
		{"a prefix", request, dhcp6In(reply6t, 7, iaPD(iaPrefix("2001:db8:5::/56", hour))), []string{"2001:db8:5::/56 dhcpv6-pd 1h0m0s"}},
		{"a prefix with bits behind it", request, dhcp6In(reply6t, 7, iaPD(&dhcpv6.OptIAPrefix{
			Prefix: &net.IPNet{IP: net.ParseIP("2001:db8:5::77"), Mask: net.CIDRMask(56, 128)}, ValidLifetime: hour,
		})), []string{"2001:db8:5::/56 dhcpv6-pd 1h0m0s"}},
		{"several of all kinds", request, dhcp6In(reply6t, 7,
			iaNA(iaAddr("2001:db8::5", hour), iaAddr("2001:db8::6", 2*hour)), iaNA(iaAddr("2001:db8::7", hour)), iaTA(iaAddr("2001:db8::8", hour)),
			iaPD(iaPrefix("2001:db8:5::/56", hour), iaPrefix("2001:db8:6::/64", hour))),
			[]string{want, "2001:db8::6 dhcpv6 2h0m0s", "2001:db8::7 dhcpv6 1h0m0s", "2001:db8::8 dhcpv6 1h0m0s", "2001:db8:5::/56 dhcpv6-pd 1h0m0s", "2001:db8:6::/64 dhcpv6-pd 1h0m0s"}},
		{"with options that nobody can read", request, dhcp6In(reply6t, 7, five, &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionDomainSearchList, OptionData: []byte{63, 1}}), []string{want}},

		{"a SOLICIT without rapid commit", dhcp6Out(solicit6, 7), dhcp6In(reply6t, 7, rapid6, five), nil},
		{"a plain reply to a rapid SOLICIT", dhcp6Out(solicit6, 7, rapid6), reply, nil},
		{"a plain reply to a plain SOLICIT", dhcp6Out(solicit6, 7), reply, nil},
		{"a CONFIRM", dhcp6Out(dhcpv6.MessageTypeConfirm, 7, five), reply, nil},
		{"an INFORMATION-REQUEST", dhcp6Out(dhcpv6.MessageTypeInformationRequest, 7), reply, nil},
		{"a REQUEST of nobody", udp(guestMAC, peerMAC, netip.AddrPortFrom(guestLL, 546), netip.AddrPortFrom(router, 547), message6(request6t, 7, toServer, five)), reply, nil},
		{"an ADVERTISE", request, dhcp6In(dhcpv6.MessageTypeAdvertise, 7, five), nil},
		{"a RECONFIGURE", request, dhcp6In(dhcpv6.MessageTypeReconfigure, 7, five), nil},
		{"another transaction", request, dhcp6In(reply6t, 8, five), nil},
		{"another client", request, dhcp6Raw(message6(reply6t, 7, dhcpv6.OptClientID(duidOf(peerMAC)), toServer, five)), nil},
		{"no client", request, dhcp6Raw(message6(reply6t, 7, toServer, five)), nil},
		{"two clients", request, dhcp6In(reply6t, 7, dhcpv6.OptClientID(clientID), five), nil},
		{"no server", request, dhcp6Raw(message6(reply6t, 7, dhcpv6.OptClientID(clientID), five)), nil},
		{"another server", request, dhcp6Raw(message6(reply6t, 7, dhcpv6.OptClientID(clientID), dhcpv6.OptServerID(duidOf(net.HardwareAddr{2, 0, 0, 0, 0, 7})), five)), nil},
		{"a failure", request, dhcp6In(reply6t, 7, failure, five), nil},
		{"a failure of the association", request, dhcp6In(reply6t, 7, iaNA(failure, iaAddr("2001:db8::5", hour))), nil},
		{"a failure of the address", request, dhcp6In(reply6t, 7, iaNA(iaAddr("2001:db8::5", hour, failure))), nil},
		{"a failure of the delegation", request, dhcp6In(reply6t, 7, iaPD(failure, iaPrefix("2001:db8:5::/56", hour))), nil},
		{"no lifetime", request, dhcp6In(reply6t, 7, iaNA(iaAddr("2001:db8::5", 0))), nil},
		{"preferred for longer than valid", request, dhcp6In(reply6t, 7, iaNA(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("2001:db8::5"), PreferredLifetime: 2 * hour, ValidLifetime: hour})), nil},
		{"a link-local address", request, dhcp6In(reply6t, 7, iaNA(iaAddr("fe80::5", hour))), nil},
		{"a group", request, dhcp6In(reply6t, 7, iaNA(iaAddr("ff02::5", hour))), nil},
		{"the loopback address", request, dhcp6In(reply6t, 7, iaNA(iaAddr("::1", hour))), nil},
		{"all addresses", request, dhcp6In(reply6t, 7, iaPD(iaPrefix("::/0", hour))), nil},
		{"half of them", request, dhcp6In(reply6t, 7, iaPD(iaPrefix("8000::/1", hour))), nil},
		{"a 65,536th of them", request, dhcp6In(reply6t, 7, iaPD(iaPrefix("2001::/16", hour))), []string{"2001::/16 dhcpv6-pd 1h0m0s"}},
		{"twice as many", request, dhcp6In(reply6t, 7, iaPD(iaPrefix("2000::/15", hour))), nil},
		{"a prefix of groups", request, dhcp6In(reply6t, 7, iaPD(iaPrefix("ff02::/16", hour))), nil},
		{"a prefix that is too long", request, dhcp6Raw(message6(reply6t, 7, dhcpv6.OptClientID(clientID), toServer, &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionIAPD,
			OptionData: append(append(make([]byte, 12), 0, 26, 0, 25, 0, 0, 0, 9, 0, 0, 0, 9, 129), net.ParseIP("2001:db8::")...)})), nil},
		{"to another machine", request, retarget(dhcp6In(reply6t, 7, five), peerMAC), nil},
		{"to a group", request, retarget(dhcp6In(reply6t, 7, five), group(all6)), nil},
		{"an option beyond the message", request, dhcp6Raw(append(message6(reply6t, 7, dhcpv6.OptClientID(clientID), toServer, five), 0, 1, 0, 9, 0)), nil},
		{"half an option", request, dhcp6Raw(append(message6(reply6t, 7, dhcpv6.OptClientID(clientID), toServer, five), 0, 1)), nil},
		{"an association that is too short", request, dhcp6In(reply6t, 7, five, &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionIANA, OptionData: []byte{1, 2, 3}}), nil},
		{"a relay agent's", request, dhcp6Raw(append(append([]byte{13, 0}, make([]byte, 32)...), 0, 9, 0, 4, 7, 0, 0, 7)), nil},
		{"nothing", request, dhcp6Raw([]byte{7, 0, 0}), nil},
		{"a fragment", request, fragmented(dhcp6In(reply6t, 7, five)), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, mode := range []Mode{Any, FromDHCP} {
				k := newKit(t, Config{MAC: guestMAC, Mode: mode, IPv6: true})
				k.out(solicit(guestMAC, guestLL.String()))
				if event := k.out(test.request); event.Renewed {
					t.Errorf("%s: asking gives %+v", mode, event)
				}
				event := k.in(test.reply)
				if event.Changed != (test.want != nil) || event.Renewed != event.Changed {
					t.Errorf("%s: the event is %+v", mode, event)
				}
				k.want(append(append([]string{}, test.want...), guestLL.String()+" nd")...)
				k.now = k.now.Add(time.Second)
				if again := k.in(test.reply); again.Renewed {
					t.Errorf("%s: the same reply again gives %+v", mode, again)
				}
			}
		})
	}
}

func TestDHCPv6Renewals(t *testing.T) {
	k := newKit(t, dhcp6)
	k.out(dhcp6Out(request6t, 1, toServer))
	k.in(dhcp6In(reply6t, 1, five, iaPD(iaPrefix("2001:db8:5::/56", 2*hour))))
	k.wait(hour / 2)
	k.out(dhcp6Out(renew6, 2, toServer))
	if event := k.in(dhcp6In(reply6t, 2, iaNA(iaAddr("2001:db8::5", hour)))); event.Changed || !event.Renewed {
		t.Errorf("the event is %+v", event)
	}
	k.want("2001:db8::5 dhcpv6 1h0m0s", "2001:db8:5::/56 dhcpv6-pd 1h30m0s")
	k.out(dhcp6Out(rebind6, 3))
	k.in(dhcp6In(reply6t, 3, iaNA(iaAddr("2001:db8::5", hour/2), iaAddr("2001:db8::6", hour))))
	k.want("2001:db8::5 dhcpv6 30m0s", "2001:db8::6 dhcpv6 1h0m0s", "2001:db8:5::/56 dhcpv6-pd 1h30m0s")
	if l := k.Leases()[0]; !l.Learned.Equal(start) || !l.Renewed.Equal(k.now) || l.Server != router {
		t.Errorf("the lease is %+v", l)
	}
	k.out(dhcp6Out(renew6, 4, toServer))
	k.in(dhcp6In(reply6t, 4, iaNA(iaAddr("2001:db8::5", 0)), iaPD(iaPrefix("2001:db8:5::/56", 0)))) // renumbered
	k.want("2001:db8::6 dhcpv6 1h0m0s")
	if event := k.wait(hour); !event.Changed {
		t.Errorf("at the end: %+v", event)
	}
	k.want()
}

func TestDHCPv6LeaseIsTakenBack(t *testing.T) {
	all := []dhcpv6.Option{iaNA(iaAddr("2001:db8::5", hour)), iaTA(iaAddr("2001:db8::6", hour)), iaPD(iaPrefix("2001:db8:5::/56", hour))}
	five, six, prefix := "2001:db8::5 dhcpv6 1h0m0s", "2001:db8::6 dhcpv6 1h0m0s", "2001:db8:5::/56 dhcpv6-pd 1h0m0s"
	for _, test := range []struct {
		name  string
		out   bool
		frame []byte
		want  []string
	}{
		{"RELEASE", true, dhcp6Out(dhcpv6.MessageTypeRelease, 2, append(all, toServer)...), nil},
		{"RELEASE of one", true, dhcp6Out(dhcpv6.MessageTypeRelease, 2, toServer, all[0]), []string{six, prefix}},
		{"RELEASE with lifetimes of 0", true, dhcp6Out(dhcpv6.MessageTypeRelease, 2, toServer, iaTA(iaAddr("2001:db8::6", 0)), iaPD(iaPrefix("2001:db8:5::/56", 0))), []string{five}},
		{"RELEASE of the prefix as an address", true, dhcp6Out(dhcpv6.MessageTypeRelease, 2, toServer, iaNA(iaAddr("2001:db8:5::", 0))), []string{five, six, prefix}},
		{"DECLINE", true, dhcp6Out(dhcpv6.MessageTypeDecline, 2, toServer, all[0]), []string{six, prefix}},
		{"DECLINE to the guest", false, dhcp6In(dhcpv6.MessageTypeDecline, 2, all...), []string{five, six, prefix}},
		{"RENEW", true, dhcp6Out(renew6, 2, toServer), []string{five, six, prefix}},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t, dhcp6)
			k.out(dhcp6Out(request6t, 1, toServer))
			k.in(dhcp6In(reply6t, 1, all...))
			k.want(five, six, prefix)
			k.Observe(test.frame, test.out, true, k.now)
			k.want(test.want...)
		})
	}
}

func TestOnlyTrustedDHCPv6ServersTeach(t *testing.T) {
	for server, trusted := range map[string]bool{"fe80::99": true, "fe80::98": false, "10.0.0.1": true} {
		c := dhcp6
		c.Servers = []netip.Addr{netip.MustParseAddr(server)}
		k := newKit(t, c)
		k.out(dhcp6Out(request6t, 1, toServer))
		event := k.in(dhcp6In(reply6t, 1, five))
		if event.Changed != trusted || (len(event.Notes) == 0) != trusted {
			t.Errorf("with %s: %+v", server, event)
		}
	}
}

func TestAddressOfDHCPv6ReplacesAClaimedOne(t *testing.T) {
	k := newKit(t, any6)
	k.out(dad(guestMAC, "2001:db8::5"))
	k.out(dhcp6Out(request6t, 1, toServer))
	if event := k.in(dhcp6In(reply6t, 1, five)); event.Changed || !event.Renewed {
		t.Errorf("the event is %+v", event)
	}
	k.dropped(solicit(guestMAC, "2001:db8::5"))
	k.want("2001:db8::5 dhcpv6 1h0m0s", "fe80::5054:ff:fe00:1 ipv6")
	k.in(routers(autonomousFor("2001:db8::/64", 5*hour)))
	k.in(advertise(peerMAC, "2001:db8::5", "2001:db8::5")) // the guest will decline it
	k.want("2001:db8::5 dhcpv6 1h0m0s", "fe80::5054:ff:fe00:1 ipv6")
}

func TestUnaskedDHCPv6ReplyIsNoted(t *testing.T) {
	k := newKit(t, dhcp6)
	for _, request := range [][]byte{dhcp6Out(request6t, 1, toServer), dhcp6Out(solicit6, 1, rapid6)} {
		k.dropped(request)
	}
	event := k.in(dhcp6In(reply6t, 1, five))
	if want := "the DHCPv6 REPLY of fe80::99 answers nothing that the guest asked for: it teaches nothing"; len(event.Notes) != 1 || event.Notes[0] != want {
		t.Errorf("the notes are %q, want %q", event.Notes, want)
	}
	k.in(dhcp6In(reply6t, 1, rapid6, five))
	k.want()
}

func TestDHCPv6RequestsAreForgotten(t *testing.T) {
	k := newKit(t, dhcp6)
	k.out(dhcp6Out(request6t, 1, toServer))
	k.wait(requestTime)
	k.in(dhcp6In(reply6t, 1, five))
	k.want()
	for xid := range byte(maxRequests + 1) {
		k.out(dhcp6Out(request6t, xid, toServer))
		k.wait(time.Millisecond)
		k.out(dhcp6Out(request6t, xid, toServer))
	}
	k.in(dhcp6In(reply6t, 0, five))
	k.want()
	k.in(dhcp6In(reply6t, 1, five))
	k.want("2001:db8::5 dhcpv6 1h0m0s")
}

func TestShortUDPLengthIsNoDHCPv6(t *testing.T) {
	k := newKit(t, dhcp6)
	k.out(dhcp6Out(request6t, 1, toServer))
	frame := dhcp6In(reply6t, 1, five)
	binary.BigEndian.PutUint16(frame[58:], 8+4+14) // its client only
	k.in(frame)
	k.want()
}
