package learn

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// TestRestartInEachState goes through exchanges, and again with a new machine from
// what the old one leaves before each step.
func TestRestartInEachState(t *testing.T) {
	type step struct {
		out   bool
		frame []byte
	}
	both := func(mode Mode) Config { return Config{MAC: guestMAC, Mode: mode, IPv4: true, IPv6: true} }
	for _, test := range []struct {
		name   string
		config Config
		steps  []step
		want   []string
	}{
		{"DHCP", both(FromDHCP), []step{
			{true, dhcpOut(discover, 1)},
			{false, dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour))},
			{true, dhcpOut(ask, 1, asking("10.0.0.5"), serverID(server))},
			{false, dhcpIn(ack, 1, yours("10.0.0.5"), leaseTime(hour))},
		}, []string{"10.0.0.5 dhcp 1h0m0s"}},
		{"DHCP with rapid commit", both(FromDHCP), []step{
			{true, dhcpOut(discover, 1, rapidCommit)},
			{false, dhcpIn(ack, 1, yours("10.0.0.5"), leaseTime(hour), rapidCommit)},
		}, []string{"10.0.0.5 dhcp 1h0m0s"}},
		{"DHCP that is refused", both(FromDHCP), []step{
			{true, dhcpOut(ask, 1, asking("10.0.0.5"))},
			{false, dhcpIn(ack, 1, yours("10.0.0.5"), leaseTime(hour))},
			{true, dhcpOut(ask, 2, client("10.0.0.5"))},
			{false, dhcpIn(nak, 2)},
		}, nil},
		{"DHCP in the mode any", both(Any), []step{
			{true, dhcpOut(discover, 1)},
			{false, dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour))},
			{true, dhcpOut(ask, 1, asking("10.0.0.6"))},
			{false, dhcpIn(ack, 1, yours("10.0.0.6"), leaseTime(hour))},
		}, []string{"10.0.0.6 dhcp"}},
		{"an offer", both(Any), []step{
			{true, dhcpOut(discover, 1)},
			{false, dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour))},
			{true, text(t, "arp request 10.0.0.6 > 10.0.0.9")},
		}, []string{"10.0.0.5 dhcp-offer 1m0s"}},
		{"DHCPv6", both(FromDHCP), []step{
			{true, dhcp6Out(solicit6, 1)},
			{false, dhcp6In(dhcpv6.MessageTypeAdvertise, 1, five)},
			{true, dhcp6Out(request6t, 2, toServer, five)},
			{false, dhcp6In(reply6t, 2, five)},
			{true, dhcp6Out(renew6, 3, toServer, five)},
			{false, dhcp6In(reply6t, 3, iaNA(iaAddr("2001:db8::5", 2*hour)))},
		}, []string{"2001:db8::5 dhcpv6 2h0m0s"}},
		{"prefixes", both(Any), []step{
			{false, routers(autonomousFor("2001:db8:1::/64", hour))},
			{true, dad(guestMAC, "2001:db8:1::5")},
			{true, dad(guestMAC, "2001:db8:2::5")},
			{false, routers(autonomousFor("2001:db8:1::/64", 2*hour))},
			{true, solicit(guestMAC, router.String())},
		}, []string{"2001:db8:1::5 nd 2h0m0s"}},
		{"a duplicate", both(FromDHCP), []step{
			{true, dad(guestMAC, "fe80::5")},
			{false, advertise(peerMAC, "fe80::5", "fe80::5")},
			{true, solicit(guestMAC, "fe80::5")},
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			for at := range len(test.steps) + 1 {
				k := newKit(t, test.config)
				for i, s := range test.steps {
					if i == at {
						k.restart()
					}
					k.Observe(s.frame, s.out, true, k.now)
				}
				if at == len(test.steps) {
					k.restart()
				}
				k.want(test.want...)
			}
		})
	}
}

func TestLeasesOutliveTheMemory(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.leased(1, "10.0.0.5", hour)
	k.leased(2, "10.0.0.6", infinite*1e9)
	for _, memory := range [][]byte{nil, {}, {1}, {memoryVersion + 1}, k.Memory()[:5], k.Memory()[:9], append(k.Memory()[:8], 3, 0), append(k.Memory(), 0), bytes.Repeat([]byte{0xff}, 4096)} {
		k.Port = New(k.config, k.Leases(), memory)
		k.want("10.0.0.5 dhcp 1h0m0s", "10.0.0.6 dhcp")
	}
	k.now = k.now.Add(2 * hour) // the host was off for so long
	k.Port = New(k.config, k.Leases(), nil)
	if next := k.Next(); next.After(k.now) || next.IsZero() {
		t.Errorf("next is %s", next)
	}
	if event := k.Expire(k.now); !event.Changed {
		t.Errorf("the event is %+v", event)
	}
	k.want("10.0.0.6 dhcp")
}

func TestMemoryOfAnotherFormIsNone(t *testing.T) {
	for name, change := range map[string]func(b []byte) []byte{
		"version": func(b []byte) []byte { b[0]++; return b },
		"mode":    func(b []byte) []byte { b[7] = byte(len(modes)); return b },
		"more":    func(b []byte) []byte { return append(b, 0) },
		"less":    func(b []byte) []byte { return b[:len(b)-1] },
		"nothing": func(b []byte) []byte { return b[:8] },
		"same":    func(b []byte) []byte { return b },
	} {
		k := newKit(t, dhcpIPv4)
		k.out(dhcpOut(ask, 1, asking("10.0.0.5")))
		k.Port = New(k.config, nil, change(k.Memory()))
		k.in(dhcpIn(ack, 1, yours("10.0.0.5"), leaseTime(hour)))
		if got := len(k.Leases()) == 1; got != (name == "same") {
			t.Errorf("%s: learned %t", name, got)
		}
	}
}

func TestFullMemoryIsWhole(t *testing.T) {
	k := newKit(t, Config{MAC: guestMAC, Mode: Any, IPv4: true, IPv6: true})
	fillMemory(k)
	before := k.Memory()
	k.restart()
	if after := k.Memory(); !bytes.Equal(before, after) {
		t.Errorf("%d bytes became %d", len(before), len(after))
	}
}

// TestConfigure has a machine with leases of all sources, and what is left of them
// with another configuration.
func TestConfigure(t *testing.T) {
	config := func(mode Mode, v4, v6 bool) Config { return Config{MAC: guestMAC, Mode: mode, IPv4: v4, IPv6: v6} }
	other := config(Any, true, true)
	other.MAC = peerMAC
	end := start.Add(hour)
	leases := []Lease{
		{Address: prefixFrom("10.0.0.1"), Source: ARP}, {Address: prefixFrom("10.0.0.2"), Source: IPv4}, {Address: prefixFrom("10.0.0.3"), Source: Offer, End: end},
		{Address: prefixFrom("10.0.0.4"), Source: DHCP}, {Address: prefixFrom("10.0.0.5"), Source: DHCP, End: end},
		{Address: prefixFrom("10.0.0.6"), Source: Operator}, {Address: prefixFrom("10.0.0.7"), Source: ARP, Pinned: true},
		{Address: prefixFrom("fd00::1"), Source: ND}, {Address: prefixFrom("fd00::2"), Source: IPv6}, {Address: prefixFrom("fd00::3"), Source: DHCPv6},
		{Address: prefixFrom("fd00::4"), Source: Operator}, {Address: prefixFrom("fd00:5::/56"), Source: DHCPv6Prefix}, {Address: prefixFrom("fe80::1"), Source: ND},
	}
	all := make([]string, len(leases))
	for i, l := range leases {
		all[i] = l.Text()
	}
	for _, test := range []struct {
		name     string
		from, to Config
		want     []string
	}{
		{"the same", config(Any, true, true), config(Any, true, true), all},
		{"dhcp instead of any", config(Any, true, true), config(FromDHCP, true, true), []string{"10.0.0.5", "10.0.0.6", "10.0.0.7", "fd00::3", "fd00::4", "fd00:5::/56", "fe80::1"}},
		{"dhcp as before", config(FromDHCP, true, true), config(FromDHCP, true, true), []string{"10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "fd00::3", "fd00::4", "fd00:5::/56", "fe80::1"}},
		{"none", config(Any, true, true), config(None, true, true), []string{"10.0.0.6", "10.0.0.7", "fd00::4"}},
		{"without IPv6", config(Any, true, true), config(Any, true, false), []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "fd00::4"}},
		{"without IPv4", config(Any, true, true), config(Any, false, true), []string{"10.0.0.6", "10.0.0.7", "fd00::1", "fd00::2", "fd00::3", "fd00::4", "fd00:5::/56", "fe80::1"}},
		{"another guest", config(Any, true, true), other, []string{"10.0.0.6", "10.0.0.7", "fd00::4"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			running := New(test.from, leases, nil)
			memory := running.Memory()
			running.Configure(test.to)
			for name, p := range map[string]*Port{"while running": running, "while not": New(test.to, leases, memory)} {
				got := []string{}
				for _, l := range p.Leases() {
					got = append(got, l.Text())
				}
				if len(got) != len(test.want) {
					t.Errorf("%s: %v, want %v", name, got, test.want)
					continue
				}
				for i := range got {
					if got[i] != test.want[i] {
						t.Errorf("%s: %v, want %v", name, got, test.want)
						break
					}
				}
			}
		})
	}
}

func TestConfigurationCountsAtOnce(t *testing.T) {
	k := newKit(t, Config{MAC: guestMAC, Mode: None})
	for _, step := range []struct {
		config Config
		want   []string
	}{
		{Config{MAC: guestMAC, Mode: Any, IPv4: true}, []string{"10.0.0.5 arp"}},
		{Config{MAC: guestMAC, Mode: Any, IPv4: true, IPv6: true}, []string{"10.0.0.5 arp", "fd00::5 nd"}},
		{Config{MAC: guestMAC, Mode: FromDHCP, IPv4: true, IPv6: true}, nil},
		{Config{MAC: peerMAC, Mode: Any, IPv4: true, IPv6: true}, nil},
	} {
		k.Configure(step.config)
		k.dropped(text(t, "arp request 10.0.0.5 > 10.0.0.9"))
		k.dropped(dad(guestMAC, "fd00::5"))
		k.want(step.want...)
	}
}

func TestOtherGuestsMemoryIsForgotten(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.out(dhcpOut(ask, 1, asking("10.0.0.5")))
	c := dhcpIPv4
	c.MAC = peerMAC
	k.Configure(c)
	k.Configure(dhcpIPv4)
	k.in(dhcpIn(ack, 1, yours("10.0.0.5"), leaseTime(hour)))
	k.want()
}

func TestConfigurationIsTheCallersAgain(t *testing.T) {
	c := dhcpIPv4
	c.MAC = bytes.Clone(guestMAC)
	c.Servers = []netip.Addr{server}
	k := newKit(t, c)
	copy(c.MAC, peerMAC)
	c.Servers[0] = netip.MustParseAddr("10.0.0.2")
	k.leased(1, "10.0.0.5", hour)
	k.want("10.0.0.5 dhcp 1h0m0s")
}
