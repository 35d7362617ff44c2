package main

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"tapgate/internal/lab"
)

var (
	leasedFrom = netip.MustParseAddr("10.77.0.130")
	leasedTo   = netip.MustParseAddr("10.77.0.199")
)

// given tells whether dnsmasq gives an address.
func given(a netip.Addr) bool { return !a.Less(leasedFrom) && !leasedTo.Less(a) }

func is(address string) func(netip.Addr) bool {
	return func(a netip.Addr) bool { return a == netip.MustParseAddr(address) }
}

// dnsmasq starts one at the neighbour.
func (h *learningHost) dnsmasq() *lab.Program {
	h.Helper()
	p, err := h.ServeDNSMasq(h.Context(), h.Neighbour, h.TempDir(), lab.DNSMasqConfig{From: leasedFrom, To: leasedTo, Lease: 2 * time.Minute})
	h.runs(p, err)
	return p
}

// server starts the lab's own at the neighbour, which gives an address to everybody.
func (h *learningHost) server(address string, lease time.Duration) *lab.DHCPServer {
	h.Helper()
	s, err := h.ServeDHCP(h.Neighbour)
	h.must(err)
	s.Give(lab.DHCPGrant{Address: netip.MustParseAddr(address), Lease: lease})
	return s
}

// ask starts a DHCP client in the guest.
func (h *learningHost) ask(config lab.DHCPClientConfig) *lab.Program {
	h.Helper()
	config.Dir = h.TempDir()
	p, err := h.RunDHCPClient(h.client, config)
	h.runs(p, err)
	return p
}

// gets waits until the guest has an address, and a route with it: dhcpcd sets that by itself, afterwards.
func (h *learningHost) gets(p *lab.Program, match func(netip.Addr) bool) netip.Addr {
	h.Helper()
	address, err := h.client.WaitAddress(h.within(20*time.Second), match)
	if err != nil {
		h.Fatalf("%v; the client printed:\n%s\nthe daemon:\n%s", err, p.Output(), h.log)
	}
	if address.Is4() {
		h.eventually("the guest has a route", func() bool {
			_, err := h.client.Links().RouteGet(h.Neighbour.IPv4.AsSlice())
			return err == nil
		})
	}
	return address
}

// reached pings the guest once, and lets it ping.
func (h *learningHost) reached(address netip.Addr) {
	h.Helper()
	if err := lab.Ping(h.Context(), h.client.Namespace, h.Neighbour.IPv4); err != nil {
		h.Errorf("the guest is not answered: %v", err)
	}
	if err := lab.Ping(h.Context(), h.Neighbour.Namespace, address); err != nil {
		h.Errorf("the guest is not reached: %v", err)
	}
}

// TestLearnsFromDHCP lets each client ask a dnsmasq, in both modes.
func TestLearnsFromDHCP(t *testing.T) {
	for _, mode := range []string{"dhcp", "any"} {
		for _, name := range []lab.DHCPClient{lab.Udhcpc, lab.Dhclient, lab.Dhcpcd} {
			t.Run(fmt.Sprint(mode, " with ", name), func(t *testing.T) {
				h := newLearningHost(t)
				h.dnsmasq()
				h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING="+mode)
				if mode == "dhcp" {
					h.neverPasses(h.client, "10.77.0.12")
				}
				begin := time.Now()
				p := h.ask(lab.DHCPClientConfig{Client: name})
				address := h.gets(p, given)
				h.reached(address) // at once
				l := h.learned("client0", address.String())[address.String()]
				switch {
				case mode == "any" && l.End != nil, mode == "dhcp" && (l.Source != "dhcp" || l.Server != "10.77.0.20"):
					t.Errorf("the lease is %+v", l)
				case mode == "dhcp" && (l.End == nil || l.End.Before(begin.Add(2*time.Minute)) || l.End.After(time.Now().Add(2*time.Minute))):
					t.Errorf("a lease of two minutes ends at %v; it was asked for at %s", l.End, begin)
				}
				if h.passes(h.client, "10.77.0.13") {
					t.Error("another address passes")
				}
			})
		}
	}
}

// TestLeaseIsRenewed keeps a lease of four seconds for longer than that, with pings all along.
func TestLeaseIsRenewed(t *testing.T) {
	h := newLearningHost(t)
	server := h.server("10.77.0.140", 4*time.Second)
	h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING=dhcp")
	p := h.ask(lab.DHCPClientConfig{Client: lab.Dhclient})
	address := h.gets(p, is("10.77.0.140"))
	first := h.learned("client0", "10.77.0.140")["10.77.0.140"]
	lost, sent := 0, 0
	for begin := time.Now(); time.Since(begin) < 9*time.Second; time.Sleep(50 * time.Millisecond) {
		sent++
		if lab.Ping(t.Context(), h.Neighbour.Namespace, address) != nil {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d pings were lost while the lease was renewed; the client printed:\n%s", lost, sent, p.Output())
	}
	last := h.learned("client0", "10.77.0.140")["10.77.0.140"]
	if last.End == nil || first.End == nil || !last.End.After(*first.End) || !last.Renewed.After(first.Renewed) {
		t.Errorf("the lease was %+v and is %+v", first, last)
	}

	// The client dies. The lease ends, and with it what the guest may do.
	h.must(p.Signal(syscall.SIGKILL))
	h.learned("client0")
	if h.passes(h.client, "10.77.0.140") {
		t.Error("an address passes whose lease has ended")
	}
	// Another client comes: it is learned again.
	server.Give(lab.DHCPGrant{Address: netip.MustParseAddr("10.77.0.141"), Lease: time.Minute})
	h.must(h.client.ForgetAddresses())
	p = h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc})
	h.reached(h.gets(p, is("10.77.0.141")))
	h.learned("client0", "10.77.0.141")
}

// TestRenumbering gives a guest with two leases another address in the place of one: a connection of the
// other goes on.
func TestRenumbering(t *testing.T) {
	h := newLearningHost(t)
	stays, before, after := "10.77.0.140", "10.77.0.141", "10.77.0.142"
	server := h.server(stays, time.Minute)
	moving := before
	server.GiveEach(func(m *dhcpv4.DHCPv4) lab.DHCPGrant {
		if string(m.Options.Get(dhcpv4.OptionClientIdentifier)) == "moves" {
			return lab.DHCPGrant{Address: netip.MustParseAddr(moving), Lease: 4 * time.Second}
		}
		return lab.DHCPGrant{Address: netip.MustParseAddr(stays), Lease: time.Minute}
	})
	h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING=dhcp")
	h.gets(h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc}), is(stays))
	moves := h.ask(lab.DHCPClientConfig{Client: lab.Dhclient, ID: "moves"})
	h.gets(moves, is(before))
	leases := h.learned("client0", stays, before)
	if leases[stays].End.Before(*leases[before].End) {
		t.Errorf("leases %+v", leases)
	}
	for _, a := range []string{stays, before} {
		if !h.passes(h.client, a) {
			t.Errorf("%s does not pass", a)
		}
	}
	// A connection to the address that stays, and traffic in it, until all is over.
	h.client.IPv4 = netip.MustParseAddr(stays)
	h.must(h.ServeTCPEcho(h.client, 7))
	conn, err := h.Neighbour.Dial(h.within(5*time.Second), "tcp", h.client.At(7))
	h.must(err)
	defer conn.Close()
	retransmitted, err := h.Neighbour.Counters()
	h.must(err)
	stop, talked := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if err := lab.EchoTCP(h.Context(), conn); err != nil {
				talked <- err
				return
			}
			select {
			case <-stop:
				talked <- nil
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	server.GiveEach(func(m *dhcpv4.DHCPv4) lab.DHCPGrant {
		if string(m.Options.Get(dhcpv4.OptionClientIdentifier)) == "moves" {
			return lab.DHCPGrant{Address: netip.MustParseAddr(after), Lease: time.Minute}
		}
		return lab.DHCPGrant{Address: netip.MustParseAddr(stays), Lease: time.Minute}
	})
	h.gets(moves, is(after))
	h.learned("client0", stays, after)
	if h.passes(h.client, before) || !h.passes(h.client, after) || !h.passes(h.client, stays) {
		t.Errorf("%s, %s and %s pass: %v, %v, %v", before, after, stays, h.passes(h.client, before), h.passes(h.client, after), h.passes(h.client, stays))
	}
	close(stop)
	if err := <-talked; err != nil {
		t.Errorf("the connection of the address that stays: %v", err)
	}
	again, err := h.Neighbour.Counters()
	h.must(err)
	if n := again["Tcp.RetransSegs"] - retransmitted["Tcp.RetransSegs"]; n > 0 {
		t.Errorf("%d segments had to be sent again", n)
	}
}

// TestRogueServer has two servers on the link, of which one is trusted.
func TestRogueServer(t *testing.T) {
	for _, trusted := range []string{"10.77.0.20", "10.77.0.1"} {
		t.Run(trusted, func(t *testing.T) {
			h := newLearningHost(t)
			rogueGuest, err := h.AddAttacker(t.Context())
			h.must(err)
			rogue, err := h.ServeDHCP(rogueGuest)
			h.must(err)
			rogue.Give(lab.DHCPGrant{Address: netip.MustParseAddr("10.77.0.200"), Lease: time.Hour})
			server := h.server("10.77.0.140", 4*time.Second)
			if trusted != "10.77.0.20" { // what arrives is what its relay agent sends
				server.Give(lab.DHCPGrant{Address: netip.MustParseAddr("10.77.0.140"), Lease: 4 * time.Second, Relay: netip.MustParseAddr(trusted)})
			}
			// The rogue's answers come first.
			server.Hold(dhcpv4.MessageTypeDiscover)
			h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING=dhcp", "DHCPSERVER="+trusted)
			p := h.ask(lab.DHCPClientConfig{Client: lab.Dhclient})
			_, err = rogue.Heard(h.within(5*time.Second), dhcpv4.MessageTypeDiscover, 0)
			h.must(err)
			time.Sleep(100 * time.Millisecond)
			h.must(server.Answer())
			h.gets(p, is("10.77.0.140"))
			h.learned("client0", "10.77.0.140")
			// An answer to a request that is pending, but from the rogue: with the very transaction, in
			// place of the server's. And one to nothing.
			mark := server.Mark()
			server.Hold(dhcpv4.MessageTypeRequest)
			request, err := server.Heard(h.within(5*time.Second), dhcpv4.MessageTypeRequest, mark)
			h.must(err)
			frames, err := rogueGuest.OpenFrames(lab.GuestDevice)
			h.must(err)
			for _, address := range []string{"10.77.0.140", "10.77.0.201"} {
				h.must(frames.Send(lab.DHCPReply(rogueGuest.MAC, rogueGuest.IPv4, h.client.MAC, dhcpv4.MessageTypeAck, netip.MustParseAddr(address), time.Hour,
					dhcpv4.WithTransactionID(request.TransactionID))))
			}
			h.must(frames.Send(lab.DHCPReply(rogueGuest.MAC, rogueGuest.IPv4, h.client.MAC, dhcpv4.MessageTypeNak, netip.MustParseAddr("10.77.0.140"), time.Hour,
				dhcpv4.WithTransactionID(request.TransactionID))))
			time.Sleep(100 * time.Millisecond)
			leases := h.leases("client0")
			if l, ok := leases["10.77.0.140"]; len(leases) != 1 || !ok || l.End == nil || time.Until(*l.End) > 5*time.Second {
				t.Errorf("the rogue server taught %+v", leases)
			}
			if h.passes(h.client, "10.77.0.200") || h.passes(h.client, "10.77.0.201") {
				t.Error("the rogue server's address passes")
			}
		})
	}
}

// TestForgedAnswersTeachNothing: nobody is distrusted, but nothing was asked.
func TestForgedAnswersTeachNothing(t *testing.T) {
	h := newLearningHost(t)
	h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING=dhcp")
	frames, err := h.Neighbour.OpenFrames(lab.GuestDevice)
	h.must(err)
	forged := netip.MustParseAddr("10.77.0.200")
	forge := func(modifiers ...dhcpv4.Modifier) {
		t.Helper()
		h.must(frames.Send(lab.DHCPReply(h.Neighbour.MAC, h.Neighbour.IPv4, h.client.MAC, dhcpv4.MessageTypeAck, forged, time.Hour, modifiers...)))
		time.Sleep(30 * time.Millisecond)
		if leases := h.leases("client0"); len(leases) > 0 {
			t.Fatalf("it taught %+v", leases)
		}
	}
	forge()
	// Something was asked, but something else.
	guest, err := h.client.OpenFrames(lab.GuestDevice)
	h.must(err)
	id := dhcpv4.TransactionID{1, 2, 3, 4}
	asked := dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(leasedFrom.AsSlice()))
	h.must(guest.Send(lab.DHCPRequest(h.client.MAC, dhcpv4.MessageTypeRequest, dhcpv4.WithTransactionID(id), asked)))
	forge(dhcpv4.WithTransactionID(id))
	forge(dhcpv4.WithTransactionID(dhcpv4.TransactionID{4, 3, 2, 1}), dhcpv4.WithYourIP(leasedFrom.AsSlice()))
	// The right one teaches.
	h.must(frames.Send(lab.DHCPReply(h.Neighbour.MAC, h.Neighbour.IPv4, h.client.MAC, dhcpv4.MessageTypeAck, leasedFrom, time.Hour, dhcpv4.WithTransactionID(id))))
	h.learned("client0", leasedFrom.String())
}

// TestDeclineAndRelease take a lease back.
func TestDeclineAndRelease(t *testing.T) {
	t.Run("decline", func(t *testing.T) {
		h := newLearningHost(t)
		server := h.server("10.77.0.11", time.Minute) // the lab's own guest has it
		h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING=dhcp")
		p := h.ask(lab.DHCPClientConfig{Client: lab.Dhclient, InUse: "10.77.0.11"})
		if _, err := server.Heard(h.within(10*time.Second), dhcpv4.MessageTypeDecline, 0); err != nil {
			t.Fatalf("%v; the client printed:\n%s", err, p.Output())
		}
		server.Give(lab.DHCPGrant{Address: netip.MustParseAddr("10.77.0.140"), Lease: time.Minute})
		address := h.gets(p, is("10.77.0.140"))
		h.learned("client0", address.String())
		if h.passes(h.client, "10.77.0.11") {
			t.Error("the address that was declined passes")
		}
	})
	t.Run("release", func(t *testing.T) {
		h := newLearningHost(t)
		server := h.server("10.77.0.140", time.Minute)
		h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING=dhcp")
		p := h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc, Release: true})
		h.gets(p, is("10.77.0.140"))
		h.learned("client0", "10.77.0.140")
		p.Stop()
		if _, err := server.Heard(h.within(5*time.Second), dhcpv4.MessageTypeRelease, 0); err != nil {
			t.Fatalf("%v; the client printed:\n%s", err, p.Output())
		}
		h.learned("client0")
		if h.passes(h.client, "10.77.0.140") {
			t.Error("the address that was given back passes")
		}
	})
}

// TestLeaseWithoutAnEnd: libvirt takes it for one that has ended.
func TestLeaseWithoutAnEnd(t *testing.T) {
	h := newLearningHost(t)
	h.server("10.77.0.140", lab.Forever)
	h.learn(h.client, "clean-traffic", "CTRL_IP_LEARNING=dhcp")
	h.gets(h.ask(lab.DHCPClientConfig{Client: lab.Udhcpc}), is("10.77.0.140"))
	if l := h.learned("client0", "10.77.0.140")["10.77.0.140"]; l.End != nil {
		t.Errorf("the lease is %+v", l)
	}
}
