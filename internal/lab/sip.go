package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// SIPPort is where SIP's phones and servers wait, for TCP and for UDP (RFC 3261 section 19.1.2).
const SIPPort = 5060

// SIPCall calls from one guest to the other ("tcp", "udp"; over IPv6 if v6) and lets each send one
// datagram to the other's RTP and RTCP ports as told in the session descriptions (RFC 4566), from
// ports that nobody was told. Nothing is sent twice.
func SIPCall(ctx context.Context, from, to *Guest, network string, v6 bool) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	caller, callee := newPhone(from, v6), newPhone(to, v6)
	defer caller.close()
	defer callee.close()
	err := connectPhones(ctx, caller, callee, network)
	if err == nil {
		err = caller.call(ctx, callee)
	}
	if err != nil {
		return fmt.Errorf("sip: call by %s from %s to %s: %w", network, caller.own, callee.own, err)
	}
	return nil
}

// SIPCallback registers a port of a guest with another guest, by UDP, and is called there by the
// registrar from a port that nobody was told. Nothing is sent twice.
func SIPCallback(ctx context.Context, from, registrar *Guest, v6 bool) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	here, there := newPhone(from, v6), newPhone(registrar, v6)
	defer here.close()
	defer there.close()
	contact := netip.AddrPortFrom(here.own, from.dataPorts.next())
	err := connectPhones(ctx, here, there, "udp")
	if err == nil {
		err = here.register(there, contact)
	}
	if err != nil {
		return fmt.Errorf("sip: register %s with %s: %w", contact, there.own, err)
	}
	called, calling := newPhone(from, v6), newPhone(registrar, v6)
	defer called.close()
	defer calling.close()
	back := netip.AddrPortFrom(there.own, registrar.dataPorts.next())
	err = errors.Join(called.connect(ctx, contact, back), calling.connect(ctx, back, contact))
	if err == nil {
		err = calling.call(ctx, called)
	}
	if err != nil {
		return fmt.Errorf("sip: call back to %s from %s: %w", contact, back, err)
	}
	return nil
}

func (p *phone) register(with *phone, contact netip.AddrPort) error {
	sequence := fmt.Sprintf("CSeq: 1 REGISTER\r\nContact: <sip:%s>;expires=60", contact)
	if err := p.say(with, p.message("REGISTER sip:lab SIP/2.0", sequence, "")); err != nil {
		return err
	}
	return with.say(p, with.message("SIP/2.0 200 OK", sequence, ""))
}

// phone is one end of a call.
type phone struct {
	guest   *Guest
	own     netip.Addr
	conn    net.Conn
	reader  *bufio.Reader
	closers []func()
}

func newPhone(guest *Guest, v6 bool) *phone {
	if v6 {
		return &phone{guest: guest, own: guest.IPv6}
	}
	return &phone{guest: guest, own: guest.IPv4}
}

func (p *phone) close() {
	for _, stop := range p.closers {
		stop()
	}
}

// speak uses a connection for the signalling, until ctx ends.
func (p *phone) speak(ctx context.Context, conn net.Conn) {
	p.conn, p.reader = conn, bufio.NewReader(conn)
	p.closers = append(p.closers, bindToContext(ctx, conn.SetDeadline), func() { closeAll(conn) })
}

// connect speaks by UDP.
func (p *phone) connect(ctx context.Context, from, to netip.AddrPort) error {
	conn, err := p.guest.dial(ctx, &net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(from)}, "udp", to)
	if err == nil {
		p.speak(ctx, conn)
	}
	return err
}

func connectPhones(ctx context.Context, caller, callee *phone, network string) error {
	at, from := netip.AddrPortFrom(callee.own, SIPPort), netip.AddrPortFrom(caller.own, caller.guest.dataPorts.next())
	if network == "udp" {
		return errors.Join(callee.connect(ctx, at, from), caller.connect(ctx, from, at))
	}
	listener, err := callee.guest.Listen(at)
	if err != nil {
		return err
	}
	defer listener.Close()
	defer bindToContext(ctx, listener.SetDeadline)()
	conn, err := caller.guest.Dial(ctx, network, at)
	if err != nil {
		return err
	}
	caller.speak(ctx, conn)
	if conn, err = listener.Accept(); err != nil {
		return err
	}
	callee.speak(ctx, conn)
	return nil
}

func (p *phone) call(ctx context.Context, to *phone) error {
	rtp, err := p.listenMedia(ctx)
	if err != nil {
		return err
	}
	thatRTP, err := to.listenMedia(ctx)
	if err != nil {
		return err
	}
	const inviting, ending = "CSeq: 1 INVITE", "CSeq: 2 BYE"
	request := fmt.Sprintf("sip:%s SIP/2.0", hostPort(to.own, SIPPort))
	for _, say := range []struct {
		from, to *phone
		message  string
	}{
		{p, to, p.message("INVITE "+request, inviting, p.description(rtp))},
		{to, p, to.message("SIP/2.0 200 OK", inviting, to.description(thatRTP))},
		{p, to, p.message("ACK "+request, "CSeq: 1 ACK", "")},
	} {
		if err := say.from.say(say.to, say.message); err != nil {
			return err
		}
	}
	if err := p.talk(ctx, to, thatRTP); err != nil {
		return err
	}
	if err := to.talk(ctx, p, rtp); err != nil {
		return err
	}
	if err := p.say(to, p.message("BYE "+request, ending, "")); err != nil {
		return err
	}
	return to.say(p, to.message("SIP/2.0 200 OK", ending, ""))
}

// say sends a message and waits for it at the other end.
func (p *phone) say(to *phone, message string) error {
	if _, err := p.conn.Write([]byte(message)); err != nil {
		return err
	}
	line, _, _ := strings.Cut(message, "\r\n")
	for got := 0; got < len(message); { // a stream may come in pieces
		n, err := to.reader.Read(make([]byte, len(message)-got))
		if err != nil {
			return fmt.Errorf("wait for %q: %w", line, err)
		}
		got += n
	}
	return nil
}

func (p *phone) message(start, sequence, body string) string {
	lines := []string{
		start, "Via: SIP/2.0/UDP " + hostPort(p.own, SIPPort) + ";branch=z9hG4bK77", "From: <sip:a@lab>;tag=1", "To: <sip:b@lab>",
		"Call-ID: call@lab", sequence,
		fmt.Sprintf("Content-Length: %d", len(body)), "", body,
	}
	return strings.Join(lines, "\r\n")
}

func (p *phone) description(m *media) string {
	version := "IP4"
	if p.own.Is6() {
		version = "IP6"
	}
	return strings.Join([]string{
		"v=0", fmt.Sprintf("o=- 1 1 IN %s %s", version, p.own), "s=-", fmt.Sprintf("c=IN %s %s", version, p.own), "t=0 0",
		fmt.Sprintf("m=audio %d RTP/AVP 0", m.port), "",
	}, "\r\n")
}

// media are the two sockets of a stream. RTP's port is even, RTCP's the next (RFC 3550 section 11).
type media struct {
	port      uint16
	rtp, rtcp *net.UDPConn
}

func (p *phone) listenMedia(ctx context.Context) (*media, error) {
	m := &media{port: p.guest.dataPorts.next()}
	if m.port%2 == 1 {
		m.port = p.guest.dataPorts.next()
	}
	p.guest.dataPorts.next() // RTCP's
	for i, conn := range []**net.UDPConn{&m.rtp, &m.rtcp} {
		opened, err := p.guest.ListenUDP(netip.AddrPortFrom(p.own, m.port+uint16(i)))
		if err != nil {
			return nil, err
		}
		*conn = opened
		p.closers = append(p.closers, bindToContext(ctx, opened.SetDeadline), func() { closeAll(opened) })
	}
	return m, nil
}

// talk sends a datagram to each of the other end's ports and waits for it there.
func (p *phone) talk(ctx context.Context, to *phone, there *media) error {
	for i, at := range []*net.UDPConn{there.rtp, there.rtcp} {
		conn, err := p.guest.Dial(ctx, "udp", netip.AddrPortFrom(to.own, there.port+uint16(i)))
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("a sound")); err != nil {
			return err
		}
		if _, _, err := at.ReadFromUDPAddrPort(make([]byte, 64)); err != nil {
			return fmt.Errorf("wait for %s: %w", []string{"RTP", "RTCP"}[i], err)
		}
	}
	return nil
}

func hostPort(addr netip.Addr, port uint16) string { return netip.AddrPortFrom(addr, port).String() }
