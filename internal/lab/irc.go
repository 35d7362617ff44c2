package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
)

// IRCPort is where IRC servers wait by convention.
const IRCPort = 6667

// dccContent is what is sent by DCC.
const dccContent = "hello from one client to the other\n"

// ServeIRC starts a relay that knows what a file transfer between two clients needs of RFC 2812:
// NICK and PRIVMSG.
func (l *Lab) ServeIRC(guest *Guest) error {
	var mu sync.Mutex
	clients := map[string]*textproto.Conn{}
	return l.serveTCP(guest, IRCPort, func(_ context.Context, conn net.Conn) {
		own := textproto.NewConn(conn)
		for {
			line, err := own.ReadLine()
			if err != nil {
				return
			}
			command, argument, _ := strings.Cut(line, " ")
			name, _, _ := strings.Cut(argument, " ")
			mu.Lock()
			switch to := clients[name]; {
			case command == "NICK":
				clients[name] = own
				_ = own.PrintfLine(":lab 001 %s :Welcome", name)
			case command == "PRIVMSG" && to != nil:
				_ = to.PrintfLine(":lab %s", line)
			}
			mu.Unlock()
		}
	})
}

// IRCClient is a connection to an IRC server.
type IRCClient struct {
	from *Namespace
	name string
	conn net.Conn
	text *textproto.Conn
}

// DialIRC connects from the namespace under a name that must be no one else's.
func DialIRC(ctx context.Context, from *Namespace, server netip.AddrPort, name string) (*IRCClient, error) {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", server)
	if err != nil {
		return nil, fmt.Errorf("irc: connect to %s: %w", server, err)
	}
	defer bindToContext(ctx, conn.SetDeadline)()
	c := &IRCClient{from: from, name: name, conn: conn, text: textproto.NewConn(conn)}
	err = c.text.PrintfLine("NICK %s", name)
	if err == nil {
		_, err = c.text.ReadLine()
	}
	if err != nil {
		closeAll(conn)
		return nil, fmt.Errorf("irc: be %s at %s: %w", name, server, err)
	}
	return c, nil
}

// SendFile offers a file to the other client, which fetches it over a connection of its own (DCC
// SEND), and checks what it has got. Each time the sender listens at another port.
func (c *IRCClient) SendFile(ctx context.Context, to *IRCClient) error {
	if err := c.sendFile(ctx, to); err != nil {
		return fmt.Errorf("irc: send a file from %s to %s: %w", c.name, to.name, err)
	}
	return nil
}

func (c *IRCClient) sendFile(ctx context.Context, to *IRCClient) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	defer bindToContext(ctx, to.conn.SetDeadline)()
	listener, err := c.from.Listen(netip.AddrPortFrom(addressOf(c.conn.LocalAddr()), c.from.dataPorts.next()))
	if err != nil {
		return err
	}
	defer listener.Close()
	defer bindToContext(ctx, listener.SetDeadline)()

	at := listener.Addr().(*net.TCPAddr).AddrPort()
	ip := at.Addr().As4()
	if err := c.text.PrintfLine("PRIVMSG %s :\x01DCC SEND file %d %d %d\x01",
		to.name, binary.BigEndian.Uint32(ip[:]), at.Port(), len(dccContent)); err != nil {
		return err
	}
	offer, err := to.text.ReadLine()
	if err != nil {
		return err
	}
	if !strings.Contains(offer, "\x01DCC SEND ") {
		return fmt.Errorf("%w: %q", errUnexpected, offer)
	}
	var accepted sync.WaitGroup
	accepted.Go(func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = io.WriteString(conn, dccContent)
			closeAll(conn)
		}
	})
	defer accepted.Wait()
	data, err := to.from.Dial(ctx, "tcp", at)
	if err != nil {
		closeAll(listener)
		return err
	}
	defer data.Close()
	defer bindToContext(ctx, data.SetDeadline)()
	content, err := io.ReadAll(data)
	if err == nil && string(content) != dccContent {
		err = fmt.Errorf("%w: %d bytes", errUnexpected, len(content))
	}
	return err
}

// Close ends the connection.
func (c *IRCClient) Close() { closeAll(c.conn) }
