package store

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"tapgate/internal/learn"
	"tapgate/nwfilter"
	"tapgate/nwfilter/binding"
)

// guestAt is a binding of a guest that is known by its owner, or only by its port
// if that is "".
func guestAt(port, owner, mode string) *binding.Binding {
	b := &binding.Binding{Port: port, MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, Filter: "clean-traffic"}
	if owner != "" {
		b.OwnerName, b.OwnerUUID = owner, idA
	}
	if mode != "" {
		b.Parameters = []nwfilter.Parameter{{Name: "CTRL_IP_LEARNING", Value: mode}}
	}
	return b
}

func (k kept) bindGuest(b *binding.Binding) {
	k.Helper()
	k.expect(k.update(func(u *Update) error { _, err := u.Bind(b, nil, nil); return err }), "")
}

func (k kept) unbind(port string) {
	k.Helper()
	k.expect(k.update(func(u *Update) error { return u.Unbind(port, nil) }), "")
}

// everySource has a lease of each kind: with an end, without, ended and pinned.
func everySource() (leases []learn.Lease) {
	for i, source := range []learn.Source{learn.ARP, learn.IPv4, learn.Offer, learn.Operator, learn.DHCP} {
		leases = append(leases,
			lease(fmt.Sprintf("10.0.%d.1", i), source, time.Hour), lease(fmt.Sprintf("10.0.%d.2", i), source, 0),
			lease(fmt.Sprintf("10.0.%d.3", i), source, -time.Second), pinned(lease(fmt.Sprintf("10.0.%d.4", i), source, time.Hour)))
	}
	return append(leases,
		lease("2001:db8::1", learn.ND, time.Hour), lease("2001:db8::2", learn.IPv6, 0),
		lease("2001:db8::3", learn.DHCPv6, time.Hour), lease("2001:db8:1::/56", learn.DHCPv6Prefix, time.Hour))
}

func TestLeasesThatOutliveABinding(t *testing.T) {
	for mode, want := range map[string]string{
		"":     "10.0.4.1 2001:db8::3 2001:db8:1::/56",
		"any":  "10.0.4.1 2001:db8::3 2001:db8:1::/56",
		"DHCP": "10.0.4.1 10.0.4.2 2001:db8::3 2001:db8:1::/56", // for good, if the server says so
		"none": "10.0.4.1 2001:db8::3 2001:db8:1::/56",
	} {
		for how, end := range map[string]func(k kept){
			"unbound":       func(k kept) { k.unbind("vnet0") },
			"another guest": func(k kept) { k.bindGuest(guestAt("vnet0", "", "")) },
		} {
			k := newStore(t)
			b := guestAt("vnet0", "vm", mode)
			key := LeaseKey(b)
			k.bindGuest(b)
			k.keep(key, everySource()...)
			k.bindGuest(b) // the same guest as before
			if n := len(k.leases(key)); n != len(everySource()) {
				t.Errorf("bound again it has %d leases", n)
			}
			end(k)
			k.hasLeases(key, want)
			if t.Failed() {
				t.Fatalf("mode %q, %s", mode, how)
			}
		}
	}
}

// A guest that moves from port to port is bound at both for a moment.
func TestLeasesOfAGuestThatIsStillBoundStay(t *testing.T) {
	k := newStore(t)
	key := LeaseKey(guestAt("vnet0", "vm", ""))
	k.bindGuest(guestAt("vnet0", "vm", ""))
	k.keep(key, lease("10.0.0.5", learn.ARP, 0))
	k.bindGuest(guestAt("vnet1", "vm", ""))
	k.unbind("vnet0")
	k.hasLeases(key, "10.0.0.5")
	k.unbind("vnet1")
	k.hasLeases(key, "")
}

func TestLeasesStayWhereUnbindingFails(t *testing.T) {
	k := newStore(t)
	b := guestAt("vnet0", "", "")
	k.bindGuest(b)
	k.keep(LeaseKey(b), lease("10.0.0.5", learn.ARP, 0))
	k.expect(k.update(func(u *Update) error {
		return u.Unbind("vnet0", func(bool) error { return fmt.Errorf("busy") })
	}), "busy")
	k.hasLeases(LeaseKey(b), "10.0.0.5")
}

func TestLeasesThatNobodyHasAreClearedAway(t *testing.T) {
	k := newStore(t)
	bound := guestAt("vnet0", "", "")
	k.bindGuest(bound)
	k.keep(LeaseKey(bound), lease("10.0.0.4", learn.DHCP, -time.Hour), lease("10.0.0.5", learn.ARP, 0))
	k.keep("left over", lease("10.0.0.5", learn.ARP, 0), lease("10.0.0.6", learn.DHCP, time.Hour)) // as after a crash
	k.keep("ended", lease("10.0.0.5", learn.DHCP, -time.Second))
	silent := lease("10.0.0.5", learn.DHCP, 0)
	silent.Renewed = silent.Renewed.Add(-longestAbsent)
	k.keep("silent", silent, lease("10.0.0.6", learn.DHCP, 0))
	k.put(k.path(LeaseKind, "unreadable"), "nonsense")
	check := func() {
		t.Helper()
		k.hasLeases(LeaseKey(bound), "10.0.0.4 10.0.0.5") // whoever guards the port sees to them
		k.hasLeases("left over", "10.0.0.6")
		k.hasLeases("ended", "")
		k.hasLeases("silent", "10.0.0.6")
	}
	// It happens by itself after so many changes.
	before := len(k.history())
	for n := before; n < pruneEvery; n++ {
		k.hasLeases("ended", "10.0.0.5")
		k.define(doc("a", strings.Repeat(ref("b"), n)), "")
	}
	check()
	if got := read(t, k.path(LeaseKind, "unreadable")); got != "nonsense" {
		t.Errorf("what cannot be read became %q", got)
	}
	k.keep("ended", lease("10.0.0.5", learn.DHCP, -time.Second))
	k.expect(k.update(func(u *Update) error { return u.Repair() }), "")
	check()
}

func TestLeasesOfGuestsThatAreGoneAreBounded(t *testing.T) {
	k := newStore(t)
	k.expect(k.update(func(u *Update) error {
		for n := range maxAbsent + 10 {
			l := lease("10.0.0.5", learn.DHCP, time.Hour)
			l.Renewed = l.Renewed.Add(-time.Duration(n%100) * time.Minute)
			if err := u.backend.Write(LeaseKind, fmt.Sprintf("guest%d", n), formatLeases([]learn.Lease{l})); err != nil {
				return err
			}
		}
		u.pruneLeases(time.Now())
		keys, err := u.LeaseKeys()
		if len(keys) != maxAbsent {
			t.Errorf("%d are left", len(keys))
		}
		return err
	}), "")
	k.hasLeases("guest99", "") // the one that was not heard of for longest
	k.hasLeases("guest0", "10.0.0.5")
}
