package conntracktest

import (
	"strings"
	"testing"

	"tapgate/internal/packet"
)

// quotaCase is what a full quota makes of a sequence. A line is "in PACKET:
// STATE", "in PACKET: full" if the packet is refused for lack of room, or "wait
// DURATION"; g is the guest, p, q and r are others. "open p:1" is a whole
// handshake.
type quotaCase struct {
	name  string
	quota int
	lines string
}

var quotaCases = []quotaCase{
	{"nothing gives way to one too many", 2, `
		in udp p:1 > g:53: NEW
		in icmp p > g type 8: NEW
		in udp p:2 > g:53: full
		in tcp p:1 > g:22 syn: full
		in udp p:1 > g:53: NEW
		out udp g:53 > p:1: EST`},
	{"the oldest opening gives way", 3, `
		in tcp p:1 > g:22 syn seq 100: NEW
		in tcp p:2 > g:22 syn seq 100: NEW
		in tcp p:3 > g:22 syn seq 100: NEW
		in tcp p:4 > g:22 syn seq 100: NEW
		out tcp g:22 > p:1 syn ack seq 500 ack 101: INV
		out tcp g:22 > p:2 syn ack seq 500 ack 101: EST
		out tcp g:22 > p:3 syn ack seq 500 ack 101: EST
		out tcp g:22 > p:4 syn ack seq 500 ack 101: EST`},
	{"an answered opening gives way", 2, `
		in tcp p:1 > g:22 syn seq 100: NEW
		out tcp g:22 > p:1 syn ack seq 500 ack 101: EST
		in tcp p:2 > g:22 syn seq 100: NEW
		in tcp p:3 > g:22 syn seq 100: NEW
		out tcp g:22 > p:1 syn ack seq 500 ack 101: INV`},
	{"an established connection does not", 2, `
		open p:1
		open p:2
		in tcp p:3 > g:22 syn: full
		in tcp p:1 > g:22 ack seq 101 ack 501: EST
		in tcp p:2 > g:22 ack seq 101 ack 501: EST`},
	{"an older established connection is passed over", 3, `
		open p:1
		in tcp p:2 > g:22 syn seq 100: NEW
		open p:3
		in tcp p:4 > g:22 syn seq 100: NEW
		in tcp p:5 > g:22 syn seq 100: NEW
		in tcp p:1 > g:22 ack seq 101 ack 501: EST
		in tcp p:3 > g:22 ack seq 101 ack 501: EST
		out tcp g:22 > p:2 syn ack seq 500 ack 101: INV
		out tcp g:22 > p:4 syn ack seq 500 ack 101: INV
		out tcp g:22 > p:5 syn ack seq 500 ack 101: EST`},
	{"a handshake that is slower than the flood fails, its repetition may not", 2, `
		in tcp p:1 > g:22 syn seq 100: NEW
		in tcp p:2 > g:22 syn seq 100: NEW
		in tcp p:3 > g:22 syn seq 100: NEW
		in tcp p:1 > g:22 syn seq 100: NEW
		out tcp g:22 > p:2 syn ack seq 500 ack 101: INV
		out tcp g:22 > p:1 syn ack seq 500 ack 101: EST
		in tcp p:1 > g:22 ack seq 101 ack 501: EST
		in tcp p:4 > g:22 syn seq 100: NEW
		in tcp p:5 > g:22 syn seq 100: NEW
		in tcp p:1 > g:22 ack seq 101 ack 501: EST`},
	{"what follows in one that was given up is as if it had never been", 1, `
		in tcp p:1 > g:22 syn seq 100: NEW
		in tcp p:2 > g:22 syn seq 100: NEW
		in tcp p:1 > g:22 fin ack seq 101 ack 501: INV
		in tcp p:1 > g:22 rst seq 101: INV
		in tcp p:1 > g:22 ack seq 101 ack 501: NEW
		in tcp p:2 > g:22 fin ack seq 101 ack 501: INV`},
	{"a closed connection gives way", 1, `
		open p:1
		in tcp p:2 > g:22 syn: full
		in tcp p:1 > g:22 fin ack seq 101 ack 501: EST
		out tcp g:22 > p:1 fin ack seq 501 ack 102: EST
		in tcp p:2 > g:22 syn: full
		in tcp p:1 > g:22 ack seq 102 ack 502: EST
		in tcp p:1 > g:22 ack seq 102 ack 502: EST
		in tcp p:2 > g:22 syn: NEW
		out tcp g:22 > p:1 fin ack seq 501 ack 102: INV`},
	{"a reset connection gives way, behind those that are older", 2, `
		open p:1
		in tcp p:2 > g:22 syn seq 100: NEW
		out tcp g:22 > p:1 rst seq 501: EST
		in tcp p:3 > g:22 syn seq 100: NEW
		out tcp g:22 > p:2 syn ack seq 500 ack 101: INV
		in tcp p:1 > g:22 ack seq 101 ack 501: EST
		in tcp p:4 > g:22 syn seq 100: NEW
		in tcp p:1 > g:22 fin ack seq 101 ack 501: INV`},
	{"a reset connection that was alive after all does not", 1, `
		open p:1
		out tcp g:22 > p:1 rst seq 501: EST
		in tcp p:1 > g:22 syn seq 9000: EST
		out tcp g:22 > p:1 syn ack seq 7000 ack 9001: EST
		in tcp p:2 > g:22 syn: full
		in tcp p:1 > g:22 ack seq 9001 ack 7001: EST
		in tcp p:2 > g:22 syn: full`},
	{"an unanswered pick-up gives way", 1, `
		in tcp p:1 > g:22 ack seq 101 ack 501: NEW
		in tcp p:1 > g:22 ack seq 101 ack 501: NEW
		in tcp p:2 > g:22 ack seq 101 ack 501: NEW
		out tcp g:22 > p:2 ack seq 501 ack 101: EST
		in tcp p:2 > g:22 ack seq 101 ack 501: EST
		in tcp p:1 > g:22 ack seq 101 ack 501: full`},
	{"datagrams and pings leave a quarter to openings", 8, `
		in udp p:1 > g:53: NEW
		in udp p:2 > g:53: NEW
		in udp p:3 > g:53: NEW
		in icmp p > g type 8: NEW
		in icmp q > g type 8: NEW
		out udp g:1 > p:53: NEW
		in udp p:4 > g:53: full
		in icmp r > g type 8: full
		open p:1
		in tcp p:2 > g:22 syn: NEW
		in tcp p:3 > g:22 syn: NEW
		in udp p:4 > g:53: full
		in tcp p:1 > g:22 ack seq 101 ack 501: EST
		out tcp g:22 > p:2 syn ack seq 500 ack 1: INV`},
	{"what is kept for openings counts openings", 8, `
		in tcp p:1 > g:22 syn: NEW
		in tcp p:2 > g:22 syn: NEW
		in udp p:1 > g:53: NEW
		in udp p:2 > g:53: NEW
		in udp p:3 > g:53: NEW
		in udp p:4 > g:53: NEW
		in udp p:5 > g:53: NEW
		in udp p:6 > g:53: NEW
		in udp p:7 > g:53: full
		in tcp p:3 > g:22 syn: NEW
		in udp p:7 > g:53: full`},
	{"openings leave the rest to datagrams", 8, `
		in tcp p:1 > g:22 syn: NEW
		in tcp p:2 > g:22 syn: NEW
		in tcp p:3 > g:22 syn: NEW
		in tcp p:4 > g:22 syn: NEW
		in tcp p:5 > g:22 syn: NEW
		in tcp p:6 > g:22 syn: NEW
		in tcp p:7 > g:22 syn: NEW
		in tcp p:8 > g:22 syn: NEW
		in tcp p:9 > g:22 syn: NEW
		in udp p:1 > g:53: NEW
		in udp p:2 > g:53: NEW
		in udp p:3 > g:53: NEW
		in udp p:4 > g:53: NEW
		in udp p:5 > g:53: NEW
		in icmp p > g type 8: NEW
		in udp p:6 > g:53: full
		in tcp p:8 > g:22 syn: NEW
		in tcp p:10 > g:22 syn: NEW
		in tcp p:8 > g:22 fin ack: INV`},
	{"an expired opening has its place already", 1, `
		in tcp p:1 > g:22 syn seq 100: NEW
		wait 121s
		in tcp p:1 > g:22 syn seq 100: NEW
		out tcp g:22 > p:1 syn ack seq 500 ack 101: EST
		in tcp p:2 > g:22 syn: NEW`},
	{"an expired opening gives way", 1, `
		in tcp p:1 > g:22 syn: NEW
		wait 121s
		in tcp p:2 > g:22 syn: NEW
		in tcp p:1 > g:22 fin ack: INV`},
	{"an expired flow keeps its place until it is swept", 1, `
		in udp p:1 > g:53: NEW
		wait 31s
		in tcp p:1 > g:22 syn: full
		in udp p:1 > g:53: NEW`},
	{"a withdrawn opening gives way", 1, `
		in tcp p:1 > g:22 syn seq 100: NEW
		in tcp p:1 > g:22 rst seq 101: NEW
		in tcp p:2 > g:22 syn: NEW`},
	{"a connection that is opened anew after its end is an opening", 2, `
		open p:1
		in tcp p:1 > g:22 fin ack seq 101 ack 501: EST
		out tcp g:22 > p:1 fin ack seq 501 ack 102: EST
		in tcp p:1 > g:22 ack seq 102 ack 502: EST
		in tcp p:2 > g:22 syn seq 100: NEW
		in tcp p:1 > g:22 syn seq 9000: NEW
		in tcp p:3 > g:22 syn seq 100: NEW
		out tcp g:22 > p:2 syn ack seq 500 ack 101: INV
		out tcp g:22 > p:1 syn ack seq 500 ack 9001: EST`},
	{"IPv6", 1, `
		in tcp [fd00::2]:1 > [fd00::1]:22 syn: NEW
		in tcp p:1 > g:22 syn: NEW
		in tcp [fd00::2]:1 > [fd00::1]:22 fin ack: INV`},
}

// RunQuota runs sequences of packets that meet a full quota. begin gives the
// engine, with an empty table; full tells that it refused the packet for lack
// of room.
func RunQuota(t *testing.T, begin func(t *testing.T, quota int) func(frame []byte, out bool, now int64) (state packet.State, full bool)) {
	for _, c := range quotaCases {
		t.Run(c.name, func(t *testing.T) {
			judge := begin(t, c.quota)
			eachLine(t, c.lines, func(line string, tick func() int64) {
				for _, step := range handshake(line) {
					frame, out, want := quotaStep(t, step)
					state, full := judge(frame, out, tick())
					got := StateName(state)
					if full {
						got = "full"
					}
					if got != want {
						t.Fatalf("%s: %s", step, got)
					}
				}
			})
		})
	}
}

// handshake writes out "open p:1".
func handshake(line string) []string {
	from, ok := strings.CutPrefix(line, "open ")
	if !ok {
		return []string{line}
	}
	return []string{
		"in tcp " + from + " > g:22 syn seq 100: NEW",
		"out tcp g:22 > " + from + " syn ack seq 500 ack 101: EST",
		"in tcp " + from + " > g:22 ack seq 101 ack 501: EST",
	}
}

func quotaStep(t *testing.T, step string) (frame []byte, out bool, want string) {
	t.Helper()
	at := strings.LastIndex(step, ": ")
	text, out := strings.CutPrefix(step[:at], "out ")
	text = strings.TrimPrefix(text, "in ")
	ends := packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 1}, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}}
	frame, err := packet.FromText(limitNames.Replace(" " + text)[1:], ends)
	if err != nil {
		t.Fatalf("%s: %v", step, err)
	}
	return frame, out, step[at+2:]
}
