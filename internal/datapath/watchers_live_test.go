package datapath

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Each watcher has what it asked for, whatever others ask.
func TestManyWatch(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, someDrops))
	var all []*spectator
	for i := range maxWatchers {
		all = append(all, l.watch(WatchOptions{Drops: i%2 == 0, Passes: i%2 == 1, Rate: 100 + i}))
	}
	for n, err := range l.host.Watch(t.Context(), WatchOptions{Drops: true}) {
		if err == nil || !strings.Contains(err.Error(), "8 others are watching") {
			t.Errorf("the ninth: %+v, %v", n, err)
		}
	}
	dropped, passes := l.udp(9, "dropped"), l.udp(10, "passes")
	l.arrives(l.Guest, l.Neighbour, dropped, false)
	l.arrives(l.Guest, l.Neighbour, passes, true)
	for i, s := range all {
		if i%2 == 0 {
			s.report(dropped)
		} else {
			s.report(passes)
		}
	}
	all[0].end()
	l.watch(WatchOptions{Drops: true, Ports: []string{l.Guest.Port}}).end()
	for _, s := range all {
		s.end()
		if s.failed != nil {
			t.Error(s.failed)
		}
	}
	if w, rings := l.watches(); w != (watches{}) || rings > 0 {
		t.Errorf("after the last: %+v, %d rings", w, rings)
	}
}

// watches reads who watches, and how many rings there are.
func (l *live) watches() (all watches, rings int) {
	l.t.Helper()
	maps := l.watchMaps()
	if err := maps["watches"].Lookup(uint32(0), &all); err != nil {
		l.t.Fatal(err)
	}
	for slot := range uint32(maxWatchers) {
		var id uint32
		if err := maps["watch_rings"].Lookup(slot, &id); err == nil {
			rings++
		}
	}
	return all, rings
}

func (l *live) watchMaps() map[string]*ebpf.Map {
	l.t.Helper()
	maps, err := openMaps(filepath.Join(l.host.dir, l.binding(l.Guest.Port).State), watchMaps)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { closeMaps(maps) })
	return maps
}

// watcherDir tells the test binary to do nothing but watch until it is killed.
const watcherDir = "TAPGATE_TEST_WATCH"

func TestMain(m *testing.M) {
	if dir := os.Getenv(watcherDir); dir != "" {
		watchUntilKilled(dir)
	}
	os.Exit(m.Run())
}

func watchUntilKilled(dir string) {
	host, err := Open(Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	for n, err := range host.Watch(context.Background(), WatchOptions{Drops: true}) {
		if err != nil {
			panic(err)
		}
		if n.Watched != nil {
			os.Stdout.WriteString("armed\n")
		}
	}
}

// Time is made to pass by setting it back in what the dead one left.
func TestAKilledWatcherIsForgotten(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, dropNine))
	killed := exec.CommandContext(t.Context(), os.Args[0])
	killed.Env = append(os.Environ(), watcherDir+"="+l.host.dir)
	stdout, err := killed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	for said := ""; !strings.Contains(said, "armed\n"); {
		buffer := make([]byte, 512)
		n, err := stdout.Read(buffer)
		if err != nil {
			t.Fatalf("%v after %q", err, said)
		}
		said += string(buffer[:n])
	}
	if err := killed.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()

	left, rings := l.watches()
	until := time.Duration(left.Until[fateDropped] - ktime())
	if rings != 1 || until <= 0 || until > armedFor || left.Until[fatePassed] != 0 || left.Watchers[0].Until != left.Until[fateDropped] {
		t.Errorf("%d rings, armed for %v: %+v", rings, until, left)
	}
	left.Watchers[0].Until = ktime()
	if err := l.watchMaps()["watches"].Put(uint32(0), &left); err != nil {
		t.Fatal(err)
	}
	s := l.watch(WatchOptions{Drops: true})
	frame := l.udp(9, "seen by the living")
	l.arrives(l.Guest, l.Neighbour, frame, false)
	s.report(frame)
	if all, rings := l.watches(); rings != 1 || all.Until[fateDropped] != all.Watchers[0].Until {
		t.Errorf("%d rings with one watcher: %+v", rings, all)
	}
}

// A watcher that was stopped for so long that another took its place finds one
// again.
func TestAWatcherWhosePlaceIsTaken(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, dropNine))
	w, err := newWatcher(l.host, &WatchOptions{Drops: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	other, err := newWatcher(l.host, &WatchOptions{Passes: true})
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	maps := l.watchMaps()
	place := func(w *watcher, want int) {
		t.Helper()
		if err := w.arm(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := slotOf(maps["watch_rings"], w.ringID); got != want {
			t.Errorf("place %d, want %d", got, want)
		}
	}
	place(w, 0)
	place(w, 0)
	if all, _ := l.watches(); all.Until[fatePassed] != 0 {
		t.Errorf("nobody asked for what passes: %+v", all)
	}
	if err := maps["watches"].Put(uint32(0), &watches{}); err != nil {
		t.Fatal(err)
	}
	place(other, 0)
	place(w, 1)
	for _, w := range []*watcher{other, w} {
		if err := w.disarm(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if all, rings := l.watches(); all != (watches{}) || rings > 0 {
		t.Errorf("%d rings are left: %+v", rings, all)
	}
}

// What another version has left.
func TestPortsOfAnotherVersionAreNamed(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, dropNine))
	b := *l.binding(l.Guest.Port)
	b.Port, b.State, b.Number = "strange0", "state_0123456789ab", b.Number+1
	dir := filepath.Join(l.host.dir, "ports", b.Port, "1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := pinJSON(filepath.Join(dir, bindingPin), bindingPin, b); err != nil {
		t.Fatal(err)
	}
	for n, err := range l.host.Watch(t.Context(), WatchOptions{Drops: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := (&Watched{[]string{l.Guest.Port, "strange0"}, []string{"strange0"}}); !want.equal(n.Watched) {
			t.Errorf("%+v, want %+v", n.Watched, want)
		}
		break
	}
}
