package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tapgate/internal/lab"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root (CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN) to make the demo's network")
	}
}

// nothingLeft checks that the process holds no bpffs, program, map or
// namespace any more, and so nobody does.
func nothingLeft(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err == nil && (strings.HasPrefix(target, "net:") || strings.Contains(target, "bpf") || target == "/") {
			t.Errorf("left open: %s", target)
		}
	}
}

// rows are a report's rows without what differs from run to run.
func rows(r *Report) string {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintln(&b, s.Title)
		for _, row := range s.Rows {
			fmt.Fprintf(&b, "  %-3s  %-32s  %-7s  %-7s  %s\n", row.Direction, row.What, row.Should, row.Did, decidersText(row.DecidedBy))
		}
	}
	return b.String()
}

func TestDemo(t *testing.T) {
	needRoot(t)
	var shown bytes.Buffer
	report, err := Run(t.Context(), Options{Out: &shown})
	if err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
	if !report.OK() || report.Tried < 100 || report.Times.Total > 50 {
		t.Errorf("%d of %d as expected, in %s", report.AsExpected, report.Tried, seconds(report.Times.Total))
	}
	golden(t, "rows.golden", rows(report))
	for _, want := range []string{
		"2. Filter A, examples/ftp-related.xml (by ",
		"100 transfers in ", ", no SYN sent again\n",
		" frames during the swap, none arrived\n",
		fmt.Sprintf("\n%d tried, all as expected. Everything is removed.\n", report.Tried),
	} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Logf("the demo showed\n%s", &shown)
	}
}

// when is a writer that does something as soon as a text is written.
type when struct {
	text string
	do   func()
}

func (w when) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.text)) {
		w.do()
	}
	return len(p), nil
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	needRoot(t)
	for _, text := range []string{"throw-away", "tcp port 81", "From A to B"} {
		ctx, cancel := context.WithCancel(t.Context())
		var at time.Time
		report, err := Run(ctx, Options{Out: when{text, func() { at = time.Now(); cancel() }}})
		if !errors.Is(err, errInterrupted) || report != nil {
			t.Errorf("interrupted at %q: %v", text, err)
		}
		if took := time.Since(at); took > 5*time.Second {
			t.Errorf("interrupted at %q: ended after %v", text, took)
		}
		nothingLeft(t)
	}
}

func TestPanicLeavesNothing(t *testing.T) {
	needRoot(t)
	func() {
		defer func() {
			if recover() != "a fault" {
				t.Error("the panic did not come through")
			}
		}()
		_, _ = Run(t.Context(), Options{Out: when{"tcp port 81", func() { panic("a fault") }}})
	}()
	nothingLeft(t)
}

// newDemo is a demo whose steps are run one by one.
func newDemo(t *testing.T, out io.Writer) (*demo, []attempt) {
	t.Helper()
	needRoot(t)
	d := &demo{report: &Report{}, print: &printer{w: out}}
	t.Cleanup(d.close)
	if err := d.setUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d, newAttempts(d.lab)
}

// only picks the attempts that a function accepts.
func only(attempts []attempt, keep func(attempt) bool) []attempt {
	var kept []attempt
	for _, a := range attempts {
		if keep(a) {
			kept = append(kept, a)
		}
	}
	return kept
}

var (
	openDoor   = filter{"X", "open.xml", []byte(`<filter name="open"><rule action="accept" direction="inout"><all/></rule></filter>`)}
	closedDoor = filter{"Y", "closed.xml", []byte(`<filter name="closed"><rule action="drop" direction="inout"/></filter>`)}
)

func TestAFilterThatLetsEverythingThroughIsNoticed(t *testing.T) {
	d, attempts := newDemo(t, io.Discard)
	step, err := d.guard(t.Context(), openDoor)
	if err != nil {
		t.Fatal(err)
	}
	blocked := only(attempts, func(a attempt) bool { return a.services == Blocked })
	if err := d.step(t.Context(), step, blocked, withServices); err != nil {
		t.Fatal(err)
	}
	for i, row := range step.Rows {
		if row.OK || row.Did != blocked[i].open {
			t.Errorf("%s: %s, as expected: %t", row.What, row.Did, row.OK)
		}
	}
	if len(step.Rows) != len(blocked) || d.report.OK() {
		t.Errorf("%d of %d rows, all as expected: %t", len(step.Rows), len(blocked), d.report.OK())
	}
}

func TestAFilterThatLetsNothingThroughIsNoticed(t *testing.T) {
	d, attempts := newDemo(t, io.Discard)
	step, err := d.guard(t.Context(), closedDoor)
	if err != nil {
		t.Fatal(err)
	}
	// Not all, for each waits its time.
	some := only(attempts, func(a attempt) bool { return a.what == "ssh" || a.what == "arp request" || a.what == "dns over udp" })
	if err := d.step(t.Context(), step, some, withServices); err != nil {
		t.Fatal(err)
	}
	for _, row := range step.Rows {
		if row.OK || row.Did != Blocked || decidersText(row.DecidedBy) != "closed.xml:1 drop" {
			t.Errorf("%s: %s by %s, as expected: %t", row.What, row.Did, decidersText(row.DecidedBy), row.OK)
		}
	}
	if len(step.Rows) != 3 {
		t.Errorf("%d rows", len(step.Rows))
	}
}

func TestAGapInASwapIsNoticed(t *testing.T) {
	d, _ := newDemo(t, io.Discard)
	if _, err := d.guard(t.Context(), filterA); err != nil {
		t.Fatal(err)
	}
	if err := d.swap(t.Context(), "to one that lets the flood pass", openDoor); err != nil {
		t.Fatal(err)
	}
	flood := d.report.Steps[0].Rows[0]
	if flood.Did != Works || flood.OK || flood.Note != "a frame arrived" {
		t.Errorf("%+v", flood)
	}
}

func TestKeptNetworkCanBeEntered(t *testing.T) {
	var shown bytes.Buffer
	d, _ := newDemo(t, &shown)
	if err := d.keep(t.Context(), strings.NewReader("\n")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"guest      nsenter --net=/proc/", "neighbour  nsenter --net=/proc/", "host       nsenter --net=/proc/",
		"tapgate stats guest0 --bpffs " + d.pins.dir() + "\n",
	} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &shown)
		}
	}
	// Without a line it is the context that ends it.
	ctx, cancel := context.WithCancel(t.Context())
	d.print.w = when{"Enter or Ctrl-C", cancel}
	if err := d.keep(ctx, strings.NewReader("")); err != nil || ctx.Err() == nil {
		t.Errorf("kept until %v: %v", ctx.Err(), err)
	}
}

func TestHandleOfANamespace(t *testing.T) {
	d, _ := newDemo(t, io.Discard)
	handle, err := open(d.lab.Guest.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	var want, got string
	err = d.lab.Guest.Do(func() (err error) {
		want, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", handle.Fd())); err != nil || got != want {
		t.Errorf("handle of %s (%v), want %s", got, err, want)
	}
}

func TestWhatIsMissingIsOneSentence(t *testing.T) {
	got := explain(lab.ErrNeedsRoot).Error()
	if want := "the demo needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN) to make network namespaces"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
