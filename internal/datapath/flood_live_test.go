package datapath

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
)

// floodable lets a web server be reached, and the guest send datagrams and
// pings; every connection is tracked.
const floodable = `<filter name="floodable">
  <rule action="accept" direction="in"><tcp dstportstart="80"/></rule>
  <rule action="accept" direction="out"><udp/></rule>
  <rule action="accept" direction="out"><icmp/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`

// floodRate is the number of frames a second that a flood tries to send.
const floodRate = 110_000

// spoofed is where floods seem to come from, or go to.
var spoofed = netip.MustParsePrefix("198.18.0.0/15")

// flooded is a guest with a server whose port is flooded, and its twin in
// another network: a port with the same addresses, and the same peer, on the
// same host.
type flooded struct {
	*live
	attacker *lab.Guest
	other    *lab.Lab
	twin     *lab.Guest
}

func newFlooded(t *testing.T, filter string) *flooded {
	t.Helper()
	f := &flooded{live: newLive(t, Automatic)}
	var err error
	f.attacker, err = f.AddGuest(t.Context(), lab.GuestConfig{
		Name: "attacker", MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x66}, IPv4: netip.MustParsePrefix("10.77.0.66/24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.route(f.Guest, f.attacker.IPv4)
	if f.other, err = lab.New(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.other.Close)
	port, err := f.other.Host.Links().LinkByName(f.other.Guest.Port)
	if err == nil {
		err = f.other.Host.Links().LinkSetNoMaster(port)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.twin, err = f.other.AddGuest(t.Context(), lab.GuestConfig{
		Name: "twin", MAC: f.Guest.MAC, IPv4: netip.PrefixFrom(f.Guest.IPv4, 24),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.guard(f.Guest.Port, resolve(t, filter))
	f.inOther(func() error {
		_, err := f.host.Guard(t.Context(), f.twin.Port, resolve(t, filter), Meta{BoundAt: time.Unix(1, 0)})
		return err
	})
	echo(t, f.Guest)
	echo(t, f.twin)
	return f
}

func (f *flooded) inOther(fn func() error) {
	f.t.Helper()
	if err := f.other.Host.Do(fn); err != nil {
		f.t.Fatal(err)
	}
}

// route sends what goes to the spoofed addresses to a gateway.
func (f *flooded) route(guest *lab.Guest, gateway netip.Addr) {
	f.t.Helper()
	err := guest.Links().RouteAdd(&netlink.Route{
		Dst: &net.IPNet{IP: spoofed.Addr().AsSlice(), Mask: net.CIDRMask(spoofed.Bits(), 32)},
		Gw:  gateway.AsSlice(),
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// echo serves TCP port 80 of a guest.
func echo(t *testing.T, guest *lab.Guest) {
	t.Helper()
	listener, err := guest.Listen(guest.At(80))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
}

// ping sends a few bytes and waits for them to come back.
func ping(conn net.Conn) error {
	sent, got := []byte("echo"), make([]byte, 4)
	if err := conn.SetDeadline(time.Now().Add(4 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(sent); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return fmt.Errorf("%q came back", got)
	}
	return nil
}

// connect opens a connection and uses it.
func connect(ctx context.Context, from, to *lab.Guest) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", to.At(80))
	if err != nil {
		return nil, err
	}
	if err := ping(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// flood sends frames that next has changed, at floodRate or as fast as it can,
// and gives the rate. It ends with ctx.
func flood(ctx context.Context, from *lab.Guest, frame []byte, next func(i uint32, frame []byte)) (float64, error) {
	var fd int
	err := from.Do(func() error {
		nic, err := net.InterfaceByName(lab.GuestDevice)
		if err != nil {
			return err
		}
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: nic.Index})
	})
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	begin := time.Now()
	sent := uint32(0)
	for ctx.Err() == nil {
		due := uint32(floodRate * time.Since(begin).Seconds())
		if sent == due {
			time.Sleep(200 * time.Microsecond)
			continue
		}
		// What could not be sent in time is not made up for.
		for range min(due-sent, 200) {
			next(sent, frame)
			sent++
			if _, err := unix.Write(fd, frame); err != nil && err != unix.ENOBUFS {
				return 0, err
			}
		}
		if behind := due - sent; behind > floodRate/10 {
			begin = begin.Add(time.Duration(float64(behind) / floodRate * float64(time.Second)))
		}
	}
	return float64(sent) / time.Since(begin).Seconds(), nil
}

// setNumber puts a number into a frame of Ethernet and IPv4, at a place of the
// IPv4 header or of what comes behind it, and mends the checksums that cover
// it.
func setNumber(frame []byte, at int, number uint16, checksums ...int) {
	old := binary.BigEndian.Uint16(frame[at:])
	binary.BigEndian.PutUint16(frame[at:], number)
	for _, c := range checksums { // RFC 1624
		sum := uint32(^binary.BigEndian.Uint16(frame[c:])) + uint32(^old) + uint32(number)
		sum = sum&0xffff + sum>>16
		sum = sum&0xffff + sum>>16
		binary.BigEndian.PutUint16(frame[c:], ^uint16(sum))
	}
}

const (
	ipSum, ipSource, ipDestination, transport = 24, 26, 30, 34 // in a frame without options
	udpSum, tcpSum, icmpSum, icmpID           = transport + 6, transport + 16, transport + 2, transport + 4
)

// bystander watches a connection of the twin while the flood goes on.
func (f *flooded) bystander(ctx context.Context) func() {
	f.t.Helper()
	conn, err := connect(ctx, f.other.Neighbour, f.twin)
	if err != nil {
		f.t.Fatalf("the twin's connection: %v", err)
	}
	var echoes, wrong atomic.Int32
	ctx, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		defer conn.Close()
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := ping(conn); err != nil {
				f.t.Errorf("the twin's connection: %v", err)
				return
			}
			echoes.Add(1)
			f.inOther(func() error {
				stats, err := f.host.Stats(context.WithoutCancel(ctx), f.twin.Port)
				if err == nil && (stats.Connections != 1 || stats.Refused != 0 || stats.GivenUp != 0) {
					wrong.Add(1)
				}
				return err
			})
		}
	})
	return func() {
		f.t.Helper()
		stop()
		watch.Wait()
		f.t.Logf("meanwhile %d echoes in the twin's only connection", echoes.Load())
		if wrong.Load() > 0 {
			f.t.Errorf("%d times the twin had another number of connections than its one", wrong.Load())
		}
	}
}

// full waits until the guest's quota is used up, as ready tells.
func (f *flooded) full(ready func(*Stats) bool) {
	f.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !ready(f.stats(f.Guest.Port)); {
		select {
		case <-tick.C:
		case <-deadline:
			f.t.Fatalf("the quota is not full after 30 s: %+v", f.stats(f.Guest.Port))
		}
	}
}

// honest opens 100 connections, ten at a time, and tells how many work, then
// and a moment later.
func (f *flooded) honest() int32 {
	var clients sync.WaitGroup
	var works atomic.Int32
	for range 10 {
		clients.Go(func() {
			for range 10 {
				conn, err := connect(f.t.Context(), f.Neighbour, f.Guest)
				if err != nil {
					f.t.Logf("a client: %v", err)
					continue
				}
				time.Sleep(100 * time.Millisecond) // the flood goes on
				if err := ping(conn); err != nil {
					f.t.Errorf("a client that was connected: %v", err)
				}
				works.Add(1)
				conn.Close()
			}
		})
	}
	clients.Wait()
	return works.Load()
}

func TestFloods(t *testing.T) {
	datagram := func(f *flooded) []byte {
		return lab.UDPFrame(f.Guest.MAC, f.attacker.MAC, f.Guest.At(4000), netip.AddrPortFrom(spoofed.Addr().Next(), 53), []byte("spray"))
	}
	for _, test := range []struct {
		name  string
		from  func(*flooded) *lab.Guest
		frame func(*flooded) []byte
		next  func(i uint32, frame []byte)
		full  func(*Stats) bool
	}{
		{"SYNs to the guest",
			func(f *flooded) *lab.Guest { return f.attacker },
			func(f *flooded) []byte {
				return lab.TCPFrame(f.attacker.MAC, f.Guest.MAC, spoofed.Addr().Next(), f.Guest.IPv4,
					layers.TCP{SrcPort: 1000, DstPort: 80, SYN: true, Window: 1000}, nil)
			},
			func(i uint32, frame []byte) {
				setNumber(frame, ipSource+2, uint16(i), ipSum, tcpSum)
				setNumber(frame, transport, uint16(1024+i>>16), tcpSum)
			},
			func(s *Stats) bool { return s.GivenUp > 0 }},
		{"datagrams from the guest",
			func(f *flooded) *lab.Guest { return f.Guest },
			datagram,
			func(i uint32, frame []byte) {
				setNumber(frame, ipDestination+2, uint16(i), ipSum, udpSum)
				setNumber(frame, transport, uint16(1024+i>>16), udpSum)
			},
			func(s *Stats) bool { return s.Refused > 0 }},
		{"pings from the guest",
			func(f *flooded) *lab.Guest { return f.Guest },
			func(f *flooded) []byte {
				frame := datagram(f)
				frame = frame[:transport+8]
				setNumber(frame, ipSum-2, 64<<8|unix.IPPROTO_ICMP, ipSum)
				setNumber(frame, ipSource-10, 28, ipSum) // total length
				copy(frame[transport:], []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0})
				return frame
			},
			func(i uint32, frame []byte) {
				setNumber(frame, ipDestination+2, uint16(i), ipSum)
				setNumber(frame, icmpID, uint16(i>>16), icmpSum)
			},
			func(s *Stats) bool { return s.Refused > 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFlooded(t, floodable)
			before, err := connect(t.Context(), f.Neighbour, f.Guest)
			if err != nil {
				t.Fatal(err)
			}
			defer before.Close()
			calm := f.bystander(t.Context())

			ctx, stop := context.WithCancel(t.Context())
			var attack sync.WaitGroup
			attack.Go(func() {
				rate, err := flood(ctx, test.from(f), test.frame(f), test.next)
				if err != nil {
					t.Error(err)
				}
				t.Logf("%.0f frames a second", rate)
			})
			begin := time.Now()
			f.full(test.full)
			t.Logf("full after %v", time.Since(begin).Round(time.Millisecond))
			works := f.honest()
			if works < 99 {
				t.Errorf("%d of 100 new connections worked, want 99", works)
			}
			for range 20 {
				if err := ping(before); err != nil {
					t.Fatalf("the connection of before the flood: %v", err)
				}
			}
			stop()
			attack.Wait()
			calm()
			s := f.stats(f.Guest.Port)
			t.Logf("%d of 100 connected in %v; %d connections, %d opened, %d given up, %d refused", works,
				time.Since(begin).Round(time.Millisecond), s.Connections, s.Opened, s.GivenUp, s.Refused)
			if s.Connections > DefaultMaxConnections {
				t.Errorf("%d connections, quota %d", s.Connections, DefaultMaxConnections)
			}
		})
	}
}

func TestPortsWithTheSameAddressesNeverMeet(t *testing.T) {
	f := newFlooded(t, replies)
	f.arrives(f.Guest, f.Neighbour, f.udp(53, "question"), true)
	f.arrives(f.other.Neighbour, f.twin, f.reply(53, "answer to another's question"), false)
	f.arrives(f.Neighbour, f.Guest, f.reply(53, "answer"), true)
	f.arrives(f.twin, f.other.Neighbour, f.udp(53, "question of its own"), true)
	f.arrives(f.other.Neighbour, f.twin, f.reply(53, "answer"), true)
	f.release(f.Guest.Port)
	f.arrives(f.other.Neighbour, f.twin, f.reply(53, "answer after the other was released"), true)
}
