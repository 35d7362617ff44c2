package main

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapgate/internal/datapath"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

func countedStats() datapath.Stats {
	origin := func(line int) policy.Origin {
		return policy.Origin{Filter: "web", Pos: nwfilter.Position{File: "web.xml", Line: line, Column: 3}, Path: []string{"web"}}
	}
	s := datapath.Stats{
		Port: datapath.Port{
			Name: "vnet0", State: datapath.Guarded, Filter: "web", MAC: "52:54:00:00:00:01",
			Parameters:  map[string][]string{"IP": {"10.0.0.5", "10.0.0.6"}},
			In:          datapath.Totals{Passed: datapath.Counter{Packets: 7, Bytes: 700}, Dropped: datapath.Counter{Packets: 3, Bytes: 180}},
			Connections: 2, Opened: 9,
		},
		Refused: 1, GivenUp: 3, Expired: 4, Quota: 65536, Table: datapath.TableUse{Used: 12, Size: 2097152},
		InAnswers: datapath.Answers{Sent: 12, Suppressed: 1},
		Clauses: []datapath.ClauseStats{
			{Clause: datapath.Clause{Direction: "in", Stage: "network", Chain: "root", Text: "accept protocol=tcp", Origin: origin(2)}, Counter: datapath.Counter{Packets: 7, Bytes: 700}},
			{Clause: datapath.Clause{ID: 1, Direction: "in", Stage: "link", Chain: "ipv4", Text: "drop", Origin: origin(3)}, Counter: datapath.Counter{Packets: 1, Bytes: 60}},
			{Clause: datapath.Clause{ID: 2, Direction: "out", Stage: "network", Chain: "root", Text: "accept protocol=tcp", Mirrored: true, Origin: origin(2)}},
		},
	}
	s.In.Reasons[verdict.Clause] = 1
	s.In.Reasons[verdict.MalformedIP] = 2
	s.In.Invalid[packet.InvalidTCPWindow] = 6
	return s
}

func TestStats(t *testing.T) {
	s := newSession(t)
	s.stats = countedStats()
	out, _ := s.ok("stats vnet0")
	const want = `port vnet0: guarded, filter web, guest 52:54:00:00:00:01 IP=10.0.0.5,10.0.0.6
connections: 2 of 65536 now, 9 opened, 4 expired, 3 given up for others, 1 refused for lack of room; the host's table has 12 of 2097152

in: 7 packets (700 bytes) passed, 3 packets (180 bytes) dropped
  2   dropped: malformed IP header
  6   INVALID: TCP segment outside of the window
  12  answered with a reset or an ICMP error
  1   not answered, since there were too many
  network stage
    PACKETS  BYTES  RULE                 FROM
    7        700    accept protocol=tcp  web.xml:2
  link stage
    PACKETS  BYTES  RULE                   FROM
    1        60     ipv4: drop everything  web.xml:3

out: 0 packets (0 bytes) passed, 0 packets (0 bytes) dropped
  link stage
    nothing was counted
  network stage
    nothing was counted

1 rule counted nothing; --all shows them
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	s.says(out, "52:54:00:00:00:01 IP=10.0.0.5,10.0.0.6\nconnections: ") // nothing was observed
	out, _ = s.ok("stats vnet0 --all")
	s.says(out, "0        0      accept protocol=tcp  web.xml:2 mirrored\n")
	out, _ = s.ok("stats vnet0 --json")
	s.says(out, `"malformed IP header": 2`)
	s.says(out, `"TCP segment outside of the window": 6`)
	s.says(out, `"packets": 7`)
	s.says(out, `"sent": 12`)
	s.fails("stats vnet1", "tapgate: vnet1 is not guarded\n")
}

// What was observed of a port that learns is told, and what was not and why.
func TestStatsOfObservedFrames(t *testing.T) {
	const line = "\nobserved for that: %s\nconnections: "
	for _, row := range []struct {
		observed datapath.Observed
		want     string
	}{
		{datapath.Observed{In: datapath.ObservedCounts{Told: 1}}, "1 frame to the guest, 0 frames from it, 0 frames that claim an address"},
		{datapath.Observed{Out: datapath.ObservedCounts{Told: 2, Limited: 3}}, "0 frames to the guest, 2 frames (3 more beyond the limit) from it, 0 frames that claim an address"},
		{datapath.Observed{
			In: datapath.ObservedCounts{Told: 1, Lost: 2}, Claims: datapath.ObservedCounts{Told: 50, Limited: 7, Lost: 9},
		}, "1 frame (2 more lost for lack of room) to the guest, 0 frames from it, 50 frames (7 more beyond the limit) (9 more lost for lack of room) that claim an address"},
	} {
		s := newSession(t)
		s.stats = countedStats()
		s.stats.Observed = row.observed
		s.stats.Learning = &datapath.Learning{Mode: "any", Wants: []string{"IP"}}
		out, _ := s.ok("stats vnet0")
		s.says(out, fmt.Sprintf(line, row.want))
	}
	s := newSession(t)
	s.stats = countedStats()
	s.stats.Observed.Claims.Limited = 7
	out, _ := s.ok("stats vnet0 --json")
	s.says(out, `"observed": {
    "claims": {
      "limited": 7
    }
  }`)
}
