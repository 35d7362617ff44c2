package datapath

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tapgate/internal/conntrack"
	"tapgate/internal/lab"
	"tapgate/internal/packet"
	"tapgate/internal/settings"
)

const onlyKnown = `<filter name="only-known">
  <rule action="drop" direction="inout" priority="100"><all state="INVALID"/></rule>
  <rule action="accept" direction="in" priority="200"><tcp dstportstart="7"/></rule>
  <rule action="accept" direction="out" priority="200"><udp/></rule>
</filter>`

func (l *live) connections(port string) (list []*Connection) {
	l.t.Helper()
	l.in(func() error {
		for c, err := range l.host.Connections(l.t.Context(), port) {
			if err != nil {
				return err
			}
			list = append(list, c)
		}
		return nil
	})
	return list
}

func (l *live) flush(port string, match func(*Connection) bool) (n int) {
	l.t.Helper()
	l.in(func() (err error) {
		n, err = l.host.Flush(l.t.Context(), port, match)
		return err
	})
	return n
}

// serveTCP hands each connection to a port of the guest to fn, and closes it
// then.
func serveTCP(l *live, port uint16, fn func(net.Conn)) {
	l.t.Helper()
	listener, err := l.Guest.Listen(l.Guest.At(port))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fn(conn)
			}()
		}
	}()
}

// serveTCPEcho sends back what comes to the guest's port 7.
func serveTCPEcho(l *live) {
	l.t.Helper()
	serveTCP(l, 7, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
}

// echoes tells whether the server answers on the connection.
func echoes(t *testing.T, conn net.Conn) bool {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("x")); err != nil {
		return false
	}
	_, err := conn.Read(make([]byte, 1))
	return err == nil
}

// pickUp are settings that let mid-stream packets open connections, or not.
func pickUp(on bool) settings.Values {
	value := "no"
	if on {
		value = "yes"
	}
	return settings.Values{{Name: "CTRL_TCP_PICK_UP", Value: value, From: settings.ByPort}}
}

// A real connection is listed with its rule, and flushed. What follows is picked
// up as a new connection, or is INVALID where only a SYN opens one.
func TestFlushedTCPConnection(t *testing.T) {
	for _, strict := range []bool{false, true} {
		l := newLive(t, Automatic)
		serveTCPEcho(l)
		port := l.Guest.Port
		l.in(func() error {
			_, err := l.host.Guard(t.Context(), port, resolve(t, onlyKnown), Meta{Settings: pickUp(!strict)})
			return err
		})
		conn, err := l.Neighbour.Dial(t.Context(), "tcp", l.Guest.At(7))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if !echoes(t, conn) {
			t.Fatal("no echo")
		}
		tcp := func() *Connection {
			var found *Connection
			for _, c := range l.connections(port) {
				if c.Proto == packet.ProtoTCP {
					found = c
				}
			}
			return found
		}
		before := tcp()
		if before == nil || before.TCP.State != conntrack.Established || before.Out || !before.Assured ||
			before.Responder() != l.Guest.At(7) || before.Originator().String() != conn.LocalAddr().String() ||
			before.Rule == nil || before.Rule.Origin.Pos.Line != 3 || before.Packets[0] < 3 || before.Bytes[1] < 100 ||
			before.Age > time.Minute || before.Timeout < 4*24*time.Hour {
			t.Fatalf("listed: %+v", before)
		}
		// The rule's name is the same after the port was bound again.
		l.guard(port, resolve(t, onlyKnown))
		l.in(func() error {
			_, err := l.host.Guard(t.Context(), port, resolve(t, onlyKnown), Meta{Settings: pickUp(!strict)})
			return err
		})
		if again := tcp(); again == nil || again.Created != before.Created || again.Rule == nil || again.Rule.Origin.Pos.Line != 3 {
			t.Errorf("bound again: %+v", again)
		}
		if n := l.flush(port, func(c *Connection) bool { return c.Proto == packet.ProtoTCP }); n != 1 {
			t.Errorf("%d connections flushed", n)
		}
		if c := tcp(); c != nil {
			t.Errorf("still listed: %s", &c.Connection)
		}
		invalid := l.stats(port).In.Invalid[packet.InvalidTCPOpening]
		if got := echoes(t, conn); got == strict {
			t.Errorf("strict %v: an echo %v", strict, got)
		}
		after := tcp()
		if strict {
			counted := l.stats(port).In.Invalid[packet.InvalidTCPOpening]
			if after != nil || counted == invalid {
				t.Errorf("strict: %+v, %d INVALID", after, counted)
			}
			l.guard(port, resolve(t, acceptAll))
			if carried := l.stats(port).In.Invalid[packet.InvalidTCPOpening]; carried < counted {
				t.Errorf("%d INVALID packets under the next policy, want %d", carried, counted)
			}
			continue
		}
		if after == nil || after.Created <= before.Created || after.TCP.State != conntrack.Established {
			t.Errorf("picked up: %+v", after)
		}
	}
}

// A connection whose packets never pause ends all the same: what is listed when
// the flush is done has been opened since it began.
func TestFlushUnderTraffic(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	l.guard(port, resolve(t, onlyKnown))
	frames, err := l.Guest.OpenFrames("eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer frames.Close()
	var sending sync.WaitGroup
	stop := make(chan struct{})
	defer sending.Wait()
	defer close(stop)
	sending.Go(func() {
		for frame := l.udp(53, "x"); ; {
			select {
			case <-stop:
				return
			default:
				_ = frames.Send(frame)
			}
		}
	})
	flushed := 0
	for range 10 {
		began := monotonic()
		flushed += l.flush(port, nil)
		for _, c := range l.connections(port) {
			if c.Created < began {
				t.Errorf("%s is %s old", &c.Connection, c.Age)
			}
		}
	}
	if flushed < 5 {
		t.Errorf("%d connections were flushed: there was no traffic", flushed)
	}
}

const ftpServer = `<filter name="ftp-server">
  <rule action="accept" direction="in" priority="100"><tcp dstportstart="21"/></rule>
  <rule action="accept" direction="inout" priority="100"><all state="RELATED,ESTABLISHED"/></rule>
  <rule action="drop" direction="inout" priority="900"><tcp/></rule>
</filter>`

// The data connections of a real client and server are listed with the control
// connection that announced them, active ones as opened by the guest.
func TestFTPConnectionsAreListed(t *testing.T) {
	l := newLive(t, Automatic)
	if err := l.ServeFTP(l.Guest); err != nil {
		t.Fatal(err)
	}
	port := l.Guest.Port
	l.guard(port, resolve(t, ftpServer))
	for mode, out := range map[lab.FTPMode]bool{lab.ActivePORT: true, lab.PassivePASV: false} {
		if err := lab.FTP(t.Context(), l.Neighbour.Namespace, l.Guest.At(lab.FTPPort), mode); err != nil {
			t.Fatal(err)
		}
		expected := 0
		for _, c := range l.connections(port) {
			if !c.Expected {
				continue
			}
			expected++
			if c.Out != out || c.Announced.By != conntrack.FTP || c.Control == nil || c.Control.Gone ||
				c.Control.Responder() != l.Guest.At(lab.FTPPort) || c.Rule == nil || c.Rule.Origin.Pos.Line != 3 {
				t.Errorf("%s: %s, out %v, announced by %+v, rule %+v", mode, &c.Connection, c.Out, c.Control, c.Rule)
			}
		}
		if expected != 1 {
			t.Errorf("%s: %d connections were expected", mode, expected)
		}
		l.flush(port, nil)
	}
}

// Connections that another version keeps in another form are not misread.
func TestConnectionsOfAnotherVersion(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	l.guard(port, resolve(t, onlyKnown))
	g := l.look(port).last()
	b := g.binding
	b.State = "state_of_another"
	pin := filepath.Join(g.dir, bindingPin)
	if err := errors.Join(os.Remove(pin), pinJSON(pin, bindingPin, b)); err != nil {
		t.Fatal(err)
	}
	l.in(func() error {
		var listed error
		for _, err := range l.host.Connections(t.Context(), port) {
			listed = errors.Join(listed, err)
		}
		if !errors.Is(listed, ErrOtherLayout) {
			t.Errorf("listed: %v", listed)
		}
		if _, err := l.host.Flush(t.Context(), port, nil); !errors.Is(err, ErrOtherLayout) {
			t.Errorf("flushed: %v", err)
		}
		return nil
	})
}

// Whoever may open the pins may look at the connections, but not end them.
func TestConnectionsWithoutRights(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	l.guard(port, resolve(t, onlyKnown))
	l.in(func() error {
		return withoutCapabilities(func() {
			var listed error
			for _, err := range l.host.Connections(t.Context(), port) {
				listed = errors.Join(listed, err)
			}
			if listed != nil {
				t.Errorf("listed: %v", listed)
			}
			if _, err := l.host.Flush(t.Context(), port, nil); !errors.Is(err, ErrNeedsRoot) {
				t.Errorf("flushed: %v", err)
			}
		})
	})
}
