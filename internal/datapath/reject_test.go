package datapath

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"pgregory.net/rapid"

	"tapgate/internal/packet"
	"tapgate/internal/reject"
	"tapgate/internal/reject/rejecttest"
	"tapgate/internal/verdict"
)

const rejectAll = `<filter name="reject-all">
  <rule action="reject" direction="inout"><all/></rule>
  <rule action="reject" direction="inout"><all-ipv6/></rule>
</filter>`

func TestTheProgramAnswersAsTheEvaluator(t *testing.T) {
	tester := newTestTester(t, rejectAll)
	cases, err := rejecttest.Cases()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if err := tester.Reset(); err != nil {
			t.Fatal(err)
		}
		got, r, err := tester.RunAnswer(c.Frame, c.Out, 1)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict == verdict.Pass {
			t.Errorf("%s: %+v", c.Name, r)
		}
		if !bytes.Equal(got, c.Answer) {
			t.Errorf("%s: %s\n got %s\nwant %s", c.Name, c.Text, hex.EncodeToString(got), hex.EncodeToString(c.Answer))
		}
	}
}

// TestEnginesAnswerAlike rejects random packets between two hosts, most of
// which must be answered.
func TestEnginesAnswerAlike(t *testing.T) {
	tester := newTestTester(t, rejectAll)
	met := map[reject.Kind]int{}
	rapid.Check(t, func(t *rapid.T) {
		if err := tester.Reset(); err != nil {
			t.Fatal(err)
		}
		s := newSource(t)
		for range 40 { // the limit is 50
			out := s.chance(50)
			frame := drawFrame(s, out)
			copy(frame, slices.Concat(rejecttest.Guest, rejecttest.Peer))
			if out {
				copy(frame, slices.Concat(rejecttest.Peer, rejecttest.Guest))
			}
			p := packet.Decode(frame, out)
			got, r, err := tester.RunAnswer(frame, out, 1)
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			if r.Verdict == verdict.Reject {
				want = reject.Answer(&p, rejecttest.Guest)
				met[reject.KindOf(&p, rejecttest.Guest)]++
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("out %v: %x\n got %x\nwant %x\n%+v", out, frame, got, want, p)
			}
		}
	})
	t.Logf("answers %v", met)
	if len(met) != 4 {
		t.Errorf("kinds of answers %v", met)
	}
}

func TestAnswersAreLimited(t *testing.T) {
	tester := newTestTester(t, rejectAll)
	cases, err := rejecttest.Cases()
	if err != nil {
		t.Fatal(err)
	}
	out, in := cases[0], cases[1]
	if !out.Out || in.Out || out.Answer == nil || in.Answer == nil {
		t.Fatal("the first cases are not one out and one in")
	}
	var limits [2]reject.Limit
	answered := 0
	now := time.Hour.Nanoseconds()
	for i := range 400 {
		for d, c := range []rejecttest.Case{in, out} {
			got, _, err := tester.RunAnswer(c.Frame, c.Out, now)
			if err != nil {
				t.Fatal(err)
			}
			if want := limits[d].Allow(now); (got != nil) != want {
				t.Fatalf("packet %d, out %v: answered %v, want %v", i, c.Out, got != nil, want)
			}
			if got != nil {
				answered++
			}
		}
		now += 3 * time.Millisecond.Nanoseconds()
	}
	entry, err := lookUpPort(tester.bed.maps[portsMap], tester.state.Port)
	if err != nil {
		t.Fatal(err)
	}
	a := entry.Answers
	if sum := a[0].Sent + a[1].Sent; a[0].Answers != a[1].Answers || int(sum) != answered || a[0].Sent+a[0].Suppressed != 400 || a[0].Suppressed == 0 {
		t.Errorf("counted %+v, %d answered", a, answered)
	}
}

// skBuff mirrors struct __sk_buff.
type skBuff struct {
	_  [12]uint32
	CB [5]uint32
	_  [31]uint32
}

// The port's other program lets pass what bears the mark, and takes it off.
func TestOnlyTheMarkLetsAnAnswerPass(t *testing.T) {
	rejecting := resolve(t, rejectAll)
	needRoot(t)
	const mark = 0x0123456789abcdef
	live := newUntested(t, rejecting, Config{Mark: mark})
	cases, err := rejecttest.Cases()
	if err != nil {
		t.Fatal(err)
	}
	const (
		next     = 0xffffffff
		redirect = 7
	)
	run := func(c rejecttest.Case, mark uint64, program string) (skBuff, uint32) {
		t.Helper()
		in, out := skBuff{CB: [5]uint32{uint32(mark), uint32(mark >> 32), 3, 4, 5}}, skBuff{}
		code, err := live.runs[program == programOut].Run(&ebpf.RunOptions{Data: c.Frame, Context: in, ContextOut: &out})
		if err != nil {
			t.Fatal(err)
		}
		return out, code
	}
	for _, program := range []string{programOut, programIn} {
		c := cases[0]
		if program == programIn {
			c = cases[1]
		}
		if out, code := run(c, mark, program); code != next || out.CB != [5]uint32{0, 0, 3, 4, 5} {
			t.Errorf("%s: the mark gives %d with %x", program, code, out.CB)
		}
		for _, other := range []uint64{0, mark ^ 1, mark ^ 1<<63, mark & 0xffffffff, mark >> 32 << 32} {
			out, code := run(c, other, program)
			if code != redirect {
				t.Errorf("%s: %x gives %d", program, other, code)
			}
			if got := uint64(out.CB[0]) | uint64(out.CB[1])<<32; got != mark {
				t.Errorf("%s: the answer bears the mark %x, want %x", program, got, mark)
			}
		}
	}
}
