package datapath

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"tapgate/nwfilter"
)

// talk is an open TCP connection from the neighbour to the guest.
type talk struct {
	t             *testing.T
	client, guest net.Conn
}

func (l *live) talk(t *testing.T, port uint16) talk {
	t.Helper()
	listener, err := l.Guest.Listen(l.Guest.At(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	client, err := l.Neighbour.Dial(ctx, "tcp", l.Guest.At(port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	guest, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guest.Close() })
	return talk{t, client, guest}
}

func (k talk) say(from net.Conn, text string) {
	k.t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		k.t.Fatal(err)
	}
}

// hears wants a text, which may have to be sent again first.
func (k talk) hears(to net.Conn, text string) {
	k.t.Helper()
	got := make([]byte, len(text))
	_ = to.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		k.t.Fatalf("heard %q (%v), want %q", got, err, text)
	}
}

// hearsNothing waits a while, in which TCP sends everything again.
func (k talk) hearsNothing(to net.Conn) {
	k.t.Helper()
	got := make([]byte, 1)
	_ = to.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := to.Read(got); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		k.t.Errorf("heard %q (%v), want nothing", got[:n], err)
	}
}

// A rule that is gone admits nothing more, not even for the connections that
// it admitted before. They are remembered: with the rule back, they go on.
// Without pick-up, only a connection that is known does.
func TestARemovedRuleCutsLiveConnections(t *testing.T) {
	l := newLive(t, Automatic)
	port := l.Guest.Port
	strict := nwfilter.Parameter{Name: "CTRL_TCP_PICK_UP", Value: "no"}
	l.guardWith(port, resolve(t, served), strict)
	k := l.talk(t, 22)
	k.say(k.client, "question")
	k.hears(k.guest, "question")
	k.say(k.guest, "answer")
	k.hears(k.client, "answer")

	l.guardWith(port, resolve(t, servedNoMore), strict)
	dropped := l.stats(port).In.Dropped.Packets
	k.say(k.client, "unheard question")
	k.hearsNothing(k.guest)
	if now := l.stats(port).In.Dropped.Packets; now <= dropped {
		t.Error("nothing was dropped")
	}

	l.guardWith(port, resolve(t, served), strict)
	k.hears(k.guest, "unheard question")
	k.say(k.guest, "late answer")
	k.hears(k.client, "late answer")
	if s := l.stats(port); s.Connections != 1 || s.Opened != 1 {
		t.Errorf("%d connections, %d opened: it must be the one of before", s.Connections, s.Opened)
	}
}

// The same policy, bound again and again under traffic, loses nothing: each
// datagram is answered before the next is sent, so that one that is lost is
// missed.
func TestNothingIsLostWhileAPolicyIsBoundAgain(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			if err := l.ServeEcho(l.Neighbour, 53); err != nil {
				t.Fatal(err)
			}
			p := resolve(t, replies)
			l.guard(l.Guest.Port, p)
			conn, err := l.Guest.Dial(t.Context(), "udp", l.Neighbour.At(53))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, stop := context.WithCancel(t.Context())
			answered := make(chan error, 1)
			rounds := uint64(0)
			go func() {
				for ctx.Err() == nil {
					if err := roundTrip(conn, rounds); err != nil {
						answered <- err
						return
					}
					rounds++
				}
				answered <- nil
			}()
			const swaps = 20
			for range swaps {
				l.guard(l.Guest.Port, p)
			}
			stop()
			if err := <-answered; err != nil {
				t.Error(err)
			}
			s := l.stats(l.Guest.Port)
			if s.Opened != 1 || s.Out.Dropped.Packets+s.In.Dropped.Packets > 0 {
				t.Errorf("%d connections opened, %d and %d packets dropped", s.Opened, s.Out.Dropped.Packets, s.In.Dropped.Packets)
			}
			if rounds < swaps {
				t.Errorf("only %d datagrams during %d swaps", rounds, swaps)
			}
			t.Logf("%d datagrams and answers during %d swaps", rounds, swaps)
		})
	}
}

// roundTrip sends a number and waits for it to come back.
func roundTrip(conn net.Conn, number uint64) error {
	sent := binary.BigEndian.AppendUint64(nil, number)
	if _, err := conn.Write(sent); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 16)
	n, err := conn.Read(got)
	if err == nil && !bytes.Equal(got[:n], sent) {
		err = errors.New("another answer came")
	}
	if err != nil {
		return fmt.Errorf("datagram %d: %w", number, err)
	}
	return nil
}
