package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// ServeEcho starts a server that sends UDP datagrams back.
func (l *Lab) ServeEcho(guest *Guest, port uint16) error {
	for _, at := range guest.addresses(port) {
		conn, err := guest.ListenUDP(at)
		if err != nil {
			return fmt.Errorf("listen on %s in %s: %w", at, guest.name, err)
		}
		echo := func() {
			buffer := make([]byte, 1<<16)
			for {
				n, peer, err := conn.ReadFromUDPAddrPort(buffer)
				if err != nil {
					return
				}
				_, _ = conn.WriteToUDPAddrPort(buffer[:n], peer)
			}
		}
		if err := l.serve(echo, func() { closeAll(conn) }); err != nil {
			return err
		}
	}
	return nil
}

// ServeTCPEcho starts a server that sends back what comes in a TCP connection.
func (l *Lab) ServeTCPEcho(guest *Guest, port uint16) error {
	return l.serveTCP(guest, port, func(_ context.Context, conn net.Conn) {
		_, _ = io.Copy(conn, conn)
	})
}

// EchoTCP sends a few bytes in a TCP connection to an echo server and waits for them to come back.
func EchoTCP(ctx context.Context, conn net.Conn) error {
	defer bindToContext(ctx, conn.SetDeadline)()
	sent := []byte("echo")
	if _, err := conn.Write(sent); err != nil {
		return fmt.Errorf("tcp to %s: %w", conn.RemoteAddr(), err)
	}
	received := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, received); err != nil {
		return fmt.Errorf("tcp to %s: %w", conn.RemoteAddr(), err)
	}
	if !bytes.Equal(received, sent) {
		return fmt.Errorf("tcp to %s: %w", conn.RemoteAddr(), errUnexpected)
	}
	return nil
}

// Echo sends one UDP datagram from the namespace and waits for it to come back.
func Echo(ctx context.Context, from *Namespace, server netip.AddrPort) error {
	conn, closeConn, err := from.probe(ctx, "udp", server)
	if err != nil {
		return fmt.Errorf("udp: %w", err)
	}
	defer closeConn()
	sent := []byte("echo")
	if _, err := conn.Write(sent); err != nil {
		return fmt.Errorf("udp to %s: %w", server, err)
	}
	received := make([]byte, len(sent)+1)
	n, err := conn.Read(received)
	if err != nil {
		return fmt.Errorf("udp to %s: %w", server, err)
	}
	if !bytes.Equal(received[:n], sent) {
		return fmt.Errorf("udp to %s: %w", server, errUnexpected)
	}
	return nil
}
