package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ProbeTimeout is how long a probe waits at most; its context may end it earlier. An answer takes
// less than a millisecond here.
const ProbeTimeout = time.Second

var errUnexpected = errors.New("unexpected answer")

// NoAnswer reports whether a probe failed because nothing came back, as when packets are dropped. A
// host that is unreachable counts as such: it is what the kernel says when nobody answers ARP or
// neighbour discovery for three seconds, which may be those of the probe before.
func NoAnswer(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, unix.EHOSTUNREACH)
}

// Refused reports whether a probe failed because of an answer that said no: a TCP reset, an ICMP
// error about the port or one about what the administrator has prohibited (in IPv6).
func Refused(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EACCES)
}

// Dial connects from the namespace to an address ("tcp", "udp"). The connection attempt ends with
// ctx, the connection does not.
func (ns *Namespace) Dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	return ns.dial(ctx, &net.Dialer{}, network, to)
}

func (ns *Namespace) dial(ctx context.Context, dialer *net.Dialer, network string, to netip.AddrPort) (net.Conn, error) {
	// The address is no name, so Go makes the socket in this goroutine.
	var conn net.Conn
	err := ns.Do(func() error {
		var err error
		conn, err = dialer.DialContext(ctx, network, to.String())
		return err
	})
	return conn, err
}

// Listen opens a TCP listener in the namespace.
func (ns *Namespace) Listen(at netip.AddrPort) (*net.TCPListener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	var listener net.Listener
	err := ns.Do(func() error {
		var err error
		listener, err = config.Listen(context.Background(), "tcp", at.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return listener.(*net.TCPListener), nil
}

// ListenUDP opens a UDP socket in the namespace.
func (ns *Namespace) ListenUDP(at netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := ns.Do(func() error {
		var err error
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	return conn, err
}

// probe gives a connection that is useless once the probe's time is over or ctx has ended. The
// function returned closes it.
func (ns *Namespace) probe(ctx context.Context, network string, to netip.AddrPort) (net.Conn, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	conn, err := ns.Dial(ctx, network, to)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	release := bindToContext(ctx, conn.SetDeadline)
	return conn, func() {
		release()
		cancel()
		_ = conn.Close()
	}, nil
}

// bindToContext makes reads and writes time out when ctx ends, until release is called.
func bindToContext(ctx context.Context, setDeadline func(time.Time) error) (release func()) {
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = setDeadline(time.Unix(1, 0))
		close(fired)
	})
	return func() {
		if !stop() {
			<-fired
			_ = setDeadline(time.Time{})
		}
	}
}

// portSequence gives out L4 ports one after the other, below those that the kernel picks (32768 and
// up in a new namespace). A port that the kernel picks comes back by chance after some dozen times,
// and then the connection to it meets the TIME_WAIT of the one before.
type portSequence struct{ used atomic.Uint32 }

func (s *portSequence) next() uint16 {
	const first, count = 20000, 10000
	return uint16(first + (s.used.Add(1)-1)%count)
}
