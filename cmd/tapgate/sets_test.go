package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"tapgate/internal/datapath"
)

func setChange(members, added int, fault, failed string) datapath.SetChange {
	return datapath.SetChange{
		Port:     "vnet0",
		SetState: datapath.SetState{SetUse: datapath.SetUse{Name: "peers", Type: "hash:ip"}, Members: members, Fault: fault},
		Added:    added, Changed: added > 0 || fault != "", Failed: failed,
	}
}

func TestSetsRefresh(t *testing.T) {
	s := newSession(t)
	gone := `the set "peers" is gone, so it matches nothing`
	s.refreshed = [][]datapath.SetChange{{setChange(3, 1, "", "")}, {setChange(0, 0, gone, "")}, {setChange(3, 1, "", "")}, {setChange(3, 0, "", "no answer")}}
	out, _ := s.ok("sets refresh")
	s.says(out, "port vnet0: set peers: 3 members, 1 added, 0 removed\n")
	out, _ = s.ok("sets refresh vnet0")
	s.says(out, "port vnet0: "+gone+"\n")
	out, _ = s.ok("sets refresh --json")
	s.says(out, `"added": 1`)
	s.fails("sets refresh", "tapgate: port vnet0: no answer; it keeps its members\n")
	s.fails("sets refresh nothing", "tapgate: nothing is not guarded\n")
}

// TestSetsWatch: only changes are told, and a fault once.
func TestSetsWatch(t *testing.T) {
	s := newSession(t)
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	s.refreshed = [][]datapath.SetChange{
		{setChange(3, 3, "", "")}, {setChange(3, 0, "", "")}, {setChange(3, 0, "", "no answer")}, {setChange(3, 0, "", "no answer")}, {setChange(4, 1, "", "")},
	}
	var out, err strings.Builder
	tool := s.tool(&out, &err)
	if err := tool.watchSets(ctx, tool.alone(), "", time.Millisecond); err != nil {
		t.Error(err)
	}
	const want = "port vnet0: set peers: 3 members, 3 added, 0 removed\nport vnet0: set peers: 4 members, 1 added, 0 removed\n"
	if out.String() != want {
		t.Errorf("told %q, want %q", out.String(), want)
	}
	if got, want := err.String(), "tapgate: port vnet0: no answer; it keeps its members\n"; got != want {
		t.Errorf("complained %q, want %q", got, want)
	}
	if code, _, said := s.run("sets watch --interval 1ms"); code != exitUsage || !strings.Contains(said, "at least 1s") {
		t.Errorf("a short interval: exit code %d, %q", code, said)
	}
}

func TestFaultsOfSetsAreShown(t *testing.T) {
	s := newSession(t)
	fault := `the set "peers" is gone, so it matches nothing`
	port := datapath.Port{Name: "vnet0", State: datapath.Guarded, Sets: []datapath.SetState{setChange(0, 0, fault, "").SetState}}
	s.ports["vnet0"] = port
	_, stderr := s.ok("list")
	s.says(stderr, "note: port vnet0: "+fault)
	s.stats = countedStats()
	s.stats.Sets = []datapath.SetState{{SetUse: datapath.SetUse{Name: "peers", Type: "hash:ip"}, Members: 1, ReadAt: time.Unix(0, 0).UTC()}}
	out, _ := s.ok("stats vnet0")
	s.says(out, "\nset peers (hash:ip): 1 member, read 1970-01-01T00:00:00Z\n")
}
