package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// FTPFile is the file that every lab FTP server has.
	FTPFile = "hello.txt"
	// FTPContent is what is in it.
	FTPContent = "hello from the lab's ftp server\n"
	// ftpDataPort is where the data connections of active mode come from (RFC 959 section 3.2).
	ftpDataPort = 20
)

// ServeFTP starts an FTP server (RFC 959, RFC 2428) that knows active mode by PORT and EPRT, with
// data connections from source port 20, and passive mode by PASV and EPSV.
//
// It is written out here because the FTP libraries for Go open their data connections from
// goroutines and dialers of their own, which are not in the guest's namespace.
func (l *Lab) ServeFTP(guest *Guest) error {
	return l.serveTCP(guest, FTPPort, func(ctx context.Context, conn net.Conn) {
		session := &ftpSession{guest: guest, control: textproto.NewConn(conn), conn: conn}
		defer session.forgetPassive()
		session.serve(ctx)
	})
}

// ftpSession is one control connection, seen from the server.
type ftpSession struct {
	guest   *Guest
	conn    net.Conn
	control *textproto.Conn
	// active is where the client wants to be called, passive where the server waits for it.
	active  netip.AddrPort
	passive *net.TCPListener
}

func (s *ftpSession) serve(ctx context.Context) {
	s.reply(220, "lab FTP server")
	for {
		line, err := s.control.ReadLine()
		if err != nil {
			return
		}
		command, argument, _ := strings.Cut(line, " ")
		switch strings.ToUpper(command) {
		case "USER":
			s.reply(331, "any password will do")
		case "PASS":
			s.reply(230, "logged in")
		case "SYST":
			s.reply(215, "UNIX Type: L8")
		case "FEAT":
			s.reply(211, "no features")
		case "TYPE", "MODE", "STRU", "NOOP", "OPTS":
			s.reply(200, "fine")
		case "PWD":
			s.reply(257, `"/" is the current directory`)
		case "PORT":
			s.goActive(parsePORT(argument))
		case "EPRT":
			s.goActive(parseEPRT(argument))
		case "PASV", "EPSV":
			s.goPassive(strings.ToUpper(command))
		case "RETR":
			s.retrieve(ctx, argument)
		case "QUIT":
			s.reply(221, "goodbye")
			return
		default:
			s.reply(502, "not implemented here")
		}
	}
}

func (s *ftpSession) reply(code int, text string) {
	_ = s.control.PrintfLine("%d %s", code, text)
}

func (s *ftpSession) goActive(client netip.AddrPort, err error) {
	switch {
	case err != nil:
		s.reply(501, err.Error())
	case client.Addr() != addressOf(s.conn.RemoteAddr()):
		s.reply(504, "data connections go to the client only") // or anybody could be called (RFC 2577)
	default:
		s.forgetPassive()
		s.active = client
		s.reply(200, "data connection will be made")
	}
}

func (s *ftpSession) goPassive(command string) {
	s.forgetPassive()
	own := addressOf(s.conn.LocalAddr())
	listener, err := s.guest.Listen(netip.AddrPortFrom(own, 0))
	if err != nil {
		s.reply(425, err.Error())
		return
	}
	s.passive = listener
	port := listener.Addr().(*net.TCPAddr).Port
	switch {
	case command == "EPSV":
		s.reply(229, fmt.Sprintf("entering extended passive mode (|||%d|)", port))
	case own.Is4():
		s.reply(227, "entering passive mode ("+formatPORT(netip.AddrPortFrom(own, uint16(port)))+")")
	default:
		s.reply(425, "use EPSV")
	}
}

func (s *ftpSession) forgetPassive() {
	s.active = netip.AddrPort{}
	if s.passive != nil {
		closeAll(s.passive)
		s.passive = nil
	}
}

func (s *ftpSession) retrieve(ctx context.Context, name string) {
	if strings.TrimPrefix(name, "/") != FTPFile {
		s.reply(550, "no such file")
		return
	}
	data, err := s.openData(ctx)
	if err != nil {
		s.reply(425, err.Error())
		return
	}
	s.reply(150, "here it comes")
	_, err = data.Write([]byte(FTPContent))
	closeAll(data) // before the reply: closing is what marks the end of the file
	if err != nil {
		s.reply(426, err.Error())
		return
	}
	s.reply(226, "that was it")
}

// openData makes the connection that the client has asked for last.
func (s *ftpSession) openData(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	defer s.forgetPassive()
	switch {
	case s.passive != nil:
		defer bindToContext(ctx, s.passive.SetDeadline)()
		return s.passive.Accept()
	case s.active.IsValid():
		own := netip.AddrPortFrom(addressOf(s.conn.LocalAddr()), ftpDataPort)
		dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(own), Control: reuseAddress}
		return s.guest.dial(ctx, dialer, "tcp", s.active)
	default:
		return nil, fmt.Errorf("say PORT, EPRT, PASV or EPSV first")
	}
}

// reuseAddress lets several data connections come from the same source port.
func reuseAddress(_, _ string, socket syscall.RawConn) error {
	var err error
	controlErr := socket.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	})
	if controlErr != nil {
		return controlErr
	}
	return err
}

// formatPORT writes an address as h1,h2,h3,h4,p1,p2 (RFC 959 section 4.1.2).
func formatPORT(at netip.AddrPort) string {
	a, p := at.Addr().As4(), at.Port()
	return fmt.Sprintf("%d,%d,%d,%d,%d,%d", a[0], a[1], a[2], a[3], p>>8, p&0xff)
}

func parsePORT(argument string) (netip.AddrPort, error) {
	var b [6]byte
	fields := strings.Split(argument, ",")
	if len(fields) != len(b) {
		return netip.AddrPort{}, fmt.Errorf("PORT needs six numbers")
	}
	for i, field := range fields {
		n, err := strconv.ParseUint(field, 10, 8)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("PORT: %q is no byte", field)
		}
		b[i] = byte(n)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), uint16(b[4])<<8|uint16(b[5])), nil
}

// formatEPRT writes an address as |family|address|port| (RFC 2428 section 2).
func formatEPRT(at netip.AddrPort) string {
	family := 1
	if at.Addr().Is6() {
		family = 2
	}
	return fmt.Sprintf("|%d|%s|%d|", family, at.Addr(), at.Port())
}

// parseEPRT takes the family from the address itself.
func parseEPRT(argument string) (netip.AddrPort, error) {
	if argument == "" {
		return netip.AddrPort{}, fmt.Errorf("EPRT needs |family|address|port|")
	}
	fields := strings.Split(argument, argument[:1])
	if len(fields) != 5 {
		return netip.AddrPort{}, fmt.Errorf("EPRT needs |family|address|port|")
	}
	addr, err := netip.ParseAddr(fields[2])
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("EPRT: %q is no address", fields[2])
	}
	port, err := strconv.ParseUint(fields[3], 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("EPRT: %q is no port", fields[3])
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

// addressOf is the IP address of a TCP connection's end.
func addressOf(end net.Addr) netip.Addr {
	return end.(*net.TCPAddr).AddrPort().Addr().Unmap()
}
