package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// AmandaPort is where Amanda's clients, the machines that are backed up, wait for requests.
const AmandaPort = 10080

// amandaStreams are the connections that a backup takes.
var amandaStreams = []string{"DATA", "MESG", "INDEX"}

// ServeAmanda starts what an Amanda client does when it is asked for a backup: it tells the ports
// at which it waits for the server's connections, and greets on each with the stream's name.
func (l *Lab) ServeAmanda(guest *Guest) error {
	for _, at := range guest.addresses(AmandaPort) {
		requests, err := guest.ListenUDP(at)
		if err != nil {
			return fmt.Errorf("listen on %s in %s: %w", at, guest.name, err)
		}
		answer := func() {
			for {
				_, server, err := requests.ReadFromUDPAddrPort(make([]byte, 1500))
				if err != nil {
					return
				}
				connect, err := l.offerStreams(guest, at.Addr())
				if err != nil {
					return
				}
				reply := "Amanda 2.6 REP HANDLE 000-00000000 SEQ 0\n" + connect + "\nOPTIONS features=ff;\n"
				_, _ = requests.WriteToUDPAddrPort([]byte(reply), server)
			}
		}
		if err := l.serve(answer, func() { closeAll(requests) }); err != nil {
			return err
		}
	}
	return nil
}

// offerStreams listens at a port for each stream and gives the line that tells them.
func (l *Lab) offerStreams(guest *Guest, own netip.Addr) (string, error) {
	connect := "CONNECT"
	for _, stream := range amandaStreams {
		listener, err := guest.Listen(netip.AddrPortFrom(own, guest.dataPorts.next()))
		if err != nil {
			return "", err
		}
		greet := func() {
			if conn, err := listener.Accept(); err == nil {
				_, _ = io.WriteString(conn, stream)
				closeAll(conn)
			}
		}
		if err := l.serve(greet, sync.OnceFunc(func() { closeAll(listener) })); err != nil {
			return "", err
		}
		connect += fmt.Sprintf(" %s %d", stream, listener.Addr().(*net.TCPAddr).Port)
	}
	return connect, nil
}

// Amanda asks a client for a backup from the namespace of its server, once, and opens the
// connections that it is told of.
func Amanda(ctx context.Context, from *Namespace, client netip.AddrPort) error {
	if err := backUp(ctx, from, client); err != nil {
		return fmt.Errorf("amanda: back up %s: %w", client, err)
	}
	return nil
}

func backUp(ctx context.Context, from *Namespace, client netip.AddrPort) error {
	conn, done, err := from.probe(ctx, "udp", client)
	if err != nil {
		return err
	}
	defer done()
	if _, err := io.WriteString(conn, "Amanda 2.6 REQ HANDLE 000-00000000 SEQ 0\nSERVICE sendbackup\n"); err != nil {
		return err
	}
	buffer := make([]byte, 1500)
	n, err := conn.Read(buffer)
	if err != nil {
		return err
	}
	_, told, _ := strings.Cut(string(buffer[:n]), "\nCONNECT ")
	var ports [3]uint16
	if _, err := fmt.Sscanf(told, "DATA %d MESG %d INDEX %d\n", &ports[0], &ports[1], &ports[2]); err != nil {
		return fmt.Errorf("%w: %q: %w", errUnexpected, told, err)
	}
	for i, port := range ports {
		if err := openStream(ctx, from, netip.AddrPortFrom(client.Addr(), port), amandaStreams[i]); err != nil {
			return fmt.Errorf("stream %s: %w", amandaStreams[i], err)
		}
	}
	return nil
}

func openStream(ctx context.Context, from *Namespace, at netip.AddrPort, name string) error {
	conn, done, err := from.probe(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer done()
	greeting, err := io.ReadAll(conn)
	if err == nil && string(greeting) != name {
		err = fmt.Errorf("%w: %q", errUnexpected, greeting)
	}
	return err
}
