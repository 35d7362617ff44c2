package lab

import (
	"context"
	"errors"
	"net/netip"
	"testing"
)

// newLab gives a network with its servers, or skips the test for lack of rights.
func newLab(t *testing.T) *Lab {
	t.Helper()
	l, err := New(t.Context())
	if errors.Is(err, ErrNeedsRoot) {
		t.Skip(ErrNeedsRoot)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if err := l.StartServers(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEveryServerIsReachedByItsClient(t *testing.T) {
	l := newLab(t)
	guest, neighbour := l.Guest, l.Neighbour
	for _, test := range []struct {
		name  string
		probe func(context.Context) error
	}{
		{"ssh", func(ctx context.Context) error { return sshBanner(ctx, neighbour.Namespace, guest.At(SSHPort)) }},
		{"ssh over IPv6", func(ctx context.Context) error { return sshBanner(ctx, neighbour.Namespace, guest.At6(SSHPort)) }},
		{"http", func(ctx context.Context) error { return HTTP(ctx, neighbour.Namespace, guest.At(HTTPPort)) }},
		{"http over IPv6", func(ctx context.Context) error { return HTTP(ctx, neighbour.Namespace, guest.At6(HTTPPort)) }},
		{"http on port 443", func(ctx context.Context) error { return HTTP(ctx, neighbour.Namespace, guest.At(HTTPSPort)) }},
		{"active ftp by PORT", func(ctx context.Context) error { return FTP(ctx, neighbour.Namespace, guest.At(FTPPort), ActivePORT) }},
		{"active ftp by EPRT", func(ctx context.Context) error { return FTP(ctx, neighbour.Namespace, guest.At(FTPPort), ActiveEPRT) }},
		{"active ftp over IPv6", func(ctx context.Context) error { return FTP(ctx, neighbour.Namespace, guest.At6(FTPPort), ActiveEPRT) }},
		{"passive ftp by PASV", func(ctx context.Context) error { return FTP(ctx, neighbour.Namespace, guest.At(FTPPort), PassivePASV) }},
		{"passive ftp by EPSV", func(ctx context.Context) error { return FTP(ctx, neighbour.Namespace, guest.At(FTPPort), PassiveEPSV) }},
		{"passive ftp over IPv6", func(ctx context.Context) error { return FTP(ctx, neighbour.Namespace, guest.At6(FTPPort), PassiveEPSV) }},
		{"ping in", func(ctx context.Context) error { return Ping(ctx, neighbour.Namespace, guest.IPv4) }},
		{"ping out", func(ctx context.Context) error { return Ping(ctx, guest.Namespace, neighbour.IPv4) }},
		{"ping in over IPv6", func(ctx context.Context) error { return Ping(ctx, neighbour.Namespace, guest.IPv6) }},
		{"ping out over IPv6", func(ctx context.Context) error { return Ping(ctx, guest.Namespace, neighbour.IPv6) }},
		{"dns over udp", func(ctx context.Context) error { return DNS(ctx, guest.Namespace, "udp", neighbour.At(DNSPort)) }},
		{"dns over tcp", func(ctx context.Context) error { return DNS(ctx, guest.Namespace, "tcp", neighbour.At(DNSPort)) }},
		{"dns over udp and IPv6", func(ctx context.Context) error { return DNS(ctx, guest.Namespace, "udp", neighbour.At6(DNSPort)) }},
		{"udp echo", func(ctx context.Context) error { return Echo(ctx, guest.Namespace, neighbour.At(EchoPort)) }},
		{"udp echo over IPv6", func(ctx context.Context) error { return Echo(ctx, guest.Namespace, neighbour.At6(EchoPort)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.probe(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func sshBanner(ctx context.Context, from *Namespace, server netip.AddrPort) error {
	banner, err := SSH(ctx, from, server)
	if err == nil && banner != "SSH-2.0-Go" {
		return errors.New("unexpected banner " + banner)
	}
	return err
}
