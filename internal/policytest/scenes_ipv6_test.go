package policytest

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// learningOfIPv6 is IPv6 in both modes.
func learningOfIPv6() []*Test {
	return []*Test{anyIPv6(), anyIPv6Duplicates(), dhcpIPv6()}
}

// Addresses that the guest makes of its MAC address.
const (
	linkLocal = "fe80::5054:ff:fe00:1"
	slaac     = "2001:db8:1:0:5054:ff:fe00:1"
	foreign   = "2001:db8:2:0:5054:ff:fe00:1"
)

func anyIPv6() *Test {
	p := newPlay("any-ipv6", "clean-traffic-ipv6")
	const report = "52:54:00:00:00:01 > 33:33:00:00:00:16 icmpv6 :: > ff02::16 type 143"

	s := p.scene("a guest that makes its addresses of what a router advertises")
	s.in("", data6To(slaac), drop)
	s.out("", routerAsked(), pass)
	s.out("", sent(report), pass)
	s.out("the filter asks for no IPv4 address", data("10.0.0.5"), drop)
	s.out("the search for duplicates claims the address", looksFor(linkLocal), pass, linkLocal)
	s.in("", advertises("2001:db8:1::/64", time.Hour), pass, linkLocal)
	s.out("it is in no prefix of a router's", data6(foreign), drop, linkLocal)
	s.out("", looksFor(slaac), pass, linkLocal, slaac)
	s.out("", asksNeighbour(slaac, router.String()), pass, linkLocal, slaac)
	s.out("", data6(slaac), pass, linkLocal, slaac)
	s.in("", data6To(slaac), pass, linkLocal, slaac)
	s.out("", looksFor(foreign), pass, linkLocal, slaac)
	s.out("", data6(foreign), drop, linkLocal, slaac)
	s.out("a second address of the prefix (RFC 8981) is learned from use", data6("2001:db8:1::77"), pass, linkLocal, "2001:db8:1::77", slaac)
	s.out("no router's advertisement of the guest's", sent("52:54:00:00:00:01 > 33:33:00:00:00:01 icmpv6 "+linkLocal+" > ff02::1 router-advertisement"), drop, linkLocal, "2001:db8:1::77", slaac)
	s.out("", data("10.0.0.5"), drop, linkLocal, "2001:db8:1::77", slaac)

	s = p.scene("addresses end with their prefix")
	s.out("", looksFor(linkLocal), pass, linkLocal)
	s.in("", advertises("2001:db8:1::/64", time.Hour), pass, linkLocal)
	s.out("", looksFor(slaac), pass, linkLocal, slaac)
	s.wait(30 * time.Minute)
	s.in("the router goes on advertising", advertises("2001:db8:1::/64", time.Hour), pass, linkLocal, slaac)
	s.wait(59 * time.Minute)
	s.out("", data6(slaac), pass, linkLocal, slaac)
	s.wait(time.Minute)
	s.out("it does not any more: the first address of any prefix would do now", data6("fe80::7"), pass, linkLocal, "fe80::7")
	s.in("", advertises("2001:db8:2::/64", time.Hour), pass, linkLocal, "fe80::7")
	s.out("", data6(slaac), drop, linkLocal, "fe80::7")
	s.out("the guest is renumbered", looksFor(foreign), pass, foreign, linkLocal, "fe80::7")
	s.out("", data6(foreign), pass, foreign, linkLocal, "fe80::7")

	s = p.scene("an advertisement cannot take more than what is beyond two hours (RFC 4862)")
	s.in("", advertises("2001:db8:1::/64", 24*time.Hour), pass)
	s.out("", looksFor(slaac), pass, slaac)
	s.in("", advertises("2001:db8:1::/64", 0), pass, slaac)
	s.wait(time.Hour)
	s.out("", data6(slaac), pass, slaac)
	s.wait(time.Hour)
	s.out("", data6To(slaac), drop)

	s = p.scene("where no router advertises a prefix the first address counts")
	s.out("", data6("fd00::5"), pass, "fd00::5")
	s.out("", data6("fd00::6"), drop, "fd00::5")
	s.out("", data6("fd00::5"), pass, "fd00::5")
	s.out("link-local ones are the guest's own affair", asksNeighbour(linkLocal, router.String()), pass, "fd00::5", linkLocal)

	s = p.scene("DHCPv6 gives addresses and prefixes")
	first, prefix := "2001:db8:3::5", "2001:db8:50::/56"
	known := []string{linkLocal, first, prefix}
	s.out("", looksFor(linkLocal), pass, linkLocal)
	s.in("", advertises("2001:db8:1::/64", time.Hour), pass, linkLocal)
	s.out("", asks6(solicit6, 1), pass, linkLocal)
	s.in("an advertisement is no reply", answers6(router, dhcpv6.MessageTypeAdvertise, 1, address6(first, time.Hour)), pass, linkLocal)
	s.out("", data6(first), drop, linkLocal)
	s.out("", asks6(request6, 2), pass, linkLocal)
	s.in("of another transaction", answers6(router, reply6, 3, address6(first, time.Hour)), pass, linkLocal)
	s.in("", answers6(router, reply6, 2, address6(first, time.Hour), prefix6(prefix, 2*time.Hour)), pass, known...)
	s.out("", data6(first), pass, known...)
	s.out("the whole prefix is the guest's", data6("2001:db8:50:7::9"), pass, known...)
	s.out("what is behind it is not", data6("2001:db8:50:100::9"), drop, known...)
	s.in("", data6To("2001:db8:50:7::9"), pass, known...)
	s.wait(time.Hour)
	s.out("the address ends", data6(first), drop, linkLocal, prefix)
	s.out("", data6("2001:db8:50:7::9"), pass, linkLocal, prefix)
	return p.Test
}

func anyIPv6Duplicates() *Test {
	p := newPlay("any-ipv6-duplicates", "clean-traffic-ipv6")

	s := p.scene("somebody else has the address")
	s.out("", looksFor(linkLocal), pass, linkLocal)
	s.in("", objects(linkLocal), pass)
	s.out("the guest uses it all the same", data6(linkLocal), drop)
	s.out("", asksNeighbour(linkLocal, router.String()), drop)
	s.out("it looks again, and nobody objects", looksFor(linkLocal), pass, linkLocal)
	s.out("", data6(linkLocal), pass, linkLocal)

	s = p.scene("somebody else wants it at the same time")
	s.out("", looksFor(linkLocal), pass, linkLocal)
	s.in("", got("52:54:00:00:00:99 > 33:33:ff:00:00:01 icmpv6 :: > ff02::1:ff00:1 neighbor-solicitation target "+linkLocal), pass)

	s = p.scene("an objection that comes too late")
	s.out("", looksFor(linkLocal), pass, linkLocal)
	s.wait(2 * time.Second)
	s.in("", objects(linkLocal), pass, linkLocal)
	s.out("", data6(linkLocal), pass, linkLocal)

	s = p.scene("an objection to an address that the guest has had before")
	s.out("", data6("fe80::5"), pass, "fe80::5")
	s.out("", looksFor("fe80::5"), pass, "fe80::5")
	s.in("", objects("fe80::5"), pass, "fe80::5")

	s = p.scene("an objection to nothing")
	s.in("", objects("fe80::5"), pass)
	s.out("", data6("fe80::5"), pass, "fe80::5")

	s = p.scene("the router's address is not the guest's")
	s.in("", advertises("2001:db8:1::/64", time.Hour), pass)
	s.out("", data6(router.String()), drop)
	return p.Test
}

func dhcpIPv6() *Test {
	p := newPlay("dhcp-ipv6", "clean-traffic-ipv6", "CTRL_IP_LEARNING", "dhcp", "DHCPSERVERV6", router.String())
	const first, prefix = "2001:db8:1::5", "2001:db8:50::/56"

	s := p.scene("only DHCPv6 gives global addresses")
	s.out("use teaches nothing", data6(linkLocal), drop)
	s.out("", looksFor(linkLocal), pass, linkLocal)
	s.in("", advertises("2001:db8:1::/64", time.Hour), pass, linkLocal)
	s.out("the guest makes an address by itself", looksFor(slaac), pass, linkLocal)
	s.out("", data6(slaac), drop, linkLocal)
	s.out("", asks6(request6, 1), pass, linkLocal)
	s.in("not everybody is trusted; the filter lets it pass", answers6(netip.MustParseAddr("fe80::66"), reply6, 1, address6(slaac, time.Hour)), pass, linkLocal)
	s.in("", answers6(router, reply6, 1, address6(first, time.Hour)), pass, first, linkLocal)
	s.out("", data6(first), pass, first, linkLocal)
	s.out("", data6(slaac), drop, first, linkLocal)
	s.wait(30 * time.Minute)
	s.out("", asks6(renew6, 2), pass, first, linkLocal)
	s.in("", answers6(router, reply6, 2, address6(first, time.Hour), prefix6(prefix, time.Hour)), pass, first, prefix, linkLocal)
	s.wait(59 * time.Minute)
	s.out("without the renewal it would be over", data6(first), pass, first, prefix, linkLocal)
	s.out("", asks6(release6, 3, address6(first, 0)), pass, prefix, linkLocal)
	s.out("", data6(first), drop, prefix, linkLocal)
	s.wait(time.Minute)
	s.out("the prefix has ended", data6("2001:db8:50::1"), drop, linkLocal)
	s.out("", data6(linkLocal), pass, linkLocal)

	s = p.scene("before anything is known servers that are not trusted do not reach the guest")
	s.out("", asks6(request6, 1), pass)
	s.in("", answers6(netip.MustParseAddr("fe80::66"), reply6, 1, address6(first, time.Hour)), drop)
	s.in("", answers6(router, reply6, 1, address6(first, time.Hour)), pass, first)
	s.out("", data6(first), pass, first)
	return p.Test
}
