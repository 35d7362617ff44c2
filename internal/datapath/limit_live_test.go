package datapath

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"tapgate/internal/lab"
)

const twoConnections = `<filter name="two">
  <rule action="drop" direction="in"><tcp dstportstart="22" connlimit-above="2"/></rule>
</filter>`

// greeted opens a connection and waits until the server has sent something.
func (l *live) greeted(from *lab.Guest) (net.Conn, error) {
	l.t.Helper()
	ctx, stop := context.WithTimeout(l.t.Context(), 1500*time.Millisecond)
	defer stop()
	conn, err := from.Dial(ctx, "tcp", l.Guest.At(22))
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(1500 * time.Millisecond))
	_, err = conn.Read(make([]byte, 1))
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	return conn, err
}

func TestConnectionsOfASourceAreLimited(t *testing.T) {
	l := newLive(t, Automatic)
	other, err := l.AddGuest(t.Context(), lab.GuestConfig{
		Name: "other", MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0x98}, IPv4: netip.MustParsePrefix("10.77.0.21/24"),
	})
	if err != nil {
		t.Fatal(err)
	}
	serveGreeting(l)
	l.guard(l.Guest.Port, resolve(t, twoConnections))
	opens := func(from *lab.Guest, want bool) net.Conn {
		t.Helper()
		conn, err := l.greeted(from)
		if got := err == nil; got != want || err != nil && !lab.NoAnswer(err) {
			t.Fatalf("a connection opens: %v (%v), want %v", got, err, want)
		}
		return conn
	}
	first := opens(l.Neighbour, true)
	opens(l.Neighbour, true)
	opens(l.Neighbour, false)
	opens(other, true)

	// What is counted lives on when the policy is changed.
	l.guard(l.Guest.Port, resolve(t, twoConnections[:len(twoConnections)-len("</filter>")]+`<rule action="accept" direction="in" priority="400"><udp/></rule></filter>`))
	opens(l.Neighbour, false)

	// The server closes too when it reads the end; that leads to TIME_WAIT.
	if err := first.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, first); err != nil {
		t.Fatal(err)
	}
	opens(l.Neighbour, true)
	opens(l.Neighbour, false)
}

// serveGreeting greets on port 22 and closes when the client does.
func serveGreeting(l *live) {
	l.t.Helper()
	serveTCP(l, 22, func(conn net.Conn) {
		_, _ = conn.Write([]byte("hello"))
		_, _ = io.Copy(io.Discard, conn)
	})
}

// place mirrors struct place.
type place struct {
	Port, Family uint32
	Limit        uint64
	Source       [2]uint64
	Number       uint64
}

// countedPlaces opens the shard of counted connections that a test writes to.
func countedPlaces(t *testing.T, dir string) *ebpf.Map {
	t.Helper()
	maps, err := openMaps(dir, []string{"counted"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeMaps(maps)
	var shard *ebpf.Map
	if err := maps["counted"].Lookup(uint32(3), &shard); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shard.Close() })
	return shard
}

func TestPlacesOfConnectionsThatEndedAreSwept(t *testing.T) {
	l := newLive(t, Automatic)
	l.guard(l.Neighbour.Port, resolve(t, acceptAll)) // keeps the table
	l.guard(l.Guest.Port, resolve(t, twoConnections))
	b := l.binding(l.Guest.Port)
	shard := countedPlaces(t, filepath.Join(l.host.dir, b.State))
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	const pendingAt, writtenAt = 12, 16 // in struct counted
	put := func(limit uint64, pending uint32, written uint64) place {
		p := place{Port: b.Number, Family: 4, Limit: limit}
		value := make([]byte, shard.ValueSize())
		binary.NativeEndian.PutUint32(value[pendingAt:], pending)
		binary.NativeEndian.PutUint64(value[writtenAt:], written)
		if err := shard.Put(p, value); err != nil {
			t.Fatal(err)
		}
		return p
	}
	old := put(1, 0, 1)
	kept := []place{put(2, 1, 1), put(3, 0, uint64(now.Nano())+uint64(time.Hour))}
	exists := func(p place) bool {
		value, err := shard.LookupBytes(p)
		if err != nil {
			t.Fatal(err)
		}
		return value != nil
	}
	wait := func(p place) {
		t.Helper()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(20 * time.Second); exists(p); {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("place %+v is still there after 20 s", p)
			}
		}
	}
	wait(old)
	if slices.ContainsFunc(kept, func(p place) bool { return !exists(p) }) {
		t.Error("a place that is in use was swept")
	}
	l.release(l.Guest.Port)
	for _, p := range kept {
		wait(p)
	}
}
