package conntracktest

import (
	"testing"

	"tapgate/internal/packet"
)

// InvalidCase is a sequence whose last packet is INVALID.
type InvalidCase struct {
	Script string
	Why    packet.Invalid
}

// InvalidCases show every cause, where a TCP connection begins with a SYN only.
func InvalidCases() []InvalidCase {
	cases := []InvalidCase{
		{"o:S cut=12 INV", packet.InvalidHeader},
		{"o:udp cut=7 INV", packet.InvalidHeader},
		{"o:udp NEW · r:udp cut=7 INV", packet.InvalidHeader},
		{"o:udp NEW · r:udp length=100 INV", packet.InvalidLength},
		{"o:SF INV", packet.InvalidTCPFlags},
		{"3WHS · o:SR INV", packet.InvalidTCPFlags},
		{"o:A INV", packet.InvalidTCPOpening},
		{"o:S NEW · r:RA(0,1001) EST · r:RA(0,1001) INV", packet.InvalidTCPOpening},
		{"r:SA INV", packet.InvalidTCPOpening},
		{"o:S NEW · o:FA INV", packet.InvalidTCPState},
		{"3WHS · r:S INV", packet.InvalidTCPState},
		{"3WHS · o:A(17385,5001) INV", packet.InvalidTCPWindow},
		{"3WHS · o:A(1001,5002) INV", packet.InvalidTCPWindow},
		{"3WHS · o:R(1000) INV", packet.InvalidTCPReset},
		{"o:sctp(0,init=7,data) INV", packet.InvalidSCTPChunks},
		{"o:sctp(1,data) INV", packet.InvalidSCTPOpening},
		{"ASSOCIATION · o:sctp(1,data) INV", packet.InvalidSCTPTag},
		{"o:sctp(9,heartbeat) NEW · r:sctp(0,init=7) INV", packet.InvalidSCTPState},
		{"o:icmp(40,0,0) INV", packet.InvalidICMPType},
		{"v6 · o:icmp(255,0,0) INV", packet.InvalidICMPType},
		{"o:icmp(0,0,7) INV", packet.InvalidICMPAnswer},
		{"o:udp NEW · o:icmp(3,3,0) about=o:udp INV", packet.InvalidICMPQuote},
		{"r:icmp(3,3,0) about=o:udp INV", packet.InvalidICMPError},
		{"o:gre(1,7,1) INV", packet.InvalidGRE},
	}
	for i := range cases {
		cases[i].Script = expand.Replace(cases[i].Script)
	}
	return cases
}

// RunInvalid puts the cases through new engines that accept everything and pick
// nothing up.
func RunInvalid(t *testing.T, begin func(*testing.T) func(frame []byte, out bool, now int64) (packet.State, packet.Invalid)) {
	seen := map[packet.Invalid]bool{}
	for _, c := range InvalidCases() {
		seen[c.Why] = true
		t.Run(c.Script, func(t *testing.T) {
			steps, err := Script(c.Script)
			if err != nil {
				t.Fatal(err)
			}
			judge, now := begin(t), start
			for i, s := range steps {
				want := packet.NotInvalid
				if i == len(steps)-1 {
					want = c.Why
				}
				state, why := judge(s.Frame, s.Out, now)
				if state != s.State || why != want {
					t.Fatalf("step %d, %s: state %s, cause %q; want %q", i+1, s.Text, StateName(state), why, want)
				}
			}
		})
	}
	for why := packet.NotInvalid + 1; why < packet.NumInvalid; why++ {
		if !seen[why] {
			t.Errorf("no sequence shows %q", why)
		}
	}
}
