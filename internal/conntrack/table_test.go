package conntrack_test

import (
	"errors"
	"testing"
	"time"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/packet"
)

type engine struct{ table *conntrack.Table }

func (e engine) Judge(t *testing.T, frame []byte, out bool, now int64, accept bool) (packet.State, packet.Direction) {
	t.Helper()
	p := packet.Decode(frame, out)
	p.Now = now
	pending := e.table.Classify(&p)
	if accept {
		if err := e.table.Commit(pending); err != nil {
			t.Fatal(err)
		}
	}
	return p.State, p.Direction
}

func (e engine) ProtoState(t *testing.T, now int64) string {
	t.Helper()
	name := ""
	for c := range e.table.All(now) {
		name = c.ProtoState()
	}
	return name
}

func TestSequences(t *testing.T) {
	conntracktest.Run(t, func(_ *testing.T, config conntrack.Config) conntracktest.Engine {
		return engine{conntrack.NewTable(config)}
	})
}

// packets are the frames of a sequence, decoded.
func packets(t *testing.T, script string) []packet.Packet {
	t.Helper()
	steps, err := conntracktest.Script(script)
	if err != nil {
		t.Fatal(err)
	}
	var list []packet.Packet
	now := int64(time.Hour)
	for _, s := range steps {
		now += int64(s.Pause)
		if s.Frame == nil {
			continue
		}
		p := packet.Decode(s.Frame, s.Out)
		p.Now = now
		list = append(list, p)
	}
	return list
}

func TestQuota(t *testing.T) {
	table := conntrack.NewTable(conntrack.Config{MaxConnections: 2})
	admit := func(script string) error {
		t.Helper()
		var err error
		for _, p := range packets(t, script) {
			err = table.Commit(table.Classify(&p))
		}
		return err
	}
	for _, step := range []struct {
		name, script string
		want         error
	}{
		{"first", "o:udp NEW", nil},
		{"second", "o:icmp(8,0,1) NEW", nil},
		{"one too many", "o:icmp(8,0,2) NEW", conntrack.ErrTableFull},
		{"an established flow", "r:udp EST", nil},
		{"an invalid packet", "r:icmp(0,0,9) INV", nil},
		{"an expired flow has its place already", "+31s · o:icmp(8,0,1) NEW", nil},
		{"an expired flow keeps others out", "+31s · o:icmp(8,0,2) NEW", conntrack.ErrTableFull},
	} {
		if err := admit(step.script); !errors.Is(err, step.want) {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	table.Sweep(int64(time.Hour + 69*time.Second))
	if table.Len() != 1 {
		t.Errorf("%d connections after the sweep", table.Len())
	}
	if err := admit("+70s · o:icmp(8,0,2) NEW"); err != nil {
		t.Error(err)
	}
}

func TestQuotaSequences(t *testing.T) {
	conntracktest.RunQuota(t, func(t *testing.T, quota int) func([]byte, bool, int64) (packet.State, bool) {
		table := conntrack.NewTable(conntrack.Config{PickUp: true, MaxConnections: quota})
		return func(frame []byte, out bool, now int64) (packet.State, bool) {
			p := packet.Decode(frame, out)
			p.Now = now
			err := table.Commit(table.Classify(&p))
			if table.Len() > quota {
				t.Errorf("%d connections, quota %d", table.Len(), quota)
			}
			return p.State, errors.Is(err, conntrack.ErrTableFull)
		}
	})
}

// Reopening needs no second place in a full table.
func TestReopenInFullTable(t *testing.T) {
	table := conntrack.NewTable(conntrack.Config{MaxConnections: 1})
	for i, p := range packets(t, "o:S NEW · r:RA(0,1001) EST · o:S(1000) NEW · r:SA EST") {
		if err := table.Commit(table.Classify(&p)); err != nil {
			t.Fatalf("packet %d: %v", i+1, err)
		}
	}
}

func TestRace(t *testing.T) {
	for _, test := range []struct {
		name, script string
		want         error
	}{
		{"tcp", "o:S NEW · o:S(1000) NEW", conntrack.ErrRace},
		{"sctp", "o:sctp(0,init=7) NEW · o:sctp(0,init=7) NEW", conntrack.ErrRace},
		{"udp", "o:udp NEW · o:udp NEW", nil},
		{"udp, both ways", "o:udp NEW · r:udp NEW", nil},
	} {
		table := conntrack.NewTable(conntrack.Config{})
		list := packets(t, test.script)
		first, second := table.Classify(&list[0]), table.Classify(&list[1])
		if err := table.Commit(first); err != nil {
			t.Fatal(err)
		}
		if err := table.Commit(second); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		if table.Len() != 1 {
			t.Errorf("%s: %d connections", test.name, table.Len())
		}
	}
}

func TestExpected(t *testing.T) {
	for _, test := range []struct {
		name, script string
		asked        int
		states       []packet.State
	}{
		{"related until a reply", "o:S NEW · o:S(1000) NEW · r:SA EST · o:A EST", 1,
			[]packet.State{packet.StateRelated, packet.StateRelated, packet.StateEstablished, packet.StateEstablished}},
		{"an invalid packet uses it up", "o:FA INV · o:S NEW", 2,
			[]packet.State{packet.StateInvalid, packet.StateNew}},
		{"a dropped packet uses it up", "o:S! NEW · o:S(1000) NEW", 2,
			[]packet.State{packet.StateRelated, packet.StateNew}},
		{"errors and answers are not asked about", "r:icmp(3,3,0) about=o:udp INV · r:icmp(0,0,7) INV · o:udp NEW", 1,
			[]packet.State{packet.StateInvalid, packet.StateInvalid, packet.StateRelated}},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := conntrack.NewTable(conntrack.Config{})
			asked := 0
			table.Expect = func(*packet.Packet) (conntrack.Announced, bool) {
				asked++
				return conntrack.Announced{}, asked == 1
			}
			steps, err := conntracktest.Script(test.script)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range steps {
				state, _ := engine{table}.Judge(t, s.Frame, s.Out, int64(time.Hour), !s.Drop)
				if state != test.states[i] {
					t.Errorf("%s: state %s", s.Text, conntracktest.StateName(state))
				}
			}
			if asked != test.asked {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

func TestUnseen(t *testing.T) {
	table := conntrack.NewTable(conntrack.Config{})
	p := packet.Decode(make([]byte, 60), true)
	p.State, p.Direction = packet.StateNew, packet.Reply
	if err := table.Commit(table.Classify(&p)); err != nil {
		t.Fatal(err)
	}
	if p.State != 0 || p.Direction != 0 || table.Len() != 0 {
		t.Errorf("a frame that is not IP: state %d, direction %d, %d connections", p.State, p.Direction, table.Len())
	}
}

func TestCounters(t *testing.T) {
	table := conntrack.NewTable(conntrack.Config{})
	for _, p := range packets(t, "o:udp+100 NEW · o:udp+100 NEW · r:udp+200 EST · r:udp length=4 INV · r:icmp(3,3,0) about=o:udp REL") {
		if err := table.Commit(table.Classify(&p)); err != nil {
			t.Fatal(err)
		}
	}
	for c := range table.All(int64(time.Hour)) {
		if c.Packets != [2]uint64{2, 1} || c.Bytes != [2]uint64{2 * 142, 242} {
			t.Errorf("%d packets, %d bytes", c.Packets, c.Bytes)
		}
	}
}

func TestConnectionString(t *testing.T) {
	for _, test := range []struct{ script, want string }{
		{"o:S NEW", "tcp 10.0.0.111:40000 > 10.0.0.114:80 SYN_SENT"},
		{"o:S NEW · r:SA EST · o:A EST", "tcp 10.0.0.111:40000 > 10.0.0.114:80 ESTABLISHED replied assured"},
		{"r:udp NEW", "udp 10.0.0.114:80 > 10.0.0.111:40000"},
		{"v6 · r:udp NEW · o:udp EST", "udp [fd00::72]:80 > [fd00::6f]:40000 replied"},
		{"o:icmp(8,0,7) NEW", "icmp 10.0.0.111 > 10.0.0.114 type 8 code 0 id 7"},
		{"v6 · r:icmp(128,0,7) NEW", "icmpv6 fd00::72 > fd00::6f type 128 code 0 id 7"},
		{"o:proto(50) NEW", "proto-50 10.0.0.111 > 10.0.0.114"},
		{"r:gre(1,9) NEW", "gre 10.0.0.114 > 10.0.0.111 call 9"},
	} {
		table := conntrack.NewTable(conntrack.Config{})
		for _, p := range packets(t, test.script) {
			if err := table.Commit(table.Classify(&p)); err != nil {
				t.Fatal(err)
			}
		}
		for c := range table.All(int64(time.Hour)) {
			if got := c.String(); got != test.want {
				t.Errorf("%s: %q, want %q", test.script, got, test.want)
			}
		}
	}
}

func TestCausesOfInvalid(t *testing.T) {
	conntracktest.RunInvalid(t, func(t *testing.T) func([]byte, bool, int64) (packet.State, packet.Invalid) {
		table := conntrack.NewTable(conntrack.Config{})
		return func(frame []byte, out bool, now int64) (packet.State, packet.Invalid) {
			p := packet.Decode(frame, out)
			p.Now = now
			if err := table.Commit(table.Classify(&p)); err != nil {
				t.Fatal(err)
			}
			return p.State, p.Invalid
		}
	})
}
