package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tapgate/internal/learn"
	"tapgate/internal/store"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

func address(text string) netip.Prefix {
	p, err := ParseAddress(text)
	if err != nil {
		panic(err)
	}
	return p
}

// storeBinding stores a binding without putting it in force.
func (k *kit) storeBinding(port, filter string, params ...string) *binding.Binding {
	k.Helper()
	b := &binding.Binding{Port: port, Filter: filter, MAC: []byte{0x52, 0x54, 0, 0, 0, byte(len(port))}}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		b.Parameters = append(b.Parameters, nwfilter.Parameter{Name: name, Value: value})
	}
	if err := k.store.Update(k.Context(), func(u *store.Update) error { _, err := u.Bind(b, nil, nil); return err }); err != nil {
		k.Fatal(err)
	}
	return b
}

// keep stores leases as if the guest had caused them.
func (k *kit) keep(b *binding.Binding, leases ...learn.Lease) {
	k.Helper()
	if err := k.store.Update(k.Context(), func(u *store.Update) error { return u.KeepLeases(store.LeaseKey(b), leases) }); err != nil {
		k.Fatal(err)
	}
}

// leased is a lease that was learned an hour ago and ends after some time, or not for 0.
func leased(text string, source learn.Source, lasts time.Duration) learn.Lease {
	now := time.Now().UTC().Truncate(time.Second)
	l := learn.Lease{Address: address(text), Source: source, Learned: now.Add(-time.Hour), Renewed: now.Add(-time.Hour)}
	if lasts != 0 {
		l.End = now.Add(lasts)
	}
	return l
}

// has checks the leases of a port, of all for "": "vnet0 10.0.0.5 arp in use, …".
func (k *kit) has(port, want string) {
	k.Helper()
	list, faults, err := k.Leases(k.Context(), port)
	if err != nil || len(faults) > 0 {
		k.Fatal(err, faults)
	}
	var words []string
	for _, l := range list {
		text := fmt.Sprintf("%s %s %s", l.Port, l.Text(), l.Source)
		if l.Pinned {
			text += " pinned"
		}
		if l.InUse {
			text += " in use"
		}
		words = append(words, text)
	}
	if got := strings.Join(words, ", "); got != want {
		k.Errorf("the leases are %q, want %q", got, want)
	}
}

// learners are ports whose filters ask for addresses that their bindings do not give.
func learners(t *testing.T) *kit {
	k := newKit(t, nil)
	k.mustDefine(filterDoc("four", rule("<ip srcipaddr='$IP'/>")))
	k.mustDefine(filterDoc("both", "<filterref filter='four'/>"+rule("<ipv6 srcipaddr='$IPV6'/>")))
	k.mustDefine(filterDoc("neither", rule("<icmp/>")))
	return k
}

func TestLeasesAreListed(t *testing.T) {
	k := learners(t)
	k.has("", "")
	four, both := k.storeBinding("vnet0", "four"), k.storeBinding("vnet1x", "both", "CTRL_IP_LEARNING=dhcp")
	none, given := k.storeBinding("vnet2xx", "four", "CTRL_IP_LEARNING=none"), k.storeBinding("vnet3xxx", "both", "IP=10.0.0.9")
	k.keep(four, leased("10.0.0.20", learn.ARP, 0), leased("10.0.0.5", learn.DHCP, -time.Second), leased("2001:db8::5", learn.ND, 0))
	k.keep(both, leased("10.0.0.6", learn.DHCP, time.Hour), leased("2001:db8:1::/56", learn.DHCPv6Prefix, time.Hour))
	pinned := leased("10.0.0.8", learn.DHCP, -time.Hour)
	pinned.Pinned = true
	k.keep(none, leased("10.0.0.7", learn.ARP, 0), pinned, leased("10.0.0.10", learn.Operator, 0))
	k.keep(given, leased("10.0.0.9", learn.ARP, 0), leased("2001:db8::9", learn.ND, 0))
	k.has("vnet0", "vnet0 10.0.0.5 dhcp, vnet0 10.0.0.20 arp in use, vnet0 2001:db8::5 nd")
	k.has("", "vnet0 10.0.0.5 dhcp, vnet0 10.0.0.20 arp in use, vnet0 2001:db8::5 nd, "+
		"vnet1x 10.0.0.6 dhcp in use, vnet1x 2001:db8:1::/56 dhcpv6-pd in use, "+
		"vnet2xx 10.0.0.7 arp, vnet2xx 10.0.0.8 dhcp pinned in use, vnet2xx 10.0.0.10 operator in use, "+
		"vnet3xxx 10.0.0.9 arp, vnet3xxx 2001:db8::9 nd in use")
	_, _, err := k.Leases(t.Context(), "vnet9")
	if !errors.Is(err, store.ErrNotFound) || err.Error() != `port "vnet9" is not bound; "tapgate list" shows what is` {
		t.Errorf("a port that is not bound: %v", err)
	}
	if _, err := k.Undefine(t.Context(), alice, "four", true); err != nil {
		t.Fatal(err)
	}
	k.has("vnet0", "vnet0 10.0.0.5 dhcp, vnet0 10.0.0.20 arp, vnet0 2001:db8::5 nd")
}

func TestPortsHaveTheirAddresses(t *testing.T) {
	k := learners(t)
	k.keep(k.storeBinding("vnet0", "four"), leased("10.0.0.20", learn.ARP, 0), leased("10.0.0.5", learn.DHCP, -time.Second), leased("10.0.0.6", learn.DHCP, time.Hour))
	k.storeBinding("vnet1x", "four")
	ports, faults, err := k.Ports(t.Context())
	if err != nil || len(faults) > 0 || len(ports) != 2 || fmt.Sprint(ports[0].Addresses) != "[10.0.0.6 10.0.0.20]" || ports[1].Addresses != nil {
		t.Errorf("%+v, %v, %v", ports, faults, err)
	}
}

func TestLeasesThatCannotBeReadAreTold(t *testing.T) {
	k := learners(t)
	b := k.storeBinding("vnet0", "four")
	other := k.storeBinding("vnet1x", "four")
	k.keep(b, leased("10.0.0.5", learn.ARP, 0))
	k.keep(other, leased("10.0.0.6", learn.ARP, 0))
	if err := os.WriteFile(filepath.Join(k.dir, "leases", store.LeaseKey(b)+".json"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, faults, err := k.Leases(t.Context(), "")
	if err != nil || len(list) != 1 || len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), `port vnet0: the stored leases of "52-54-00-00-00-05@vnet0" cannot be read: `) {
		t.Errorf("%v, %v, %v", list, faults, err)
	}
	// Who changes them sets them aside, once, and says so.
	_, err = k.AddLease(t.Context(), alice, "vnet0", learn.Lease{Address: address("10.0.0.7")})
	if err == nil || !strings.Contains(err.Error(), "it was set aside as ") {
		t.Errorf("changing them: %v", err)
	}
	if _, err = k.AddLease(t.Context(), alice, "vnet0", learn.Lease{Address: address("10.0.0.7")}); err != nil {
		t.Error(err)
	}
	k.has("vnet0", "vnet0 10.0.0.7 operator in use")
}

func TestLeasesAreChanged(t *testing.T) {
	k := learners(t)
	b := k.storeBinding("vnet0", "both")
	k.keep(b, leased("10.0.0.5", learn.DHCP, time.Hour), leased("10.0.0.4", learn.DHCP, -time.Second))
	end := time.Now().Add(time.Hour)
	const skipped = "it is not guarded now; it has this once it is bound"
	for _, step := range []struct {
		change func() (*LeaseChange, error)
		what   string
		result PortResult
		note   string
		want   string
	}{
		{func() (*LeaseChange, error) {
			return k.AddLease(t.Context(), alice, "vnet0", learn.Lease{Address: address("2001:db8:1::/56"), End: end, Source: learn.DHCP})
		}, "added", PortSkipped, "", "vnet0 10.0.0.4 dhcp, vnet0 10.0.0.5 dhcp in use, vnet0 2001:db8:1::/56 operator in use"},
		{func() (*LeaseChange, error) {
			return k.AddLease(t.Context(), alice, "vnet0", learn.Lease{Address: address("2001:db8:1::/56"), End: end})
		}, "unchanged", PortUnchanged, "", "vnet0 10.0.0.4 dhcp, vnet0 10.0.0.5 dhcp in use, vnet0 2001:db8:1::/56 operator in use"},
		{func() (*LeaseChange, error) {
			return k.PinLease(t.Context(), alice, "vnet0", address("10.0.0.5"), true)
		},
			"pinned", PortUnchanged, "", "vnet0 10.0.0.4 dhcp, vnet0 10.0.0.5 dhcp pinned in use, vnet0 2001:db8:1::/56 operator in use"},
		{func() (*LeaseChange, error) {
			return k.PinLease(t.Context(), alice, "vnet0", address("10.0.0.5"), true)
		},
			"unchanged", PortUnchanged, "", "vnet0 10.0.0.4 dhcp, vnet0 10.0.0.5 dhcp pinned in use, vnet0 2001:db8:1::/56 operator in use"},
		{func() (*LeaseChange, error) {
			return k.AddLease(t.Context(), alice, "vnet0", learn.Lease{Address: address("10.0.0.5")})
		}, "replaced", PortUnchanged, "", "vnet0 10.0.0.4 dhcp, vnet0 10.0.0.5 operator in use, vnet0 2001:db8:1::/56 operator in use"},
		{func() (*LeaseChange, error) {
			return k.PinLease(t.Context(), alice, "vnet0", address("10.0.0.4"), true)
		},
			"pinned", PortSkipped, "", "vnet0 10.0.0.4 dhcp pinned in use, vnet0 10.0.0.5 operator in use, vnet0 2001:db8:1::/56 operator in use"},
		{func() (*LeaseChange, error) {
			return k.PinLease(t.Context(), alice, "vnet0", address("10.0.0.4"), false)
		},
			"unpinned", PortSkipped, "the lease of 10.0.0.4 had ended at ", "vnet0 10.0.0.4 dhcp, vnet0 10.0.0.5 operator in use, vnet0 2001:db8:1::/56 operator in use"},
		{func() (*LeaseChange, error) { return k.DeleteLease(t.Context(), alice, "vnet0", address("10.0.0.4")) },
			"deleted", PortUnchanged, "the guest may have it again as soon as it uses it", "vnet0 10.0.0.5 operator in use, vnet0 2001:db8:1::/56 operator in use"},
		{func() (*LeaseChange, error) { return k.DeleteLease(t.Context(), alice, "vnet0", address("10.0.0.5")) },
			"deleted", PortSkipped, "the guest may have it again as soon as it uses it", "vnet0 2001:db8:1::/56 operator in use"},
	} {
		done, err := step.change()
		if err != nil {
			t.Fatal(err)
		}
		if done.What != step.what || done.Port != "vnet0" || done.Lease.Port != "vnet0" || done.PortChange.Result != step.result ||
			(done.PortChange.Detail == skipped) != (step.result == PortSkipped) || !strings.HasPrefix(strings.Join(done.Notes, "\n"), step.note) {
			t.Errorf("%s: %+v", step.what, done)
		}
		k.has("vnet0", step.want)
	}
	entries, _, _ := k.History(t.Context())
	var ops []string
	for _, e := range entries {
		if e.Kind == store.LeaseKind {
			ops = append(ops, fmt.Sprintf("%s %s %s by %s", e.Operation, e.Name, e.Address, e.By))
		}
	}
	if got, want := strings.Join(ops, ", "), "lease-add vnet0 2001:db8:1::/56 by alice, lease-pin vnet0 10.0.0.5 by alice, lease-add vnet0 10.0.0.5 by alice, "+
		"lease-pin vnet0 10.0.0.4 by alice, lease-unpin vnet0 10.0.0.4 by alice, lease-delete vnet0 10.0.0.4 by alice, lease-delete vnet0 10.0.0.5 by alice"; got != want {
		t.Errorf("the journal has %s", got)
	}
}

func TestLeasesThatCannotBeChanged(t *testing.T) {
	k := learners(t)
	k.keep(k.storeBinding("vnet0", "four"), leased("10.0.0.5", learn.DHCP, time.Hour), leased("10.0.0.6", learn.DHCP, time.Hour))
	k.storeBinding("vnet1x", "four", "IP=10.0.0.9")
	k.storeBinding("vnet2xx", "neither")
	var many []learn.Lease
	for i := range learn.MaxLeases {
		many = append(many, leased(fmt.Sprintf("10.0.1.%d", i), learn.DHCP, time.Hour))
	}
	k.keep(k.storeBinding("vnet3xxx", "both"), many...)
	before, _, _ := k.History(t.Context())
	add := func(port, text string, end time.Time) error {
		_, err := k.AddLease(t.Context(), alice, port, learn.Lease{Address: address(text), End: end})
		return err
	}
	pin := func(port, text string) error {
		_, err := k.PinLease(t.Context(), alice, port, address(text), true)
		return err
	}
	remove := func(port, text string) error {
		_, err := k.DeleteLease(t.Context(), alice, port, address(text))
		return err
	}
	for _, test := range []struct {
		err  error
		kind error
		want string
	}{
		{add("vnet9", "10.0.0.5", time.Time{}), store.ErrNotFound, `port "vnet9" is not bound; "tapgate list" shows what is`},
		{pin("vnet9", "10.0.0.5"), store.ErrNotFound, `port "vnet9" is not bound; "tapgate list" shows what is`},
		{remove("vnet9", "10.0.0.5"), store.ErrNotFound, `port "vnet9" is not bound; "tapgate list" shows what is`},
		{pin("vnet0", "10.0.0.7"), store.ErrNotFound, "port vnet0 has no lease of 10.0.0.7; it has 10.0.0.5, 10.0.0.6"},
		{remove("vnet2xx", "2001:db8::/56"), store.ErrNotFound, "port vnet2xx has no lease of 2001:db8::/56; it has none"},
		{add("vnet1x", "10.0.0.5", time.Time{}), store.ErrInvalid, "port vnet1x: its binding gives $IP itself, so that a lease of 10.0.0.5 has no effect; bind the port with that address too, or without IP"},
		{add("vnet1x", "2001:db8::5", time.Time{}), store.ErrInvalid, `port vnet1x: filter "four" does not ask for $IPV6, so that the IPv6 address 2001:db8::5 has no effect`},
		{add("vnet2xx", "10.0.0.5", time.Time{}), store.ErrInvalid, `port vnet2xx: filter "neither" does not ask for $IP, so that the IPv4 address 10.0.0.5 has no effect`},
		{add("vnet3xxx", "10.0.2.5", time.Time{}), store.ErrInvalid, "port vnet3xxx has 32 leases of IPv4 already, and no more are possible; delete one of them"},
		{add("vnet0", "10.0.0.7", time.Unix(1e9, 0).UTC()), store.ErrInvalid, "a lease that ends at 2001-09-09T01:46:40Z has ended already"},
		{add("vnet0", "10.0.0.7", time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -7200))), store.ErrInvalid, "a lease cannot end in the year 10000; without an end it stays for good"},
	} {
		if test.err == nil || !errors.Is(test.err, test.kind) || test.err.Error() != test.want {
			t.Errorf("%v, want %s", test.err, test.want)
		}
	}
	if after, _, _ := k.History(t.Context()); len(after) != len(before) {
		t.Errorf("the journal has %d entries more", len(after)-len(before))
	}
	// The other family has room, and what is there may be replaced.
	for _, text := range []string{"2001:db8::5", "10.0.1.7"} {
		if err := add("vnet3xxx", text, time.Time{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := k.AddLease(t.Context(), alice, "vnet0", learn.Lease{}); err == nil || err.Error() != "no address is given" {
		t.Errorf("no address: %v", err)
	}
}

// A port that must not learn has what people give it.
func TestLeaseOfAPortThatMustNotLearn(t *testing.T) {
	k := learners(t)
	k.storeBinding("vnet0", "four", "CTRL_IP_LEARNING=none")
	done, err := k.AddLease(t.Context(), alice, "vnet0", learn.Lease{Address: address("10.0.0.5")})
	if err != nil || !done.Lease.InUse {
		t.Errorf("%+v, %v", done, err)
	}
	// The last one stays, since the port could enforce nothing without it.
	if done, err = k.DeleteLease(t.Context(), alice, "vnet0", address("10.0.0.5")); err == nil || !strings.Contains(err.Error(), "$IP has no value") {
		t.Errorf("%+v, %v", done, err)
	}
	k.has("vnet0", "vnet0 10.0.0.5 operator in use")
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.5": "10.0.0.5/32", "10.0.0.5/32": "10.0.0.5/32", "2001:DB8::5": "2001:db8::5/128", "fe80::1": "fe80::1/128",
		"2001:db8:1::/56": "2001:db8:1::/56", "fd00::/8": "fd00::/8", "169.254.0.5": "169.254.0.5/32",
	} {
		if p, err := ParseAddress(text); err != nil || p.String() != want {
			t.Errorf("%s is %s (%v), want %s", text, p, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                 `"" is no address of a guest: expected one such as 10.0.0.5 or 2001:db8::5, or an IPv6 prefix such as 2001:db8:1::/56`,
		"10.0.0":           `"10.0.0" is no address of a guest`,
		"10.0.0.05":        `"10.0.0.05" is no address of a guest`,
		"fe80::1%eth0":     `"fe80::1%eth0" is no address of a guest`,
		"10.0.0.5/x":       `"10.0.0.5/x" is no address of a guest`,
		"vm1":              `"vm1" is no address of a guest`,
		"10.0.0.0/24":      "10.0.0.0/24 is a network: of IPv4, a guest has single addresses",
		"2001:db8::1/64":   "2001:db8::1/64 has bits behind its prefix; expected 2001:db8::/64, or an address without a prefix",
		"0.0.0.0":          "0.0.0.0 cannot be a guest's: 0.0.0.0/8 are addresses of no host in particular",
		"127.0.0.1":        "127.0.0.1 cannot be a guest's: 127.0.0.0/8 are loopback addresses",
		"239.1.2.3":        "239.1.2.3 cannot be a guest's: 224.0.0.0/4 are multicast addresses",
		"255.255.255.255":  "255.255.255.255 cannot be a guest's: 240.0.0.0/4 are reserved addresses",
		"::":               ":: cannot be a guest's: ::/128 is the unspecified address",
		"::1":              "::1 cannot be a guest's: ::1/128 is the loopback address",
		"ff02::1":          "ff02::1 cannot be a guest's: ff00::/8 are multicast addresses",
		"8000::/1":         "8000::/1 cannot be a guest's: ff00::/8 are multicast addresses",
		"::/0":             "::/0 cannot be a guest's: ",
		"::ffff:10.0.0.5":  "::ffff:10.0.0.5 cannot be a guest's: ::ffff:0.0.0.0/96 are IPv4 addresses; write them as such",
		"::ffff:0:0/96":    "::ffff:0.0.0.0/96 cannot be a guest's: ::ffff:0.0.0.0/96 are IPv4 addresses",
		"2001:db8:1::/129": `"2001:db8:1::/129" is no address of a guest`,
	} {
		if p, err := ParseAddress(text); err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s is %s (%v), want %s", text, p, err, want)
		}
	}
}
