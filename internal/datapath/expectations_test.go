package datapath

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/packet"
)

// judgeText judges a packet that begins with its direction, "in " or "out", now,
// as the kernel's clock tells it. The payload is that of a TCP segment without
// options.
func (k *tracker) judgeText(t *testing.T, text, payload string, want packet.State) {
	t.Helper()
	frame, err := packet.FromText(text[4:], packet.Ends{Src: guestMAC, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}})
	if err != nil {
		t.Fatal(err)
	}
	if payload != "" {
		frame = append(frame[:14+40], payload...)
		ip := frame[14:34]
		be.PutUint16(ip[2:], uint16(40+len(payload)))
		be.PutUint16(ip[10:], 0)
		sum := uint32(0)
		for i := 0; i < len(ip); i += 2 {
			sum += uint32(be.Uint16(ip[i:]))
		}
		be.PutUint16(ip[10:], ^uint16(sum&0xffff+sum>>16))
	}
	if state, _ := k.Judge(t, frame, text[:3] == "out", monotonic(), true); state != want {
		t.Errorf("%s: state %s", text, conntracktest.StateName(state))
	}
}

// control opens a control connection from the guest, which says a line.
func (k *tracker) control(t *testing.T, port, service int, line string) {
	t.Helper()
	k.judgeText(t, fmt.Sprintf("out tcp 10.0.0.1:%d > 10.0.0.2:%d syn seq 1000", port, service), "", packet.StateNew)
	k.judgeText(t, fmt.Sprintf("in  tcp 10.0.0.2:%d > 10.0.0.1:%d syn ack seq 5000 ack 1001", service, port), "", packet.StateEstablished)
	k.judgeText(t, fmt.Sprintf("out tcp 10.0.0.1:%d > 10.0.0.2:%d ack seq 1001 ack 5001", port, service), line, packet.StateEstablished)
}

// expectations are the tracker's, as text.
func (k *tracker) expectations(t *testing.T) (list []string) {
	t.Helper()
	table, err := k.table(resolve(t, trackingPolicy))
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range table.expectations(monotonic()) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Timeout > 5*time.Minute || e.Timeout < 4*time.Minute {
			t.Errorf("%s is left to %+v", e.Timeout, e)
		}
		list = append(list, fmt.Sprintf("%s %s %s > %s by %s", e.Helper, conntrack.ProtoName(e.Proto), e.From, e.To, &e.Control.Connection))
	}
	slices.Sort(list)
	return list
}

// What helpers wait for is listed until it comes or its control connection ends;
// what came is listed with the connection that announced it.
func TestExpectationsAreRead(t *testing.T) {
	needRoot(t)
	alone(t)
	k := newTracker(t, resolve(t, trackingPolicy), Config{})
	k.control(t, 4000, 21, "PORT 10,0,0,1,4,1\r\n")
	k.control(t, 4001, 21, "PORT 10,0,0,1,4,2\r\n")
	k.control(t, 4002, 6667, "PRIVMSG you :\x01DCC SEND file 167772161 5000\x01\r\n")
	check := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, k.expectations(t)); diff != "" {
			t.Error(diff)
		}
	}
	check("ftp tcp 10.0.0.2 > 10.0.0.1:1025 by tcp 10.0.0.1:4000 > 10.0.0.2:21 ESTABLISHED replied assured",
		"ftp tcp 10.0.0.2 > 10.0.0.1:1026 by tcp 10.0.0.1:4001 > 10.0.0.2:21 ESTABLISHED replied assured",
		"irc tcp invalid IP > 10.0.0.1:5000 by tcp 10.0.0.1:4002 > 10.0.0.2:6667 ESTABLISHED replied assured")

	k.judgeText(t, "in  tcp 10.0.0.2:20 > 10.0.0.1:1025 syn", "", packet.StateRelated)
	k.judgeText(t, "in  tcp 10.0.0.7:1000 > 10.0.0.1:5000 syn", "", packet.StateRelated)
	check("ftp tcp 10.0.0.2 > 10.0.0.1:1026 by tcp 10.0.0.1:4001 > 10.0.0.2:21 ESTABLISHED replied assured")

	announced := func(port uint16) *Connection {
		t.Helper()
		all, err := k.connections(resolve(t, trackingPolicy), monotonic())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.Expected && c.Responder().Port() == port {
				return &c
			}
		}
		t.Fatalf("no connection to port %d was expected", port)
		return nil
	}
	for port, want := range map[uint16]string{
		1025: "ftp tcp 10.0.0.1:4000 > 10.0.0.2:21 ESTABLISHED replied assured",
		5000: "irc tcp 10.0.0.1:4002 > 10.0.0.2:6667 ESTABLISHED replied assured",
	} {
		c := announced(port)
		if got := fmt.Sprintf("%s %s", c.Announced.By, &c.Control.Connection); got != want || c.Control.Gone {
			t.Errorf("announced by %s, want %s", got, want)
		}
	}
	if n := k.flushAll(t, func(c *Connection) bool { return c.Helper == conntrack.FTP }); n != 2 {
		t.Errorf("%d control connections flushed", n)
	}
	check()
	if c := announced(1025); !c.Control.Gone {
		t.Errorf("still announced by %s", &c.Control.Connection)
	}
	if c := announced(5000); c.Control.Gone {
		t.Errorf("announced by what is gone")
	}
	k.flushAll(t, nil)
	if related, err := k.table(resolve(t, trackingPolicy)); err != nil {
		t.Error(err)
	} else if n := entriesOf(t, related.maps["related"]); n != 0 {
		t.Errorf("%d control connections are remembered of none", n)
	}
}

func entriesOf(t *testing.T, m *ebpf.Map) (n int) {
	t.Helper()
	var key, value []byte
	for all := m.Iterate(); all.Next(&key, &value); {
		n++
	}
	return n
}
