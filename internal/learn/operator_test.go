package learn

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func (k *kit) add(l Lease) Event {
	k.t.Helper()
	event, err := k.Add(l, k.now)
	if err != nil {
		k.t.Fatal(err)
	}
	return event
}

func (k *kit) pin(a string, pinned bool) Event {
	k.t.Helper()
	event, err := k.Pin(prefixFrom(a), pinned)
	if err != nil {
		k.t.Fatal(err)
	}
	return event
}

// prefixFrom reads an address or a prefix.
func prefixFrom(text string) netip.Prefix {
	if strings.Contains(text, "/") {
		return netip.MustParsePrefix(text)
	}
	return whole(netip.MustParseAddr(text))
}

func TestOperatorAdds(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	if event := k.add(Lease{Address: prefixFrom("10.0.0.5"), Source: DHCP, Server: server}); !event.Changed || !event.Renewed {
		t.Errorf("the event is %+v", event)
	}
	k.add(Lease{Address: prefixFrom("10.0.0.6"), End: k.now.Add(hour)})
	k.add(Lease{Address: prefixFrom("2001:db8:5::/56"), Pinned: true})
	k.add(Lease{Address: prefixFrom("fe80::5")})
	k.want("10.0.0.5 operator", "10.0.0.6 operator 1h0m0s", "2001:db8:5::/56 operator pinned", "fe80::5 operator")
	if l := k.Leases()[0]; l.Server.IsValid() || !l.Learned.Equal(start) {
		t.Errorf("the lease is %+v", l)
	}
	// Servers and the guest have no say.
	k.out(dhcpOut(ask, 1, asking("10.0.0.6")))
	k.in(dhcpIn(ack, 1, yours("10.0.0.6"), leaseTime(2*hour)))
	k.out(dhcpOut(ask, 2, asking("10.0.0.5")))
	k.in(dhcpIn(nak, 2))
	k.out(dhcpOut(release, 3, client("10.0.0.6")))
	k.want("10.0.0.5 operator", "10.0.0.6 operator 1h0m0s", "2001:db8:5::/56 operator pinned", "fe80::5 operator")
	k.wait(hour)
	k.want("10.0.0.5 operator", "2001:db8:5::/56 operator pinned", "fe80::5 operator")
	// What was learned becomes the operator's.
	k.leased(4, "10.0.0.7", hour)
	if event := k.add(Lease{Address: prefixFrom("10.0.0.7")}); event.Changed || !event.Renewed {
		t.Errorf("the event is %+v", event)
	}
	k.out(dhcpOut(release, 5, client("10.0.0.7")))
	k.want("10.0.0.5 operator", "10.0.0.7 operator", "2001:db8:5::/56 operator pinned", "fe80::5 operator")
}

func TestWhatAnOperatorCannotAdd(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	for text, want := range map[string]string{
		"10.0.0.0/24": "10.0.0.0/24 is no IPv4 address", "0.0.0.0": "is no IPv4 address", "127.0.0.1": "is no IPv4 address", "224.0.0.5": "is no IPv4 address",
		"::": "is no IPv6 address", "ff02::1": "is no IPv6 address", "::ffff:10.0.0.5": "is no IPv6 address", "::1": "is no IPv6 address",
		"2000::/3": "is no prefix", "fe80::/64": "is no prefix", "2001:db8::5/56": "expected 2001:db8::/56",
	} {
		if event, err := k.Add(Lease{Address: prefixFrom(text)}, k.now); err == nil || !strings.Contains(err.Error(), want) || event.Renewed {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := k.Add(Lease{}, k.now); err == nil {
		t.Error("a lease of nothing is added")
	}
	if _, err := k.Add(Lease{Address: prefixFrom("10.0.0.5"), End: k.now}, k.now); err == nil {
		t.Error("a lease that has ended is added")
	}
	k.want()
	for i := range byte(MaxLeases) {
		k.add(Lease{Address: whole(netip.AddrFrom4([4]byte{10, 0, 0, i + 1}))})
	}
	if _, err := k.Add(Lease{Address: prefixFrom("10.0.1.1")}, k.now); err == nil || !strings.Contains(err.Error(), "delete one first") {
		t.Errorf("one more than there is room for: %v", err)
	}
	k.add(Lease{Address: prefixFrom("10.0.0.1")}) // is there already
	k.add(Lease{Address: prefixFrom("fd00::1")})
}

func TestOperatorPins(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.leased(1, "10.0.0.5", hour)
	if event := k.pin("10.0.0.5", true); event.Changed || !event.Renewed {
		t.Errorf("the event is %+v", event)
	}
	if event := k.pin("10.0.0.5", true); event.Renewed {
		t.Errorf("once more: %+v", event)
	}
	if next := k.Next(); !next.IsZero() {
		t.Errorf("next is %s", next)
	}
	k.out(dhcpOut(release, 2, client("10.0.0.5")))
	k.wait(2 * hour)
	k.want("10.0.0.5 dhcp -1h0m0s pinned")
	k.leased(3, "10.0.0.5", hour)
	k.want("10.0.0.5 dhcp 1h0m0s pinned")
	k.wait(2 * hour)
	k.pin("10.0.0.5", false)
	if next := k.Next(); next.After(k.now) || next.IsZero() {
		t.Errorf("next is %s", next)
	}
	k.wait(0)
	k.want()
	if _, err := k.Pin(prefixFrom("10.0.0.5"), true); !errors.Is(err, ErrNoLease) {
		t.Errorf("pinning nothing: %v", err)
	}
}

func TestPinnedOfferIsTheOperators(t *testing.T) {
	k := newKit(t, anyIPv4)
	k.out(dhcpOut(discover, 1))
	k.in(dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour)))
	if event := k.pin("10.0.0.5", true); !event.Changed || !event.Renewed {
		t.Errorf("the event is %+v", event)
	}
	k.dropped(text(t, "arp request 10.0.0.6 > 10.0.0.9"))
	k.want("10.0.0.5 operator pinned")
}

func TestOperatorsAddressEndsLearningInAny(t *testing.T) {
	k := newKit(t, anyIPv4)
	k.out(dhcpOut(discover, 1))
	k.in(dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour)))
	k.add(Lease{Address: prefixFrom("10.0.0.6")})
	k.out(dhcpOut(ask, 1, asking("10.0.0.5")))
	k.in(dhcpIn(ack, 1, yours("10.0.0.5"), leaseTime(hour)))
	k.dropped(text(t, "arp request 10.0.0.7 > 10.0.0.9"))
	k.want("10.0.0.6 operator")
}

func TestOperatorDeletes(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.leased(1, "10.0.0.5", hour)
	k.pin("10.0.0.5", true)
	event, err := k.Delete(prefixFrom("10.0.0.5"))
	if err != nil || !event.Changed || !event.Renewed {
		t.Errorf("%+v, %v", event, err)
	}
	k.want()
	if _, err := k.Delete(prefixFrom("10.0.0.5")); !errors.Is(err, ErrNoLease) {
		t.Errorf("deleting nothing: %v", err)
	}
	k = newKit(t, anyIPv4)
	k.dropped(text(t, "arp request 10.0.0.5 > 10.0.0.9"))
	_, _ = k.Delete(prefixFrom("10.0.0.5"))
	k.dropped(text(t, "arp request 10.0.0.6 > 10.0.0.9"))
	k.want("10.0.0.6 arp")
}

// TestTimesAreComparable has an operator's time in another zone, with a monotonic
// clock: it must not make the lease differ from what is stored of it.
func TestTimesAreComparable(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.now = time.Now().In(time.FixedZone("elsewhere", 3600))
	k.add(Lease{Address: prefixFrom("10.0.0.5"), End: k.now.Add(hour)})
	before := k.Leases()
	k.restart()
	if after := k.Leases(); before[0] != after[0] {
		t.Errorf("%+v became %+v", before[0], after[0])
	}
	if before[0].Renewed.Location() != time.UTC {
		t.Errorf("the time is %s", before[0].Renewed)
	}
}
