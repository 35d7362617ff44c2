package lab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var linkPrefix = netip.MustParsePrefix("fd77::/64")

func TestTheKernelMakesAddressesOfWhatDNSMasqAdvertises(t *testing.T) {
	l := newLab(t)
	guest := newDHCPGuest(t, l)
	server, err := l.ServeDNSMasq(t.Context(), l.Neighbour, t.TempDir(), DNSMasqConfig{Advertised: linkPrefix, Lease: 2 * time.Minute})
	running(t, server, err)
	if err := guest.AutoConfigure(SLAACConfig{Privacy: true}); err != nil {
		t.Fatal(err)
	}
	own := EUI64(linkPrefix, guest.MAC)
	ctx := within(t, 15*time.Second)
	for name, match := range map[string]func(netip.Addr) bool{
		"link-local": func(a netip.Addr) bool { return a == LinkLocal(guest.MAC) },
		"own":        func(a netip.Addr) bool { return a == own },
		"temporary":  func(a netip.Addr) bool { return linkPrefix.Contains(a) && a != own },
	} {
		if _, err := guest.WaitAddress(ctx, match); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Ping(ctx, guest.Namespace, l.Neighbour.IPv6); err != nil {
		t.Error(err)
	}
}

func TestTheKernelMakesAddressesOfAnAdvertisementMadeHere(t *testing.T) {
	l := newLab(t)
	guest := newDHCPGuest(t, l)
	if err := guest.AutoConfigure(SLAACConfig{}); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 15*time.Second)
	if _, err := guest.WaitAddress(ctx, func(a netip.Addr) bool { return a == LinkLocal(guest.MAC) }); err != nil {
		t.Fatal(err)
	}
	frames, err := l.Neighbour.OpenFrames(GuestDevice)
	if err != nil {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix("fd78::/64")
	if err := frames.Send(RouterAdvertisement(l.Neighbour.MAC, LinkLocal(l.Neighbour.MAC), prefix, time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := guest.WaitAddress(ctx, func(a netip.Addr) bool { return a == EUI64(prefix, guest.MAC) }); err != nil {
		t.Error(err)
	}
}

func TestAnAddressInUseIsNotTaken(t *testing.T) {
	l := newLab(t)
	guest := newDHCPGuest(t, l)
	neighbour, err := l.Neighbour.OpenFrames(GuestDevice)
	if err != nil {
		t.Fatal(err)
	}
	if err := guest.AutoConfigure(SLAACConfig{NoRouters: true}); err != nil {
		t.Fatal(err)
	}
	// The guest asks for its link-local address; another one asks too.
	own := LinkLocal(guest.MAC)
	asks := func(frame []byte) bool {
		return len(frame) >= 78 && frame[54] == 135 && [16]byte(frame[62:78]) == own.As16()
	}
	if _, err := neighbour.Receive(within(t, 5*time.Second), asks); err != nil {
		t.Fatal(err)
	}
	if err := neighbour.Send(NeighbourAdvertisement(l.Neighbour.MAC, LinkLocal(l.Neighbour.MAC), own, l.Neighbour.MAC)); err != nil {
		t.Fatal(err)
	}
	if a, err := guest.WaitAddress(within(t, 2*time.Second), func(a netip.Addr) bool { return a == own }); !NoAnswer(err) {
		t.Errorf("%s is in use, %v", a, err)
	}
}

func TestDHCPv6ClientsGetAnAddressAndAPrefix(t *testing.T) {
	l := newLab(t)
	guest := newDHCPGuest(t, l)
	given := netip.MustParsePrefix("fd77::1:0/112")
	addresses := DNSMasqConfig{From6: netip.MustParseAddr("fd77::1:10"), To6: netip.MustParseAddr("fd77::1:ff"), Lease: 2 * time.Minute}
	both := DelegationConfig{
		From: addresses.From6, To: addresses.To6, Lease: 20 * time.Second,
		First: netip.MustParsePrefix("fd77:0:0:100::/56"), Last: netip.MustParsePrefix("fd77:0:0:f00::/56"),
	}
	if err := guest.AutoConfigure(SLAACConfig{NoRouters: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := guest.WaitAddress(within(t, 5*time.Second), netip.Addr.IsLinkLocalUnicast); err != nil {
		t.Fatal(err)
	}
	if err := guest.AddRoute(linkPrefix); err != nil { // no router tells it
		t.Fatal(err)
	}
	for _, test := range []struct {
		server string
		client DHCPClient
		prefix bool
	}{
		{"dnsmasq", Dhclient, false},
		{"dnsmasq", Dhcpcd, false},
		{"dhcpd", Dhclient, true},
		{"dhcpd", Dhcpcd, true},
	} {
		name := test.server + " and " + string(test.client)
		if test.prefix {
			name += " with a prefix"
		}
		t.Run(name, func(t *testing.T) {
			var server *Program
			var err error
			if test.server == "dnsmasq" {
				server, err = l.ServeDNSMasq(t.Context(), l.Neighbour, t.TempDir(), addresses)
			} else {
				server, err = l.ServeDelegation(t.Context(), l.Neighbour, t.TempDir(), both)
			}
			running(t, server, err)
			client, err := l.RunDHCPClient(guest, DHCPClientConfig{Client: test.client, IPv6: true, Prefix: test.prefix, Dir: t.TempDir()})
			running(t, client, err)
			ctx := within(t, 20*time.Second)
			address, err := guest.WaitAddress(ctx, given.Contains)
			if err != nil {
				t.Fatalf("%v; the client printed:\n%s\nthe server:\n%s", err, client.Output(), server.Output())
			}
			if err := Ping(ctx, l.Neighbour.Namespace, address); err != nil {
				t.Error(err)
			}
			if test.prefix {
				said := map[DHCPClient]string{Dhclient: "lab: BOUND6 fd77:0:0:", Dhcpcd: "delegated prefix fd77:0:0:"}[test.client]
				if err := client.Says(ctx, said, 0); err != nil {
					t.Errorf("%v; the server printed:\n%s", err, server.Output())
				}
			}
			client.Stop()
			if strings.Contains(strings.Join(addressTexts(guest), " "), address.String()) {
				if err := guest.RemoveAddress(netip.PrefixFrom(address, 128)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func addressTexts(g *Guest) []string {
	var all []string
	for _, a := range g.Addresses() {
		all = append(all, a.String())
	}
	return all
}
