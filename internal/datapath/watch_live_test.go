package datapath

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"tapgate/internal/lab"
	"tapgate/internal/packet"
	"tapgate/internal/policy"
	"tapgate/internal/verdict"
)

// spectator is told by Watch, and remembers it all.
type spectator struct {
	t       testing.TB
	notices chan Notice
	stop    func()
	failed  error // once notices is closed
	// hidden sums up what was left out, by port.
	hidden map[string]Hidden
}

// watch returns when the programs are told to tell.
func (l *live) watch(options WatchOptions) *spectator {
	l.t.Helper()
	ctx, stop := context.WithCancel(l.t.Context())
	s := &spectator{t: l.t, notices: make(chan Notice, 1<<16), stop: stop, hidden: map[string]Hidden{}}
	go func() {
		defer close(s.notices)
		for n, err := range l.host.Watch(ctx, options) {
			if err != nil {
				s.failed = err
				return
			}
			s.notices <- n
		}
	}()
	l.t.Cleanup(func() { s.end() })
	s.watched()
	return s
}

// patience is how long a notice may take that must come.
const patience = 5 * time.Second

// next gives the first notice that match accepts.
func (s *spectator) next(what string, match func(Notice) bool) Notice {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case n, ok := <-s.notices:
			if !ok {
				s.t.Fatalf("no %s: the watch has ended: %v", what, s.failed)
			}
			s.count(n)
			if match(n) {
				return n
			}
		case <-timeout:
			s.t.Fatalf("no %s in %v", what, patience)
		}
	}
}

func (s *spectator) count(n Notice) {
	if h := n.Hidden; h != nil {
		sum := s.hidden[h.Port]
		s.hidden[h.Port] = Hidden{h.Port, h.Passed, sum.Limited + h.Limited, sum.Lost + h.Lost}
	}
}

func (s *spectator) watched() *Watched {
	s.t.Helper()
	return s.next("notice of what is watched", func(n Notice) bool { return n.Watched != nil }).Watched
}

// report waits for that of a frame; guests send others by themselves.
func (s *spectator) report(frame []byte) *Report {
	s.t.Helper()
	return s.next("report", func(n Notice) bool { return isReportOf(n, frame) }).Report
}

func isReportOf(n Notice, frame []byte) bool {
	return n.Report != nil && bytes.Equal(n.Report.Frame, frame[:min(len(frame), 256)])
}

// end ends the watch and gives what it told at last.
func (s *spectator) end() (rest []Notice) {
	s.stop()
	for n := range s.notices {
		s.count(n)
		rest = append(rest, n)
	}
	return rest
}

// reportsOf counts the reports of a frame.
func reportsOf(notices []Notice, frame []byte) (count uint64) {
	for _, n := range notices {
		if isReportOf(n, frame) {
			count++
		}
	}
	return count
}

const someDrops = `<filter name="some-drops">
  <rule action="drop" direction="out"><ip protocol="udp" dstportstart="9"/></rule>
  <rule action="accept" direction="out"><udp dstportstart="10"/></rule>
  <rule action="drop" direction="in" statematch="false"><tcp dstportstart="22"/></rule>
</filter>`

func TestDropsAreTold(t *testing.T) {
	for _, mechanism := range mechanisms {
		t.Run(string(mechanism), func(t *testing.T) {
			l := newLive(t, mechanism)
			port := l.Guest.Port
			l.guard(port, resolve(t, someDrops))
			s := l.watch(WatchOptions{Drops: true})

			before := time.Now()
			out := l.udp(9, strings.Repeat("a long one ", 40))
			l.arrives(l.Guest, l.Neighbour, out, false)
			e := s.report(out)
			if e.Port != port || e.Direction != policy.Out || e.Verdict != verdict.Drop || e.Reason != verdict.Clause ||
				e.Filter != "some-drops" || e.Length != len(out) || !e.Received {
				t.Errorf("%+v", e)
			}
			if e.Clause == nil || e.Clause.Origin.String() != "test.xml:2" || e.Clause.Stage != "link" {
				t.Errorf("clause %+v", e.Clause)
			}
			if e.Time.Before(before.Add(-time.Millisecond)) || e.Time.After(time.Now().Add(time.Millisecond)) {
				t.Errorf("at %v, not between %v and now", e.Time, before)
			}

			syn := lab.TCPFrame(l.Neighbour.MAC, l.Guest.MAC, l.Neighbour.IPv4, l.Guest.IPv4, layers.TCP{SrcPort: 4000, DstPort: 22, SYN: true, Window: 1000}, nil)
			l.arrives(l.Neighbour, l.Guest, syn, false)
			e = s.report(syn)
			if e.Direction != policy.In || e.Received || e.Clause == nil || e.Clause.Origin.Pos.Line != 4 || e.Clause.Stage != "network" || e.State != packet.StateNew {
				t.Errorf("%+v, clause %+v", e, e.Clause)
			}

			malformed := l.udp(10, "x")
			malformed[14] = 0x41 // a header of 4 bytes
			l.arrives(l.Guest, l.Neighbour, malformed, false)
			if e := s.report(malformed); e.Reason != verdict.MalformedIP || e.Clause != nil {
				t.Errorf("%+v", e)
			}

			passes := l.udp(10, "passes")
			l.arrives(l.Guest, l.Neighbour, passes, true)
			if n := reportsOf(s.end(), passes); n != 0 || s.failed != nil {
				t.Errorf("%d reports of what passes; %v", n, s.failed)
			}
		})
	}
}

func TestPassesAreToldIfAsked(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, someDrops))
	s := l.watch(WatchOptions{Passes: true})
	dropped, passes := l.udp(9, "dropped"), l.udp(10, "passes")
	l.arrives(l.Guest, l.Neighbour, dropped, false)
	l.arrives(l.Guest, l.Neighbour, passes, true)
	e := s.report(passes)
	if e.Verdict != verdict.Pass || e.Clause == nil || e.Clause.Origin.Pos.Line != 3 || e.State != packet.StateNew || e.Conn != packet.Original {
		t.Errorf("%+v", e)
	}
	if n := reportsOf(s.end(), dropped); n != 0 {
		t.Errorf("%d reports of what is dropped", n)
	}
}

// What is behind a rejected packet is its answer: the report has the packet.
func TestRejectedPacketsAreToldAsTheyCame(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, rejectOut))
	s := l.watch(WatchOptions{Drops: true})
	frame := l.udp(9, "rejected")
	l.arrives(l.Guest, l.Neighbour, frame, false)
	if e := s.report(frame); e.Verdict != verdict.Reject {
		t.Errorf("%+v", e)
	}
}

// The kernel keeps a VLAN tag beside the packet.
func TestTagsAreInTheReportsFrame(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, dropAll))
	s := l.watch(WatchOptions{Drops: true})
	frame := l.udp(9, "tagged")
	frame = slices.Insert(frame, 12, 0x81, 0, 0x20, 7)
	l.arrives(l.Guest, l.Neighbour, frame, false)
	if e := s.report(frame); e.Length != len(frame) {
		t.Errorf("%d bytes, want %d", e.Length, len(frame))
	}
}

// A flood on one port hides nothing of another; what it hides of its own is
// counted.
func TestEachPortHasItsLimit(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, dropNine))
	l.guard(l.Neighbour.Port, resolve(t, dropNine))
	const rate, sent = 50, 2000
	s := l.watch(WatchOptions{Drops: true, Rate: rate})
	flood := l.udp(9, "flood")
	sender, err := l.Guest.OpenFrames(lab.GuestDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	start := time.Now()
	for range sent {
		if err := sender.Send(flood); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(start)
	single := lab.UDPFrame(l.Neighbour.MAC, l.Guest.MAC, l.Neighbour.At(1), l.Guest.At(9), []byte("single"))
	l.arrives(l.Neighbour, l.Guest, single, false)
	var told uint64
	s.next("report of the other port", func(n Notice) bool {
		told += reportsOf([]Notice{n}, flood)
		return isReportOf(n, single)
	})
	told += reportsOf(s.end(), flood)
	if most := rate + uint64(rate*took.Seconds()) + 1; told < rate || told > most {
		t.Errorf("%d reports in %v, want %d to %d", told, took, rate, most)
	}
	if hidden := s.hidden[l.Guest.Port]; told+hidden.Limited != sent || hidden.Lost > 0 || hidden.Passed {
		t.Errorf("%d reports and %+v are not %d packets", told, hidden, sent)
	}
	if got := count(t, l.stats(l.Guest.Port), "out", 2); got != sent {
		t.Errorf("%d packets were dropped, want %d", got, sent)
	}
}

// A watcher that does not listen loses what its ring has no room for, and no
// count.
func TestWhatIsLostIsCounted(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, dropNine))
	flood := l.udp(9, strings.Repeat("x", 300))
	sender, err := l.Guest.OpenFrames(lab.GuestDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const sent = ringBytes / 300 * 2
	var told, lost, limited uint64
	begun := false
	for n, err := range l.host.Watch(ctx, WatchOptions{Drops: true, Rate: MaxWatchRate}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case !begun:
			begun = true
			for range sent {
				if err := sender.Send(flood); err != nil {
					t.Fatal(err)
				}
			}
			stop()
		case n.Hidden != nil && n.Hidden.Port == l.Guest.Port:
			lost, limited = lost+n.Hidden.Lost, limited+n.Hidden.Limited
		}
		told += reportsOf([]Notice{n}, flood)
	}
	if lost == 0 || told+lost+limited != sent {
		t.Errorf("%d reports, %d lost and %d beyond the rate of %d", told, lost, limited, sent)
	}
}

func TestOnlyNamedPortsAreTold(t *testing.T) {
	l := newLive(t, TCX)
	l.guard(l.Guest.Port, resolve(t, dropNine))
	l.guard(l.Neighbour.Port, resolve(t, dropNine))
	s := l.watch(WatchOptions{Drops: true, Ports: []string{l.Guest.Port}})
	other := lab.UDPFrame(l.Neighbour.MAC, l.Guest.MAC, l.Neighbour.At(1), l.Guest.At(9), []byte("other"))
	own := l.udp(9, "own")
	l.arrives(l.Neighbour, l.Guest, other, false)
	l.arrives(l.Guest, l.Neighbour, own, false)
	s.report(own)
	if n := reportsOf(s.end(), other); n != 0 {
		t.Errorf("%d reports of the other port", n)
	}
	for _, err := range l.host.Watch(t.Context(), WatchOptions{Drops: true, Ports: []string{"nothing0"}}) {
		var missing *NotGuardedError
		if !errors.As(err, &missing) || missing.Port != "nothing0" {
			t.Errorf("a port that is not guarded: %v", err)
		}
	}
}

// Rules are found whatever was in force when the packet came, and whenever the
// port was guarded: also when all shared maps are new.
func TestWatchingGoesOnWhilePoliciesChange(t *testing.T) {
	l := newLive(t, TCX)
	port := l.Guest.Port
	for _, ports := range [][]string{nil, {port}} {
		l.guard(port, resolve(t, dropNine))
		s := l.watch(WatchOptions{Drops: true, Ports: ports})
		before, after := l.udp(9, "before"), l.udp(10, "after")
		l.arrives(l.Guest, l.Neighbour, before, false)
		l.guard(port, resolve(t, dropNineAndAll))
		l.arrives(l.Guest, l.Neighbour, after, false)
		if e := s.report(before); e.Clause == nil || e.Clause.Origin.Pos.Line != 2 {
			t.Errorf("before the change: %+v", e.Clause)
		}
		if e := s.report(after); e.Clause == nil || e.Clause.Origin.Pos.Line != 3 {
			t.Errorf("after the change: %+v", e.Clause)
		}
		l.release(port)
		if w := s.watched(); len(w.Ports) > 0 {
			t.Errorf("%v are watched after a release", w.Ports)
		}
		l.guard(port, resolve(t, dropNine))
		if w := s.watched(); !slices.Equal(w.Ports, []string{port}) || len(w.Strange) > 0 {
			t.Errorf("%+v after the port was guarded anew", w)
		}
		l.arrives(l.Guest, l.Neighbour, before, false)
		s.report(before)
		s.end()
		l.release(port)
	}
	l.empty()
}
