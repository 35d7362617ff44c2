package datapath

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"tapgate/internal/policy"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root (CAP_BPF and CAP_NET_ADMIN) to load eBPF programs")
	}
	_ = rlimit.RemoveMemlock()
}

func resolve(t testing.TB, xml string) *policy.Policy {
	t.Helper()
	f, faults := nwfilter.Parse([]byte(xml), "test.xml", nwfilter.Options{})
	if f == nil {
		t.Fatal(faults)
	}
	p, err := policy.Resolve(f.Name, []byte{0x52, 0x54, 0, 0, 0, 1}, nil, func(name string) *nwfilter.Filter {
		if name == f.Name {
			return f
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newTestTester(t testing.TB, xml string) *Tester {
	t.Helper()
	needRoot(t)
	tester, err := NewTester(resolve(t, xml), Config{})
	if err != nil {
		var v *ebpf.VerifierError
		if errors.As(err, &v) {
			t.Logf("%+v", v)
		}
		t.Fatal(err)
	}
	t.Cleanup(tester.Close)
	return tester
}

// The stub is weak and noinline for this: clang must not fold its result.
func TestAPolicyThatDropsEverythingDropsEverything(t *testing.T) {
	tester := newTestTester(t, `<filter name="x"><rule action="drop" direction="inout"/></filter>`)
	frame := make([]byte, 60)
	for _, out := range []bool{true, false} {
		r, err := tester.Run(frame, out, 1)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict != verdict.Drop || r.Reason != verdict.Clause {
			t.Errorf("out %v: %+v, want a drop by a rule", out, r)
		}
	}
}

// A transport header behind more extension headers than are followed must not
// get past a rule that would drop it.
func TestLongHeaderChainsAreDropped(t *testing.T) {
	needRoot(t)
	both := newEngines(t, resolve(t, `<filter name="x"><rule action="drop" direction="in"><udp-ipv6/></rule></filter>`))
	defer both.tester.Close()
	for _, headers := range []int{1, 16, 17} {
		chain := bytes.Repeat([]byte{60, 0, 1, 4, 0, 0, 0, 0}, headers)
		chain[len(chain)-8] = 17
		frame := slices.Concat(guestMAC, []byte{0x52, 0x54, 0, 0, 0, 0x99, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(chain) + 8), 60, 64},
			make([]byte, 15), []byte{1}, make([]byte, 15), []byte{2}, chain, []byte{0, 1, 0, 2, 0, 8, 0, 0})
		evaluated, ran, _ := both.run(t, frame, false, 1)
		if evaluated != ran || ran.Verdict != verdict.Drop {
			t.Errorf("%d headers: evaluator %+v, kernel %+v", headers, evaluated, ran)
		}
	}
}

// alone sees to it that the test's testers have tables of their own, in which
// nobody has left anything, and leave none.
func alone(t testing.TB) {
	clear := func() {
		testbeds.mu.Lock()
		defer testbeds.mu.Unlock()
		for _, b := range testbeds.idle {
			b.close()
		}
		testbeds.idle = nil
	}
	clear()
	t.Cleanup(clear)
}

// newUntested loads a policy as it is loaded for a port: for the clock and the
// results of packets that are not of a test run.
func newUntested(t testing.TB, p *policy.Policy, config Config) *Tester {
	t.Helper()
	bed, err := newTestbed()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bed.close)
	spec, err := readSkeleton()
	if err != nil {
		t.Fatal(err)
	}
	f := featuresOf(p)
	bed.variants[f.variant()] = true
	tester := &Tester{bed: bed, test: bed.maps["test"]}
	if err := errors.Join(loadVariant(spec, f, bed.maps), tester.Reset()); err != nil {
		t.Fatal(err)
	}
	config.Port = tester.state.Port
	if err := tester.Load(p, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tester.pair.close)
	return tester
}
