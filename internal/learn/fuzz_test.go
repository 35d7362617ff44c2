package learn

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzObserve gives any frame to a machine that is in the midst of every exchange.
// Checksums of IPv4 headers are made right, so that what is behind them is reached.
func FuzzObserve(f *testing.F) {
	for _, frame := range [][]byte{
		dhcpOut(discover, 7, rapidCommit), dhcpOut(ask, 7, asking("10.0.0.5"), serverID(server)), dhcpOut(release, 7, client("10.0.0.4")),
		dhcp6Out(request6t, 7, toServer), dad(guestMAC, "2001:db8:1::5"), solicit(guestMAC, "fe80::5"), advertise(guestMAC, "fe80::5", "fe80::5"),
		text(f, "arp request 10.0.0.5 > 10.0.0.9"), text(f, "vlan 7 udp 10.0.0.5:1 > 10.0.0.9:2"), text(f, "udp [fe80::5]:1 > [fe80::9]:2"),
	} {
		f.Add(frame, true, false)
		f.Add(frame, true, true)
	}
	for _, frame := range [][]byte{
		dhcpIn(ack, 7, yours("10.0.0.5"), leaseTime(hour)), overloaded(3, snameField, fileField), dhcpIn(nak, 7),
		dhcp6In(reply6t, 7, five, iaTA(iaAddr("2001:db8::6", hour)), iaPD(iaPrefix("2001:db8:5::/56", hour)), success),
		routers(autonomousFor("2001:db8:1::/64", hour)), advertise(peerMAC, "fe80::6", "fe80::6"), dad(peerMAC, "fe80::6"),
	} {
		f.Add(frame, false, false)
		f.Add(frame, false, true)
	}
	advertised := routers(autonomousFor("2001:db8:1::/64", hour))
	asked := [][]byte{
		dhcpOut(ask, 7, asking("10.0.0.5"), serverID(server)), dhcpOut(discover, 7, rapidCommit), dhcp6Out(request6t, 7, toServer), dad(guestMAC, "fe80::6"),
	}
	f.Fuzz(func(t *testing.T, frame []byte, out, anything bool) {
		c := Config{MAC: guestMAC, Mode: FromDHCP, IPv4: true, IPv6: true}
		if anything {
			c.Mode = Any
		}
		p := New(c, nil, nil)
		p.Observe(advertised, false, true, start)
		for _, frame := range asked {
			p.Observe(frame, true, true, start)
		}
		frame = bytes.Clone(frame)
		if len(frame) >= 34 && frame[12] == 8 && frame[13] == 0 && frame[14] == 0x45 {
			header(frame, func([]byte) {})
		}
		before := p.Leases()
		twin := New(c, before, p.Memory())
		p.Observe(frame, out, true, start)
		twin.Observe(frame, out, true, start)
		if !slices.Equal(p.Leases(), twin.Leases()) || !bytes.Equal(p.Memory(), twin.Memory()) {
			t.Errorf("a machine made anew does otherwise: %v, %v", p.Leases(), twin.Leases())
		}
		leases := p.Leases()
		if len(leases) > 2*MaxLeases || len(p.Memory()) > 4096 {
			t.Errorf("%d leases, %d bytes of memory", len(leases), len(p.Memory()))
		}
		for _, l := range leases {
			if l.Ended(start) || !l.Address.IsValid() || l.Address != l.Address.Masked() {
				t.Errorf("the lease %+v", l)
			}
			if !out && l.claimed() && !slices.ContainsFunc(before, func(b Lease) bool { return b.Address == l.Address }) {
				t.Errorf("%+v is learned from what the guest receives", l)
			}
		}
	})
}

// FuzzMemory reads anything as a memory, which must do no harm.
func FuzzMemory(f *testing.F) {
	p := New(Config{MAC: guestMAC, Mode: Any, IPv4: true, IPv6: true}, nil, nil)
	f.Add(p.Memory())
	p.Observe(dhcpOut(ask, 7, asking("10.0.0.5")), true, true, start)
	p.Observe(routers(autonomousFor("2001:db8:1::/64", hour)), false, true, start)
	f.Add(p.Memory())
	f.Fuzz(func(t *testing.T, memory []byte) {
		p := New(Config{MAC: guestMAC, Mode: Any, IPv4: true, IPv6: true}, nil, memory)
		if len(p.Memory()) > 4096 {
			t.Errorf("%d bytes of memory", len(p.Memory()))
		}
		for _, frame := range [][]byte{dhcpOut(discover, 7), dad(guestMAC, "2001:db8:1::5"), routers(autonomousFor("2001:db8:1::/64", hour))} {
			p.Observe(frame, frame[6] == guestMAC[0] && frame[11] == guestMAC[5], true, start)
		}
		p.Expire(start)
		if next := p.Next(); !next.IsZero() && !next.After(start) {
			t.Errorf("next is %s", next)
		}
	})
}
