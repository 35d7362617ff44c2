package datapath

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"testing"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

// observeAll is what a port observes that learns all there is.
const observeAll = packet.ObserveDHCP | packet.ObserveDHCPv6 | packet.ObserveND | packet.ObserveClaim4 | packet.ObserveClaim6

// resolveObserved is a policy with its frames observed.
func resolveObserved(t testing.TB, xml string, wanted packet.Observe) *policy.Policy {
	t.Helper()
	p := resolve(t, xml)
	p.Observe = wanted
	return p
}

// limits are the buckets of a port, as take_token in bucket.h keeps them.
type limits struct{ full [observedClasses]int64 }

func (l *limits) allow(class int, now int64) bool {
	const interval, burst = int64(1e8), 50
	full := max(l.full[class], now)
	if full-now > (burst-1)*interval {
		return false
	}
	l.full[class] = full + interval
	return true
}

// observedClassOf is the class in the kernel of a packet of a class.
func observedClassOf(class int, out bool) int {
	switch {
	case class == packet.ObservedClaim:
		return observedClaim
	case out:
		return observedOut
	}
	return observedIn
}

// Each line is a frame, with what must be copied of it.
func TestObserved(t *testing.T) {
	needRoot(t)
	const guest, peer = "52:54:00:00:00:01", "52:54:00:00:00:99"
	dhcp := func(client string) string {
		payload := make([]byte, 240)
		copy(payload[28:], mac(t, client))
		return hex.EncodeToString(lab.UDPFrame(mac(t, peer), mac(t, guest),
			netip.MustParseAddrPort("10.0.0.1:67"), netip.MustParseAddrPort("10.0.0.5:68"), payload))
	}
	for _, policyText := range []string{dropAll, acceptAll} {
		p := resolveObserved(t, policyText, observeAll)
		tester, err := NewTester(p, Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer tester.Close()
		passes := policyText == acceptAll
		for _, test := range []struct {
			frame           string
			out             bool
			dropped, passed bool // what is copied of it
		}{
			{"udp 0.0.0.0:68 > 255.255.255.255:67 len 300", true, true, true},
			{"udp 10.0.0.5:68 > 10.0.0.1:67 len 300", true, true, true},
			{"udp 0.0.0.0:67 > 255.255.255.255:68", true, false, false},
			{peer + " > " + guest + " udp 0.0.0.0:68 > 255.255.255.255:67", true, false, false},
			{dhcp(guest), false, true, true},
			{dhcp(peer), false, false, false},
			{peer + " > " + guest + " udp 10.0.0.1:67 > 10.0.0.5:68 len 33", false, false, false},
			{"udp [fe80::5]:546 > [ff02::1:2]:547", true, true, true},
			{peer + " > " + guest + " udp [fe80::1]:547 > [fe80::5]:546", false, true, true},
			{peer + " > 33:33:00:00:00:01 udp [fe80::1]:547 > [fe80::5]:546", false, false, false},
			{"icmpv6 :: > ff02::1:ff00:5 type 135", true, true, true},
			{"icmpv6 fe80::5 > fe80::1 type 136", true, true, true},
			{"icmpv6 fe80::5 > fe80::1 type 133", true, true, false}, // a claim
			{"icmpv6 :: > ff02::2 type 133", true, false, false},
			{peer + " > " + guest + " icmpv6 fe80::1 > ff02::1 type 134", false, true, true},
			{"icmpv6 fe80::5 > ff02::1 type 134", true, true, false}, // a claim
			{peer + " > 33:33:ff:00:00:05 icmpv6 :: > ff02::1:ff00:5 type 135", false, true, true},
			{peer + " > 33:33:ff:00:00:05 icmpv6 fe80::1 > ff02::1:ff00:5 type 135", false, false, false},
			{peer + " > 33:33:00:00:00:01 icmpv6 fe80::1 > ff02::1 type 136", false, true, true},
			{peer + " > " + guest + " icmpv6 fe80::1 > fe80::5 type 136", false, false, false},
			{"arp request 10.0.0.5 > 10.0.0.1", true, true, false},
			{"arp reply 10.0.0.5 > 10.0.0.1", true, true, false},
			{"arp request 0.0.0.0 > 10.0.0.5", true, false, false},
			{"rarp 10.0.0.5 > 10.0.0.1", true, false, false},
			{"arp request 10.0.0.5 > 10.0.0.1", false, false, false},
			{"tcp 10.0.0.5:1 > 10.0.0.1:80 syn", true, true, false},
			{"tcp 0.0.0.0:1 > 10.0.0.1:80 syn", true, false, false},
			{"vlan 7 tcp 10.0.0.5:1 > 10.0.0.1:80 syn", true, true, false},
			{"vlan 7 udp [fd00::5]:1 > [fd00::1]:80", true, false, false},
			{"tcp [fd00::5]:1 > [fd00::1]:80 syn", true, true, false},
			{"ether 0x88b5 len 60", true, false, false},
		} {
			name := "drops " + test.frame
			want := test.dropped
			if passes {
				name, want = "passes "+test.frame, test.passed
			}
			t.Run(name, func(t *testing.T) {
				frame, err := packet.FromText(test.frame, packet.Ends{Src: mac(t, guest), Dst: mac(t, peer)})
				if err != nil {
					t.Fatal(err)
				}
				if err := tester.Reset(); err != nil {
					t.Fatal(err)
				}
				decoded := packet.Decode(frame, test.out)
				if _, ok := decoded.Observed(frame, observeAll, p.MAC, passes); ok != want {
					t.Errorf("internal/packet: observed %v", ok)
				}
				if _, err := tester.Run(frame, test.out, 77); err != nil {
					t.Fatal(err)
				}
				list, err := tester.Observed()
				if err != nil {
					t.Fatal(err)
				}
				if len(list) != 0 != want {
					t.Fatalf("the kernel copied %d frames", len(list))
				}
				if want {
					o := list[0]
					if !bytes.Equal(o.Frame, frame) || o.Length != len(frame) || o.Out != test.out || o.Passed != passes || o.Time.UnixNano() != 77 {
						t.Errorf("copied %+v", o)
					}
				}
				// Who does not ask for it gets nothing.
				if _, ok := decoded.Observed(frame, 0, p.MAC, passes); ok {
					t.Error("internal/packet: observed, and nobody asks")
				}
			})
		}
	}
}

func mac(t testing.TB, text string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// While nobody reads, claims leave room for messages; what finds none is counted
// as lost, and what found some is told in full.
func TestAFullRingLosesClaimsFirst(t *testing.T) {
	needRoot(t)
	alone(t)
	tester, err := NewTester(resolveObserved(t, dropAll, observeAll), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tester.Close()
	counted := func() Observed {
		t.Helper()
		var port observedPort
		if err := tester.bed.maps[observedMap].Lookup(tester.state.Port, &port); err != nil {
			t.Fatal(err)
		}
		return port.counts()
	}
	now := int64(0)
	send := func(text string) {
		t.Helper()
		frame, err := packet.FromText(text, packet.Ends{Src: guestMAC, Dst: mac(t, "52:54:00:00:00:99")})
		if err != nil {
			t.Fatal(err)
		}
		now += 1e8 // what a port may send
		if _, err := tester.Run(frame, true, now); err != nil {
			t.Fatal(err)
		}
	}
	for counted().Claims.Lost < 100 {
		send("tcp 10.0.0.5:1 > 10.0.0.1:80 syn len 1000")
	}
	claims := counted().Claims
	if claims.Told < 200 || claims.Told > 300 {
		t.Errorf("claims were told %d times in a quarter of a ring", claims.Told)
	}
	for counted().Out.Lost < 100 {
		send("udp 0.0.0.0:68 > 255.255.255.255:67 len 1000")
	}
	messages := counted().Out
	if messages.Told < 600 || messages.Told > 800 {
		t.Errorf("messages were told %d times in three quarters of a ring", messages.Told)
	}
	if c := counted(); c.Claims != claims || c.Claims.Limited+c.Out.Limited != 0 {
		t.Errorf("counted %+v", c)
	}
	list, err := tester.Observed()
	if err != nil || uint64(len(list)) != claims.Told+messages.Told {
		t.Errorf("read %d frames, %v, want %d", len(list), err, claims.Told+messages.Told)
	}
	send("tcp 10.0.0.5:1 > 10.0.0.1:80 syn")
	if list, err := tester.Observed(); err != nil || len(list) != 1 {
		t.Errorf("read %d frames afterwards, %v", len(list), err)
	}
}

// What a program of another version wrote is skipped, what is cut is an error.
func TestObservationsOfOtherVersions(t *testing.T) {
	whole := make([]byte, 32+60)
	whole[16], whole[22], whole[24] = 60, observationLayout, 1
	if o, err := decodeObservation(whole); err != nil || o == nil || len(o.Frame) != 60 || !o.Out {
		t.Errorf("decoded %+v, %v", o, err)
	}
	if o, err := decodeObservation(whole[:91]); err == nil {
		t.Errorf("decoded %+v of what was cut", o)
	}
	whole[22]++
	if o, err := decodeObservation(whole[:40]); err != nil || o != nil {
		t.Errorf("decoded %+v, %v of another version", o, err)
	}
	if o, err := decodeObservation(whole[:31]); err == nil {
		t.Errorf("decoded %+v of what is no observation", o)
	}
}
