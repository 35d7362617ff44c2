package policytest

import (
	"time"

	"tapgate/internal/lab"
)

// learningByAny is IPv4 in the mode any: the first evidence counts.
func learningByAny() []*Test {
	return []*Test{anyClaims(), anyDHCP(), anyFirstPacket()}
}

func anyClaims() *Test {
	p := newPlay("any", "clean-traffic")
	const five = "10.0.0.5"

	s := p.scene("ARP teaches; before that only what teaches passes")
	s.in("nobody knows whether this is for the guest", dataTo(five), drop)
	s.in("neighbours may ask for the guest", lab.ARPFrame(peerMAC, lab.Broadcast, 1, peerMAC, server, make([]byte, 6), server), pass)
	s.in("what is for others does not reach it", got("52:54:00:00:00:99 > 52:54:00:00:00:77 arp reply 10.0.0.1 > 10.0.0.7"), drop)
	s.in("", got("icmpv6 fe80::99 > ff02::1 router-advertisement"), drop)
	s.in("", got("ether 0x88b5 len 46"), drop)
	s.out("", sent("ether 0x88b5 len 46"), drop)
	s.out("the filter asks for no IPv6 address, so none is learned", data6("fd00::5"), drop)
	s.out("a probe (RFC 5227) claims nothing", sent("arp request 0.0.0.0 > 10.0.0.5"), pass)
	s.out("a claim, which is judged by the policy that it makes", sent("arp request 10.0.0.5 > 10.0.0.1"), pass, five)
	s.in("", got("arp reply 10.0.0.1 > 10.0.0.5"), pass, five)
	s.out("", data(five), pass, five)
	s.in("", dataTo(five), pass, five)
	s.out("a second address is a false one", data("10.0.0.6"), drop, five)
	s.out("", sent("arp request 10.0.0.6 > 10.0.0.1"), drop, five)
	s.out("the whole filter is in force: it lets no probe pass", sent("arp request 0.0.0.0 > 10.0.0.7"), drop, five)
	s.out("", data6("fd00::5"), drop, five)
	s.wait(1000 * time.Hour)
	s.out("the address has no end", data(five), pass, five)
	s.out("", data("10.0.0.6"), drop, five)

	s = p.scene("an ARP reply teaches")
	s.out("", sent("arp reply 10.0.0.5 > 10.0.0.1"), pass, five)
	s.out("", data(five), pass, five)

	s = p.scene("IPv4 teaches")
	s.out("the first packet is not lost", data(five), pass, five)
	s.out("", sent("arp request 10.0.0.6 > 10.0.0.1"), drop, five)
	s.out("", sent("arp request 10.0.0.5 > 10.0.0.1"), pass, five)
	s.out("", sent("tcp 10.0.0.6:1000 > 10.0.0.9:80 syn"), drop, five)

	s = p.scene("IPv4 in a tag teaches, and is dropped by the policy that it makes")
	s.out("", sent("vlan 7 udp 10.0.0.5:1000 > 10.0.0.9:2000"), drop, five)
	s.out("", data(five), pass, five)
	s.out("", data("10.0.0.6"), drop, five)

	s = p.scene("ARP in a tag teaches nothing")
	s.out("", sent("vlan 7 arp request 10.0.0.5 > 10.0.0.1"), drop)
	s.out("", data("10.0.0.6"), pass, "10.0.0.6")

	s = p.scene("what is no guest's address, and who is not the guest")
	s.out("", data("127.0.0.1"), drop)
	s.out("", data("224.0.0.1"), drop)
	s.out("", data("255.255.255.255"), drop)
	s.out("", data("0.1.2.3"), drop)
	s.out("", sent("arp request 127.0.0.1 > 10.0.0.1"), drop)
	s.out("another sender", sent("52:54:00:00:00:77 > 52:54:00:00:00:99 udp 10.0.0.5:1000 > 10.0.0.9:2000"), drop)
	s.out("another one in ARP", sent("arp request 10.0.0.5/52:54:00:00:00:77 > 10.0.0.1"), drop)
	s.in("what the guest gets claims nothing of it", got("arp request 10.0.0.5 > 10.0.0.1"), pass)
	s.in("", dataTo(five), drop)
	later := data(five)
	later[20], later[21] = 0, 9 // behind 72 bytes of the datagram
	s.out("a later fragment; its header's checksum is not looked at", later, drop)
	s.out("", data(five), pass, five)
	return p.Test
}

func anyDHCP() *Test {
	p := newPlay("any-dhcp", "clean-traffic")
	const five, six = "10.0.0.5", "10.0.0.6"

	s := p.scene("an offer teaches for a minute, and DHCP confirms it")
	s.out("", asks(discover, 1), pass)
	s.in("", answers(server, offer, 1, five, time.Hour), pass, five)
	s.out("another address is claimed meanwhile", data(six), drop, five)
	s.out("", asks(ask, 1, forAddress(five), toServer(server)), pass, five)
	s.in("", answers(server, ack, 1, five, time.Hour), pass, five)
	s.out("", data(five), pass, five)
	s.out("", data(six), drop, five)
	s.wait(1000 * time.Hour)
	s.out("one address for the life of the binding, whatever the lease's time", data(five), pass, five)

	s = p.scene("an offer that nobody takes")
	s.out("", asks(discover, 1), pass)
	s.in("", answers(server, offer, 1, five, time.Hour), pass, five)
	s.wait(time.Minute)
	s.in("the port is as it was before", dataTo(five), drop)
	s.out("and learns", data(six), pass, six)

	s = p.scene("using the address confirms the offer")
	s.out("", asks(discover, 1), pass)
	s.in("", answers(server, offer, 1, five, time.Hour), pass, five)
	s.out("the policy of the offer lets it pass, so that nothing is learned from it", sent("arp request 10.0.0.5 > 10.0.0.1"), pass, five)
	s.wait(2 * time.Minute)
	s.out("but it is learned when it would be dropped", sent("arp request 10.0.0.5 > 10.0.0.1"), pass, five)
	s.wait(time.Hour)
	s.out("", data(five), pass, five)
	s.out("", data(six), drop, five)

	s = p.scene("the server gives another address than it offered")
	s.out("", asks(discover, 1), pass)
	s.in("", answers(server, offer, 1, five, time.Hour), pass, five)
	s.out("", asks(ask, 2, forAddress(six)), pass, five)
	s.in("", answers(server, ack, 2, six, time.Hour), pass, six)
	s.out("", data(five), drop, six)
	s.out("", data(six), pass, six)

	s = p.scene("of two offers the first counts")
	s.out("", asks(discover, 1), pass)
	s.in("", answers(server, offer, 1, five, time.Hour), pass, five)
	s.in("", answers(server, offer, 1, six, time.Hour), pass, five)

	s = p.scene("what answers nothing teaches nothing")
	s.in("an offer", answers(server, offer, 1, five, time.Hour), pass)
	s.in("an acknowledgement", answers(server, ack, 1, five, time.Hour), pass)
	s.out("", asks(discover, 1), pass)
	s.in("of another transaction", answers(server, offer, 2, five, time.Hour), pass)
	s.in("nobody asked for the address yet", answers(server, ack, 1, five, time.Hour), pass)
	return p.Test
}

// anyFirstPacket has a filter with more to say than whose address it is.
func anyFirstPacket() *Test {
	p := newPlay("any-first-packet", "no-mail")
	p.Filters = []string{`<filter name='no-mail'>
  <filterref filter='clean-traffic'/>
  <rule action='drop' direction='out'><tcp dstportstart='25'/></rule>
  <rule action='drop' direction='inout'><udp dstportstart='67' dstportend='68'/></rule>
</filter>`}
	const five = "10.0.0.5"

	s := p.scene("a packet that teaches does not get around the rules")
	s.out("", sent("tcp 10.0.0.5:1000 > 10.0.0.9:25 syn"), drop, five)
	s.out("", sent("tcp 10.0.0.5:1000 > 10.0.0.9:80 syn"), pass, five)

	s = p.scene("DHCP passes until the address is confirmed, whatever the filter says")
	s.out("", asks(discover, 1), pass)
	s.in("", answers(server, offer, 1, five, time.Hour), pass, five)
	s.out("", asks(ask, 1, forAddress(five), toServer(server)), pass, five)
	s.in("", answers(server, ack, 1, five, time.Hour), pass, five)
	s.out("from here on the filter counts", renews(ask, 2, five), drop, five)
	s.in("", answers(server, ack, 2, five, time.Hour), drop, five)
	return p.Test
}
