package datapath

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"pgregory.net/rapid"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/eval"
	"tapgate/internal/packet"
	"tapgate/internal/verdict"
)

func TestLimits(t *testing.T) {
	needRoot(t)
	conntracktest.RunLimits(t, func(t *testing.T, filter string) func([]byte, bool, int64) bool {
		both := newEngines(t, resolve(t, filter))
		t.Cleanup(both.tester.Close)
		return func(frame []byte, out bool, now int64) bool {
			evaluated, ran, _ := both.run(t, frame, out, now)
			if evaluated != ran {
				t.Errorf("evaluator: %+v\n   kernel: %+v", evaluated, ran)
			}
			return ran.Verdict.Passes()
		}
	})
}

// limitRules count in overlapping ways, low enough to be exceeded often.
var limitRules = []string{
	`<rule action="drop" direction="in" priority="%d"><tcp connlimit-above="2"/></rule>`,
	`<rule action="drop" direction="in" priority="%d"><tcp dstportstart="22" connlimit-above="1"/></rule>`,
	`<rule action="drop" direction="out" priority="%d"><all connlimit-above="3"/></rule>`,
	`<rule action="accept" direction="in" priority="%d"><all match="no" connlimit-above="1"/></rule>`,
	`<rule action="accept" direction="in" priority="%d"><udp connlimit-above="2"/></rule>`,
	`<rule action="return" direction="inout" priority="%d"><icmp connlimit-above="0"/></rule>`,
	`<rule action="drop" direction="in" priority="%d"><tcp state="NEW" connlimit-above="2"/></rule>`,
	`<rule action="drop" direction="in" priority="%d"><tcp flags="SYN,ACK/ACK" connlimit-above="1"/></rule>`,
	`<rule action="reject" direction="out" priority="%d"><tcp dstportstart="22" match="no" connlimit-above="1"/></rule>`,
	`<rule action="drop" direction="inout" priority="%d"><all connlimit-above="0" srcipaddr="10.0.0.3"/></rule>`,
	`<rule action="drop" direction="in" priority="%d"><all-ipv6 connlimit-above="1"/></rule>`,
	`<rule action="drop" direction="inout" priority="%d"><tcp state="ESTABLISHED" dstportstart="80"/></rule>`,
	`<rule action="drop" direction="in" priority="%d"><udp dstportstart="53"/></rule>`,
	`<rule action="drop" direction="in" priority="%d"><ip protocol="tcp" dstportstart="80"/></rule>`,
}

// TestLimitsAgree gives both engines packets of a few hosts that open, use and
// close many connections.
func TestLimitsAgree(t *testing.T) {
	needRoot(t)
	var exceeded, within int
	var tally sync.Mutex
	rapid.Check(t, func(rt *rapid.T) {
		s := newSource(rt)
		var rules strings.Builder
		for range s.between(1, 5) {
			fmt.Fprintf(&rules, oneOf(s, limitRules), s.between(-9, 9)*10)
		}
		filter := `<filter name="x">` + rules.String() + `</filter>`
		p := resolve(t, filter)
		tester, err := NewTester(p, Config{})
		if err != nil {
			rt.Fatalf("%v\n%s", err, filter)
		}
		defer tester.Close()
		both := &engines{tester: tester, eval: eval.New(p, conntrack.Config{PickUp: true})}
		s.flows = nil
		for range 12 {
			s.flows = append(s.flows, flow{
				proto: byte(oneOf(s, []uint64{6, 6, 6, 6, 17, 17, 1})),
				guest: []byte{10, 0, 0, 1}, peer: []byte{10, 0, 0, byte(s.between(2, 3))},
				guestPort: uint16(oneOf(s, []uint64{22, 53, 80})), peerPort: uint16(s.between(1, 9)),
			})
		}
		now := int64(1e9)
		for i := range 150 {
			out := s.chance(40)
			now += oneOf(s, []int64{20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 20e3, 1e9, 11e9, 31e9, 121e9})
			frame := drawFrame(s, out)
			evaluated, ran, r := both.run(rt, frame, out, now)
			if evaluated != ran {
				rt.Fatalf("packet %d, out %v: %s\nevaluator: %+v\n   kernel: %+v\n%+v\n%s", i, out, hex.EncodeToString(frame), evaluated, ran, r.Packet, filter)
			}
			if r.Reason == verdict.Clause && r.Clause.ConnLimit != nil {
				tally.Lock()
				exceeded++
				tally.Unlock()
			} else if len(r.Matched) == 0 && r.Packet.State == packet.StateNew {
				tally.Lock()
				within++
				tally.Unlock()
			}
		}
	})
	t.Logf("%d packets met a limit, %d passed by", exceeded, within)
	if exceeded == 0 || within == 0 {
		t.Error("the sequences do not reach both sides of a limit")
	}
}

// TestTwoCPUsCountTogether opens connections at once from several threads: not
// one more than the limit may get through.
func TestTwoCPUsCountTogether(t *testing.T) {
	needRoot(t)
	const limit, threads, each = 50, 4, 300
	tester, err := NewTester(resolve(t, fmt.Sprintf(`<filter name="x"><rule action="drop" direction="in"><tcp connlimit-above="%d"/></rule></filter>`, limit)), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tester.Close()
	ends := packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 0x99}, Dst: guestMAC}
	var all sync.WaitGroup
	var passed [threads]int
	for i := range threads {
		all.Go(func() {
			for k := range each {
				frame, err := packet.FromText(fmt.Sprintf("tcp 10.0.0.2:%d > 10.0.0.1:22 syn", 1+k*threads+i), ends)
				if err != nil {
					t.Error(err)
					return
				}
				r, err := tester.runNow(&ebpf.RunOptions{Data: frame}, false)
				if err != nil {
					t.Error(err)
					return
				}
				if r.Verdict.Passes() {
					passed[i]++
				}
			}
		})
	}
	all.Wait()
	sum := 0
	for _, n := range passed {
		sum += n
	}
	// Who meets another in the same place loses the packet, so that it may
	// take more than the limit's number of attempts.
	if sum != limit {
		t.Errorf("%d connections, want %d", sum, limit)
	}
}
