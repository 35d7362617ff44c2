package datapath

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
)

// TestResult is what a program decided in a test run.
type TestResult struct {
	Verdict verdict.Verdict
	Reason  verdict.Reason
	// Clause is the ID of the clause that decided, -1 if none did.
	Clause    int
	State     packet.State
	Direction packet.Direction
	// Invalid is why the state is INVALID.
	Invalid packet.Invalid
}

// Tester runs a policy's two programs on frames without a device
// (BPF_PROG_TEST_RUN), with a clock of its own. It is not safe for concurrent
// use.
type Tester struct {
	bed   *testbed
	pair  *pair
	test  *ebpf.Map
	runs  map[bool]*ebpf.Program
	state testState
}

// testState mirrors struct test.
type testState struct {
	Now     uint64
	Port    uint32
	Invalid uint32
}

// NewTester loads a policy. It needs CAP_BPF and CAP_NET_ADMIN.
func NewTester(p *policy.Policy, config Config) (*Tester, error) {
	bed, err := takeTestbed(featuresOf(p))
	if err != nil {
		return nil, err
	}
	t := &Tester{bed: bed, test: bed.maps["test"]}
	if err := errors.Join(t.Load(p, config), t.Reset()); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// Load puts a policy in the place of the one before. Connections live on.
func (t *Tester) Load(p *policy.Policy, config Config) error {
	if err := t.bed.need(featuresOf(p)); err != nil {
		return err
	}
	var err error
	if config.Mark == 0 {
		if config.Mark, err = newMark(); err != nil {
			return err
		}
	}
	// Test runs have the number that Reset gives; 0 is that of a slot which nobody
	// has.
	config.Port = 1
	const slot = 0
	loaded, err := (&common{maps: t.bed.maps}).load(slot, p, config.Sets, config, nil)
	if err != nil {
		return err
	}
	if t.pair != nil {
		t.pair.close()
	}
	t.pair = loaded
	t.runs = map[bool]*ebpf.Program{true: loaded.programs[policy.Out], false: loaded.programs[policy.In]}
	return nil
}

// Reset empties the connection table: the port gets a new number, under which
// nothing is known. It may send as many answers as if it had sent none.
func (t *Tester) Reset() error {
	var err error
	if t.state.Port, err = t.bed.nextPort(); err != nil {
		return err
	}
	return t.test.Put(uint32(0), &t.state)
}

// Run judges a whole Ethernet frame; now is in nanoseconds.
func (t *Tester) Run(frame []byte, out bool, now int64) (TestResult, error) {
	return t.run(&ebpf.RunOptions{Data: frame}, out, now)
}

// RunAnswer is Run for a policy that rejects. It gives the frame with which the
// packet was answered, too; nil if it was not.
func (t *Tester) RunAnswer(frame []byte, out bool, now int64) ([]byte, TestResult, error) {
	// Room for a frame of the longest answer, or the frame itself.
	options := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, max(len(frame), 2048))}
	r, err := t.run(options, out, now)
	if err != nil || bytes.Equal(options.DataOut, frame) {
		return nil, r, err
	}
	return options.DataOut, r, nil
}

func (t *Tester) run(options *ebpf.RunOptions, out bool, now int64) (TestResult, error) {
	if uint64(now) != t.state.Now {
		t.state.Now = uint64(now)
		if err := t.test.Put(uint32(0), &t.state); err != nil {
			return TestResult{}, fmt.Errorf("set the test clock: %w", err)
		}
	}
	return t.runNow(options, out)
}

// runNow judges a frame at the time that is set.
func (t *Tester) runNow(options *ebpf.RunOptions, out bool) (TestResult, error) {
	code, err := t.runs[out].Run(options)
	if err != nil {
		return TestResult{}, fmt.Errorf("test run of %d bytes: %w", len(options.Data), err)
	}
	r := decodeResult(code)
	if r.State == packet.StateInvalid {
		var after testState
		if err := t.test.Lookup(uint32(0), &after); err != nil {
			return TestResult{}, fmt.Errorf("ask why the packet is INVALID: %w", err)
		}
		r.Invalid = packet.Invalid(after.Invalid)
	}
	return r, nil
}

// Observed gives what the programs copied, for whoever learns addresses, since it
// was last asked or Reset was called, in order. There is no name of a port in it,
// and its times are those that Run was given.
func (t *Tester) Observed() ([]Observation, error) { return t.bed.observed() }

// decodeResult undoes test_result in skeleton.c.
func decodeResult(code uint32) TestResult {
	r := TestResult{
		Verdict:   verdict.Verdict(code >> 30),
		Reason:    verdict.Reason(code >> 26 & 15),
		Direction: packet.Direction(code >> 21 & 3),
		Clause:    int(code & 0x1fffff),
	}
	if bit := code >> 23 & 7; bit > 0 {
		r.State = 1 << (bit - 1)
	}
	if r.Clause == 0x1fffff {
		r.Clause = -1
	}
	return r
}

// Programs are the two programs, for benchmarks.
func (t *Tester) Programs() (out, in *ebpf.Program) { return t.runs[true], t.runs[false] }

// Close frees programs and maps.
func (t *Tester) Close() {
	if t.pair != nil {
		t.pair.close()
	}
	t.bed.giveBack()
}
