package main

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"tapgate/internal/lab"
)

var (
	advertised = netip.MustParsePrefix("fd77::/64")
	givenFrom6 = netip.MustParseAddr("fd77::1:10")
	givenTo6   = netip.MustParseAddr("fd77::1:ff")
	given6     = netip.MustParsePrefix("fd77::1:0/112")
	delegated  = netip.MustParsePrefix("fd77:0:0:100::/56")
)

// reached6 pings the guest once from the neighbour, and lets it ping.
func (h *learningHost) reached6(address netip.Addr) {
	h.Helper()
	if err := lab.Ping(h.Context(), h.client.Namespace, h.Neighbour.IPv6); err != nil {
		h.Errorf("the guest is not answered: %v", err)
	}
	if err := lab.Ping(h.Context(), h.Neighbour.Namespace, address); err != nil {
		h.Errorf("the guest is not reached: %v", err)
	}
}

// has waits until a port's leases include these addresses.
func (h *learningHost) has(port string, addresses ...string) map[string]learnedLease {
	h.Helper()
	var leases map[string]learnedLease
	h.eventually(fmt.Sprintf("port %s has leases of %v", port, addresses), func() bool {
		leases = h.leases(port)
		return !slices.ContainsFunc(addresses, func(a string) bool { _, ok := leases[a]; return !ok })
	})
	return leases
}

// lacks waits until a port has no lease of an address.
func (h *learningHost) lacks(port, address string) {
	h.Helper()
	h.eventually(fmt.Sprintf("port %s has no lease of %s", port, address), func() bool {
		_, ok := h.leases(port)[address]
		return !ok
	})
}

// TestLearnsFromSLAAC lets a guest make addresses of what a dnsmasq advertises, temporary ones too, and use
// them at once.
func TestLearnsFromSLAAC(t *testing.T) {
	for _, filter := range []string{"clean-traffic-ipv6", "clean-traffic-dual"} {
		t.Run(filter, func(t *testing.T) {
			h := newLearningHost(t)
			server, err := h.ServeDNSMasq(t.Context(), h.Neighbour, t.TempDir(), lab.DNSMasqConfig{Advertised: advertised, Lease: 2 * time.Minute})
			h.runs(server, err)
			h.learn(h.client, filter)
			h.must(h.client.AutoConfigure(lab.SLAACConfig{Privacy: true}))
			ctx := h.within(20 * time.Second)
			own := lab.EUI64(advertised, h.client.MAC)
			temporary, err := h.client.WaitAddress(ctx, func(a netip.Addr) bool { return advertised.Contains(a) && a != own })
			h.must(err)
			// The kernel prefers the temporary one.
			h.reached6(temporary)
			_, err = h.client.WaitAddress(ctx, func(a netip.Addr) bool { return a == own })
			h.must(err)
			h.reached6(own)
			leases := h.has("client0", own.String(), temporary.String(), lab.LinkLocal(h.client.MAC).String())
			if l := leases[own.String()]; l.Source != "nd" || l.End == nil || time.Until(*l.End) > 30*time.Minute {
				// dnsmasq makes a prefix valid for thrice the time between its advertisements at least.
				t.Errorf("the prefix ends in half an hour, and the lease is %+v", l)
			}
			if l := leases[lab.LinkLocal(h.client.MAC).String()]; l.End != nil {
				t.Errorf("the lease of the link-local address is %+v", l)
			}
			// A daemon more knows it all.
			h.kill()
			h.reached6(own)
			h.start()
			h.has("client0", own.String(), temporary.String(), lab.LinkLocal(h.client.MAC).String())
			h.reached6(own)
			// In none of the prefixes that a router has told.
			if h.passes(h.client, "fd78::1") {
				t.Error("an address of another prefix passes")
			}
			h.lacks("client0", "fd78::1")
		})
	}
}

// TestForgedNeighbourDiscovery: a guest that has its addresses says that it has the neighbour's, or that it is a
// router.
func TestForgedNeighbourDiscovery(t *testing.T) {
	t.Run("dhcp", func(t *testing.T) { forgeNeighbourDiscovery(t, "dhcp") })
	t.Run("any", func(t *testing.T) { forgeNeighbourDiscovery(t, "any") })
}

func forgeNeighbourDiscovery(t *testing.T, mode string) {
	h := newLearningHost(t)
	h.learn(h.client, "clean-traffic-ipv6", "CTRL_IP_LEARNING="+mode)
	h.must(h.client.AutoConfigure(lab.SLAACConfig{}))
	_, err := h.client.WaitAddress(h.within(5*time.Second), netip.Addr.IsLinkLocalUnicast)
	h.must(err)
	own, mac := lab.LinkLocal(h.client.MAC), h.client.MAC
	h.has("client0", own.String())
	// The neighbour's own address is of no prefix that it advertises.
	prefix := netip.MustParsePrefix("fd78::/64")
	router, err := h.Neighbour.OpenFrames(lab.GuestDevice)
	h.must(err)
	h.must(router.Send(lab.RouterAdvertisement(h.Neighbour.MAC, lab.LinkLocal(h.Neighbour.MAC), prefix, time.Hour)))
	_, err = h.client.WaitAddress(h.within(5*time.Second), prefix.Contains)
	h.must(err)
	if mode == "any" {
		h.has("client0", lab.EUI64(prefix, mac).String())
	}
	for name, frame := range map[string][]byte{
		"a router advertisement":                 lab.RouterAdvertisement(mac, own, netip.MustParsePrefix("fd79::/64"), time.Hour),
		"an advertisement of the neighbour":      lab.NeighbourAdvertisement(mac, own, h.Neighbour.IPv6, mac),
		"an advertisement from the neighbour":    lab.NeighbourAdvertisement(mac, h.Neighbour.IPv6, h.Neighbour.IPv6, mac),
		"an advertisement with another's MAC":    lab.NeighbourAdvertisement(mac, own, own, h.Neighbour.MAC),
		"a solicitation from the neighbour":      lab.NeighbourSolicitation(mac, h.Neighbour.IPv6, h.Guest.IPv6),
		"a solicitation from another MAC":        lab.NeighbourSolicitation(h.Guest.MAC, own, h.Neighbour.IPv6),
		"an advertisement from another's device": lab.NeighbourAdvertisement(h.Guest.MAC, own, own, h.Guest.MAC),
	} {
		if h.goesOut(h.client, frame) {
			t.Errorf("%s passes", name)
		}
	}
	for name, frame := range map[string][]byte{
		"an advertisement of its own":           lab.NeighbourAdvertisement(mac, own, own, mac),
		"a solicitation of its own":             lab.NeighbourSolicitation(mac, own, h.Neighbour.IPv6),
		"a question whether an address is free": lab.DuplicateSolicitation(mac, netip.MustParseAddr("fe80::1234")),
	} {
		if !h.goesOut(h.client, frame) {
			t.Errorf("%s does not pass", name)
		}
	}
	h.lacks("client0", h.Neighbour.IPv6.String())
}

// TestADuplicateIsNotLearned: somebody has the address already, and says so.
func TestADuplicateIsNotLearned(t *testing.T) {
	h := newLearningHost(t)
	neighbour, err := h.Neighbour.OpenFrames(lab.GuestDevice)
	h.must(err)
	h.learn(h.client, "clean-traffic-ipv6")
	h.must(h.client.AutoConfigure(lab.SLAACConfig{NoRouters: true}))
	own := lab.LinkLocal(h.client.MAC)
	asks := func(frame []byte) bool {
		return len(frame) >= 78 && frame[54] == 135 && [16]byte(frame[62:78]) == own.As16()
	}
	_, err = neighbour.Receive(h.within(5*time.Second), asks)
	h.must(err)
	h.must(neighbour.Send(lab.NeighbourAdvertisement(h.Neighbour.MAC, lab.LinkLocal(h.Neighbour.MAC), own, h.Neighbour.MAC)))
	time.Sleep(50 * time.Millisecond)
	h.lacks("client0", own.String())
	if h.passes(h.client, own.String()) {
		t.Error("another's address passes")
	}
}

// TestLearnsFromDHCPv6 lets real clients ask real servers for an address, and for a prefix.
func TestLearnsFromDHCPv6(t *testing.T) {
	for _, test := range []struct {
		client lab.DHCPClient
		prefix bool
	}{{lab.Dhclient, false}, {lab.Dhcpcd, false}, {lab.Dhclient, true}, {lab.Dhcpcd, true}} {
		name := string(test.client)
		if test.prefix {
			name += " with a prefix"
		}
		t.Run(name, func(t *testing.T) {
			if testing.Short() && test.client != lab.Dhclient {
				t.Skip("one client is enough in a short test")
			}
			h := newLearningHost(t)
			h.learn(h.client, "clean-traffic-ipv6", "CTRL_IP_LEARNING=dhcp")
			var server *lab.Program
			var err error
			if test.prefix {
				server, err = h.ServeDelegation(t.Context(), h.Neighbour, t.TempDir(), lab.DelegationConfig{
					From: givenFrom6, To: givenTo6, First: delegated, Last: delegated, Lease: 12 * time.Second,
				})
			} else {
				server, err = h.ServeDNSMasq(t.Context(), h.Neighbour, t.TempDir(), lab.DNSMasqConfig{From6: givenFrom6, To6: givenTo6, Lease: 2 * time.Minute})
			}
			h.runs(server, err)
			h.must(h.client.AutoConfigure(lab.SLAACConfig{NoRouters: true}))
			_, err = h.client.WaitAddress(h.within(5*time.Second), netip.Addr.IsLinkLocalUnicast)
			h.must(err)
			h.must(h.client.AddRoute(advertised)) // no router tells it
			if h.passes(h.client, "fd77::40") {
				t.Error("an address passes that nobody gave")
			}
			p := h.ask(lab.DHCPClientConfig{Client: test.client, IPv6: true, Prefix: test.prefix})
			address := h.gets(p, given6.Contains)
			h.reached6(address)
			want := []string{lab.LinkLocal(h.client.MAC).String(), address.String()}
			if test.prefix {
				want = append(want, delegated.String())
			}
			leases := h.has("client0", want...)
			if l := leases[address.String()]; l.Source != "dhcpv6" || l.End == nil {
				t.Errorf("the lease is %+v", l)
			}
			for source, passes := range map[string]bool{"fd77:0:0:1ff::5": test.prefix, "fd77:0:0:200::5": false, "fd77::40": false} {
				if h.passes(h.client, source) != passes {
					t.Errorf("it is not so that %s passes: %t", source, passes)
				}
			}
			if !test.prefix {
				return
			}
			// The client dies, and the leases end.
			h.must(p.Signal(syscall.SIGKILL))
			p.Stop()
			h.eventuallyWithin(20*time.Second, "the leases end", func() bool {
				left := h.leases("client0")
				_, a := left[address.String()]
				_, b := left[delegated.String()]
				return !a && !b
			})
			h.eventually("nothing passes whose lease has ended", func() bool {
				return !h.passes(h.client, address.String()) && !h.passes(h.client, "fd77:0:0:1ff::5")
			})
		})
	}
}

// eventuallyWithin is eventually with another limit.
func (h *learningHost) eventuallyWithin(limit time.Duration, what string, holds func() bool) {
	h.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.Fatalf("it does not happen that %s; the log: %s", what, h.log)
		}
	}
}
