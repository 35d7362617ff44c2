package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// newDHCPGuest adds a guest without any address of IPv4.
func newDHCPGuest(t *testing.T, l *Lab) *Guest {
	t.Helper()
	guest, err := l.AddGuest(t.Context(), GuestConfig{Name: "client", MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x40}})
	if err != nil {
		t.Fatal(err)
	}
	return guest
}

// started fails the test if a program could not be started, and skips it if it is not installed.
func started(t *testing.T, err error) {
	t.Helper()
	var missing *MissingError
	if errors.As(err, &missing) {
		t.Skip(missing)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// running is started for a program, which ends before what the test does away with: its directory is one.
func running(t *testing.T, p *Program, err error) {
	t.Helper()
	started(t, err)
	t.Cleanup(p.Stop)
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestDHCPClientsGetAnAddressFromDNSMasq(t *testing.T) {
	l := newLab(t)
	guest := newDHCPGuest(t, l)
	given := netip.MustParsePrefix("10.77.0.128/25")
	server, err := l.ServeDNSMasq(t.Context(), l.Neighbour, t.TempDir(), DNSMasqConfig{
		From: netip.MustParseAddr("10.77.0.130"), To: netip.MustParseAddr("10.77.0.199"), Lease: 2 * time.Minute,
	})
	running(t, server, err)
	for _, client := range []DHCPClient{Udhcpc, Dhclient, Dhcpcd} {
		t.Run(string(client), func(t *testing.T) {
			p, err := l.RunDHCPClient(guest, DHCPClientConfig{Client: client, Dir: t.TempDir(), ID: "lab-" + string(client)})
			running(t, p, err)
			address, err := guest.WaitAddress(within(t, 15*time.Second), given.Contains)
			if err != nil {
				t.Fatalf("%v; it printed:\n%s", err, p.Output())
			}
			// A client may still be busy with its address.
			for try := range 3 {
				if err = Ping(t.Context(), l.Neighbour.Namespace, address); err == nil {
					break
				}
				t.Logf("try %d: %v", try, err)
			}
			if err != nil {
				t.Error(err)
			}
			p.Stop()
			if err := guest.ForgetAddresses(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestDHCPServerDoesWhatItIsTold(t *testing.T) {
	l := newLab(t)
	guest := newDHCPGuest(t, l)
	server, err := l.ServeDHCP(l.Neighbour)
	if err != nil {
		t.Fatal(err)
	}
	first, second := netip.MustParseAddr("10.77.0.140"), netip.MustParseAddr("10.77.0.141")
	server.Give(DHCPGrant{Address: first, Lease: 4 * time.Second})
	server.Hold(dhcpv4.MessageTypeRequest)
	p, err := l.RunDHCPClient(guest, DHCPClientConfig{Client: Dhclient, Dir: t.TempDir()})
	running(t, p, err)
	ctx := within(t, 20*time.Second)
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v; dhclient printed:\n%s", err, p.Output())
		}
	}
	_, err = server.Heard(ctx, dhcpv4.MessageTypeRequest, 0)
	fail(err)
	if addresses := guest.Addresses(); len(addresses) > 1 {
		t.Errorf("it has %v before it was answered", addresses)
	}
	fail(server.Answer())
	_, err = guest.WaitAddress(ctx, func(a netip.Addr) bool { return a == first })
	fail(err)
	// It renews, and is then told that it has another address.
	mark := server.Mark()
	_, err = server.Heard(ctx, dhcpv4.MessageTypeRequest, mark)
	fail(err)
	server.Give(DHCPGrant{Address: second, Lease: 4 * time.Second, Relay: netip.MustParseAddr("10.77.0.1")})
	_, err = guest.WaitAddress(ctx, func(a netip.Addr) bool { return a == second })
	fail(err)
}

func TestAClientDeclinesAnAddressInUse(t *testing.T) {
	l := newLab(t)
	guest := newDHCPGuest(t, l)
	server, err := l.ServeDHCP(l.Neighbour)
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []DHCPClientConfig{
		{Client: Udhcpc, Options: []string{"-a200"}},
		{Client: Dhclient, InUse: "10.77.0.11"},
		{Client: Dhcpcd},
	} {
		t.Run(string(config.Client), func(t *testing.T) {
			server.Give(DHCPGrant{Address: l.Guest.IPv4, Lease: time.Minute}) // the lab's own guest has it
			mark := server.Mark()
			config.Dir = t.TempDir()
			p, err := l.RunDHCPClient(guest, config)
			running(t, p, err)
			if _, err := server.Heard(within(t, 10*time.Second), dhcpv4.MessageTypeDecline, mark); err != nil {
				t.Errorf("%v; it printed:\n%s", err, p.Output())
			}
			p.Stop()
			if err := guest.ForgetAddresses(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestUdhcpcReleasesWhenItIsStopped(t *testing.T) {
	l := newLab(t)
	guest := newDHCPGuest(t, l)
	server, err := l.ServeDHCP(l.Neighbour)
	if err != nil {
		t.Fatal(err)
	}
	server.Give(DHCPGrant{Address: netip.MustParseAddr("10.77.0.140"), Lease: time.Minute})
	p, err := l.RunDHCPClient(guest, DHCPClientConfig{Client: Udhcpc, Dir: t.TempDir(), Release: true})
	running(t, p, err)
	ctx := within(t, 10*time.Second)
	if err := p.Says(ctx, "lab: bound 10.77.0.140/24", 0); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if _, err := server.Heard(ctx, dhcpv4.MessageTypeRelease, 0); err != nil {
		t.Errorf("%v; it printed:\n%s", err, p.Output())
	}
}

func TestDHCPFloodHasADifferentTransactionEachTime(t *testing.T) {
	l := newLab(t)
	port, err := l.Host.OpenFrames(l.Guest.Port)
	if err != nil {
		t.Fatal(err)
	}
	rate, err := DHCPFlood(l.Guest).Run(within(t, 100*time.Millisecond), 1000)
	if err != nil {
		t.Fatal(err)
	}
	seen, count := map[dhcpv4.TransactionID]bool{}, 0
	for ctx := within(t, 100*time.Millisecond); ; count++ {
		frame, err := port.Receive(ctx, func(frame []byte) bool { return len(frame) > udpPayload && frame[12] == 8 && frame[13] == 0 })
		if err != nil {
			break
		}
		m, err := dhcpv4.FromBytes(frame[udpPayload:])
		if err != nil || m.MessageType() != dhcpv4.MessageTypeDiscover || m.ClientHWAddr.String() != l.Guest.MAC.String() {
			t.Fatalf("%v, %v", m, err)
		}
		seen[m.TransactionID] = true
	}
	if len(seen) < 50 || len(seen) != count {
		t.Errorf("%d messages with %d transactions, %.0f a second", count, len(seen), rate)
	}
}
