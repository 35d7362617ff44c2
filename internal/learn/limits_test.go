package learn

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

func address6(i int) string { return fmt.Sprintf("fe80::1:%x", i) }

func TestIPv4TableIsFull(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	give := func(i int) Event {
		return k.leased(uint32(i), netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String(), hour)
	}
	for i := range MaxLeases {
		give(i + 1)
	}
	event := give(MaxLeases + 1)
	if event.Renewed || len(event.Notes) != 1 || !strings.Contains(event.Notes[0], "10.0.0.33 is not learned: the port has 32 addresses") {
		t.Errorf("one more gives %+v", event)
	}
	k.wait(hour / 2)
	if event := give(1); !event.Renewed || event.Changed {
		t.Errorf("renewing one gives %+v", event)
	}
	k.wait(hour / 2)
	give(MaxLeases + 1)
	k.want("10.0.0.1 dhcp 30m0s", "10.0.0.33 dhcp 1h0m0s")
}

func TestSilentAddressesMakeRoom(t *testing.T) {
	k := newKit(t, dhcp6)
	for i := range MaxLeases {
		k.out(solicit(guestMAC, address6(i)))
		k.wait(time.Second)
	}
	k.pin(address6(0), true)
	// A flood of claims changes nothing.
	for i := range 1000 {
		if event := k.out(solicit(guestMAC, address6(1000+i))); event.Renewed {
			t.Fatalf("a flood gives %+v", event)
		}
	}
	k.wait(silence)
	k.out(solicit(guestMAC, address6(1)))
	k.out(solicit(guestMAC, address6(500)))
	has := func(i int) bool {
		return slices.ContainsFunc(k.Leases(), func(l Lease) bool { return l.Text() == address6(i) })
	}
	if n := len(k.Leases()); n != MaxLeases || !has(0) || !has(1) || has(2) || !has(3) || !has(500) {
		t.Errorf("of %d leases: pinned %t, heard %t, longest silent %t, next %t, new %t", n, has(0), has(1), has(2), has(3), has(500))
	}
	// What a server gives need not wait.
	k.out(dhcp6Out(dhcpv6.MessageTypeRequest, 1, toServer))
	if event := k.in(dhcp6In(dhcpv6.MessageTypeReply, 1, five)); !event.Changed {
		t.Errorf("the event is %+v", event)
	}
	if n := len(k.Leases()); n != MaxLeases || has(3) {
		t.Errorf("%d leases, the longest silent %t", n, has(3))
	}
}

func TestTableOfWhatServersGiveIsFull(t *testing.T) {
	k := newKit(t, dhcp6)
	k.out(dhcp6Out(dhcpv6.MessageTypeRequest, 1, toServer))
	var addresses []dhcpv6.Option
	for i := range MaxLeases + 5 {
		addresses = append(addresses, iaAddr(fmt.Sprintf("2001:db8::%x", i+1), hour))
	}
	event := k.in(dhcp6In(dhcpv6.MessageTypeReply, 1, iaNA(addresses...)))
	if n := len(k.Leases()); n != MaxLeases || len(event.Notes) != 5 {
		t.Errorf("%d leases, notes %q", n, event.Notes)
	}
	k.wait(silence)
	k.out(dad(guestMAC, "fe80::5"))
	if n := len(k.Leases()); n != MaxLeases || slices.ContainsFunc(k.Leases(), func(l Lease) bool { return l.Source == ND }) {
		t.Errorf("a claim replaces what a server gave: %d leases", n)
	}
}

func TestPrefixesAreBounded(t *testing.T) {
	k := newKit(t, any6)
	for i := range maxPrefixes + 1 {
		event := k.in(routers(autonomousFor(fmt.Sprintf("2001:db8:%x::/64", i), hour)))
		if full := i == maxPrefixes; (len(event.Notes) == 1) != full || event.Remembered == full {
			t.Errorf("prefix %d: %+v", i, event)
		}
	}
	k.out(dad(guestMAC, "2001:db8:0::5"))
	k.out(dad(guestMAC, "2001:db8:10::5"))
	k.want("2001:db8::5 nd 1h0m0s")
}

// fillMemory lets more happen than is remembered.
func fillMemory(k *kit) {
	for i := range 100 {
		k.out(dhcpOut(discover, uint32(i)))
		k.out(dhcp6Out(dhcpv6.MessageTypeRequest, byte(i), toServer))
		k.in(routersFrom(netip.MustParseAddr(address6(i)), autonomousFor(fmt.Sprintf("2001:db8:%x::/64", i), hour)))
		k.out(dad(guestMAC, fmt.Sprintf("fe80::2:%x", i)))
	}
}

func TestMemoryIsBounded(t *testing.T) {
	k := newKit(t, Config{MAC: guestMAC, Mode: Any, IPv4: true, IPv6: true})
	fillMemory(k)
	m := k.memory
	if len(m.requests) != maxRequests || len(m.requests6) != maxRequests || len(m.prefixes) != maxPrefixes || len(m.probes) != maxProbes || len(m.others) != maxOthers {
		t.Errorf("%d, %d, %d, %d, %d", len(m.requests), len(m.requests6), len(m.prefixes), len(m.probes), len(m.others))
	}
	if n := len(k.Memory()); n > 4096 {
		t.Errorf("the memory has %d bytes", n)
	}
}

func TestNotesAreBounded(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	unasked := func(last byte) []byte {
		return dhcpIn(ack, 1, yours(netip.AddrFrom4([4]byte{10, 0, 0, last}).String()), leaseTime(hour))
	}
	for i, want := range []int{1, 0, 0} {
		if event := k.in(unasked(5)); len(event.Notes) != want {
			t.Errorf("the same for time %d: %q", i+1, event.Notes)
		}
		k.wait(noteEvery/2 - 1)
	}
	k.wait(2)
	if event := k.in(unasked(5)); len(event.Notes) != 1 {
		t.Errorf("after a while: %q", event.Notes)
	}
	total := 0
	for i := range byte(200) {
		total += len(k.in(unasked(i)).Notes)
	}
	if total != maxNotes-1 {
		t.Errorf("%d notes of a flood, want %d", total, maxNotes-1)
	}
}
