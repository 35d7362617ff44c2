package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapgate/client"
	"tapgate/internal/datapath"
)

func countingPort(name string, in, out, dropped, opened uint64, connections uint32) client.Port {
	p := client.Port{Name: name, State: client.Guarded, Filter: "web", Opened: opened, Connections: connections}
	p.In.Passed.Packets, p.Out.Passed.Packets, p.Out.Dropped.Packets = in, out, dropped
	return p
}

// twoLooks are two seconds apart: vnet2 was bound meanwhile, vnet1 bound again,
// and vnet9 unbound.
func twoLooks() (before, after look) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 0, time.Local)
	return look{at, []client.Port{
			countingPort("vnet0", 100, 100, 100, 10, 5), countingPort("vnet1", 900, 900, 900, 900, 9), countingPort("vnet9", 1, 1, 1, 1, 1),
		}}, look{at.Add(2 * time.Second), []client.Port{
			countingPort("vnet0", 110, 120, 103, 10, 4), countingPort("vnet1", 800, 4, 0, 8, 8), countingPort("vnet2", 40, 0, 0, 1, 1),
		}}
}

func TestTopShowsWhatPortsDoInASecond(t *testing.T) {
	before, after := twoLooks()
	busy := after.since(before)
	busy.sort("packets")
	want := []string{
		"12:00:02  3 ports: 438 packets/s, 1.5 drops/s, 13 connections, 4.5 new/s",
		"",
		"PORT   FILTER  IN/s  OUT/s  DROPS/s  CONNECTIONS  NEW/s  STATE",
		"vnet1  web     400   2.0    0        8            4.0    guarded",
		"vnet2  web     20    0      0        1            0.5    guarded",
		"vnet0  web     5.0   12     1.5      4            0      guarded",
	}
	if diff := cmp.Diff(want, busy.lines()); diff != "" {
		t.Error(diff)
	}
}

func TestTopSorts(t *testing.T) {
	before, after := twoLooks()
	for order, want := range map[string]string{
		"packets": "vnet1 vnet2 vnet0", "in": "vnet1 vnet2 vnet0", "out": "vnet0 vnet1 vnet2", "drops": "vnet0 vnet1 vnet2",
		"connections": "vnet1 vnet0 vnet2", "new": "vnet1 vnet2 vnet0", "name": "vnet0 vnet1 vnet2",
	} {
		busy := after.since(before)
		busy.sort(order)
		var names []string
		for _, p := range busy.Ports {
			names = append(names, p.Port)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("by %s: %s, want %s", order, got, want)
		}
	}
	if len(topOrders) != len(topLess) {
		t.Errorf("%d orders are named, %d known", len(topOrders), len(topLess))
	}
}

func TestTop(t *testing.T) {
	s := newSession(t)
	s.ports["vnet0"] = datapath.Port{Name: "vnet0", State: datapath.Guarded, Filter: "web", Connections: 3}
	out, _ := s.ok("top --once --interval 100ms")
	s.says(out, "1 port: 0 packets/s, 0 drops/s, 3 connections, 0 new/s\n\nPORT ")
	out, _ = s.ok("top --once --interval 100ms --json")
	s.says(out, `"ports":[{"port":"vnet0","filter":"web","state":"guarded","in":0,"out":0,"drops":0,"connections":3,"new":0}]}`+"\n")
	for line, fault := range map[string]string{
		"top --interval 1ms":  "expected at least 100ms",
		"top --sort nonsense": "expected one of packets, in, out, drops, connections, new, name",
	} {
		if code, _, said := s.run(line); code != exitUsage || !strings.Contains(said, fault) {
			t.Errorf("%s: exit code %d, %q, want %q", line, code, said, fault)
		}
	}
}

func TestTopGoesOnUntilItIsEnded(t *testing.T) {
	s := newSession(t)
	ctx, stop := context.WithCancel(t.Context())
	looks := 0
	s.look = func() {
		if looks++; looks == 3 { // its user ends the command
			stop()
		}
	}
	var out strings.Builder
	tool := s.tool(&out, &out)
	err := tool.top(ctx, tool.alone(), &topFlags{sort: "name", interval: time.Millisecond})
	if err != nil || strings.Count(out.String(), "0 ports") != 1 {
		t.Errorf("%v, shown %q", err, out.String())
	}
}

func TestScreen(t *testing.T) {
	var out strings.Builder
	plain := &screen{w: &out, size: func() (int, int, bool) { return 0, 0, false }}
	for range 2 {
		if err := plain.draw([]string{"one", "two"}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), "one\ntwo\n\none\ntwo\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	out.Reset()
	terminal := &screen{w: &out, size: func() (int, int, bool) { return 4, 5, true }}
	for range 2 {
		if err := terminal.draw([]string{"a long line", "two", "three", "four"}); err != nil {
			t.Fatal(err)
		}
	}
	frame := "\x1b[Ha lon\x1b[K\ntwo\x1b[K\nand 2\x1b[K\n\x1b[J"
	if got, want := out.String(), "\x1b[H\x1b[J"+frame+frame; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
