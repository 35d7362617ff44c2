package policy

import (
	"testing"

	"tapgate/internal/packet"
)

func TestConditionsOnMissingFields(t *testing.T) {
	term := equals(packet.DstPort, 80)
	with := packet.Packet{Have: packet.HavePorts, DstPort: 80}
	other := packet.Packet{Have: packet.HavePorts, DstPort: 81}
	without := packet.Packet{DstPort: 80}
	for _, row := range []struct {
		name    string
		packet  packet.Packet
		negated bool
		want    bool
	}{
		{"equal", with, false, true},
		{"equal, negated", with, true, false},
		{"other", other, false, false},
		{"other, negated", other, true, true},
		{"missing", without, false, false},
		{"missing, negated", without, true, false},
	} {
		c := Condition{Negated: row.negated, Terms: []Term{term}}
		if got := c.Holds(&row.packet); got != row.want {
			t.Errorf("%s: holds %v, want %v", row.name, got, row.want)
		}
	}
}

// A negated condition of two terms holds unless both do.
func TestANegatedPair(t *testing.T) {
	c := Condition{Negated: true, Terms: []Term{equals(packet.ICMPType, 3), equals(packet.ICMPCode, 1)}}
	for code, want := range map[uint8]bool{1: false, 2: true} {
		p := packet.Packet{Have: packet.HaveICMP, ICMPType: 3, ICMPCode: code}
		if got := c.Holds(&p); got != want {
			t.Errorf("code %d: holds %v, want %v", code, got, want)
		}
	}
}

func TestWhatAFragmentLacks(t *testing.T) {
	ports := must(equals(packet.DstPort, 80))
	flags := must(equals(packet.TCPFlags, 2))
	state := must(anyBit(packet.ConnState, uint64(packet.StateNew)))
	address := must(equals(packet.DstIP, 1))
	for _, row := range []struct {
		name                         string
		fragment                     packet.Fragment
		have                         packet.Have
		ports, flags, state, address bool
	}{
		{"a whole datagram lacks nothing", packet.FragmentNone, 0, false, false, false, false},
		{"nor does a later fragment that knows its first", packet.FragmentLater, 0, false, false, false, false},
		{"one that does not lacks the transport header", packet.FragmentOrphan, 0, true, true, true, false},
		{"a short first one lacks what it does not hold", packet.FragmentShort, packet.HavePorts, false, true, true, false},
	} {
		p := packet.Packet{Fragment: row.fragment, Have: row.have}
		got := []bool{ports.Lacks(&p), flags.Lacks(&p), state.Lacks(&p), address.Lacks(&p)}
		want := []bool{row.ports, row.flags, row.state, row.address}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: lacks ports, flags, state, address %v, want %v", row.name, got, want)
				break
			}
		}
	}
}

// The compiler leaves a clause at the first condition that a fragment lacks,
// so those that need less of the transport header must come first.
func TestConditionsThatNeedMoreComeLater(t *testing.T) {
	p := resolve(t, nil, `<filter name="x"><rule action="accept" direction="in"><tcp option="5" flags="SYN/ALL" dstportstart="22" srcportstart="1" dstipaddr="10.0.0.1"/></rule>
		<rule action="accept" direction="in"><icmp type="3" code="1"/></rule>
		<rule action="accept" direction="in"><tcp state="NEW" option="5" dstportstart="22"/></rule></filter>`)
	rank := map[packet.Have]int{packet.HavePorts: 1, packet.HaveICMP | packet.HaveICMPv6: 1, packet.HaveTCP: 2, packet.HaveTCPOptions: 3, 0: 4}
	for _, c := range p.Clauses {
		last := 0
		for _, cond := range c.Conditions {
			if !cond.NeedsTransport() {
				continue
			}
			for _, term := range cond.Terms {
				r, known := rank[term.Field.Info().Needs]
				if !known || r < last {
					t.Errorf("%s: %s comes too late", c, cond)
				}
				last = r
			}
		}
		if last == 0 {
			t.Errorf("%s has no condition on the transport header", c)
		}
	}
}
