package datapath

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"pgregory.net/rapid"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/eval"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
)

func newQuotaPair(t *testing.T, p *policy.Policy, quota int) *engines {
	t.Helper()
	tester, err := NewTester(p, Config{MaxConnections: uint32(quota)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tester.Close)
	return &engines{tester: tester, eval: eval.New(p, conntrack.Config{PickUp: true, MaxConnections: quota})}
}

// A full quota is met alike by both engines, and what the kernel counts is what
// is in its tables.
func TestQuotaSequences(t *testing.T) {
	needRoot(t)
	p := resolve(t, trackingPolicy)
	conntracktest.RunQuota(t, func(t *testing.T, quota int) func([]byte, bool, int64) (packet.State, bool) {
		both := newQuotaPair(t, p, quota)
		return func(frame []byte, out bool, now int64) (packet.State, bool) {
			evaluated, ran, _ := both.run(t, frame, out, now)
			if evaluated != ran {
				t.Errorf("evaluator: %+v\n   kernel: %+v", evaluated, ran)
			}
			if connections := both.tester.checkCounts(t); connections > quota {
				t.Errorf("%d connections, quota %d", connections, quota)
			}
			return ran.State, ran.Reason == verdict.TableFull
		}
	})
}

// portEntry reads the port's entry.
func (t *Tester) portEntry(tb testing.TB) portEntry {
	tb.Helper()
	raw, err := t.bed.maps["ports"].LookupBytes(t.state.Port)
	if err != nil {
		tb.Fatal(err)
	}
	e, err := decodeEntry(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return *e
}

// checkCounts compares the port's counts with its tables, and gives the number
// of its connections.
func (t *Tester) checkCounts(tb testing.TB) int {
	tb.Helper()
	e := t.portEntry(tb)
	connections, queued := 0, 0
	var key, value []byte
	for all := t.bed.maps["queue"].Iterate(); all.Next(&key, &value); {
		if binary.NativeEndian.Uint32(key) == t.state.Port {
			queued++
		}
	}
	table := t.bed.maps["connections"]
	for i := range table.MaxEntries() {
		var shard *ebpf.Map
		if err := table.Lookup(i, &shard); err != nil {
			tb.Fatal(err)
		}
		for all := shard.Iterate(); all.Next(&key, &value); {
			if binary.NativeEndian.Uint32(key) == t.state.Port {
				connections++
			}
		}
		shard.Close()
	}
	if int(e.Connections) != connections || int(e.Queued) != queued {
		tb.Errorf("%d connections and %d in the queue are counted, there are %d and %d", e.Connections, e.Queued, connections, queued)
	}
	return connections
}

// Where other ports fill the queue, a port goes without it.
func TestQueueFullOfOthers(t *testing.T) {
	needRoot(t)
	alone(t)
	tester := newQuotaPair(t, resolve(t, trackingPolicy), 4).tester
	others := tester.bed.maps["queue"]
	keys, values := make([][2]uint32, others.MaxEntries()), byteArrays(others.ValueSize(), others.MaxEntries())
	for i := range keys {
		keys[i] = [2]uint32{1 << 31, uint32(i) + 1}
	}
	if _, err := others.BatchUpdate(keys, values.Interface(), nil); err != nil {
		t.Fatal(err)
	}
	steps, err := conntracktest.Script("o:S NEW · r:SA EST · o:A EST")
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range steps {
		r, err := tester.Run(s.Frame, s.Out, int64(i+1)*1e9)
		if err != nil || r.State != s.State || !r.Verdict.Passes() {
			t.Errorf("%s: %+v, %v", s.Text, r, err)
		}
	}
	if e := tester.portEntry(t); e.Connections != 1 || e.Queued != 0 || e.Refused != 0 {
		t.Errorf("%+v", e)
	}
}

// lives are what happens to connections, by frames from and to the guest; %s is
// the peer.
var lives = [][]string{
	{"< tcp %s > 10.0.0.1:22 syn seq 100", "> tcp 10.0.0.1:22 > %s syn ack seq 500 ack 101", "< tcp %s > 10.0.0.1:22 ack seq 101 ack 501",
		"< tcp %s > 10.0.0.1:22 fin ack seq 101 ack 501", "> tcp 10.0.0.1:22 > %s fin ack seq 501 ack 102", "< tcp %s > 10.0.0.1:22 ack seq 102 ack 502"},
	{"> tcp 10.0.0.1:22 > %s syn seq 100", "< tcp %s > 10.0.0.1:22 syn ack seq 500 ack 101", "> tcp 10.0.0.1:22 > %s ack seq 101 ack 501",
		"< tcp %s > 10.0.0.1:22 rst seq 501", "> tcp 10.0.0.1:22 > %s syn seq 9000", "< tcp %s > 10.0.0.1:22 syn ack seq 7000 ack 9001"},
	{"< tcp %s > 10.0.0.1:22 ack seq 700 ack 800", "> tcp 10.0.0.1:22 > %s ack seq 800 ack 700", "< tcp %s > 10.0.0.1:22 ack seq 700 ack 800"},
	{"< tcp %s > 10.0.0.1:22 syn seq 100", "< tcp %s > 10.0.0.1:22 rst seq 101"},
	{"< udp %s > 10.0.0.1:53", "> udp 10.0.0.1:53 > %s"},
	{"< sctp %s > 10.0.0.1:5000"},
}

// TestQuotaAgrees opens, uses and closes more connections than a small quota
// has places for, in random order.
func TestQuotaAgrees(t *testing.T) {
	needRoot(t)
	p := resolve(t, trackingPolicy)
	ends := packet.Ends{Src: guestMAC, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}}
	var full, givenUp, expired atomic.Uint64
	testers := map[int]*Tester{}
	for _, quota := range []int{2, 4, 9} {
		testers[quota] = newQuotaPair(t, p, quota).tester
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := newSource(rt)
		quota := oneOf(s, []int{2, 4, 9})
		tester := testers[quota]
		if err := tester.Reset(); err != nil {
			rt.Fatal(err)
		}
		both := &engines{tester: tester, eval: eval.New(p, conntrack.Config{PickUp: true, MaxConnections: quota})}
		steps := make([]int, 25)
		now := int64(1e9)
		for i := range 300 {
			peer := s.between(0, len(steps)-1)
			life := lives[peer%len(lives)]
			line := life[steps[peer]%len(life)]
			if steps[peer]++; s.chance(10) { // and once more
				steps[peer]--
			}
			frame, err := packet.FromText(fmt.Sprintf(line[2:], fmt.Sprintf("10.0.0.2:%d", 1+peer)), ends)
			if err != nil {
				rt.Fatal(err)
			}
			now += oneOf(s, []int64{20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 1e9, 31e9, 121e9})
			evaluated, ran, _ := both.run(rt, frame, line[0] == '>', now)
			if evaluated != ran {
				rt.Fatalf("packet %d, %s, quota %d: %s\nevaluator: %+v\n   kernel: %+v", i, line, quota, hex.EncodeToString(frame), evaluated, ran)
			}
			if ran.Reason == verdict.TableFull {
				full.Add(1)
			}
		}
		if kept := both.eval.Connections().Len(); tester.checkCounts(t) != kept {
			rt.Fatalf("%d connections in the evaluator", kept)
		}
		e := tester.portEntry(t)
		givenUp.Add(e.GivenUp)
		expired.Add(e.Expired)
	})
	t.Logf("%d packets met a full quota, %d connections were given up, %d replaced after their end", full.Load(), givenUp.Load(), expired.Load())
	if full.Load() == 0 || givenUp.Load() == 0 || expired.Load() == 0 {
		t.Error("the sequences do not reach all of this")
	}
}

// TestHonestConnectionsUnderASYNFlood lets 100 clients, 40 ms away, connect
// while 100,000 SYNs a second come that nobody goes on with: on the test's
// clock, so that the rate is what it says.
func TestHonestConnectionsUnderASYNFlood(t *testing.T) {
	needRoot(t)
	const (
		flood = 10 * time.Microsecond // between SYNs
		begin = int64(time.Hour)
		every = 10 * time.Millisecond // a client
		away  = 20 * time.Millisecond // one way
		lasts = 1900 * time.Millisecond
	)
	both := newQuotaPair(t, resolve(t, trackingPolicy), DefaultMaxConnections)
	ends := packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 0x99}, Dst: guestMAC}
	frame := func(format string, arguments ...any) []byte {
		f, err := packet.FromText(fmt.Sprintf(format, arguments...), ends)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	now := begin
	judge := func(frame []byte, out bool) packet.State {
		evaluated, ran, _ := both.run(t, frame, out, now)
		if evaluated != ran {
			t.Fatalf("evaluator: %+v\n   kernel: %+v", evaluated, ran)
		}
		if !ran.Verdict.Passes() {
			return 0
		}
		return ran.State
	}
	// The clients come when the quota has been full for a while.
	const first = 800 * time.Millisecond
	syn := frame("tcp 198.18.0.1:1000 > 10.0.0.1:80 syn")
	judge(frame("udp 10.0.0.2:1 > 10.0.0.1:53"), false)
	connected := 0
	for i := range int(lasts / flood) {
		now = begin + int64(i)*int64(flood)
		binary.BigEndian.PutUint32(syn[34:], uint32(i)) // both ports
		binary.BigEndian.PutUint16(syn[38:], uint16(i))
		if judge(syn, false) != packet.StateNew {
			t.Fatalf("SYN %d was refused: openings must give way to it", i)
		}
		at := time.Duration(i)*flood - first
		for k, want := range []packet.State{packet.StateNew, packet.StateEstablished, packet.StateEstablished} {
			client := int((at - time.Duration(k)*away) / every)
			if at < time.Duration(k)*away || at%every != 0 || client >= 100 {
				continue
			}
			port := 20000 + client
			segment := []func() []byte{
				func() []byte { return frame("tcp 10.0.0.9:%d > 10.0.0.1:443 syn seq 100", port) },
				func() []byte { return frame("tcp 10.0.0.1:443 > 10.0.0.9:%d syn ack seq 500 ack 101", port) },
				func() []byte { return frame("tcp 10.0.0.9:%d > 10.0.0.1:443 ack seq 101 ack 501", port) },
			}[k]()
			if judge(segment, k == 1) == want && k == 2 {
				connected++
			}
		}
	}
	if connected < 99 {
		t.Errorf("%d of 100 clients have connected, want 99", connected)
	}
	if judge(frame("udp 10.0.0.1:53 > 10.0.0.2:1"), true) != packet.StateEstablished {
		t.Error("a flow of before the flood was lost")
	}
	e := both.tester.portEntry(t)
	t.Logf("%d of 100 connected; %d SYNs, %d given up, %d refused, %d connections", connected, int(lasts/flood), e.GivenUp, e.Refused, e.Connections)
	both.tester.checkCounts(t)
}

// A connection that waits long for its answer keeps gaps behind it from being
// passed. Then one packet looks at 1024 tickets only, and the next goes on: the
// first SYN gives up that connection and passes two gaps more, the second finds
// the next connection behind those that are left.
func TestManyGapsInTheQueue(t *testing.T) {
	needRoot(t)
	for established, secondPasses := range map[int]bool{2 + 1023: true, 2 + 1024: false} {
		t.Run(fmt.Sprint(established), func(t *testing.T) {
			both := newQuotaPair(t, resolve(t, trackingPolicy), established+2)
			ends := packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 0x99}, Dst: guestMAC}
			now := int64(time.Hour)
			judge := func(line string, peer int) (passes bool) {
				t.Helper()
				frame, err := packet.FromText(fmt.Sprintf(line[2:], fmt.Sprintf("10.0.0.2:%d", peer)), ends)
				if err != nil {
					t.Fatal(err)
				}
				now += int64(time.Microsecond)
				evaluated, ran, _ := both.run(t, frame, line[0] == '>', now)
				if evaluated != ran {
					t.Fatalf("%s, peer %d:\nevaluator: %+v\n   kernel: %+v", line, peer, evaluated, ran)
				}
				return ran.Verdict.Passes()
			}
			syn := lives[0][0]
			judge(syn, 1)
			for i := range established {
				for _, line := range lives[0][:3] {
					judge(line, 2+i)
				}
			}
			judge(syn, 5000)
			for i, want := range []bool{true, secondPasses, true, true} {
				if judge(syn, 6000+i) != want {
					t.Errorf("SYN %d to a full table passes: %v", 1+i, !want)
				}
			}
			both.tester.checkCounts(t)
		})
	}
}

// TestTwoCPUsAtTheQuota opens, answers and completes connections from several
// threads at once in a table that is full. No place and no ticket may be lost,
// and none be there twice.
func TestTwoCPUsAtTheQuota(t *testing.T) {
	needRoot(t)
	const quota, threads, rounds = 64, 4, 3000
	tester := newQuotaPair(t, resolve(t, trackingPolicy), quota).tester
	ends := packet.Ends{Src: guestMAC, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}}
	// Every thread plays the same lives, so that they meet in the same entries.
	var frames [][]byte
	var out []bool
	for peer := range 100 {
		for _, line := range lives[peer%4] {
			frame, err := packet.FromText(fmt.Sprintf(line[2:], fmt.Sprintf("10.0.0.2:%d", 1+peer)), ends)
			if err != nil {
				t.Fatal(err)
			}
			frames, out = append(frames, frame), append(out, line[0] == '>')
		}
	}
	if err := tester.test.Put(uint32(0), &testState{Now: 1e9, Port: tester.state.Port}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for thread := range threads {
		all.Go(func() {
			for i := range rounds {
				k := (i + thread*len(frames)/8) % len(frames)
				if _, err := tester.runNow(&ebpf.RunOptions{Data: frames[k]}, out[k]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if connections := tester.checkCounts(t); connections > quota {
		t.Errorf("%d connections, quota %d", connections, quota)
	}
	if e := tester.portEntry(t); e.GivenUp == 0 {
		t.Error("no connection was given up")
	}
}
