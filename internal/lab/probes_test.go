package lab

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestClosedPortRefuses(t *testing.T) {
	l := newLab(t)
	for _, server := range []netip.AddrPort{l.Guest.At(ClosedPort), l.Guest.At6(ClosedPort)} {
		if err := ConnectTCP(t.Context(), l.Neighbour.Namespace, server); !Refused(err) || NoAnswer(err) {
			t.Errorf("%s: got %v, want a refusal", server, err)
		}
	}
	if err := ConnectTCP(t.Context(), l.Neighbour.Namespace, l.Guest.At(HTTPPort)); err != nil {
		t.Errorf("open port: %v", err)
	}
	if err := Echo(t.Context(), l.Neighbour.Namespace, l.Guest.At(EchoPort)); !Refused(err) {
		t.Errorf("udp: got %v, want a refusal", err)
	}
}

func TestProbesOfAnUnpluggedGuestEndSoonWithoutAnswer(t *testing.T) {
	l := newLab(t)
	guest, neighbour := l.Guest, l.Neighbour.Namespace
	unplug(t, l)
	var all sync.WaitGroup
	for name, probe := range map[string]func(context.Context) error{
		"ssh":     func(ctx context.Context) error { _, err := SSH(ctx, neighbour, guest.At(SSHPort)); return err },
		"http":    func(ctx context.Context) error { return HTTP(ctx, neighbour, guest.At(HTTPPort)) },
		"tcp":     func(ctx context.Context) error { return ConnectTCP(ctx, neighbour, guest.At(ClosedPort)) },
		"PORT":    func(ctx context.Context) error { return FTP(ctx, neighbour, guest.At(FTPPort), ActivePORT) },
		"PASV":    func(ctx context.Context) error { return FTP(ctx, neighbour, guest.At(FTPPort), PassivePASV) },
		"ping":    func(ctx context.Context) error { return Ping(ctx, neighbour, guest.IPv4) },
		"ping 6":  func(ctx context.Context) error { return Ping(ctx, neighbour, guest.IPv6) },
		"dns udp": func(ctx context.Context) error { return DNS(ctx, neighbour, "udp", guest.At(DNSPort)) },
		"dns tcp": func(ctx context.Context) error { return DNS(ctx, neighbour, "tcp", guest.At(DNSPort)) },
		"echo":    func(ctx context.Context) error { return Echo(ctx, neighbour, guest.At(EchoPort)) },
	} {
		all.Go(func() { // together, because each takes its time
			start := time.Now()
			if err := probe(t.Context()); !NoAnswer(err) || Refused(err) {
				t.Errorf("%s: got %v, want no answer", name, err)
			}
			if took := time.Since(start); took > 2*ProbeTimeout {
				t.Errorf("%s: gave up after %v", name, took)
			}
		})
	}
	all.Wait()
}

func TestBlockedDataConnectionEndsTheTransfer(t *testing.T) {
	l := newLab(t)
	client, err := DialFTP(t.Context(), l.Neighbour.Namespace, l.Guest.At(FTPPort))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	unplug(t, l)
	if err := client.Retrieve(t.Context(), ActivePORT); !NoAnswer(err) {
		t.Errorf("got %v, want no answer", err)
	}
}

func TestSYNThatIsSentAgainIsCounted(t *testing.T) {
	l := newLab(t)
	unplug(t, l)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // the first repetition is after 1 s
	defer cancel()
	if conn, err := l.Neighbour.Dial(ctx, "tcp", l.Guest.At(HTTPPort)); err == nil {
		conn.Close()
		t.Fatal("an unplugged guest answers")
	}
	again, err := l.Neighbour.SYNRetransmissions()
	if err != nil {
		t.Fatal(err)
	}
	if again != 1 {
		t.Errorf("%d repetitions counted, want 1", again)
	}
}

func TestForgottenNeighboursAreFoundAgain(t *testing.T) {
	l := newLab(t)
	for range 2 {
		if err := Ping(t.Context(), l.Neighbour.Namespace, l.Guest.IPv4); err != nil {
			t.Fatal(err)
		}
		if err := l.Neighbour.FlushNeighbours(); err != nil {
			t.Fatal(err)
		}
	}
	requests, err := l.Guest.OpenFrames(GuestDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer requests.Close()
	if err := Ping(t.Context(), l.Neighbour.Namespace, l.Guest.IPv4); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), ProbeTimeout)
	defer cancel()
	isARP := func(frame []byte) bool { return frame[12] == 0x08 && frame[13] == 0x06 }
	if _, err := requests.Receive(ctx, isARP); err != nil {
		t.Errorf("no ARP request: %v", err)
	}
}

// unplug takes the guest off the bridge, after its neighbour has learned its MAC address: packets
// are sent and lost.
func unplug(t *testing.T, l *Lab) {
	t.Helper()
	for _, addr := range []netip.Addr{l.Guest.IPv4, l.Guest.IPv6} {
		if err := Ping(t.Context(), l.Neighbour.Namespace, addr); err != nil {
			t.Fatal(err)
		}
	}
	port, err := l.Host.Links().LinkByName(l.Guest.Port)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Host.Links().LinkSetNoMaster(port); err != nil {
		t.Fatal(err)
	}
}
