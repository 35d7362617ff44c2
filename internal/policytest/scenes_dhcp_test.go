package policytest

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"tapgate/nwfilter"
)

// learningByDHCP is IPv4 in the mode dhcp: servers say which addresses a guest has.
func learningByDHCP() []*Test {
	return []*Test{dhcpLeases(), dhcpUnasked(), dhcpTrusted(), dhcpConnections()}
}

// leased is an exchange that gives the guest an address.
func (s *scene) leased(xid byte, address string, lease time.Duration, before, after []string) {
	s.out("", asks(discover, xid), pass, before...)
	s.in("", answers(server, offer, xid, address, lease), pass, before...)
	s.out("", asks(ask, xid, forAddress(address), toServer(server)), pass, before...)
	s.in("", answers(server, ack, xid, address, lease), pass, after...)
}

func dhcpLeases() *Test {
	p := newPlay("dhcp", "clean-traffic", "CTRL_IP_LEARNING", "dhcp")
	const five, six = "10.0.0.5", "10.0.0.6"
	none, first, both := []string{}, []string{five}, []string{five, six}

	s := p.scene("an exchange, a renewal, and the end of the lease")
	s.out("claims teach nothing", data(five), drop)
	s.out("", sent("arp request 10.0.0.5 > 10.0.0.1"), drop)
	s.out("not even probes pass", sent("arp request 0.0.0.0 > 10.0.0.5"), drop)
	s.in("", dataTo(five), drop)
	s.in("", got("52:54:00:00:00:99 > ff:ff:ff:ff:ff:ff arp request 10.0.0.1 > 10.0.0.5"), drop)
	s.out("", asks(discover, 1), pass)
	s.in("an offer is no lease", answers(server, offer, 1, five, time.Hour), pass)
	s.out("", data(five), drop)
	s.out("", asks(ask, 1, forAddress(five), toServer(server)), pass)
	s.in("", answers(server, ack, 1, five, time.Hour), pass, five)
	s.out("", data(five), pass, five)
	s.in("", dataTo(five), pass, five)
	s.out("", data(six), drop, five)
	s.out("", sent("arp request 10.0.0.6 > 10.0.0.1"), drop, five)
	s.wait(30 * time.Minute)
	s.out("", renews(ask, 2, five), pass, five)
	s.in("", answers(server, ack, 2, five, time.Hour), pass, five)
	s.wait(59 * time.Minute)
	s.out("without the renewal it would be over", data(five), pass, five)
	s.wait(time.Minute)
	s.out("now it is", data(five), drop)
	s.in("", dataTo(five), drop)
	s.leased(3, six, time.Hour, none, []string{six})
	s.out("", data(six), pass, six)

	s = p.scene("a renewal that shortens the lease")
	s.leased(1, five, time.Hour, none, first)
	s.out("", renews(ask, 2, five), pass, five)
	s.in("", answers(server, ack, 2, five, time.Minute), pass, five)
	s.wait(time.Minute)
	s.out("", data(five), drop)

	s = p.scene("a lease without an end")
	s.leased(1, five, (1<<32-1)*time.Second, none, first)
	s.wait(1_000_000 * time.Hour)
	s.out("", data(five), pass, five)

	s = p.scene("the server says no")
	s.leased(1, five, time.Hour, none, first)
	s.in("to nothing", answers(server, nak, 1, "0.0.0.0", 0), pass, five)
	s.out("", renews(ask, 2, five), pass, five)
	s.in("to another transaction", answers(server, nak, 3, "0.0.0.0", 0), pass, five)
	s.in("to the renewal", answers(server, nak, 2, "0.0.0.0", 0), pass)
	s.out("", data(five), drop)

	s = p.scene("the guest gives its address back")
	s.leased(1, five, time.Hour, none, first)
	s.out("one that it has not", renews(release, 2, six), drop, five)
	s.out("", renews(release, 2, five), pass)
	s.out("", data(five), drop)

	s = p.scene("the guest finds that somebody else has it")
	s.leased(1, five, time.Hour, none, first)
	s.out("", asks(decline, 2, forAddress(five), toServer(server)), pass)
	s.out("", data(five), drop)

	s = p.scene("two leases side by side, each with its end")
	s.leased(1, five, time.Hour, none, first)
	s.leased(2, six, 2*time.Hour, first, both)
	s.out("", data(five), pass, both...)
	s.out("", data(six), pass, both...)
	s.out("", data("10.0.0.7"), drop, both...)
	s.wait(time.Hour)
	s.out("", data(five), drop, six)
	s.out("", data(six), pass, six)

	s = p.scene("rapid commit (RFC 4039)")
	rapid := dhcpv4.WithGeneric(dhcpv4.OptionRapidCommit, nil)
	s.out("", asks(discover, 1, rapid), pass)
	s.in("", answers(server, ack, 1, five, time.Hour, rapid), pass, five)
	s.out("", data(five), pass, five)

	s = p.scene("through a relay agent")
	s.out("", asks(discover, 1), pass)
	s.out("", asks(ask, 1, forAddress(five), toServer(server)), pass)
	s.in("", answers(netip.MustParseAddr("10.0.0.254"), ack, 1, five, time.Hour, toServer(server)), pass, five)
	return p.Test
}

func dhcpUnasked() *Test {
	p := newPlay("dhcp-unasked", "clean-traffic", "CTRL_IP_LEARNING", "dhcp")
	const five, six = "10.0.0.5", "10.0.0.6"

	s := p.scene("an acknowledgement that the guest did not ask for")
	s.in("", answers(server, ack, 1, five, time.Hour), pass)
	s.out("", data(five), drop)
	s.out("", asks(discover, 1), pass)
	s.in("it is no answer to a DHCPDISCOVER", answers(server, ack, 1, five, time.Hour), pass)
	s.in("", answers(server, ack, 1, five, time.Hour, dhcpv4.WithGeneric(dhcpv4.OptionRapidCommit, nil)), pass)
	s.out("", asks(ask, 2, forAddress(five), toServer(server)), pass)
	s.in("of another transaction", answers(server, ack, 3, five, time.Hour), pass)
	s.in("for another address", answers(server, ack, 2, six, time.Hour), pass)
	s.in("of another server than was chosen", answers(netip.MustParseAddr("10.0.0.2"), ack, 2, five, time.Hour), pass)
	s.in("for another client", answers(server, ack, 2, five, time.Hour, dhcpv4.WithHwAddr(peerMAC)), pass)
	s.in("without a lease's time", answers(server, ack, 2, five, 0), pass)
	s.in("to another port", got("52:54:00:00:00:99 > ff:ff:ff:ff:ff:ff udp 10.0.0.1:67 > 255.255.255.255:69 len 300"), drop)
	s.out("", data(five), drop)
	s.in("and the answer", answers(server, ack, 2, five, time.Hour), pass, five)
	s.in("once more: the request is answered", answers(server, ack, 2, five, 2*time.Hour), pass, five)
	s.wait(time.Hour)
	s.out("", data(five), drop)

	s = p.scene("an answer that comes too late")
	s.out("", asks(ask, 1, forAddress(five), toServer(server)), pass)
	s.wait(time.Minute)
	s.in("", answers(server, ack, 1, five, time.Hour), pass)
	s.out("", asks(ask, 1, forAddress(five), toServer(server)), pass)
	s.wait(59 * time.Second)
	s.in("", answers(server, ack, 1, five, time.Hour), pass, five)

	s = p.scene("the answer to a DHCPINFORM")
	s.out("from an address that is not known", renews(inform, 1, five), pass)
	s.in("", answers(server, ack, 1, "0.0.0.0", 0), pass)
	s.in("", answers(server, ack, 1, five, time.Hour), pass)

	s = p.scene("a request that did not pass")
	s.out("from another hardware address", sent("52:54:00:00:00:77 > ff:ff:ff:ff:ff:ff udp 0.0.0.0:68 > 255.255.255.255:67 len 300"), drop)
	s.in("", answers(server, ack, 1, five, time.Hour), pass)
	return p.Test
}

func dhcpTrusted() *Test {
	p := newPlay("dhcp-trusted", "clean-traffic", "CTRL_IP_LEARNING", "dhcp", "DHCPSERVER", "10.0.0.1", "DHCPSERVER", "10.0.0.254")
	const five, six = "10.0.0.5", "10.0.0.6"
	rogue, relay := netip.MustParseAddr("10.0.0.66"), netip.MustParseAddr("10.0.0.254")

	s := p.scene("who is not in the list teaches nothing")
	s.out("", asks(discover, 1), pass)
	s.in("nor does it reach a guest of which nothing is known", answers(rogue, offer, 1, six, time.Hour), drop)
	s.out("", asks(ask, 1, forAddress(six)), pass)
	s.in("", answers(rogue, ack, 1, six, time.Hour), drop)
	s.in("not if it names a trusted server, either", answers(rogue, ack, 1, six, time.Hour, toServer(server)), drop)
	s.out("", data(six), drop)
	s.out("", asks(ask, 2, forAddress(five), toServer(server)), pass)
	s.in("", answers(server, ack, 2, five, time.Hour), pass, five)
	s.out("", renews(ask, 3, five), pass, five)
	s.in("the filter lets it pass now; it still teaches nothing", answers(rogue, ack, 3, five, 2*time.Hour), pass, five)
	s.in("", answers(rogue, nak, 3, "0.0.0.0", 0), pass, five)
	s.wait(time.Hour)
	s.out("", data(five), drop)

	s = p.scene("a relay agent that is in the list")
	s.out("", asks(ask, 1, forAddress(five), toServer(rogue)), pass)
	s.in("", answers(relay, ack, 1, five, time.Hour, toServer(rogue)), pass, five)
	return p.Test
}

// dhcpConnections has connections that live on while addresses come and go.
func dhcpConnections() *Test {
	p := newPlay("dhcp-connections", "web-client", "CTRL_IP_LEARNING", "dhcp")
	// Without it any segment would open a connection, and a lost one would not show.
	p.Binding.Parameters = append(p.Binding.Parameters, nwfilter.Parameter{Name: "CTRL_TCP_PICK_UP", Value: "no"})
	p.Filters = []string{`<filter name='web-client'>
  <filterref filter='clean-traffic'/>
  <rule action='accept' direction='out'><tcp srcipaddr='$IP' dstportstart='80'/></rule>
  <rule action='accept' direction='out' statematch='false'><udp srcportstart='68' dstportstart='67'/></rule>
  <rule action='accept' direction='in' statematch='false'><udp srcportstart='67' dstportstart='68'/></rule>
  <rule action='drop' direction='inout'><all/></rule>
</filter>`}
	const five, six = "10.0.0.5", "10.0.0.6"
	none, first, both := []string{}, []string{five}, []string{five, six}
	opened := func(s *scene, address string, known ...string) {
		s.out("", sent("tcp "+address+":4000 > 10.0.0.9:80 syn"), pass, known...)
		s.in("", got("tcp 10.0.0.9:80 > "+address+":4000 syn ack"), pass, known...)
		s.out("", sent("tcp "+address+":4000 > 10.0.0.9:80 ack"), pass, known...)
	}
	asked := func(address string) []byte { return sent("tcp " + address + ":4000 > 10.0.0.9:80 ack") }
	answered := func(address string) []byte { return got("tcp 10.0.0.9:80 > " + address + ":4000 ack") }

	s := p.scene("the guest gets a second address, and gives up the first one")
	s.out("nothing opens a connection yet", sent("tcp 10.0.0.5:4000 > 10.0.0.9:80 syn"), drop)
	s.in("", answered(five), drop)
	s.leased(1, five, time.Hour, none, first)
	s.in("", answered(five), drop, five)
	opened(s, five, five)
	s.leased(2, six, 2*time.Hour, first, both)
	s.in("the connection lives on", answered(five), pass, both...)
	s.out("", asked(five), pass, both...)
	s.in("others are not taken for it", answered(six), drop, both...)
	opened(s, six, both...)
	s.out("", renews(release, 3, five), pass, six)
	s.out("it ended with its address", asked(five), drop, six)
	s.in("", answered(five), drop, six)
	s.in("the other one lives on", answered(six), pass, six)
	s.out("", asked(six), pass, six)

	s = p.scene("a lease ends while others have connections")
	s.leased(1, five, time.Minute, none, first)
	s.leased(2, six, time.Hour, first, both)
	opened(s, six, both...)
	s.wait(time.Minute)
	s.in("", answered(six), pass, six)
	s.out("", asked(six), pass, six)
	s.out("", sent("tcp 10.0.0.5:4001 > 10.0.0.9:80 syn"), drop, six)

	s = p.scene("the last lease ends, and comes back")
	s.leased(1, five, time.Minute, none, first)
	opened(s, five, five)
	s.wait(time.Minute)
	s.in("nothing passes", answered(five), drop)
	s.out("", asked(five), drop)
	s.leased(2, five, time.Hour, none, first)
	s.in("its connections are still known", answered(five), pass, five)
	s.out("", asked(five), pass, five)
	return p.Test
}
