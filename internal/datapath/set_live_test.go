package datapath

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"tapgate/internal/ipset"
	"tapgate/internal/lab"
)

const (
	testSet = "peers"
	onlySet = `<filter name="only-set">
  <rule action="accept" direction="inout"><udp ipset="peers" ipsetflags="src,src"/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`
)

// newSetLive is a lab whose host has the set testSet, without members.
func newSetLive(t testing.TB, typeName string) *live {
	t.Helper()
	l := newLive(t, Automatic)
	l.in(func() error {
		if err := lab.CheckIPSet(); errors.Is(err, lab.ErrNoIPSet) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		return netlink.IpsetCreate(testSet, typeName, netlink.IpsetCreateOptions{})
	})
	return l
}

func (l *live) setMember(add bool, entry netlink.IPSetEntry) {
	l.t.Helper()
	change := netlink.IpsetDel
	if add {
		change = netlink.IpsetAdd
	}
	l.in(func() error { return change(testSet, &entry) })
}

// refresh brings the guest's only set up to date and checks what changed.
func (l *live) refresh(added, removed, members int, fault string) {
	l.t.Helper()
	l.in(func() error {
		changes, err := l.host.RefreshSets(l.t.Context(), "")
		if err != nil {
			return err
		}
		if len(changes) != 1 {
			l.t.Fatalf("%+v", changes)
		}
		c := changes[0]
		if c.Port != l.Guest.Port || c.Name != testSet || c.Added != added || c.Removed != removed || c.Members != members ||
			!strings.Contains(c.Fault, fault) || (c.Fault == "") != (fault == "") || c.Failed != "" {
			l.t.Errorf("%+v, want %d added, %d removed, %d members, fault %q", c, added, removed, members, fault)
		}
		return nil
	})
	sets := l.port(l.Guest.Port).Sets
	if len(sets) != 1 || sets[0].Members != members || !strings.Contains(sets[0].Fault, fault) {
		l.t.Errorf("the port's sets: %+v", sets)
	}
}

// TestAKernelSetIsFollowed goes through the life of a set: members come and
// go, it vanishes, comes back, and becomes another.
func TestAKernelSetIsFollowed(t *testing.T) {
	l := newSetLive(t, "hash:ip")
	peer := netlink.IPSetEntry{IP: l.Neighbour.IPv4.AsSlice()}
	other := netlink.IPSetEntry{IP: net.ParseIP("192.0.2.1")}
	l.setMember(true, other)
	l.guard(l.Guest.Port, resolve(t, onlySet))
	frame := l.udp(9, "to a peer")
	l.arrives(l.Guest, l.Neighbour, frame, false)

	l.setMember(true, peer)
	l.arrives(l.Guest, l.Neighbour, frame, false) // nobody looked yet
	l.refresh(1, 0, 2, "")
	l.arrives(l.Guest, l.Neighbour, frame, true)
	l.arrives(l.Neighbour, l.Guest, l.reply(9, "the mirrored copy"), true)

	l.setMember(false, other)
	l.refresh(0, 1, 1, "")
	l.arrives(l.Guest, l.Neighbour, frame, true)
	l.refresh(0, 0, 1, "")

	l.in(func() error { return netlink.IpsetDestroy(testSet) })
	l.refresh(0, 1, 0, `the set "peers" is gone`)
	l.arrives(l.Guest, l.Neighbour, frame, false)

	l.in(func() error { return netlink.IpsetCreate(testSet, "hash:ip", netlink.IpsetCreateOptions{}) })
	l.setMember(true, peer)
	l.refresh(1, 0, 1, "")
	l.arrives(l.Guest, l.Neighbour, frame, true)

	l.in(func() error {
		return errors.Join(netlink.IpsetDestroy(testSet), netlink.IpsetCreate(testSet, "hash:ip,port", netlink.IpsetCreateOptions{}))
	})
	l.refresh(0, 1, 0, "of another type now")
	l.arrives(l.Guest, l.Neighbour, frame, false)

	port := uint16(9)
	udp := uint8(17)
	l.setMember(true, netlink.IPSetEntry{IP: l.Neighbour.IPv4.AsSlice(), Port: &port, Protocol: &udp})
	l.guard(l.Guest.Port, resolve(t, onlySet))
	l.arrives(l.Guest, l.Neighbour, frame, true)
	l.arrives(l.Guest, l.Neighbour, l.udp(10, "another port"), false)
	l.release(l.Guest.Port)
	l.empty()
}

func TestAMissingSetIsAnError(t *testing.T) {
	l := newLive(t, Automatic)
	l.in(func() error {
		if err := lab.CheckIPSet(); errors.Is(err, lab.ErrNoIPSet) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		_, err := l.host.Guard(t.Context(), l.Guest.Port, resolve(t, onlySet), Meta{})
		if !errors.Is(err, ipset.ErrNotFound) || !strings.Contains(err.Error(), `:2: <udp> ipset="peers"`) {
			t.Errorf("%v", err)
		}
		return nil
	})
	l.arrives(l.Guest, l.Neighbour, l.udp(9, "not guarded"), true)
	l.empty()
}

func TestASetThatCannotHoldIsTold(t *testing.T) {
	l := newSetLive(t, "hash:ip")
	for filter, want := range map[string]string{
		`<filter name="f"><rule action="drop" direction="in"><all-ipv6 ipset="peers" ipsetflags="src"/></rule></filter>`: "holds IPv4 addresses",
		onlySet: "",
	} {
		change := l.guard(l.Guest.Port, resolve(t, filter))
		if got := strings.Join(change.Notes, "\n"); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("notes %q, want %q", got, want)
		}
	}
}

// TestSetsOfAnotherNamespace are left alone: the names mean other sets here.
func TestSetsOfAnotherNamespace(t *testing.T) {
	l := newSetLive(t, "hash:ip")
	l.guard(l.Guest.Port, resolve(t, onlySet))
	if changes, err := l.host.RefreshSets(t.Context(), ""); err != nil || len(changes) != 0 {
		t.Errorf("all ports: %+v, %v", changes, err)
	}
	if _, err := l.host.RefreshSets(t.Context(), l.Guest.Port); err == nil || !strings.Contains(err.Error(), "another network namespace") {
		t.Errorf("the port: %v", err)
	}
	var none *NotGuardedError
	if _, err := l.host.RefreshSets(t.Context(), "nothing"); !errors.As(err, &none) {
		t.Errorf("no such port: %v", err)
	}
}
