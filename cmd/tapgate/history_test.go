package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"tapgate/client"
	"tapgate/internal/lab"
	"tapgate/internal/store"
	"tapgate/nwfilter/binding"
)

// changes are what the history tells about a name, oldest first.
func (s *session) changes(name string) (list []string) {
	s.Helper()
	out, _ := s.ok("history --limit 0 --json " + name)
	var entries []client.Entry
	if err := json.Unmarshal([]byte(out), &entries); err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		list = append([]string{e.Operation + " " + e.Kind + " " + e.Name + ", " + resultText(&e)}, list...)
	}
	return list
}

func TestHistoryOfAPort(t *testing.T) {
	s := newSession(t)
	s.ok("bind vnet0 --filter clean-traffic" + guest)
	s.ok("bind vnet0")
	s.refuse["vnet0"] = errors.New("too much")
	s.fails("bind vnet0 --filter no-mac-spoofing"+guest, "too much") // nothing was touched
	delete(s.refuse, "vnet0")
	s.fail["vnet0"] = errors.New("no room\nat all")
	s.fails("bind vnet0 --filter "+s.file("mine.xml", "<filter name='mine'/>")+guest, "no room")
	delete(s.fail, "vnet0")
	s.fails("bind vnet0 --filter nonsense"+guest, "not defined") // nothing was touched
	s.ok("bind vnet1 --filter clean-traffic" + guest)
	s.ok("unbind vnet0")
	const bound = ": filter clean-traffic 52:54:00:00:00:01 IP=10.0.0.5"
	want := []string{
		"bind port vnet0, done" + bound,
		"bind port vnet0, done" + bound,
		"bind port vnet0, failed: no room; at all",
		"unbind port vnet0, done",
	}
	if diff := cmp.Diff(want, s.changes("vnet0")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"define filter mine, failed: no room; at all"}, s.changes("mine")); diff != "" {
		t.Error(diff)
	}
	out, _ := s.ok("history vnet1")
	s.says(out, "bind port vnet1  -     -   done"+bound)
}

// The agent is asked directly: only one thread sees the read-only file system.
func TestPortStaysAsItIsWhereNothingCanBeStored(t *testing.T) {
	err := lab.WithOwnMounts(func() error {
		s := newSession(t)
		s.ok("bind vnet0 --filter no-mac-spoofing" + guest)
		if err := unix.Mount(s.dir, s.dir, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := unix.Mount("", s.dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return err
		}
		const why = "the file system is read-only; make it writable, or choose another directory with --state-dir"
		a, by := s.tool(io.Discard, io.Discard).agent(), store.ThisProcess()
		other := binding.Binding{Port: "vnet0", MAC: placeholderMAC, Filter: "no-ip-multicast"}
		another := other
		another.Port = "vnet1"
		_, first := a.Bind(t.Context(), by, other, nil)
		_, second := a.Bind(t.Context(), by, another, nil)
		for _, err := range []error{first, second, a.Unbind(t.Context(), by, "vnet0")} {
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%v, want %s", err, why)
			}
		}
		if len(s.ports) != 1 || s.ports["vnet0"].Filter != "no-mac-spoofing" {
			t.Errorf("the ports are %+v", s.ports)
		}
		if _, _, err := a.Ports(t.Context()); err != nil {
			t.Error(err)
		}
		if _, _, err := a.History(t.Context()); err != nil {
			t.Error(err)
		}
		return unix.Unmount(s.dir, 0)
	})
	if errors.Is(err, lab.ErrNeedsRoot) {
		t.Skip(err)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestInterruptedBindingIsToldOf(t *testing.T) {
	s := newSession(t)
	s.ok("bind vnet0 --filter clean-traffic" + guest)
	// As it is while a program that was killed had just changed the port.
	path := filepath.Join(s.dir, "journal")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.enter = func(string) {
		if err := os.Rename(path, path+".killed"); err != nil {
			t.Error(err)
		}
		text, err = os.ReadFile(path + ".killed")
		if err != nil {
			t.Error(err)
		}
	}
	s.fail["vnet0"] = errors.New("killed")
	s.fails("bind vnet0 --filter no-mac-spoofing"+guest, "killed")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := s.ok("history vnet0 --limit 1")
	s.says(out, "interrupted: what is stored is as it was before; the port may be changed already: bind it again, or unbind it")
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.FixedZone("", 7200))
	day := func(d, h, m, s int) time.Time { return time.Date(2026, 5, d, h, m, s, 0, now.Location()) }
	for text, want := range map[string]time.Time{
		"90m": day(4, 10, 30, 0), "12h": day(4, 0, 0, 0), "1h30m": day(4, 10, 30, 0), "0s": now, "3d": day(1, 12, 0, 0),
		"2026-05-02": day(2, 0, 0, 0), "2026-05-02 15:30": day(2, 15, 30, 0), "2026-05-02 15:30:20": day(2, 15, 30, 20),
		"2026-05-02T15:30": day(2, 15, 30, 0), "2026-05-02T15:30:20Z": day(2, 17, 30, 20),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"-5m", "-1d", "1dd", "d", "yesterday", "2026-13-01", "15:30", "3d4h"} {
		if got, err := parseSince(text, now); err == nil {
			t.Errorf("%s is %v", text, got)
		}
	}
}

func TestHistoryIsChosen(t *testing.T) {
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	var entries []client.Entry
	for i := range 6 {
		entries = append(entries, client.Entry{ID: int64(i), Name: []string{"a", "b"}[i%2], Time: at.Add(time.Duration(i) * time.Hour)})
	}
	for _, test := range []struct {
		wanted wantedHistory
		ids    []int64
		older  int
	}{
		{wantedHistory{}, []int64{5, 4, 3, 2, 1, 0}, 0},
		{wantedHistory{limit: 2}, []int64{5, 4}, 4},
		{wantedHistory{name: "a", limit: 2}, []int64{4, 2}, 1},
		{wantedHistory{since: at.Add(3 * time.Hour), limit: 2}, []int64{5, 4}, 1},
		{wantedHistory{name: "b", since: at.Add(3 * time.Hour)}, []int64{5, 3}, 0},
		{wantedHistory{name: "c"}, nil, 0},
	} {
		var ids []int64
		chosen, older := test.wanted.choose(entries)
		for _, e := range chosen {
			ids = append(ids, e.ID)
		}
		if !cmp.Equal(ids, test.ids) || older != test.older {
			t.Errorf("%+v: %v and %d older, want %v and %d", test.wanted, ids, older, test.ids, test.older)
		}
	}
}
