package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// L4 ports of the standard servers.
const (
	FTPPort   = 21
	SSHPort   = 22
	HTTPPort  = 80
	HTTPSPort = 443 // plain HTTP too: what counts is the port
	DNSPort   = 53
	EchoPort  = 9999
	// ClosedPort has no server: a TCP connection to it is refused by the guest itself.
	ClosedPort = 81
)

// StartServers starts the standard servers: FTP, SSH and HTTP in the guest, DNS and a UDP echo at
// the neighbour, each on IPv4 and IPv6. They end with the lab.
func (l *Lab) StartServers() error {
	for _, serve := range []func() error{
		func() error { return l.ServeFTP(l.Guest) },
		func() error { return l.ServeSSH(l.Guest) },
		func() error { return l.ServeHTTP(l.Guest, HTTPPort) },
		func() error { return l.ServeHTTP(l.Guest, HTTPSPort) },
		func() error { return l.ServeDNS(l.Neighbour) },
		func() error { return l.ServeEcho(l.Neighbour, EchoPort) },
	} {
		if err := serve(); err != nil {
			return err
		}
	}
	return nil
}

// addresses are where a server of the guest listens.
func (g *Guest) addresses(port uint16) []netip.AddrPort {
	var all []netip.AddrPort
	for _, addr := range []netip.Addr{g.IPv4, g.IPv6} {
		if addr.IsValid() {
			all = append(all, netip.AddrPortFrom(addr, port))
		}
	}
	return all
}

// serve runs a server until the lab ends. stop is called once, when the lab ends or run has
// returned, and makes run return. Close waits for both. In a closed lab the server ends at once.
func (l *Lab) serve(run, stop func()) error {
	serve := func() {
		ended := make(chan struct{})
		var stopper sync.WaitGroup
		stopper.Go(func() {
			select {
			case <-l.ctx.Done():
			case <-ended:
			}
			stop()
		})
		run()
		close(ended)
		stopper.Wait()
	}
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.servers.Go(serve)
	}
	l.mu.Unlock()
	if closed {
		serve()
		return errClosed
	}
	return nil
}

// serveTCP accepts connections on every address of the guest. Each is handled in a goroutine of
// its own and closed when handle returns or the lab ends.
func (l *Lab) serveTCP(guest *Guest, port uint16, handle func(context.Context, net.Conn)) error {
	for _, at := range guest.addresses(port) {
		listener, err := guest.Listen(at)
		if err != nil {
			return fmt.Errorf("listen on %s in %s: %w", at, guest.name, err)
		}
		accept := func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				if l.serve(func() { handle(l.ctx, conn) }, func() { closeAll(conn) }) != nil {
					return
				}
			}
		}
		if err := l.serve(accept, func() { closeAll(listener) }); err != nil {
			return err
		}
	}
	return nil
}

// closeAll closes what nobody reads from any more, so that errors mean nothing.
func closeAll(closers ...io.Closer) {
	for _, c := range closers {
		_ = c.Close()
	}
}
