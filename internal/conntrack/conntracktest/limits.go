package conntracktest

import (
	"strings"
	"testing"

	"tapgate/internal/packet"
)

// limitCase is what rules with connlimit-above make of a sequence. A line is
// "in PACKET: pass", "out PACKET: drop" or "wait DURATION"; g is the guest, p,
// q and r are others.
type limitCase struct{ name, rules, lines string }

const (
	dropAboveTwo = `<rule action="drop" direction="in"><tcp dstportstart="22" connlimit-above="2"/></rule>`
	dropAboveOne = `<rule action="drop" direction="in"><tcp dstportstart="22" connlimit-above="1"/></rule>`
	udpAboveOne  = `<rule action="drop" direction="in"><udp connlimit-above="1"/></rule>`
	allAboveOne  = `<rule action="drop" direction="in"><all connlimit-above="1"/></rule>`
	// notEcho drops at the link stage, which on the way in comes last.
	notEcho = `<rule action="drop" direction="in" priority="-900"><ip protocol="udp" dstportstart="7"/></rule>`
)

var limitCases = []limitCase{
	{"the connection above the limit is refused", dropAboveTwo, `
		in tcp p:1 > g:22 syn: pass
		in tcp p:2 > g:22 syn: pass
		in tcp p:3 > g:22 syn: drop
		in tcp p:2 > g:22 syn: pass
		in tcp p:3 > g:22 syn: drop`},
	{"a connection that comes back after it was reset needs a place again", dropAboveOne, `
		in tcp p:1 > g:22 syn seq 100: pass
		out tcp g:22 > p:1 syn ack seq 500 ack 101: pass
		in tcp p:1 > g:22 ack seq 101 ack 501: pass
		out tcp g:22 > p:1 rst seq 501: pass
		in tcp p:2 > g:22 syn seq 100: pass
		in tcp p:1 > g:22 syn seq 100: pass
		out tcp g:22 > p:1 syn ack seq 500 ack 101: pass
		in tcp p:1 > g:22 ack seq 101 ack 501: drop
		in tcp p:2 > g:22 syn seq 100: drop`},
	{"each source has its own count", dropAboveOne, `
		in tcp p:1 > g:22 syn: pass
		in tcp q:1 > g:22 syn: pass
		in tcp q:2 > g:22 syn: drop
		in tcp p:2 > g:22 syn: drop
		in tcp r:2 > g:22 syn: pass`},
	{"what the rule does not see is not counted", dropAboveOne, `
		in tcp p:1 > g:80 syn: pass
		in tcp p:2 > g:80 syn: pass
		in tcp p:1 > g:22 syn: pass
		in tcp p:2 > g:22 syn: drop`},
	{"0 allows none", `<rule action="drop" direction="in"><tcp connlimit-above="0"/></rule>`, `
		in tcp p:1 > g:22 syn: drop
		in udp p:1 > g:22: pass`},
	{"a reset connection leaves its place", dropAboveOne, `
		in tcp p:1 > g:22 syn seq 100: pass
		in tcp p:2 > g:22 syn: drop
		out tcp g:22 > p:1 rst ack seq 0 ack 101: pass
		in tcp p:2 > g:22 syn: pass
		in tcp p:3 > g:22 syn: drop`},
	{"a closed connection leaves its place, a closing one does not", dropAboveOne, `
		in tcp p:1 > g:22 syn seq 100: pass
		out tcp g:22 > p:1 syn ack seq 500 ack 101: pass
		in tcp p:1 > g:22 ack seq 101 ack 501: pass
		in tcp p:1 > g:22 fin ack seq 101 ack 501: pass
		in tcp p:2 > g:22 syn: drop
		out tcp g:22 > p:1 fin ack seq 501 ack 102: pass
		in tcp p:2 > g:22 syn: drop
		in tcp p:1 > g:22 ack seq 102 ack 502: pass
		in tcp p:2 > g:22 syn: pass`},
	{"an expired connection leaves its place", udpAboveOne, `
		in udp p:1 > g:53: pass
		wait 29s
		in udp p:2 > g:53: drop
		wait 2s
		in udp p:2 > g:53: pass
		in udp p:1 > g:53: drop`},
	{"a connection that is prolonged keeps it", udpAboveOne, `
		in udp p:1 > g:53: pass
		wait 29s
		out udp g:53 > p:1: pass
		wait 29s
		in udp p:2 > g:53: drop`},
	{"an expired connection that is opened from the other end is another", udpAboveOne, `
		in udp p:1 > g:53: pass
		wait 31s
		out udp g:53 > p:1: pass
		in udp p:2 > g:53: pass
		in udp p:3 > g:53: drop`},
	{"answers count for who asked", allAboveOne, `
		out udp g:1 > p:53: pass
		in udp p:53 > g:1: pass
		out udp g:2 > p:53: pass
		in udp p:53 > g:2: pass
		in udp p:1 > g:7: pass
		in udp p:2 > g:7: drop
		in udp p:53 > g:1: pass`},
	{"what another rule drops is not counted", `<rule action="drop" direction="in" priority="600"><udp dstportstart="7"/></rule>` + allAboveOne, `
		in udp p:1 > g:7: drop
		in udp p:2 > g:7: drop
		in udp p:3 > g:53: pass
		in udp p:4 > g:53: drop`},
	{"what the link stage drops is not counted", notEcho + allAboveOne, `
		in udp p:1 > g:7: drop
		in udp p:3 > g:53: pass
		in udp p:4 > g:53: drop`},
	{"negated: at most", `<rule action="accept" direction="in"><udp match="no" connlimit-above="1"/></rule><rule action="drop" direction="in" priority="900"><udp/></rule>`, `
		in udp p:1 > g:7: pass
		in udp p:2 > g:7: drop
		in udp p:1 > g:7: pass
		wait 31s
		in udp p:2 > g:7: pass`},
	{"a rule that accepts only above the limit never gets there", `<rule action="accept" direction="in"><udp connlimit-above="1"/></rule><rule action="drop" direction="in" priority="900"><udp/></rule>`, `
		in udp p:1 > g:7: drop
		in udp p:2 > g:7: drop
		in udp p:3 > g:7: drop`},
	{"a packet without a connection counts nothing", `<rule action="drop" direction="in"><tcp connlimit-above="0"/></rule>`, `
		in tcp p:1 > g:22 fin: pass
		in tcp p:1 > g:22 syn ack: pass
		in tcp p:1 > g:22 syn: drop`},
	{"a ping is a connection", allAboveOne, `
		in icmp p > g type 8: pass
		in udp p:1 > g:7: drop`},
	{"a connection of before the rule saw any counts once it is seen", `<rule action="drop" direction="in"><tcp flags="SYN,ACK/ACK" connlimit-above="1"/></rule>`, `
		in tcp p:1 > g:22 syn seq 100: pass
		in tcp p:2 > g:22 syn seq 100: pass
		out tcp g:22 > p:1 syn ack seq 500 ack 101: pass
		out tcp g:22 > p:2 syn ack seq 500 ack 101: pass
		in tcp p:1 > g:22 ack seq 101 ack 501: pass
		in tcp p:2 > g:22 ack seq 101 ack 501: drop`},
	{"IPv6", `<rule action="drop" direction="in"><tcp-ipv6 connlimit-above="1"/></rule>`, `
		in tcp [fd00::2]:1 > [fd00::1]:22 syn: pass
		in tcp [fd00::2]:2 > [fd00::1]:22 syn: drop
		in tcp [fd00:1::2]:2 > [fd00::1]:22 syn: pass
		in tcp p:1 > g:22 syn: pass
		in tcp p:2 > g:22 syn: pass`},
	{"on the way out the guest's own address is the source", `<rule action="drop" direction="out"><tcp connlimit-above="1"/></rule>`, `
		out tcp g:1 > p:80 syn: pass
		out tcp g:2 > q:80 syn: drop
		in tcp p:5 > g:80 syn: pass`},
}

var limitNames = strings.NewReplacer(" g:", " 10.0.0.1:", " p:", " 10.0.0.2:", " q:", " 10.0.0.3:", " r:", " 10.0.0.4:",
	" g ", " 10.0.0.1 ", " p ", " 10.0.0.2 ", " q ", " 10.0.0.3 ", " r ", " 10.0.0.4 ")

// RunLimits runs sequences that are about connlimit-above. begin gives the
// engine, with an empty table, for the rules of a filter.
func RunLimits(t *testing.T, begin func(t *testing.T, filter string) func(frame []byte, out bool, now int64) (passed bool)) {
	ends := packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 1}, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}}
	for _, c := range limitCases {
		t.Run(c.name, func(t *testing.T) {
			decide := begin(t, `<filter name="x">`+c.rules+`</filter>`)
			eachLine(t, c.lines, func(line string, tick func() int64) {
				at := strings.LastIndex(line, ": ")
				text, out := strings.CutPrefix(line[:at], "out ")
				text = strings.TrimPrefix(text, "in ")
				frame, err := packet.FromText(limitNames.Replace(" " + text)[1:], ends)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				if got, want := decide(frame, out, tick()), line[at+2:] == "pass"; got != want {
					t.Errorf("%s: passed %v", line, got)
				}
			})
		})
	}
}
