package datapath

import (
	"testing"

	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/packet"
)

// flushAll ends the tracker's connections that match. Packets must be judged by
// the kernel's clock, which is the flushing program's.
func (k *tracker) flushAll(t *testing.T, match func(*Connection) bool) int {
	t.Helper()
	table, err := k.table(resolve(t, trackingPolicy))
	if err != nil {
		t.Fatal(err)
	}
	n, err := table.flush(t.Context(), monotonic(), match)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hasNone checks that all places of the port are free.
func (k *tracker) hasNone(t *testing.T) {
	t.Helper()
	raw, err := k.bed.maps["ports"].LookupBytes(k.state.Port)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := decodeEntry(raw); err != nil || left.Connections != 0 || left.Queued != 0 {
		t.Errorf("the port still has %+v (%v)", left, err)
	}
}

// After a flush packets are judged as unknown: spec section 5, row 95.
func TestFlushedConnectionsAreUnknown(t *testing.T) {
	needRoot(t)
	p := resolve(t, trackingPolicy)
	for _, test := range []struct {
		name, before, after string
		strict              bool
		flushed             int
	}{
		{name: "data is picked up", before: "o:S NEW · r:SA EST · o:A EST", after: "o:A(1001,5001)+5 NEW/o · r:A(5001,1006) EST/r", flushed: 1},
		{name: "in the other direction", before: "o:S NEW · r:SA EST · o:A EST", after: "r:A(5001,1001)+5 NEW/o · o:A(1001,5006) EST/r", flushed: 1},
		{name: "only a SYN, when strict", before: "o:S NEW · r:SA EST · o:A EST", after: "o:A(1001,5001)+5 INV · r:A(5001,1001) INV · o:S(1) NEW", strict: true, flushed: 1},
		{name: "FIN and RST", before: "o:S NEW · r:SA EST · o:A EST", after: "o:FA(1001,5001) INV · r:R(5001) INV", flushed: 1},
		{name: "udp", before: "o:udp NEW · r:udp EST", after: "r:udp NEW/o", flushed: 1},
		{name: "sctp", before: "o:sctp(0,init=7) NEW · r:sctp(7,init-ack=9) EST", after: "o:sctp(9,cookie-echo) INV · o:sctp(0,init=7) NEW", flushed: 1},
		{name: "icmp", before: "o:icmp(8,0,1) NEW · o:icmp(8,0,2) NEW", after: "r:icmp(0,0,1) INV", flushed: 2},
		{name: "an error about it", before: "o:udp NEW", after: "r:icmp(3,3,0) about=o:udp INV", flushed: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := newTracker(t, p, Config{NoPickUp: test.strict})
			judge := func(script string) {
				steps, err := conntracktest.Script(script)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range steps {
					state, direction := k.Judge(t, s.Frame, s.Out, monotonic(), true)
					if state != s.State || s.Direction != 0 && direction != s.Direction {
						t.Errorf("%s: state %s, direction %d", s.Text, conntracktest.StateName(state), direction)
					}
				}
			}
			judge(test.before)
			if n := k.flushAll(t, nil); n != test.flushed {
				t.Errorf("%d connections flushed, want %d", n, test.flushed)
			}
			if n := k.flushAll(t, nil); n != 0 {
				t.Errorf("%d connections flushed again", n)
			}
			k.hasNone(t)
			judge(test.after)
		})
	}
}

// What the control connection has announced ends with it, and what another
// has announced does not.
func TestFlushEndsExpectations(t *testing.T) {
	needRoot(t)
	k := newTracker(t, resolve(t, trackingPolicy), Config{})
	k.control(t, 4000, 21, "PORT 10,0,0,1,4,1\r\n")
	k.control(t, 4001, 21, "PORT 10,0,0,1,4,2\r\n")
	n := k.flushAll(t, func(c *Connection) bool { return c.Originator().Port() == 4000 })
	if n != 1 {
		t.Errorf("%d connections flushed, want 1", n)
	}
	k.judgeText(t, "in  tcp 10.0.0.2:20 > 10.0.0.1:1025 syn", "", packet.StateNew)
	k.judgeText(t, "in  tcp 10.0.0.2:20 > 10.0.0.1:1026 syn", "", packet.StateRelated)
}

// Many connections take several rounds, and those that do not match stay.
func TestFlushOfMany(t *testing.T) {
	needRoot(t)
	k := newTracker(t, resolve(t, trackingPolicy), Config{})
	const hosts, ports = 100, 100
	frame, err := packet.FromText("udp 10.0.0.1:1 > 10.0.0.2:53", packet.Ends{Src: guestMAC, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range hosts * ports {
		be.PutUint16(frame[34:], uint16(1+i))
		if state, _ := k.Judge(t, frame, true, monotonic(), true); state != packet.StateNew {
			t.Fatalf("packet %d: state %s", i, conntracktest.StateName(state))
		}
	}
	even := func(c *Connection) bool { return c.Originator().Port()%2 == 0 }
	if n := k.flushAll(t, even); n != hosts*ports/2 {
		t.Errorf("%d connections flushed", n)
	}
	if n := k.flushAll(t, even); n != 0 {
		t.Errorf("%d connections flushed again", n)
	}
	if n := k.flushAll(t, nil); n != hosts*ports/2 {
		t.Errorf("%d connections were left", n)
	}
	k.hasNone(t)
}
