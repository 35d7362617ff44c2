package datapath

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/nwfilter"
	"tapgate/nwfilter/builtin"
)

// autonomous is a guest that finds its IPv6 addresses by itself.
type autonomous struct {
	*lab.Guest
	linkLocal, global netip.Addr
}

// addAutonomous adds the guest, its device down. Its prefix will be fd77::/64.
func (l *live) addAutonomous() *autonomous {
	l.t.Helper()
	g, err := l.AddGuest(l.t.Context(), lab.GuestConfig{Name: "auto", MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 5}})
	if err != nil {
		l.t.Fatal(err)
	}
	a := &autonomous{g, netip.MustParseAddr("fe80::5054:ff:fe00:5"), netip.MustParseAddr("fd77::5054:ff:fe00:5")}
	a.do(l.t, func(device netlink.Link) error {
		for name, value := range map[string]string{
			"conf/all/accept_dad": "1", "conf/eth0/accept_dad": "1", "conf/eth0/accept_ra": "2", "conf/eth0/router_solicitations": "3",
			// It need not take its time.
			"conf/eth0/router_solicitation_delay": "0", "neigh/eth0/retrans_time_ms": "200",
		} {
			if err := os.WriteFile("/proc/sys/net/ipv6/"+name, []byte(value), 0o644); err != nil {
				return err
			}
		}
		return netlink.LinkSetDown(device)
	})
	return a
}

// do runs fn in the guest.
func (a *autonomous) do(t testing.TB, fn func(device netlink.Link) error) {
	t.Helper()
	err := a.Do(func() error {
		device, err := netlink.LinkByName(lab.GuestDevice)
		if err != nil {
			return err
		}
		return fn(device)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// addresses tells of what becomes of the guest's addresses.
func (a *autonomous) addresses(t testing.TB) <-chan netlink.AddrUpdate {
	t.Helper()
	updates, done := make(chan netlink.AddrUpdate, 64), make(chan struct{})
	t.Cleanup(func() { close(done) })
	a.do(t, func(netlink.Link) error { return netlink.AddrSubscribe(updates, done) })
	return updates
}

// becomes waits until an address has been looked for: it is the guest's, or a
// duplicate.
func becomes(t testing.TB, updates <-chan netlink.AddrUpdate, want netip.Addr, duplicate bool) {
	t.Helper()
	for {
		select {
		case u := <-updates:
			addr, _ := netip.AddrFromSlice(u.LinkAddress.IP)
			if addr != want || !u.NewAddr {
				continue
			}
			if failed := u.Flags&unix.IFA_F_DADFAILED != 0; failed || u.Flags&unix.IFA_F_TENTATIVE == 0 {
				if failed != duplicate {
					t.Errorf("%v is a duplicate: %t", want, failed)
				}
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%v was not decided about", want)
		}
	}
}

// sees waits for ICMPv6 messages from the guest, in whatever order they come.
func (l *live) sees(conn *lab.FrameConn, from net.HardwareAddr, wanted map[string]func(p *packet.Packet) bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 10*time.Second)
	defer cancel()
	_, err := conn.Receive(ctx, func(frame []byte) bool {
		p := packet.Decode(frame, true)
		if slices.Equal(frame[6:12], from) && p.Have&packet.HaveICMPv6 != 0 {
			maps.DeleteFunc(wanted, func(_ string, match func(*packet.Packet) bool) bool { return match(&p) })
		}
		return len(wanted) == 0
	})
	if err != nil {
		l.t.Fatalf("never came: %v: %v", slices.Collect(maps.Keys(wanted)), err)
	}
}

// advertisement says that the neighbour is a router of fd77::/64 (RFC 4861 sections
// 4.2 and 4.6.2).
func (l *live) advertisement() []byte {
	source := netip.MustParseAddr("fe80::5054:ff:fe00:99")
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: source.AsSlice(), DstIP: net.IPv6linklocalallnodes}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRouterAdvertisement, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		l.t.Fatal(err)
	}
	prefix := []byte{64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0} // on-link, autonomous, 3600 s
	prefix = append(append(prefix, 0xfd, 0x77), make([]byte, 14)...)
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: l.Neighbour.MAC, DstMAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv6},
		ip, icmp, &layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: 1800, Options: layers.ICMPv6Options{
			{Type: layers.ICMPv6OptSourceAddress, Data: l.Neighbour.MAC}, {Type: layers.ICMPv6OptPrefixInfo, Data: prefix},
		}})
	if err != nil {
		l.t.Fatal(err)
	}
	return buffer.Bytes()
}

func (l *live) guardIPv6(a *autonomous, filter string) {
	l.t.Helper()
	p, err := policy.Resolve(filter, a.MAC, []nwfilter.Parameter{
		{Name: "IP", Value: "10.77.0.15"}, {Name: "IPV6", Value: a.linkLocal.String()}, {Name: "IPV6", Value: a.global.String()},
	}, builtin.Get)
	if err != nil {
		l.t.Fatal(err)
	}
	l.guard(a.Port, p)
}

// A guest that configures itself notices nothing of the filter, and can name
// nobody but itself.
func TestAutonomousGuestOnALivePort(t *testing.T) {
	for i, filter := range []string{"clean-traffic-ipv6", "clean-traffic-dual"} {
		t.Run(filter, func(t *testing.T) {
			l := newLive(t, mechanisms[i])
			a := l.addAutonomous()
			l.guardIPv6(a, filter)
			l.configures(a)
			l.pings(a)
			l.findsDuplicates(a)
			l.cannotSpoof(a)
		})
	}
}

// configures lets the guest find its addresses.
func (l *live) configures(a *autonomous) {
	l.t.Helper()
	router, err := l.Neighbour.OpenFrames(lab.GuestDevice)
	if err != nil {
		l.t.Fatal(err)
	}
	defer router.Close()
	updates := a.addresses(l.t)
	a.do(l.t, netlink.LinkSetUp)
	becomes(l.t, updates, a.linkLocal, false)
	sent := func(icmpType uint8) func(*packet.Packet) bool {
		return func(p *packet.Packet) bool { return p.ICMPType == icmpType }
	}
	const report = 143 // RFC 3810 section 5.2
	solicits := func(target netip.Addr) func(*packet.Packet) bool {
		b := target.As16()
		want := packet.U128{Hi: be.Uint64(b[:]), Lo: be.Uint64(b[8:])}
		return func(p *packet.Packet) bool {
			return p.ICMPType == packet.NeighbourSolicitation && p.NDTarget == want && p.SrcIP == packet.U128{}
		}
	}
	l.sees(router, a.MAC, map[string]func(*packet.Packet) bool{
		"whether the link-local address is free": solicits(a.linkLocal),
		"a router solicitation":                  sent(packet.RouterSolicitation),
		"the groups that it listens to":          sent(report),
	})
	if err := router.Send(l.advertisement()); err != nil {
		l.t.Fatal(err)
	}
	becomes(l.t, updates, a.global, false)
	l.sees(router, a.MAC, map[string]func(*packet.Packet) bool{"whether the global address is free": solicits(a.global)})
}

// pings finds the other end anew, in both directions.
func (l *live) pings(a *autonomous) {
	l.t.Helper()
	for range 2 {
		for _, g := range []*lab.Guest{a.Guest, l.Neighbour} {
			if err := g.FlushNeighbours(); err != nil {
				l.t.Fatal(err)
			}
		}
		if err := lab.Ping(l.t.Context(), a.Namespace, l.Neighbour.IPv6); err != nil {
			l.t.Error(err)
		}
		if err := lab.Ping(l.t.Context(), l.Neighbour.Namespace, a.global); err != nil {
			l.t.Error(err)
		}
	}
}

// findsDuplicates lets the guest take the neighbour's address, which the neighbour
// defends.
func (l *live) findsDuplicates(a *autonomous) {
	l.t.Helper()
	updates := a.addresses(l.t)
	a.do(l.t, func(device netlink.Link) error {
		return netlink.AddrAdd(device, &netlink.Addr{IPNet: &net.IPNet{IP: l.Neighbour.IPv6.AsSlice(), Mask: net.CIDRMask(64, 128)}})
	})
	becomes(l.t, updates, l.Neighbour.IPv6, true)
}

// cannotSpoof sends what the guest's own stack would not.
func (l *live) cannotSpoof(a *autonomous) {
	l.t.Helper()
	mine, other := " mac "+a.MAC.String(), " mac "+l.Neighbour.MAC.String()
	for _, c := range []struct {
		text   string
		passes bool
	}{
		{fmt.Sprintf("%v > ff02::1 router-advertisement%s", a.linkLocal, mine), false},
		{fmt.Sprintf("fe80::5054:ff:fe00:99 > ff02::1 router-advertisement%s", other), false},
		{fmt.Sprintf("%v > ff02::1 redirect target %v%s", a.linkLocal, a.linkLocal, mine), false},
		{fmt.Sprintf("%v > ff02::1 neighbor-advertisement target %v%s", a.global, l.Guest.IPv6, mine), false},
		{fmt.Sprintf("%v > ff02::1 neighbor-advertisement target %v%s", l.Guest.IPv6, l.Guest.IPv6, mine), false},
		{fmt.Sprintf("%v > ff02::1 neighbor-advertisement target %v%s", a.global, a.global, other), false},
		{fmt.Sprintf("%v > ff02::1 neighbor-advertisement target %v%s%s", a.global, a.global, mine, other), false},
		{fmt.Sprintf("%v > ff02::1 neighbor-advertisement target %v%s len 7", a.global, a.global, mine), false},
		{fmt.Sprintf("%v > ff02::1 neighbor-advertisement target %v%s", a.global, a.global, mine), true},
		{fmt.Sprintf("%v > ff02::1 neighbor-solicitation target %v%s", l.Guest.IPv6, l.Neighbour.IPv6, mine), false},
		{fmt.Sprintf("%v > ff02::1 neighbor-solicitation target %v%s", a.global, l.Neighbour.IPv6, other), false},
		{fmt.Sprintf("%v > ff02::1 echo-request", l.Guest.IPv6), false},
		{fmt.Sprintf("%v > ff02::1 echo-request", a.global), true},
	} {
		frame, err := packet.FromText("icmpv6 "+c.text, packet.Ends{Src: a.MAC, Dst: l.Neighbour.MAC})
		if err != nil {
			l.t.Fatal(err)
		}
		err = lab.Arrives(l.t.Context(), a.Guest, l.Neighbour, frame)
		if err != nil && !lab.NoAnswer(err) {
			l.t.Fatal(err)
		}
		if got := err == nil; got != c.passes {
			l.t.Errorf("%s arrived: %t, want %t", c.text, got, c.passes)
		}
	}
	frame, err := packet.FromText(fmt.Sprintf("icmpv6 %v > ff02::1 neighbor-advertisement target %v%s len 8", a.global, a.global, mine), packet.Ends{Src: a.MAC, Dst: l.Neighbour.MAC})
	if err != nil {
		l.t.Fatal(err)
	}
	l.arrives(a.Guest, l.Neighbour, fragment(frame, 900, 0, 32), false)
	l.arrives(a.Guest, l.Neighbour, fragment(frame, 900, 32, 0), false)
}
