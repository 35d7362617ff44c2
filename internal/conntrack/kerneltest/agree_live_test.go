package kerneltest

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tapgate/internal/conntrack"
	"tapgate/internal/conntrack/conntracktest"
	"tapgate/internal/packet"
)

// More than the usual 100 sequences of each kind: they are short. Long runs:
//
//	go test ./internal/conntrack/kerneltest -rapid.checks=20000
func init() { flag.Set("rapid.checks", "300") }

// The tracker and the running kernel find the same states and directions in
// random sequences, and leave the same connections with the same time to live.
func TestAgreesWithKernel(t *testing.T) {
	for _, c := range []struct {
		name string
		draw func(*rapid.T) string
	}{
		{"tcp", drawTCP},
		{"sctp", drawSCTP},
		{"other", drawOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A SYN alone opens connections in the second.
			comparisons := []*comparison{newComparison(t, true), newComparison(t, false)}
			rapid.Check(t, func(t *rapid.T) {
				text := c.draw(t)
				strict := rapid.IntRange(0, 9).Draw(t, "strict") == 9
				x := comparisons[0]
				if strict {
					x = comparisons[1]
				}
				if err := x.run(text); err != nil {
					text, err = x.shortest(text, err)
					t.Fatalf("%v\nstrict %v, %s", err, strict, text)
				}
			})
			for _, x := range comparisons {
				x.report(t)
			}
		})
	}
}

// comparison puts sequences through both trackers.
type comparison struct {
	kernel  *Kernel
	config  conntrack.Config
	packets int
	states  map[packet.State]int
	stalled int
}

func newComparison(t *testing.T, pickUp bool) *comparison {
	k := newKernel(t)
	loose := 0
	if pickUp {
		loose = 1
	}
	if err := k.Set("nf_conntrack_tcp_loose", loose); err != nil {
		t.Fatal(err)
	}
	return &comparison{kernel: k, config: conntrack.Config{PickUp: pickUp}, states: map[packet.State]int{}}
}

func (x *comparison) report(t *testing.T) {
	names := map[string]int{}
	for state, n := range x.states {
		names[conntracktest.StateName(state)] = n
	}
	t.Logf("pick-up %v: %d packets, %v, %d sequences on a stalled machine", x.config.PickUp, x.packets, names, x.stalled)
}

// maxStall is the time that a sequence may take by itself: the kernel's clock runs
// on meanwhile.
const maxStall = 500 * time.Millisecond

// run compares packet by packet.
func (x *comparison) run(text string) error {
	if text == "" {
		return nil
	}
	steps, err := conntracktest.Script(text)
	if err != nil {
		return err
	}
	if err := x.kernel.Reset(); err != nil {
		return err
	}
	table := conntrack.NewTable(x.config)
	now := int64(1000 * time.Second)
	begin := time.Now()
	for i, s := range steps {
		if time.Since(begin) > maxStall {
			x.stalled++
			return nil
		}
		if s.Frame == nil {
			now += int64(s.Pause)
			if err := x.kernel.Elapse(s.Pause); err != nil {
				return err
			}
			begin = begin.Add(tick)
			continue
		}
		if err := x.step(table, s, now); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.Text, err)
		}
	}
	return nil
}

// shortest leaves out of a sequence what its error does not need.
func (x *comparison) shortest(text string, err error) (string, error) {
	steps := strings.Split(text, separator)
	for i := len(steps) - 1; i >= 0; i-- {
		fewer := slices.Delete(slices.Clone(steps), i, i+1)
		if e := x.run(strings.Join(fewer, separator)); e != nil {
			steps, err = fewer, e
		}
	}
	return strings.Join(steps, separator), err
}

func (x *comparison) step(table *conntrack.Table, s conntracktest.Step, now int64) error {
	p := packet.Decode(s.Frame, s.Out)
	p.Now = now
	if p.Malformed != packet.WellFormed {
		return fmt.Errorf("a malformed packet, which no tracker sees")
	}
	pending := table.Classify(&p)
	if !s.Drop {
		if err := table.Commit(pending); err != nil {
			return err
		}
	}
	state, direction, err := x.kernel.Judge(s.Frame, !s.Drop)
	if err != nil {
		return err
	}
	x.packets++
	x.states[state]++
	if state != p.State || direction != p.Direction {
		return fmt.Errorf("here it is %s/%d, in the kernel %s/%d", conntracktest.StateName(p.State), p.Direction,
			conntracktest.StateName(state), direction)
	}
	return x.sameConnections(table, now)
}

func (x *comparison) sameConnections(table *conntrack.Table, now int64) error {
	kernels, err := x.kernel.entries()
	if err != nil {
		return err
	}
	for c := range table.All(now) {
		origin := originOf(c)
		k := kernels[origin]
		if k == nil {
			return fmt.Errorf("the kernel does not have %v, left %v", c, time.Duration(c.Expires-now))
		}
		delete(kernels, origin)
		if c.ProtoState() != k.protoState || c.SeenReply != k.replied || c.Assured != k.assured || c.Expected != k.isExpected {
			return fmt.Errorf("here %v, in the kernel %+v", c, *k)
		}
		// The kernel rounds down, and time goes on while it is asked.
		if left := time.Duration(c.Expires - now); k.left > left || k.left < left-time.Second {
			return fmt.Errorf("here %v has %v left, in the kernel %v", c, left, k.left)
		}
	}
	for _, k := range kernels {
		return fmt.Errorf("only the kernel has %+v", *k)
	}
	return nil
}
