package datapath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"tapgate/internal/datapath/skeleton"
	"tapgate/internal/verdict"
)

// listener is a watcher of a tester's programs.
type listener struct {
	tester *Tester
	table  *ebpf.Map
	reader *ringbuf.Reader
	entry  watcherEntry
}

// fatal is what testing.T and rapid.T have in common here.
type fatal interface{ Fatal(...any) }

// listen makes the tester's programs tell of every packet.
func listen(t fatal, tester *Tester) *listener {
	spec, err := skeleton.Load()
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{tester: tester, entry: watcherEntry{Until: math.MaxUint64, Fates: 1<<fates - 1, EveryPort: 1}}
	spec.Maps["watch_rings"].InnerMap.MaxEntries = 1 << 16
	ring, err := ebpf.NewMap(spec.Maps["watch_rings"].InnerMap)
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	if l.table, err = ebpf.NewMap(spec.Maps["watch_tables"].InnerMap); err != nil {
		t.Fatal(err)
	}
	if l.reader, err = ringbuf.NewReader(ring); err != nil {
		t.Fatal(err)
	}
	maps := tester.bed.maps
	err = errors.Join(
		maps["watch_rings"].Put(uint32(maxWatchers-1), ring),
		maps["watch_tables"].Put(uint32(maxWatchers-1), l.table),
	)
	if err != nil {
		t.Fatal(err)
	}
	l.arm(t)
	return l
}

// arm tells the programs of the listener as its entry has it.
func (l *listener) arm(t fatal) {
	var all watches
	all.Watchers[maxWatchers-1] = l.entry
	all.sum()
	if err := l.tester.bed.maps["watches"].Put(uint32(0), &all); err != nil {
		t.Fatal(err)
	}
}

func (l *listener) close() {
	_ = l.tester.bed.maps["watches"].Put(uint32(0), &watches{})
	l.reader.Close()
	l.table.Close()
}

// next gives the report that is in the ring, if there is one.
func (l *listener) next(t fatal) (h reportHeader, frame []byte, ok bool) {
	l.reader.SetDeadline(time.Now())
	record, err := l.reader.Read()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return h, nil, false
	}
	if err == nil {
		h, frame, err = decodeReport(record.RawSample)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h, frame, true
}

// hears checks that the report of a packet is in the ring.
func (l *listener) hears(t fatal, frame []byte, out bool, now int64, r TestResult) {
	h, head, ok := l.next(t)
	clause := uint32(noClause)
	if r.Clause >= 0 {
		clause = uint32(r.Clause)
	}
	want := reportHeader{
		Time: uint64(now), Port: l.tester.state.Port, Clause: clause, Length: uint32(len(frame)),
		Captured: uint16(min(len(frame), 256)),
		Verdict:  r.Verdict, Reason: r.Reason, State: r.State, Conn: r.Direction, Invalid: r.Invalid,
	}
	if out {
		want.Out = 1
	}
	if !ok || h != want || !bytes.Equal(head, frame[:want.Captured]) {
		t.Fatal("the report is", h, "of", head, "want", want, "of", frame)
	}
}

// The layout of reports is written twice, in C and in Go.
func TestReportsThatCannotBeReadAreRefused(t *testing.T) {
	header := make([]byte, binary.Size(reportHeader{}))
	if _, frame, err := decodeReport(header); err != nil || len(frame) > 0 {
		t.Errorf("a report without a head: %x, %v", frame, err)
	}
	header[24] = 1 // captured
	for _, raw := range [][]byte{nil, header[:12], header} {
		if _, _, err := decodeReport(raw); err == nil {
			t.Errorf("%x is taken for a report", raw)
		}
	}
}

// The clock of a test run moves as it is told.
func TestReportsOfAPortAreLimited(t *testing.T) {
	tester := newTestTester(t, `<filter name="x"><rule action="drop" direction="out"/></filter>`)
	l := listen(t, tester)
	defer l.close()
	l.entry = (&WatchOptions{Drops: true, Passes: true, Rate: 4}).entry()
	l.entry.Until = math.MaxUint64
	l.arm(t)
	frame := make([]byte, 60)
	run := func(out bool, now time.Duration, want bool) {
		t.Helper()
		if _, err := tester.Run(frame, out, int64(now)); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := l.next(t); ok != want {
			t.Errorf("at %v, out %t: told %t, want %t", now, out, ok, want)
		}
	}
	const start = time.Hour
	for range 4 {
		run(true, start, true)
	}
	run(true, start, false)
	run(false, start, true) // what passes has a limit of its own
	run(true, start+249*time.Millisecond, false)
	run(true, start+251*time.Millisecond, true)
	run(true, start+252*time.Millisecond, false)
	for range 4 {
		run(true, 2*start, true)
	}
	run(true, 2*start, false)
	var counted watchedPort
	if err := l.table.Lookup(tester.state.Port, &counted); err != nil {
		t.Fatal(err)
	}
	if counted.Limited != [fates]uint64{fateDropped: 4} || counted.Lost != [fates]uint64{} {
		t.Errorf("counted %+v, want 4 drops that were not told", counted)
	}
}

// A watcher is told nothing from the end of its time on, and only what it asked
// for.
func TestOnlyLivingWatchersAreTold(t *testing.T) {
	tester := newTestTester(t, `<filter name="x"><rule action="drop" direction="out"/></filter>`)
	l := listen(t, tester)
	defer l.close()
	frame := make([]byte, 60)
	for _, test := range []struct {
		until     uint64
		fates     uint32
		everyPort uint32
		now       int64
		out, told bool
	}{
		{100, 1 << fateDropped, 1, 99, true, true},
		{100, 1 << fateDropped, 1, 100, true, false},
		{100, 1 << fateDropped, 1, 99, false, false},
		{100, 1 << fatePassed, 1, 99, false, true},
		{100, 1 << fatePassed, 1, 99, true, false},
		{100, 1 << fateDropped, 0, 99, true, true}, // known from above
	} {
		l.entry = watcherEntry{Until: test.until, Fates: test.fates, EveryPort: test.everyPort}
		l.arm(t)
		if _, err := tester.Run(frame, test.out, test.now); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := l.next(t); ok != test.told {
			t.Errorf("%+v: told %t", test, ok)
		}
	}
	if err := tester.Reset(); err != nil {
		t.Fatal(err)
	}
	r, err := tester.Run(frame, true, 99)
	if err != nil || r.Verdict != verdict.Drop {
		t.Fatal(r, err)
	}
	if _, _, ok := l.next(t); ok {
		t.Error("told of a port that is not in the table")
	}
}

// Ports beyond the table's room share the place of port 0.
func TestPortsWithoutRoomShareAPlace(t *testing.T) {
	tester := newTestTester(t, `<filter name="x"><rule action="drop" direction="out"/></filter>`)
	l := listen(t, tester)
	defer l.close()
	l.entry.Interval = uint64(time.Second) // and a depth of 0: one at a time
	l.arm(t)
	room := int(l.table.MaxEntries())
	keys := make([]uint32, room)
	for i := range keys {
		keys[i] = uint32(i) << 16
	}
	if _, err := l.table.BatchUpdate(keys, make([]watchedPort, room), nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if _, err := tester.Run(make([]byte, 60), true, 1e9); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := l.next(t); ok != want {
			t.Errorf("told %t, want %t", ok, want)
		}
	}
	var others watchedPort
	if err := l.table.Lookup(uint32(0), &others); err != nil || others.Limited[fateDropped] != 1 {
		t.Errorf("counted %+v, %v", others, err)
	}
}

// BenchmarkWatched is what watchers add to a packet that is dropped.
func BenchmarkWatched(b *testing.B) {
	tester := newTestTester(b, `<filter name="x"><rule action="drop" direction="out"/></filter>`)
	l := listen(b, tester)
	defer l.close()
	frame := make([]byte, 300)
	out, _ := tester.Programs()
	for _, c := range []struct {
		name    string
		packets int
		entry   watcherEntry
	}{
		{"nobody watches", 1e5, watcherEntry{}},
		{"one of what passes", 1e5, watcherEntry{Until: math.MaxUint64, Fates: 1 << fatePassed, EveryPort: 1}},
		{"beyond the limit", 1e5, watcherEntry{Until: math.MaxUint64, Fates: 1 << fateDropped, EveryPort: 1, Interval: uint64(time.Second)}},
		// As many as the ring has room for.
		{"told", 200, watcherEntry{Until: math.MaxUint64, Fates: 1 << fateDropped, EveryPort: 1}},
	} {
		b.Run(c.name, func(b *testing.B) {
			l.entry = c.entry
			l.arm(b)
			var sum time.Duration
			for b.Loop() {
				_, took, err := out.Benchmark(frame, c.packets, nil)
				if err != nil {
					b.Fatal(err)
				}
				sum += took
				for ok := true; ok; {
					_, _, ok = l.next(b)
				}
			}
			b.ReportMetric(float64(sum.Nanoseconds())/float64(b.N), "ns/packet")
		})
	}
}
