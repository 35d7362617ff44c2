package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"

	"github.com/jlaffaye/ftp"
)

// FTPMode says how the data connection of an FTP transfer is arranged.
type FTPMode string

const (
	ActivePORT  FTPMode = "PORT"
	ActiveEPRT  FTPMode = "EPRT"
	PassivePASV FTPMode = "PASV"
	PassiveEPSV FTPMode = "EPSV"
)

// FTP logs in from the namespace, retrieves FTPFile once and checks what came.
func FTP(ctx context.Context, from *Namespace, server netip.AddrPort, mode FTPMode) error {
	if mode == PassivePASV || mode == PassiveEPSV {
		return ftpPassive(ctx, from, server, mode)
	}
	client, err := DialFTP(ctx, from, server)
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Retrieve(ctx, mode)
}

func ftpPassive(ctx context.Context, from *Namespace, server netip.AddrPort, mode FTPMode) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	var releases []func()
	dial := func(network, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		conn, err := from.Dial(ctx, network, to)
		if err == nil {
			releases = append(releases, bindToContext(ctx, conn.SetDeadline))
		}
		return conn, err
	}
	defer func() {
		for _, release := range releases {
			release()
		}
	}()
	client, err := ftp.Dial(server.String(), ftp.DialWithDialFunc(dial), ftp.DialWithDisabledEPSV(mode == PassivePASV))
	if err != nil {
		return fmt.Errorf("ftp: connect to %s: %w", server, err)
	}
	defer client.Quit()
	if err := client.Login("anonymous", "anybody"); err != nil {
		return fmt.Errorf("ftp: log in to %s: %w", server, err)
	}
	file, err := client.Retr(FTPFile)
	if err != nil {
		return fmt.Errorf("ftp: retrieve by %s from %s: %w", mode, server, err)
	}
	content, err := io.ReadAll(file)
	closeAll(file) // reads the server's last reply
	return checkFTPContent(content, err, mode, server)
}

// FTPClient is an FTP control connection for active mode, written out here because no maintained
// FTP client for Go has it.
type FTPClient struct {
	from    *Namespace
	server  netip.AddrPort
	conn    net.Conn
	control *textproto.Conn
}

// DialFTP connects from the namespace and logs in.
func DialFTP(ctx context.Context, from *Namespace, server netip.AddrPort) (*FTPClient, error) {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", server)
	if err != nil {
		return nil, fmt.Errorf("ftp: connect to %s: %w", server, err)
	}
	defer bindToContext(ctx, conn.SetDeadline)()
	c := &FTPClient{from: from, server: server, conn: conn, control: textproto.NewConn(conn)}
	if err := c.login(); err != nil {
		closeAll(conn)
		return nil, fmt.Errorf("ftp: log in to %s: %w", server, err)
	}
	return c, nil
}

func (c *FTPClient) login() error {
	if _, _, err := c.control.ReadResponse(220); err != nil {
		return err
	}
	for _, step := range []struct {
		code    int
		command string
	}{{331, "USER anonymous"}, {230, "PASS anybody"}, {200, "TYPE I"}} {
		if err := c.command(step.code, step.command); err != nil {
			return err
		}
	}
	return nil
}

// command sends one command and wants one reply.
func (c *FTPClient) command(code int, command string) error {
	if err := c.control.PrintfLine("%s", command); err != nil {
		return err
	}
	_, _, err := c.control.ReadResponse(code)
	return err
}

// Retrieve fetches FTPFile by ActivePORT or ActiveEPRT and checks what came. It can be called again
// and again, each time with a data port of its own, until it fails.
func (c *FTPClient) Retrieve(ctx context.Context, mode FTPMode) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	defer bindToContext(ctx, c.conn.SetDeadline)()

	listener, err := c.listen()
	if err != nil {
		return fmt.Errorf("ftp: listen for the data connection: %w", err)
	}
	defer listener.Close()
	defer bindToContext(ctx, listener.SetDeadline)()

	at := listener.Addr().(*net.TCPAddr).AddrPort()
	announce := "EPRT " + formatEPRT(at)
	if mode == ActivePORT {
		announce = "PORT " + formatPORT(at)
	}
	if err := c.command(200, announce); err != nil {
		return fmt.Errorf("ftp: %s to %s: %w", announce, c.server, err)
	}
	content, err := c.transfer(ctx, listener)
	return checkFTPContent(content, err, mode, c.server)
}

func (c *FTPClient) transfer(ctx context.Context, listener *net.TCPListener) ([]byte, error) {
	if err := c.control.PrintfLine("RETR %s", FTPFile); err != nil {
		return nil, err
	}
	data, err := listener.Accept()
	if err != nil {
		return nil, fmt.Errorf("wait for the data connection: %w", err)
	}
	defer data.Close()
	defer bindToContext(ctx, data.SetDeadline)()
	content, err := io.ReadAll(data)
	if err != nil {
		return nil, err
	}
	for _, code := range []int{150, 226} {
		if _, _, err := c.control.ReadResponse(code); err != nil {
			return nil, err
		}
	}
	return content, nil
}

// listen waits where the client has not waited lately.
func (c *FTPClient) listen() (*net.TCPListener, error) {
	own := addressOf(c.conn.LocalAddr())
	return c.from.Listen(netip.AddrPortFrom(own, c.from.dataPorts.next()))
}

// Close ends the control connection.
func (c *FTPClient) Close() {
	_ = c.control.PrintfLine("QUIT")
	closeAll(c.conn)
}

func checkFTPContent(content []byte, err error, mode FTPMode, server netip.AddrPort) error {
	if err != nil {
		return fmt.Errorf("ftp: retrieve by %s from %s: %w", mode, server, err)
	}
	if string(content) != FTPContent {
		return fmt.Errorf("ftp: retrieve by %s from %s: %w: %d bytes", mode, server, errUnexpected, len(content))
	}
	return nil
}
