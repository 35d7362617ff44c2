package policytest

import (
	"time"

	"tapgate/internal/lab"
)

// learningOfBoth are filters for IPv4 and IPv6, with one family known and the other
// not.
func learningOfBoth() []*Test {
	return []*Test{bothByDHCP(), bothByAny(), oneGiven()}
}

func bothByDHCP() *Test {
	p := newPlay("dual-dhcp", "clean-traffic-dual", "CTRL_IP_LEARNING", "dhcp")
	const five, first = "10.0.0.5", "2001:db8:1::5"
	arp := lab.ARPFrame(guestMAC, lab.Broadcast, 1, guestMAC, addr(five), make([]byte, 6), server)

	s := p.scene("IPv4 is known first")
	s.out("", data(five), drop)
	s.out("", data6(first), drop)
	s.out("", routerAsked(), pass)
	s.leased(1, five, time.Hour, []string{}, []string{five})
	s.out("", data(five), pass, five)
	s.out("", arp, pass, five)
	s.in("", dataTo(five), pass, five)
	s.out("", data("10.0.0.6"), drop, five)
	s.out("of IPv6 only what teaches passes", data6(first), drop, five)
	s.in("", data6To(first), drop, five)
	s.out("", routerAsked(), pass, five)
	s.in("", advertises("2001:db8:1::/64", time.Hour), pass, five)
	s.out("what is neither is the filter's affair", sent("ether 0x88b5 len 46"), drop, five)
	s.out("", looksFor(linkLocal), pass, five, linkLocal)
	s.out("", asks6(request6, 1), pass, five, linkLocal)
	s.in("", answers6(router, reply6, 1, address6(first, time.Hour)), pass, five, first, linkLocal)
	s.out("", data6(first), pass, five, first, linkLocal)
	s.in("", data6To(first), pass, five, first, linkLocal)
	s.out("", data(five), pass, five, first, linkLocal)

	s = p.scene("IPv6 is known first, and is left alone")
	s.out("", looksFor(linkLocal), pass, linkLocal)
	s.out("", data6(linkLocal), pass, linkLocal)
	s.out("of IPv4 only DHCP passes", data(five), drop, linkLocal)
	s.out("", arp, drop, linkLocal)
	s.in("", dataTo(five), drop, linkLocal)
	s.leased(1, five, time.Hour, []string{linkLocal}, []string{five, linkLocal})
	s.out("", data(five), pass, five, linkLocal)
	s.wait(time.Hour)
	s.out("the lease ends: IPv4 is restricted again", data(five), drop, linkLocal)
	s.in("", dataTo(five), drop, linkLocal)
	s.out("", data6(linkLocal), pass, linkLocal)
	return p.Test
}

func bothByAny() *Test {
	p := newPlay("dual", "clean-traffic-dual")
	const five = "10.0.0.5"

	s := p.scene("each family is learned from its own packets")
	s.out("", data(five), pass, five)
	s.in("", dataTo(five), pass, five)
	s.in("nothing of IPv6 is known yet", data6To(slaac), drop, five)
	s.in("", advertises("2001:db8:1::/64", time.Hour), pass, five)
	s.out("", data6(foreign), drop, five)
	s.out("", data6(slaac), pass, five, slaac)
	s.in("", data6To(slaac), pass, five, slaac)
	s.out("", data("10.0.0.6"), drop, five, slaac)
	s.wait(time.Hour)
	s.in("the prefix has ended", data6To(slaac), drop, five)
	s.in("", dataTo(five), pass, five)

	s = p.scene("the other way round")
	s.out("", looksFor(linkLocal), pass, linkLocal)
	s.in("", dataTo(five), drop, linkLocal)
	s.out("", sent("arp request 0.0.0.0 > 10.0.0.5"), pass, linkLocal)
	s.out("", sent("arp request 10.0.0.5 > 10.0.0.1"), pass, five, linkLocal)
	s.in("", dataTo(five), pass, five, linkLocal)
	return p.Test
}

func oneGiven() *Test {
	p := newPlay("dual-given", "clean-traffic-dual", "IP", "10.0.0.5")
	const five = "10.0.0.5"

	s := p.scene("what the binding gives is not learned")
	s.out("", data(five), pass)
	s.out("", data("10.0.0.6"), drop)
	s.out("", sent("arp request 10.0.0.6 > 10.0.0.1"), drop)
	s.out("", asks(discover, 1), pass)
	s.in("an offer neither", answers(server, offer, 1, "10.0.0.6", time.Hour), pass)
	s.in("", data6To(slaac), drop)
	s.in("", advertises("2001:db8:1::/64", time.Hour), pass)
	s.out("", data6(slaac), pass, slaac)
	s.in("", data6To(slaac), pass, slaac)
	s.out("", data(five), pass, slaac)
	return p.Test
}

// learningRefused are bindings that cannot be learned for.
func learningRefused() []*Test {
	refused := func(name, filter string, parameters ...string) *Test {
		p := newPlay(name, filter, parameters...)
		p.ExpectError = &ExpectError{Stage: "bind"}
		return p.Test
	}
	other := refused("refused-other-variable", "to-peer")
	other.Filters = []string{`<filter name='to-peer'>
  <filterref filter='clean-traffic'/>
  <rule action='accept' direction='out'><tcp dstipaddr='$PEER'/></rule>
</filter>`}
	return []*Test{
		refused("refused-none", "clean-traffic", "CTRL_IP_LEARNING", "none"),
		refused("refused-mode", "clean-traffic", "CTRL_IP_LEARNING", "arp"),
		refused("refused-one-family", "clean-traffic-dual", "CTRL_IP_LEARNING", "none", "IP", "10.0.0.5"),
		other,
	}
}
