package datapath

import (
	"testing"

	"tapgate/internal/packet"
	"tapgate/internal/policy"
)

func (p *engines) swap(t interface{ Fatal(...any) }, next *policy.Policy, config Config) {
	if err := p.tester.Load(next, config); err != nil {
		t.Fatal(err)
	}
	p.eval.SetPolicy(next)
}

const (
	// served lets connections to the guest's port 22 and their answers through.
	served = `<filter name="served">
  <rule action="accept" direction="in"><tcp dstportstart="22" state="NEW,ESTABLISHED"/></rule>
  <rule action="accept" direction="out"><tcp srcportstart="22" state="ESTABLISHED"/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`
	// servedNoMore lacks the rule that admitted them.
	servedNoMore = `<filter name="served">
  <rule action="accept" direction="out"><tcp srcportstart="22" state="ESTABLISHED"/></rule>
  <rule action="drop" direction="inout"><all/></rule>
</filter>`
)

// What a connection once was admitted by does not count: each packet is judged
// by the rules that are in force. The connection itself lives on, so that it
// goes on where it was once its rule is back.
func TestAChangedPolicyIsHeldAgainstLiveConnections(t *testing.T) {
	needRoot(t)
	before, after := resolve(t, served), resolve(t, servedNoMore)
	both := newEngines(t, before)
	defer both.tester.Close()
	inForce, now := before, int64(1e9)
	for i, step := range []struct {
		policy *policy.Policy
		out    bool
		text   string
		passes bool
		state  packet.State
	}{
		{before, false, "tcp 10.0.0.2:4000 > 10.0.0.1:22 syn seq 100 win 8000", true, packet.StateNew},
		{before, true, "tcp 10.0.0.1:22 > 10.0.0.2:4000 syn ack seq 500 ack 101 win 8000", true, packet.StateEstablished},
		{before, false, "tcp 10.0.0.2:4000 > 10.0.0.1:22 ack seq 101 ack 501 win 8000", true, packet.StateEstablished},
		{after, false, "tcp 10.0.0.2:4000 > 10.0.0.1:22 psh ack seq 101 ack 501 win 8000 len 10", false, packet.StateEstablished},
		{after, true, "tcp 10.0.0.1:22 > 10.0.0.2:4000 psh ack seq 501 ack 101 win 8000 len 10", true, packet.StateEstablished},
		{after, false, "tcp 10.0.0.2:4000 > 10.0.0.1:22 ack seq 111 ack 511 win 8000", false, packet.StateEstablished},
		{after, false, "tcp 10.0.0.2:4001 > 10.0.0.1:22 syn seq 100 win 8000", false, packet.StateNew},
		{before, false, "tcp 10.0.0.2:4000 > 10.0.0.1:22 psh ack seq 101 ack 511 win 8000 len 10", true, packet.StateEstablished},
		{before, true, "tcp 10.0.0.1:22 > 10.0.0.2:4000 ack seq 511 ack 111 win 8000", true, packet.StateEstablished},
		{before, false, "tcp 10.0.0.2:4001 > 10.0.0.1:22 ack seq 101 ack 501 win 8000", true, packet.StateNew}, // nothing is left of its SYN
	} {
		if inForce != step.policy {
			inForce = step.policy
			both.swap(t, inForce, Config{})
		}
		ends := packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 0x99}, Dst: guestMAC}
		if step.out {
			ends.Src, ends.Dst = ends.Dst, ends.Src
		}
		frame, err := packet.FromText(step.text, ends)
		if err != nil {
			t.Fatal(err)
		}
		now += 1e6
		evaluated, ran, _ := both.run(t, frame, step.out, now)
		if evaluated != ran || ran.Verdict.Passes() != step.passes || ran.State != step.state {
			t.Errorf("step %d, %s:\nevaluator %+v\n   kernel %+v\nwant passes %v, state %d", i+1, step.text, evaluated, ran, step.passes, step.state)
		}
	}
}
