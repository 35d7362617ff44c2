package learn

import (
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	discover = dhcpv4.MessageTypeDiscover
	offer    = dhcpv4.MessageTypeOffer
	ask      = dhcpv4.MessageTypeRequest
	decline  = dhcpv4.MessageTypeDecline
	ack      = dhcpv4.MessageTypeAck
	nak      = dhcpv4.MessageTypeNak
	release  = dhcpv4.MessageTypeRelease
	inform   = dhcpv4.MessageTypeInform
)

var rapidCommit = option(dhcpv4.OptionRapidCommit.Code())

// leased goes through an exchange for an address.
func (k *kit) leased(xid uint32, address string, d time.Duration) Event {
	k.out(dhcpOut(discover, xid))
	k.in(dhcpIn(offer, xid, yours(address), leaseTime(d)))
	k.out(dhcpOut(ask, xid, asking(address), serverID(server)))
	return k.in(dhcpIn(ack, xid, yours(address), leaseTime(d)))
}

func TestServerIsTheSenderIfItHasNoName(t *testing.T) {
	for want, frame := range map[string][]byte{
		"10.0.0.254": relayed(ack, 7, yours("10.0.0.5"), leaseTime(hour), without(dhcpv4.OptionServerIdentifier)),
		"10.0.0.1":   relayed(ack, 7, yours("10.0.0.5"), leaseTime(hour)),
	} {
		k := newKit(t, dhcpIPv4)
		k.out(dhcpOut(ask, 7, client("10.0.0.5")))
		k.in(frame)
		if got := k.Leases()[0].Server.String(); got != want {
			t.Errorf("the server is %s, want %s", got, want)
		}
	}
}

func TestLeaseIsRenewed(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.leased(1, "10.0.0.5", hour)
	k.wait(hour / 2)
	k.out(dhcpOut(ask, 2, client("10.0.0.5")))
	event := k.in(dhcpIn(ack, 2, yours("10.0.0.5"), leaseTime(hour)))
	if event.Changed || !event.Renewed {
		t.Errorf("the event is %+v", event)
	}
	k.want("10.0.0.5 dhcp 1h0m0s")
	k.out(dhcpOut(ask, 3, client("10.0.0.5")))
	k.in(dhcpIn(ack, 3, yours("10.0.0.5"), leaseTime(hour/4)))
	k.want("10.0.0.5 dhcp 15m0s") // shorter than what was left
	l := k.Leases()[0]
	if !l.Learned.Equal(start) || !l.Renewed.Equal(k.now) || l.Server != server {
		t.Errorf("the lease is %+v", l)
	}
	k.out(dhcpOut(ask, 4, client("10.0.0.5")))
	k.in(dhcpIn(ack, 4, yours("10.0.0.5"), leaseTime(0)))
	k.want()
}

func TestSeveralLeasesEndEachAtItsTime(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.leased(1, "10.0.0.5", hour)
	k.leased(2, "10.0.0.6", 2*hour)
	k.leased(3, "10.0.0.4", hour/2)
	k.want("10.0.0.4 dhcp 30m0s", "10.0.0.5 dhcp 1h0m0s", "10.0.0.6 dhcp 2h0m0s")
	for _, want := range [][]string{{"10.0.0.5 dhcp 30m0s", "10.0.0.6 dhcp 1h30m0s"}, {"10.0.0.6 dhcp 1h0m0s"}, nil} {
		next := k.Next()
		if event := k.wait(next.Sub(k.now) - 1); event.Renewed {
			t.Errorf("before the end: %+v", event)
		}
		if event := k.wait(1); !event.Changed || !event.Renewed {
			t.Errorf("at the end: %+v", event)
		}
		k.want(want...)
	}
	if next := k.Next(); !next.IsZero() {
		t.Errorf("next is %s without leases", next)
	}
	k.leased(4, "10.0.0.5", infinite*time.Second)
	k.want("10.0.0.5 dhcp")
	if next := k.Next(); !next.IsZero() {
		t.Errorf("next is %s with a lease that has no end", next)
	}
}

// TestLeaseIsTakenBack has messages after which the lease of 10.0.0.5 is gone, or
// not. The guest has also asked for 10.0.0.6 with transaction 9, from anybody.
func TestLeaseIsTakenBack(t *testing.T) {
	for _, test := range []struct {
		name  string
		out   bool
		frame []byte
		gone  bool
	}{
		{"RELEASE", true, dhcpOut(release, 3, client("10.0.0.5"), serverID(server)), true},
		{"RELEASE of another address", true, dhcpOut(release, 3, client("10.0.0.6")), false},
		{"RELEASE with the address in yiaddr", true, dhcpOut(release, 3, yours("10.0.0.5")), false},
		{"RELEASE to the guest", false, dhcpIn(release, 3, client("10.0.0.5")), false},
		{"DECLINE", true, dhcpOut(decline, 3, asking("10.0.0.5"), serverID(server)), true},
		{"DECLINE with the address in ciaddr", true, dhcpOut(decline, 3, client("10.0.0.5")), false},
		{"DECLINE to the guest", false, dhcpIn(decline, 3, asking("10.0.0.5")), false},
		{"NAK", false, dhcpIn(nak, 2), true},
		{"NAK to everybody", false, retarget(dhcpIn(nak, 2), broadcast), true},
		{"NAK through a relay agent", false, relayed(nak, 2), true},
		{"NAK of another exchange", false, dhcpIn(nak, 4), false},
		{"NAK for another address", false, dhcpIn(nak, 9), false},
		{"NAK of the guest", true, dhcpOut(nak, 2), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t, dhcpIPv4)
			k.leased(1, "10.0.0.5", hour)
			k.out(dhcpOut(ask, 9, asking("10.0.0.6")))
			k.out(dhcpOut(ask, 2, client("10.0.0.5")))
			event := k.Observe(test.frame, test.out, true, k.now)
			if event.Changed != test.gone || event.Renewed != test.gone {
				t.Errorf("the event is %+v", event)
			}
			if test.gone {
				k.want()
				k.in(dhcpIn(ack, 2, yours("10.0.0.5"), leaseTime(hour))) // too late
				k.want()
				k.in(dhcpIn(ack, 9, yours("10.0.0.6"), leaseTime(hour)))
				k.want("10.0.0.6 dhcp 1h0m0s")
			} else {
				k.want("10.0.0.5 dhcp 1h0m0s")
			}
		})
	}
}

func TestGivenUpAddressCountsWhetherTheMessagePassedOrNot(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.leased(1, "10.0.0.5", hour)
	k.dropped(dhcpOut(release, 3, client("10.0.0.5")))
	k.want()
}

func TestRequestsAreForgotten(t *testing.T) {
	k := newKit(t, dhcpIPv4)
	k.out(dhcpOut(ask, 1, asking("10.0.0.5")))
	k.wait(requestTime)
	k.in(dhcpIn(ack, 1, yours("10.0.0.5"), leaseTime(hour)))
	k.want()
	for xid := range uint32(maxRequests + 1) {
		k.out(dhcpOut(ask, xid, asking("10.0.0.5")))
		k.wait(time.Millisecond)
		k.out(dhcpOut(ask, xid, asking("10.0.0.5"))) // once more is not one more
	}
	k.in(dhcpIn(ack, 0, yours("10.0.0.5"), leaseTime(hour)))
	k.want()
	k.in(dhcpIn(ack, 1, yours("10.0.0.5"), leaseTime(hour)))
	k.want("10.0.0.5 dhcp 1h0m0s")
}

func TestDHCPInAny(t *testing.T) {
	other := serverID(netip.MustParseAddr("10.0.0.2"))
	t.Run("an offer counts for a while", func(t *testing.T) {
		k := newKit(t, anyIPv4)
		k.out(dhcpOut(discover, 1))
		event := k.in(dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour)))
		if !event.Changed || !Offered(k.Leases()) {
			t.Errorf("the event is %+v, the leases %+v", event, k.Leases())
		}
		k.in(dhcpIn(offer, 1, yours("10.0.0.6"), leaseTime(hour), other))
		k.wait(time.Second)
		k.out(dhcpOut(discover, 1))
		if event := k.in(dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour))); event.Changed || !event.Renewed {
			t.Errorf("the same offer again gives %+v", event)
		}
		k.dropped(text(t, "arp request 10.0.0.7 > 10.0.0.9"))
		k.want("10.0.0.5 dhcp-offer 1m0s")
		if event := k.wait(offerTime); !event.Changed {
			t.Errorf("at its end: %+v", event)
		}
		k.dropped(text(t, "arp request 10.0.0.7 > 10.0.0.9"))
		k.want("10.0.0.7 arp")
	})
	t.Run("nobody's offer counts", func(t *testing.T) {
		k := newKit(t, anyIPv4)
		k.in(dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour)))
		k.in(dhcpIn(ack, 1, yours("10.0.0.5"), leaseTime(hour)))
		k.out(dhcpOut(ask, 1, asking("10.0.0.5")))
		k.in(dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour)))
		k.want()
	})
	t.Run("a claim confirms", func(t *testing.T) {
		k := newKit(t, anyIPv4)
		k.out(dhcpOut(discover, 1))
		k.in(dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour)))
		event := k.dropped(text(t, "arp request 10.0.0.5 > 10.0.0.9"))
		if !event.Changed {
			t.Errorf("the event is %+v", event)
		}
		k.want("10.0.0.5 arp")
	})
	for _, address := range []string{"10.0.0.5", "10.0.0.6"} {
		t.Run("an ACK for "+address+" settles it", func(t *testing.T) {
			k := newKit(t, anyIPv4)
			k.out(dhcpOut(discover, 1))
			k.in(dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour)))
			k.out(dhcpOut(ask, 1, asking(address), other))
			event := k.in(dhcpIn(ack, 1, yours(address), leaseTime(hour), other))
			if !event.Changed || Offered(k.Leases()) {
				t.Errorf("the event is %+v, the leases %+v", event, k.Leases())
			}
			k.want(address + " dhcp")
			k.out(dhcpOut(release, 2, client(address)))
			k.out(dhcpOut(ask, 3, asking("10.0.0.8")))
			k.in(dhcpIn(ack, 3, yours("10.0.0.8"), leaseTime(hour)))
			k.want(address + " dhcp")
		})
	}
	t.Run("a NAK withdraws an offer", func(t *testing.T) {
		k := newKit(t, anyIPv4)
		k.out(dhcpOut(discover, 1))
		k.in(dhcpIn(offer, 1, yours("10.0.0.5"), leaseTime(hour)))
		k.out(dhcpOut(ask, 1, asking("10.0.0.5"), serverID(server)))
		k.in(dhcpIn(nak, 1))
		k.want()
	})
	t.Run("a renewal that is not answered is a claim", func(t *testing.T) {
		k := newKit(t, anyIPv4)
		k.dropped(dhcpOut(ask, 1, client("10.0.0.5")))
		k.want("10.0.0.5 ipv4")
	})
}

func TestNoneLearnsNothing(t *testing.T) {
	k := newKit(t, Config{MAC: guestMAC, Mode: None, IPv4: true, IPv6: true})
	k.dropped(text(t, "arp request 10.0.0.5 > 10.0.0.9"))
	k.leased(1, "10.0.0.5", hour)
	k.dropped(text(t, "udp [fd00::5]:1 > [fd00::9]:2"))
	k.want()
}
