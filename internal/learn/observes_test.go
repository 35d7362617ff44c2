package learn

import (
	"slices"
	"testing"

	"tapgate/internal/packet"
)

func TestWhatIsObserved(t *testing.T) {
	const (
		all4 = packet.ObserveDHCP | packet.ObserveClaim4
		msg6 = packet.ObserveND | packet.ObserveDHCPv6
		all6 = msg6 | packet.ObserveClaim6
	)
	lease := func(a string, s Source) Lease { return Lease{Address: prefixFrom(a), Source: s} }
	for _, test := range []struct {
		name   string
		mode   Mode
		v4, v6 bool
		leases []Lease
		want   packet.Observe
	}{
		{"nothing wanted", Any, false, false, nil, 0},
		{"none", None, true, true, nil, 0},
		{"any", Any, true, false, nil, all4},
		{"any, offered", Any, true, false, []Lease{lease("10.0.0.5", Offer)}, all4},
		{"any, known", Any, true, false, []Lease{lease("10.0.0.5", ARP)}, 0},
		{"any, an operator's", Any, true, false, []Lease{lease("10.0.0.5", Operator)}, 0},
		{"any, only IPv6 known", Any, true, false, []Lease{lease("fd00::5", ND)}, all4},
		{"any, known and offered", Any, true, false, []Lease{lease("10.0.0.4", Offer), lease("10.0.0.5", DHCP)}, 0},
		{"dhcp", FromDHCP, true, false, nil, all4},
		{"dhcp, known", FromDHCP, true, false, []Lease{lease("10.0.0.5", DHCP)}, packet.ObserveDHCP},
		{"any, IPv6", Any, false, true, nil, all6},
		{"any, IPv6 known", Any, false, true, []Lease{lease("fd00::5", ND)}, all6},
		{"dhcp, IPv6", FromDHCP, false, true, nil, all6},
		{"dhcp, IPv6 link-local", FromDHCP, false, true, []Lease{lease("fe80::5", ND)}, all6},
		{"dhcp, IPv6 known", FromDHCP, false, true, []Lease{lease("fd00::5", DHCPv6)}, msg6},
		{"dhcp, a prefix known", FromDHCP, false, true, []Lease{lease("fd00:5::/56", DHCPv6Prefix)}, msg6},
		{"both", Any, true, true, []Lease{lease("10.0.0.5", ARP)}, all6},
		{"both unknown", FromDHCP, true, true, nil, all4 | all6},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Observes(Config{MAC: guestMAC, Mode: test.mode, IPv4: test.v4, IPv6: test.v6}, test.leases); got != test.want {
				t.Errorf("%05b, want %05b", got, test.want)
			}
		})
	}
}

func TestAddressesOfAFamily(t *testing.T) {
	var leases []Lease
	for _, a := range []string{"fd00::7", "10.0.0.9", "fd00:5::/56", "10.0.0.5", "fd00::6"} {
		leases = append(leases, Lease{Address: prefixFrom(a)})
	}
	for v6, want := range map[bool][]string{false: {"10.0.0.5/32", "10.0.0.9/32"}, true: {"fd00::6/128", "fd00::7/128", "fd00:5::/56"}} {
		var got []string
		for _, p := range Addresses(leases, v6) {
			got = append(got, p.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
