package datapath

import (
	"testing"

	"github.com/cilium/ebpf"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
)

// What is missing of the skeleton never lets a packet pass, whatever the policy.
func TestAPacketIsDroppedWhereSomethingIsMissing(t *testing.T) {
	const drop, next = 2, 0xffffffff
	needRoot(t)
	p := resolve(t, `<filter name="x">
  <rule action="accept" direction="inout"><mac/></rule>
  <rule action="accept" direction="inout"><tcp state="NEW,ESTABLISHED"/></rule>
</filter>`)
	variant := featuresOf(p).variant()
	take := func(step int) func(*Tester) error {
		return func(t *Tester) error { return t.bed.maps[skeletonsMap].Delete(stepPlace(variant, step)) }
	}
	for _, test := range []struct {
		name string
		take func(*Tester) error
		want map[bool]uint32 // by direction: out
	}{
		{"nothing", func(*Tester) error { return nil }, map[bool]uint32{true: next, false: next}},
		{"the first step", take(0), map[bool]uint32{true: drop, false: drop}},
		{"the second step, which only what is sent needs", take(1), map[bool]uint32{true: drop, false: next}},
		{"the last step", take(2), map[bool]uint32{true: drop, false: drop}},
		{"the slot", func(t *Tester) error { return t.bed.maps[configsMap].Put(uint32(0), &skeletonConfig{}) }, map[bool]uint32{true: drop, false: drop}},
		{"the port's entry", func(t *Tester) error { return t.bed.maps[portsMap].Delete(t.state.Port) }, map[bool]uint32{true: drop, false: drop}},
	} {
		t.Run(test.name, func(t *testing.T) {
			live := newUntested(t, p, Config{})
			if err := test.take(live); err != nil {
				t.Fatal(err)
			}
			for out, want := range test.want {
				ends := packet.Ends{Src: guestMAC, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}}
				frame, err := packet.FromText("tcp 10.0.0.1:4000 > 10.0.0.2:80 syn", ends)
				if err != nil {
					t.Fatal(err)
				}
				if !out { // another connection
					frame, err = packet.FromText("tcp 10.0.0.2:4000 > 10.0.0.1:81 syn", ends)
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := live.runs[out].Run(&ebpf.RunOptions{Data: frame})
				if err != nil || got != want {
					t.Errorf("out %v: %#x (%v), want %#x", out, got, err, want)
				}
				direction := policy.In
				if out {
					direction = policy.Out
				}
				words, err := sumOverCPUs(live.pair.maps[totalsMap], uint32(direction))
				if err != nil {
					t.Fatal(err)
				}
				counted := totalsOf(words)
				if failed := counted.Reasons[verdict.Internal] == 1; failed != (want == drop) || counted.Passed.Packets+counted.Dropped.Packets != 1 {
					t.Errorf("out %v: counted %+v", out, counted)
				}
			}
		})
	}
}
