package main

import (
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/pcapgo"

	"tapgate/client"
	"tapgate/internal/datapath"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
	"tapgate/nwfilter"
)

// toldNotices are what a watcher of vnet0 is told: a drop by a rule, one by none
// of a packet in a foreign name, what is left out, and a pass.
func toldNotices(t *testing.T) []datapath.Notice {
	t.Helper()
	ends := packet.Ends{Src: []byte{0x52, 0x54, 0, 0, 0, 1}, Dst: []byte{0x52, 0x54, 0, 0, 0, 0x99}}
	frame := func(text string) []byte {
		f, err := packet.FromText(text, ends)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	noon := time.Date(2026, 1, 2, 12, 0, 0, 123456789, time.Local)
	clause := &datapath.Clause{ID: 3, Direction: "out", Stage: "network", Chain: "root", Text: "drop protocol=tcp", Origin: policy.Origin{
		Filter: "web", Pos: nwfilter.Position{File: "web.xml", Line: 7, Column: 3}, Path: []string{"top", "web"},
	}}
	report := func(after time.Duration, text string) *datapath.Report {
		f := frame(text)
		return &datapath.Report{
			Time: noon.Add(after), Port: "vnet0", Direction: policy.Out, Filter: "top", Guest: "52:54:00:00:00:01", Received: true,
			Frame: f, Length: len(f),
		}
	}
	dropped := report(0, "tcp 10.0.0.5:4000 > 10.0.0.9:25 syn seq 7 win 9")
	dropped.Verdict, dropped.Reason, dropped.Clause, dropped.State, dropped.Conn = verdict.Drop, verdict.Clause, clause, packet.StateNew, packet.Original
	foreign := report(time.Millisecond, "02:00:00:00:00:07 > 52:54:00:00:00:99 arp request 10.0.0.6 > 10.0.0.9")
	foreign.Verdict, foreign.Reason = verdict.Drop, verdict.Unreadable
	foreign.State, foreign.Invalid = packet.StateInvalid, packet.InvalidHeader
	passed := report(time.Second, "udp 10.0.0.9:53 > 10.0.0.5:4000 len 3")
	passed.Direction, passed.Received, passed.Reason = policy.In, false, verdict.Default
	passed.Frame = append(append([]byte{}, ends.Src...), append(ends.Dst, passed.Frame[12:]...)...)
	return []datapath.Notice{
		{Watched: &datapath.Watched{Ports: []string{"vnet0", "vnet10"}, Strange: []string{"vnet10"}}},
		{Report: dropped}, {Report: foreign},
		{Hidden: &datapath.Hidden{Port: "vnet0", Limited: 40}},
		{Report: passed},
		{Hidden: &datapath.Hidden{Port: "vnet10", Passed: true, Limited: 1, Lost: 2}},
	}
}

func newWatched(t *testing.T) *session {
	s := newSession(t)
	s.notices = toldNotices(t)
	s.ports["vnet0"] = datapath.Port{Name: "vnet0"}
	return s
}

func TestWatch(t *testing.T) {
	s := newWatched(t)
	out, said := s.ok("watch --passes --rate 50")
	const want = `12:00:00.123456  vnet0   out  drop    tcp 10.0.0.5:4000 > 10.0.0.9:25 syn — web.xml:7 (top → web): drop protocol=tcp (NEW, original direction)
12:00:00.124456  vnet0   out  drop    02:00:00:00:00:07 > 52:54:00:00:00:99 arp request 10.0.0.6 > 10.0.0.9 — header could not be read (INVALID: no complete transport header)
                 vnet0   40 more dropped and not shown: more than 50 a second
12:00:01.123456  vnet0   in   pass    udp 10.0.0.9:53 > 10.0.0.5:4000 len 3 — no rule matched: accepted
                 vnet10  3 more passed and not shown: 1 for being more than 50 a second, 2 for coming faster than they are shown
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	const wantSaid = `watching vnet0, vnet10
note: port vnet10 was bound by another version of tapgate and shows nothing; "tapgate bind vnet10" binds it again
3 packets shown, 43 not shown
`
	if diff := cmp.Diff(wantSaid, said); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(datapath.WatchOptions{Ports: []string{}, Drops: true, Passes: true, Rate: 50}, s.watched); diff != "" {
		t.Error(diff)
	}
	out, _ = s.ok("watch vnet0 --verbose --count 1")
	s.says(out, "52:54:00:00:00:01 > 52:54:00:00:00:99 tcp 10.0.0.5:4000 > 10.0.0.9:25 syn seq 7 win 9 — ")
	if got := strings.Count(out, "\n"); got != 1 {
		t.Errorf("%d lines, want 1", got)
	}
	s.notices = []datapath.Notice{{Watched: &datapath.Watched{}}, {Watched: &datapath.Watched{Ports: make([]string, 9)}}}
	_, said = s.ok("watch")
	s.says(said, "no port is bound; waiting for one\nwatching 9 ports\n0 packets shown, 0 not shown\n")
}

func TestWatchForPrograms(t *testing.T) {
	s := newWatched(t)
	out, _ := s.ok("watch --json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines, want 5: %s", len(lines), out)
	}
	s.says(lines[0], `"port":"vnet0","direction":"out","packet":"52:54:00:00:00:01 > 52:54:00:00:00:99 tcp 10.0.0.5:4000 > 10.0.0.9:25 syn seq 7 win 9"`)
	s.says(lines[0], `"verdict":"drop","reason":"a rule decided","state":"NEW, original direction","filter":"top"`)
	s.says(lines[0], `"origin":{"filter":"web","position":{"file":"web.xml","line":7`)
	s.says(lines[0], `"frame":"`+hex.EncodeToString(s.notices[1].Report.Frame)+`"`)
	s.says(lines[1], `"state":"INVALID","invalid":"no complete transport header"`)
	s.says(lines[2], `{"hidden":{"port":"vnet0","fate":"dropped","limited":40,"lost":0}}`)
}

func TestWatchWrites(t *testing.T) {
	s := newWatched(t)
	path := filepath.Join(t.TempDir(), "drops.pcapng")
	_, said := s.ok("watch --write " + path)
	s.says(said, "3 packets shown, written to "+path+", 43 not shown\n")
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("packets that anybody may read: %v, %v", info.Mode(), err)
	}
	comments := captured(t, file)
	want := []string{
		"drop: web.xml:7 (top → web): drop protocol=tcp (NEW, original direction)",
		"drop: header could not be read (INVALID: no complete transport header)", "pass: no rule matched: accepted",
	}
	if diff := cmp.Diff(want, comments); diff != "" {
		t.Error(diff)
	}
	out, _ := s.ok("watch --write -")
	if diff := cmp.Diff(want, captured(t, strings.NewReader(out))); diff != "" {
		t.Error(diff)
	}
	s.fails("watch --write /nowhere/a.pcapng", "tapgate: open /nowhere/a.pcapng: no such file or directory\n")
	s.fails("watch --write /dev/full", "tapgate: write /dev/full: ")
}

// captured reads the comments of a capture.
func captured(t *testing.T, r io.Reader) (comments []string) {
	t.Helper()
	reader, err := pcapgo.NewNgReader(r, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, _, options, err := reader.ReadPacketDataWithOptions()
		if err == io.EOF {
			return comments
		}
		if err != nil {
			t.Fatal(err)
		}
		comments = append(comments, options.Comments...)
	}
}

// As "tapgate watch | head" has it, with one process.
func TestWatchEndsWithWhoeverReadsIt(t *testing.T) {
	for _, file := range []string{"", "-"} {
		s := newWatched(t)
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		tool := s.tool(w, io.Discard)
		if err := tool.watch(t.Context(), tool.alone(), &watchFlags{file: file, WatchOptions: client.WatchOptions{Drops: true}}); err != nil {
			t.Errorf("--write %q: %v", file, err)
		}
		w.Close()
	}
}

func TestWatchRefuses(t *testing.T) {
	s := newWatched(t)
	s.fails("watch vnet7", "tapgate: vnet7 is not guarded\n")
	for line, fault := range map[string]string{
		"watch --drops=false":    "leaves nothing to show",
		"watch --rate 0":         "expected 1 to 1000000",
		"watch --rate 2000000":   "expected 1 to 1000000",
		"watch --count -1":       "expected a number of packets",
		"watch --json --write -": "both want the standard output",
	} {
		if code, _, said := s.run(line); code != exitUsage || !strings.Contains(said, fault) {
			t.Errorf("%s: exit code %d, %q, want %q", line, code, said, fault)
		}
	}
}
